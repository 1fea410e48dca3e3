"""The tree as an Ansible collection: built and installed without a network, and used under its full name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("roles", "playbooks", "plugins", "templates", "meta", "hostwright", "docs")
"""What a collection has to hold: the roles, and what the playbooks need."""


def ansible(program: str, *arguments: object, home: Path, status: int = 0) -> str:
    """Run one of Ansible's programs where nothing leads to this checkout, and no server is asked."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment |= {"HOME": str(home), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_COLLECTIONS_PATH": str(home / "collections")}
    environment |= {"ANSIBLE_GALAXY_SERVER": "http://127.0.0.1:1/"}
    argv = [str(Path(sys.executable).with_name(program)), *map(str, arguments)]
    done = subprocess.run(argv, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert "[DEPRECATION WARNING]" not in done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection, from a copy of what is tracked and of what must never get into it."""
    home = tmp_path_factory.mktemp("build")
    listed = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True)
    tree = home / "tree"
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    for private in ("inventory/production/hosts.yml", ".venv/secret", ".cache/lab/test/key"):
        (tree / private).parent.mkdir(parents=True, exist_ok=True)
        (tree / private).write_text("private")
    ansible("ansible-galaxy", "collection", "build", "--output-path", home, tree, home=home)
    return next(home.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def home(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory with the collection installed."""
    made = tmp_path_factory.mktemp("home")
    path = made / "collections"
    said = ansible("ansible-galaxy", "collection", "install", built, "-p", path, "--offline", home=made)
    assert "hostwright.hostwright:0.1.0 was installed successfully" in said
    return made


def test_it_holds_what_is_tracked_and_nothing_private(built: Path) -> None:
    with tarfile.open(built) as tar:
        names = {member.name for member in tar if member.isfile()}
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", *PARTS], capture_output=True, text=True, check=True)
    assert {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()} - names == set()
    unwanted = ("inventory/", ".", "tests/", "bench/", "examples/")
    assert sorted(name for name in names if name.startswith(unwanted) or "__pycache__" in name) == []


def test_its_roles_are_known_by_their_full_names(home: Path) -> None:
    described = json.loads(ansible("ansible-doc", "-t", "role", "-l", "-j", "hostwright.hostwright", home=home))
    assert set(described) == {f"hostwright.hostwright.{path.name}" for path in (ROOT / "roles").iterdir()}
    module = ansible("ansible-doc", "hostwright.hostwright.hostwright_files", home=home)
    assert "Writes the files of a role." in module


def test_the_example_of_two_roles_alone(home: Path) -> None:
    shown = ansible(
        "ansible-playbook", "-i", "web1,", "--list-tasks", ROOT / "examples" / "roles" / "blog.yml", home=home
    )
    for task in ("postgresql : Make databases", "nginx : Run nginx now and at boot"):
        assert f"hostwright.hostwright.{task}" in shown
