"""What a tag of the playbooks takes along."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("tag", ["nginx", "postgresql", "redis", "rabbitmq"])
def test_a_service_takes_its_ports_along(tag: str) -> None:
    argv = ["-i", "inventory/example", "playbooks/site.yml", "--list-tasks", "--tags", tag]
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    listed = re.findall(r"^ +(.+)\tTAGS", done.stdout, re.MULTILINE)
    assert "firewall : Write the rules and their unit" in listed
    assert "apt : Install packages" not in listed
