"""The release engine, imported from the role that installs it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import need

ENGINE = Path(__file__).resolve().parents[3] / "roles" / "release" / "files"
sys.path.insert(0, str(ENGINE))


@pytest.fixture
def as_root() -> None:
    """For tests that give files away or change users."""
    if os.geteuid() != 0:
        need("engine tests that change owners", "this is not root", "Run the tests as root.")


@pytest.fixture
def open_path(as_root: None) -> Iterator[Path]:
    """A directory that every user reaches, unlike those below pytest's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        Path(made).chmod(0o755)
        yield Path(made)
