"""Artifacts: what is in them, from each kind of source."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from hostwright.config import Source
from hostwright.errors import BadInput
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


BACKEND = """\
import os


def build_wheel(directory, settings=None, metadata=None):
    raise NotImplementedError


def prepare_metadata_for_build_wheel(directory, settings=None):
    os.mkdir(directory + "/tickets-1.0.dist-info")
    with open(directory + "/tickets-1.0.dist-info/METADATA", "w") as file:
        file.write("Metadata-Version: 2.1\\nName: tickets\\nVersion: 1.0\\n")
    return "tickets-1.0.dist-info"
"""
PYPROJECT = '[build-system]\nrequires = ["their-backend"]\nbuild-backend = "their_backend"\n'


def test_an_sdist_whose_build_backend_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = "their_backend-1.dist-info"
    with zipfile.ZipFile(tmp_path / "their_backend-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("their_backend.py", BACKEND)
        wheel.writestr(f"{metadata}/METADATA", "Metadata-Version: 2.1\nName: their-backend\nVersion: 1\n")
        wheel.writestr(f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{metadata}/RECORD", "")
    with tarfile.open(tmp_path / "tickets-1.0.tar.gz", "w:gz") as sdist:
        for name, text in {"pyproject.toml": PYPROJECT, "manage.py": "", "tickets/settings.py": ""}.items():
            member = tarfile.TarInfo(f"tickets-1.0/{name}")
            member.size = len(text)
            sdist.addfile(member, io.BytesIO(text.encode()))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    artifact = source.build(Source(pypi="tickets", version="1.0"))
    assert names(artifact) == ["manage.py", "pyproject.toml", "tickets/settings.py"]
    assert artifact.ref == "tickets==1.0"


@pytest.mark.parametrize("index", ["none", "wheels only"])
def test_an_sdist_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str) -> None:
    if index == "wheels only":
        (tmp_path / "tickets-1.0-py3-none-any.whl").touch()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(BadInput) as caught:
        source.build(Source(pypi="tickets", version="1.0"))
    assert caught.value.message.startswith("source.pypi: pip can't get the sdist of tickets==1.0: ")
    assert caught.value.message.endswith("No matching distribution found for tickets==1.0")
