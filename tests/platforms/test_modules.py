"""The modules that plays send to a host, under the Python that Ubuntu 16.04 has for them.

Each is packed as Ansible packs it, with all that it brings along, and imported by a Python 2.7.
"""

from __future__ import annotations

import base64
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.executor.module_common import modify_module
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import module_loader
from ansible.template import Templar

from tests.platforms.interpreters import old_python
from tests.platforms.site import ROOT
from tests.roles import NAMES, tasks

pytestmark = pytest.mark.skipif(
    not version("ansible-core").startswith("2.16."), reason="ansible-core 2.16 is the last that runs on Python 2.7"
)

ON_THE_CONTROLLER = {"assert", "fail", "import_tasks", "include_role", "include_tasks", "meta", "raw", "set_fact"}
SENT_BY = {
    "reboot": {"command", "find", "setup"},
    "template": {"copy", "file", "stat"},
    "copy": {"copy", "file", "stat"},
}
"""What these actions send in their place."""

IMPORT = """
import sys, importlib
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
    print(name)
"""


def used() -> set[str]:
    """The modules that tasks, handlers and plays name, by their full names."""
    found = {key for role in NAMES for _, task in tasks(role) for key in task}
    for path in (ROOT / "playbooks").rglob("*.yml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
            plays = [*entry.get("tasks", []), *entry.get("pre_tasks", []), *entry.get("post_tasks", [])]
            found |= {key for task in [entry, *plays] for key in task}
    named = {key for key in found if key.count(".") == 2 or key.startswith("hostwright_")}
    sent = set()
    for name in named:
        namespace, _, short = name.rpartition(".")
        if short not in ON_THE_CONTROLLER:
            sent |= {f"{namespace}.{other}" for other in SENT_BY[short]} if short in SENT_BY else {name}
    return sent


MODULES = sorted(used())


def payload(name: str, directory: Path) -> Path:
    """The archive that Ansible sends for a module."""
    module_loader.add_directory(str(ROOT / "plugins" / "modules"))
    found: Any = module_loader.find_plugin_with_context(name)
    assert found.resolved, name
    data = modify_module(
        found.resolved_fqcn or name,
        found.plugin_resolved_path,
        {},
        Templar(loader=DataLoader()),
        task_vars={"ansible_python_interpreter": "/usr/bin/python2.7"},
    )[0]
    packed = re.search(rb"ZIPDATA = '(.+?)'", data)
    assert packed, name
    archive = directory / f"{name}.zip"
    archive.write_bytes(base64.b64decode(packed[1]))
    return archive


def inside(archive: Path) -> list[str]:
    """The module, and the Python modules that came along, by the names they are imported by."""
    listed = subprocess.run(["unzip", "-Z1", str(archive)], check=True, capture_output=True, text=True).stdout.split()
    return sorted(path.removesuffix(".py").replace("/", ".") for path in listed if not path.endswith("__init__.py"))


@pytest.fixture(scope="module")
def python() -> str:
    return old_python("2.7")


def test_modules_of_every_role_are_found() -> None:
    assert {
        "ansible.builtin.apt",
        "ansible.builtin.systemd",
        "ansible.builtin.setup",
        "ansible.posix.authorized_key",
        "community.postgresql.postgresql_db",
        "community.rabbitmq.rabbitmq_user",
        "hostwright_files",
    } <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_imported_by_python_2_7(name: str, python: str, tmp_path: Path) -> None:
    archive = payload(name, tmp_path)
    names = inside(archive)
    assert any(part.endswith(f"modules.{name.rpartition('.')[2]}") for part in names), names
    done = subprocess.run([python, "-c", IMPORT, str(archive), *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == names


def test_a_module_that_python_2_7_does_not_take(python: str, tmp_path: Path) -> None:
    for text in ("def f(*, a): pass\n", "import dataclasses\n", 'a = f"{1}"\n'):
        (tmp_path / "newer.py").write_text(text, encoding="utf-8")
        argv = [python, "-c", IMPORT, str(tmp_path), "newer"]
        assert subprocess.run(argv, capture_output=True, check=False).returncode == 1
