"""What runs on hosts, and the sample project, run by the oldest Python 3 that can be had; 3.5 is that of Ubuntu 16.04.

tests/unit/engine/test_old_python.py holds the engine to the grammar and the library of 3.5.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hostwright import config, contract
from tests.platforms.interpreters import old_python
from tests.platforms.site import ROOT
from tests.roles import ROLES, render
from tests.unit.roles.test_templates import GUNICORN

FILES = ROLES / "release" / "files"
ENGINE = FILES / "hostwright_engine"
SHOP = ROOT / "examples" / "shop"
OF_THE_APPLICATION = {"__main__", "probe"}
"""Not imported here: the one is a program, the other needs Django."""

PROGRAM = (
    "import sys; sys.path.insert(0, {!r}); from hostwright_engine.__main__ import main; sys.exit(main(sys.argv[1:]))"
)
WORK = """
import importlib, json, os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
for name in sys.argv[3:]:
    importlib.import_module("hostwright_engine." + name)
from hostwright_engine import commands, storage, venvs
storage.write_file(os.path.join(sys.argv[2], "state.json"), json.dumps({"a": 1}), 0o600)
# This interpreter may be nobody else's to run.
commands.become = lambda user: None
version, platform = venvs.interpreter(sys.executable, "shop-build")
assert version == sys.version_info[:2], version
print(open(os.path.join(sys.argv[2], "state.json")).read())
"""


@pytest.fixture(scope="module")
def python() -> str:
    return old_python("3.5", "3.6")


def call(python: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, "-I", "-c", *argv], capture_output=True, text=True, check=False)


def agreed() -> dict[str, Any]:
    """The contract of the sample site on a host that does everything."""
    site = yaml.safe_load((SHOP / "deploy" / "site.yml").read_text(encoding="utf-8"))["site"]
    groups = {group: ["host1"] for group in ("web", "worker", "beat", "db", "broker")}
    return contract.contract(config.load(site), groups, "host1")


def test_the_engine_works(python: str, tmp_path: Path) -> None:
    names = sorted({path.stem for path in ENGINE.glob("*.py")} - {"__init__"} - OF_THE_APPLICATION)
    assert {"server", "transaction", "venvs", "slots"} <= set(names)
    done = call(python, WORK, str(FILES), str(tmp_path), *names)
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"a": 1}\n', "")


def test_the_engine_reads_a_contract_and_refuses_another(python: str, tmp_path: Path) -> None:
    path = tmp_path / "contract.json"
    path.write_text(json.dumps(agreed()), encoding="utf-8")
    done = call(python, PROGRAM.format(str(FILES)), "--check-contract", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    path.write_text(json.dumps({**agreed(), "version": 99}), encoding="utf-8")
    done = call(python, PROGRAM.format(str(FILES)), "--check-contract", str(path))
    assert done.returncode == 1
    assert json.loads(done.stdout)["event"] == "error"


@pytest.mark.parametrize("asgi", [False, True])
def test_gunicorns_configuration_compiles(python: str, tmp_path: Path, asgi: bool) -> None:
    text = render("gunicorn", "gunicorn.conf.py.j2", **{**GUNICORN, "gunicorn_asgi": asgi})
    ast.parse(text, feature_version=(3, 5))
    done = call(python, "import sys; compile(sys.argv[1], 'gunicorn.conf.py', 'exec')", text)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_sample_project_compiles(python: str) -> None:
    paths = sorted(map(str, [*SHOP.rglob("*.py"), *FILES.rglob("*.py")]))
    done = call(python, "import sys\nfor path in sys.argv[1:]: compile(open(path).read(), path, 'exec')", *paths)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_sample_project_uses_nothing_newer_than_python_3_5() -> None:
    vermin = [Path(sys.executable).with_name("vermin"), "--no-tips", "-t=3.5-", "--violations"]
    done = subprocess.run([*vermin, SHOP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "Minimum required versions: 3." in done.stdout


def test_a_python_that_does_not_take_it(python: str) -> None:
    assert call(python, "import sys; compile('(a := 1)', 'a', 'exec')").returncode == 1
