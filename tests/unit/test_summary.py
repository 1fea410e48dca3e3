"""What the end of a run says, also where other processes ran the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDS = """\
import pytest
from tests.conftest import need

@pytest.fixture
def server():
    need("the server", "it is not installed", "Install it.")

def test_one(server): pass
def test_two(server): pass
def test_three(): pytest.skip("of no concern")
"""


def run(*argv: object, **variables: str) -> list[str]:
    """The lines that a run with these arguments prints, without empty ones."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, argv)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_") and key != "CI"}
    done = subprocess.run(command, cwd=ROOT, env=environment | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("processes", [0, 2])
def test_what_was_not_run_is_said_once(tmp_path: Path, processes: int) -> None:
    (tmp_path / "test_needs.py").write_text(NEEDS)
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_terminal_summary\n")
    said = run("-n", processes, "--rootdir", tmp_path, "-c", os.devnull, tmp_path, PYTHONPATH=str(ROOT))
    start = next(number for number, line in enumerate(said) if line.strip("! ") == "NOT RUN")
    assert said[start + 1] == "the server: it is not installed. Install it."
    assert said[start + 2].startswith("=")


def test_hostile_inputs_are_counted() -> None:
    tests = ROOT / "tests" / "unit" / "fuzz" / "test_controller.py"
    names = ["test_a_hostile_release_name", "test_a_hostile_version_becomes_a_name"]
    said = run("-n", 2, *(f"{tests}::{name}" for name in names), HOSTWRIGHT_FUZZ="20")
    assert [line.split()[1] for line in said if line.endswith(tuple(names))] == names
    assert [int(line.split()[0]) >= 20 for line in said if line.endswith("  in all")] == [True]
