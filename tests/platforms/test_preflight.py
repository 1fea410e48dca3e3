"""Each playbook ends at a host that this Ansible can't manage, before it sends a module there."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from hostwright.hosts.platforms import OLDEST
from tests.platforms.site import ROOT

PLAYBOOKS = sorted(path.name for path in (ROOT / "playbooks").glob("*.yml"))
LINE = ".".join(version("ansible-core").split(".")[:2])


def play(playbook: str, interpreter: Path) -> subprocess.CompletedProcess[str]:
    """Run a playbook of ours against this machine, through `interpreter`."""
    inventory = interpreter.with_name("hosts.yml")
    variables = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": str(interpreter),
        "site": {"name": "shop", "source": {"git": "x"}},
    }
    hosts = {"all": {"vars": variables, "children": {"web": {"hosts": {"web1": {}}}}}}
    inventory.write_text(yaml.safe_dump(hosts), encoding="utf-8")
    program = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [program, "-i", inventory, f"playbooks/{playbook}"], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_host_with_an_old_python_is_named(playbook: str, tmp_path: Path) -> None:
    interpreter = tmp_path / "python3"
    interpreter.write_text("#!/bin/sh\necho python=3.5\n", encoding="utf-8")
    interpreter.chmod(0o755)
    done = play(playbook, interpreter)
    assert done.returncode == 2
    said = " ".join(done.stdout.split())
    assert re.search(rf"web1 runs \w+ [\d.]+ and has Python 3\.5 as {interpreter}; ansible-core {LINE} needs", said), (
        said
    )
    needed = OLDEST[max(known for known in OLDEST if known <= tuple(map(int, LINE.split("."))))].said
    assert f"needs {needed}. To mend it, " in said
    assert re.findall(r"TASK \[(.*?)\]", said)[-2:] == [
        "See what the host runs",
        "Check that this Ansible can manage it",
    ]


@pytest.mark.parametrize("playbook", sorted(set(PLAYBOOKS) - {"bootstrap.yml"}))
def test_a_host_without_python_is_sent_to_bootstrap(playbook: str, tmp_path: Path) -> None:
    done = play(playbook, tmp_path / "nothing")
    assert done.returncode == 2
    said = " ".join(done.stdout.split())
    assert f"web1 has no {tmp_path}/nothing. To mend it, ansible-playbook playbooks/bootstrap.yml --limit web1" in said
