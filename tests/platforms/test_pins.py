"""What is installed for Python 3.5: versions that fit together and are for it, and no upgrade of pip without one."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename

from tests.conftest import need
from tests.platforms.contract import known
from tests.platforms.interpreters import old_python
from tests.platforms.site import ROOT
from tests.roles import NAMES, ROLES, tasks
from tests.unit.engine.conftest import ENGINE

sys.path.insert(0, str(ENGINE))
from hostwright_engine import venvs

PINS: dict[str, Any] = known("pins")
FOR_3_5 = ["--python-version", "35", "--implementation", "cp", "--abi", "cp35m", "--abi", "abi3", "--abi", "none"]
PLATFORMS = ["--platform", "manylinux1_x86_64", "--platform", "manylinux2010_x86_64", "--platform", "any"]


def sample() -> dict[str, str]:
    """What the sample project asks for on Python 3.5."""
    text = (ROOT / "examples" / "shop" / "requirements.txt").read_text(encoding="utf-8")
    asked = [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
    environment = {"python_version": "3.5", "python_full_version": PINS["python"]}
    chosen = [one for one in asked if one.marker is None or one.marker.evaluate(environment)]
    return {one.name: str(one.specifier).removeprefix("==") for one in chosen}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What pip 20.3.4, run by the oldest Python 3 at hand, resolves for CPython 3.5."""
    directory = tmp_path_factory.mktemp("pins")
    asked = [f"{name}=={version}" for name, version in {**PINS["tools"], **PINS["application"]}.items()]
    python = directory / "venv" / "bin" / "python"
    download = ["download", "--dest", str(directory / "wheels"), "--only-binary", ":all:", *FOR_3_5, *PLATFORMS, *asked]
    for argv in (
        [old_python("3.5", "3.6"), "-m", "venv", str(directory / "venv")],
        [str(python), "-m", "pip", "install", f"pip=={PINS['pip']}"],
        [str(python), "-m", "pip", *download],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if "Failed to establish a new connection" in done.stderr:
            need("the pins for Python 3.5", "no package index answers", "Give the machine a network.")
        assert done.returncode == 0, done.stderr[-2000:]
    return sorted((directory / "wheels").glob("*.whl"))


def test_the_sample_project_asks_for_the_pins() -> None:
    assert sample() == PINS["application"]


def test_pins_resolve_together(wheels: list[Path]) -> None:
    found = {name: str(version) for name, version, _, _ in (parse_wheel_filename(path.name) for path in wheels)}
    wanted = {canonicalize_name(name): version for name, version in {**PINS["tools"], **PINS["application"]}.items()}
    assert {name: found.get(name) for name in wanted} == wanted
    assert {"kombu", "sqlparse", "vine"} <= set(found)


def test_everything_that_is_resolved_is_for_python_3_5(wheels: list[Path]) -> None:
    for path in wheels:
        with zipfile.ZipFile(path) as wheel:
            about = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            stated = Parser().parsestr(wheel.read(about).decode())["Requires-Python"]
            assert stated is None or SpecifierSet(stated).contains(PINS["python"]), path.name


@pytest.mark.parametrize("name", ["celery", "Django", "gunicorn", "kombu", "redis"])
def test_the_applications_packages_have_the_grammar_of_python_3_5(wheels: list[Path], name: str) -> None:
    path = next(wheel for wheel in wheels if wheel.name.startswith(f"{name}-"))
    with zipfile.ZipFile(path) as wheel:
        for member in wheel.namelist():
            if member.endswith(".py"):
                tree = ast.parse(wheel.read(member), feature_version=(3, 5))
                newer = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.AnnAssign)]
                assert newer == [], member


class Recorded(venvs.Builder):
    """A builder that runs nothing, and remembers what it would have run."""

    def _run(self, step: str, argv: list[str]) -> None:
        self.ran.append(argv)

    def _fresh(self, directory: str) -> None: ...

    def _finish(self, directory: str) -> None: ...


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What the engine runs to build a virtualenv for Python 3.5."""
    monkeypatch.setattr(venvs, "account", lambda name: type("Entry", (), {"pw_uid": 1000, "pw_gid": 1000}))
    wheelhouse = tmp_path / "wheels"
    wheelhouse.mkdir()
    (wheelhouse / "Django-2.2.28-py3-none-any.whl").touch()
    paths = type("Paths", (), {"venv": lambda *_: str(tmp_path / "venv"), "wheelhouse": lambda *_: str(wheelhouse)})()
    paths.build_home = str(tmp_path)
    nothing: dict[str, Any] = {key: [] for key in ("requirements", "constraints", "groups", "extras", "packages")}
    agreed = {
        "build_user": "build",
        "python": "/usr/bin/python3.5",
        "dependencies": {**nothing, "requirements": ["requirements.txt"], "project": None, "require_hashes": False},
    }
    builder = Recorded(agreed, paths, str(tmp_path), "key", (3, 5), "log", 60)
    builder.ran = []
    builder.wheels()
    builder.install()
    ran: list[list[str]] = builder.ran
    return ran


def test_the_engine_upgrades_pip_to_its_pin_before_anything_else(commands: list[list[str]]) -> None:
    assert venvs.PIP_PINS[3, 5] == PINS["pip"]
    installs = [argv for argv in commands if "install" in argv or "wheel" in argv]
    assert installs[0][-2:] == ["install", f"pip=={PINS['pip']}"]


def test_the_engine_names_a_version_whenever_it_names_pip(commands: list[list[str]]) -> None:
    for argv in commands:
        words = argv[argv.index("pip") + 1 :] if "pip" in argv else []
        assert not {"pip", "-U", "--upgrade", "setuptools"} & set(words), argv
        assert all(word == f"pip=={PINS['pip']}" for word in words if word.startswith("pip")), argv


def test_nothing_else_upgrades_pip() -> None:
    for role in NAMES:
        for file, task in tasks(role):
            assert not any(key.endswith(".pip") for key in task), f"{role}/{file}: {task['name']}"
    for path in [*ROLES.rglob("*"), *(ROOT / "playbooks").rglob("*.yml"), *ROOT.glob("hostwright/**/*.py")]:
        if path.is_file() and path.suffix != ".pyc" and path.name != "README.md":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"pip3? install (-\S+ )*pip\b(?!==)", text), path
