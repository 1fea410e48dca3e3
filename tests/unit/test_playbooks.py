"""What a tag of the playbooks takes along, and what they say of a site model or a variable that is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.roles import evaluate

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = """\
all:
  hosts:
    server1: {ansible_connection: local, ansible_python_interpreter: PYTHON}
  children:
    web: {hosts: {server1: {}}}
  vars:
    site: {
      secrets: {KEY: canary}, name: shop,
      source: {git: .},
      manage: [python, manage.py],
      shared: {},
      WRONG}
"""
"""From core 2.19 on Ansible itself shows the line that can't be evaluated, and the two before it."""


def playbook(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run([program, *argv], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("tag", ["nginx", "postgresql", "redis", "rabbitmq"])
def test_a_service_takes_its_ports_along(tag: str) -> None:
    done = playbook("-i", "inventory/example", "playbooks/site.yml", "--list-tasks", "--tags", tag)
    assert done.returncode == 0
    listed = re.findall(r"^ +(.+)\tTAGS", done.stdout, re.MULTILINE)
    assert "firewall : Write the rules and their unit" in listed
    assert "apt : Install packages" not in listed


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("wep: {}", "site.wep: unknown key (did you mean web?)"),
        ("env: {A: '{{ groups.db[0] }}'}", "has no attribute 'db'"),
    ],
)
def test_a_wrong_site_model_is_named_and_no_secret_shown(tmp_path: Path, wrong: str, message: str) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(INVENTORY.replace("WRONG", wrong).replace("PYTHON", sys.executable))
    done = playbook("-i", inventory, "playbooks/site.yml", "-vvv")
    assert (done.returncode, message in done.stdout, "canary" in done.stdout + done.stderr) == (2, True, False)


def test_a_process_that_dies_again_and_again_is_seen_after_an_upgrade(tmp_path: Path) -> None:
    """It has failed for a moment only: here at the third look."""
    (play,) = yaml.safe_load((ROOT / "playbooks/upgrade.yml").read_text())
    stub = """\
    case "$*" in *auto-restart*) ;; *) exit 9 ;; esac
    echo >> looks
    echo "old.service loaded failed failed Old"
    if [ "$(wc -l < looks)" = 3 ]; then echo "shop-web@b.service loaded activating auto-restart Web"; fi
    """
    script = f"systemctl() {{ {stub} }}; sleep() {{ :; }}; {play['vars']['_upgrade_look']}"
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    before = {"stdout_lines": ["old.service loaded failed failed Old"]}
    known = {"_upgrade_failed": {"stdout_lines": done.stdout.splitlines()}, "_upgrade_failed_before": before}
    assert evaluate(play["vars"]["_upgrade_new"], known) == ["shop-web@b.service"]
    blind = f"systemctl() {{ return 4; }}; {play['vars']['_upgrade_look']}"
    assert subprocess.run(["sh", "-c", blind], check=False).returncode == 4


@pytest.mark.parametrize("arguments", [[], ["--tags", "apt"], ["--check"]])
def test_a_variable_that_an_upgrade_does_not_have_is_named(arguments: list[str]) -> None:
    # Without this Python it would end at the next check: it is this machine that is not upgraded.
    nothing = ["-e", "ansible_become=false", "-e", "ansible_python_interpreter=/nonexistent/python3"]
    given = ["-e", "upgrade_reboots=never", *nothing, *arguments]
    done = playbook("-i", "localhost,", "-c", "local", "playbooks/upgrade.yml", *given)
    assert done.returncode == 2
    said = " ".join(done.stdout.split())
    assert "playbooks/upgrade.yml has no upgrade_reboots; it has upgrade_policy, upgrade_reboot" in said
    assert re.findall(r"TASK \[(.*?)\]", said) == ["Check the playbook's variables"]
