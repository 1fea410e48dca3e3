"""Artifacts: what is in them, from each kind of source."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from hostwright.config import Source
from hostwright.release import source


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with a project in the directory `shop`."""
    (tmp_path / "shop" / "app").mkdir(parents=True)
    for name in ("README", "shop/manage.py", "shop/app/models.py"):
        (tmp_path / name).write_text(name)
    author = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for argv in (["init", "-q"], ["add", "-A"], [*author, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *argv], check=True)
    return tmp_path


def names(artifact: source.Artifact) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(artifact.data)) as tar:
        return sorted(member.name for member in tar if member.isfile())


@pytest.mark.parametrize(
    ("git", "subdir", "expected"),
    [
        (".", ".", ["README", "shop/app/models.py", "shop/manage.py"]),
        (".", "shop", ["app/models.py", "manage.py"]),
        ("shop", ".", ["app/models.py", "manage.py"]),
        ("shop", "app", ["models.py"]),
    ],
)
def test_a_directory_of_a_git_repository(repository: Path, git: str, subdir: str, expected: list[str]) -> None:
    assert names(source.build(Source(git=str(repository / git), subdir=subdir))) == expected
