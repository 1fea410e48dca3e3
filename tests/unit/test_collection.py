"""The tree as an Ansible collection: built and installed without a network, and known by full names."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.collection import ROOT, ansible, build, install, tracked

PARTS = ("roles", "playbooks", "plugins", "templates", "meta", "hostwright", "docs")
"""What a collection has to hold: the roles, and what the playbooks need."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def home(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory with the collection installed."""
    made = tmp_path_factory.mktemp("home")
    install(built, made)
    return made


def test_it_holds_what_is_tracked_and_nothing_private(built: Path) -> None:
    with tarfile.open(built) as tar:
        names = {member.name for member in tar if member.isfile()}
    assert set(tracked(*PARTS)) - names == set()
    unwanted = ("inventory/", ".", "tests/", "bench/", "examples/")
    assert sorted(name for name in names if name.startswith(unwanted) or "__pycache__" in name) == []


def test_its_roles_are_known_by_their_full_names(home: Path) -> None:
    described = json.loads(ansible("ansible-doc", "-t", "role", "-l", "-j", "hostwright.hostwright", home=home))
    assert set(described) == {f"hostwright.hostwright.{path.name}" for path in (ROOT / "roles").iterdir()}
    module = ansible("ansible-doc", "hostwright.hostwright.hostwright_files", home=home)
    assert "Writes the files of a role." in module


def test_the_example_of_two_roles_alone(home: Path) -> None:
    example = ROOT / "examples" / "roles" / "blog.yml"
    shown = ansible("ansible-playbook", "-i", "web1,", "--list-tasks", example, home=home)
    for task in ("postgresql : Make databases", "nginx : Run nginx now and at boot"):
        assert f"hostwright.hostwright.{task}" in shown
