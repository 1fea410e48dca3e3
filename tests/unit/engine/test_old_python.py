"""What runs on hosts runs on Python 3.5: its syntax, and the parts of the library that it uses."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.engine.conftest import ENGINE

SOURCES = sorted(ENGINE.rglob("*.py"))
STANDARD = set(sys.stdlib_module_names) | {"hostwright_engine"}
ELSEWHERE = {"probe.py": {"django"}, "hostwright_ready.py": {"celery"}}
"""Run by the application's Python, which has them."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_grammar_is_that_of_python_3_5(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 5))
    newer = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.AnnAssign | ast.NamedExpr)]
    assert [f"{path.name}:{node.lineno}" for node in newer] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_it_imports_the_standard_library_alone(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(str(node.module).split(".")[0])
    assert imported - STANDARD == ELSEWHERE.get(path.name, set())


def test_it_uses_nothing_newer_than_python_3_5() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("vermin"), "--no-tips", "-t=3.5-", "--violations", ENGINE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Minimum required versions: 3." in done.stdout


def test_the_sources_are_those_that_are_installed() -> None:
    assert {"archive.py", "probe.py", "__main__.py", "hostwright_ready.py"} <= {path.name for path in SOURCES}
