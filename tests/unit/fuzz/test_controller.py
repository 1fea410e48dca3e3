"""The controller: refs and names from a pipeline, and what a host that is no longer ours says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from hostwright import answers, config, remote
from hostwright.errors import BadInput, HostwrightError
from hostwright.release import source
from tests.unit.fuzz.hostile import fuzz, mutations, texts, values


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("repository")
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(("git", "init", "-q", "-b", "main", path), check=True)
    (path / "manage.py").write_text("")
    subprocess.run(("git", "-C", path, "add", "-A"), check=True)
    subprocess.run(("git", *author, "-C", path, "commit", "-q", "-m", "first"), check=True)
    return path


@fuzz(texts)
def test_a_hostile_ref(repository: Path, ref: str) -> None:
    before = sorted(repository.rglob("*"))
    try:
        made = source.build(config.Source(git=str(repository)), ref)
    except BadInput:
        pass
    else:
        assert made.commit.isalnum()
        source.release_name(made.release)
    assert sorted(repository.rglob("*")) == before


@fuzz(texts, texts)
def test_a_hostile_source(repository: Path, git: str, subdir: str) -> None:
    for made in ({"git": git}, {"git": str(repository), "subdir": subdir}, {"archive": git, "sha256": "0" * 64}):
        try:
            site = config.load({"name": "shop", "source": made})
            if not source._is_remote(site.source.git or "."):
                source.build(site.source)
        except BadInput:
            continue


@fuzz(texts)
def test_a_hostile_release_name(name: str) -> None:
    try:
        source.release_name(name)
    except BadInput:
        return
    assert set(name) <= set("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-")


@fuzz(texts)
def test_a_hostile_version_becomes_a_name(commit: str) -> None:
    made = source.release_for(commit, 0)
    assert made.startswith("19700101T000000-")
    assert len(made) <= 56


EVENT = {
    "event": "error",
    "kind": "busy",
    "message": "m",
    "step": "s",
    "hint": "h",
    "log": "/l",
    "tail": ["t"],
    "seq": 1,
    "error": {},
}


def shown(value: Any) -> str:
    """All texts in `value`."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value if isinstance(value, str) else "".join(map(shown, inner))


@fuzz(st.one_of(mutations(EVENT), values).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200))
def test_a_hostile_host(line: bytes) -> None:
    try:
        event = remote.parse_event("web1", line)
    except HostwrightError as error:
        said = str(error)
    else:
        said = shown(event)
        for verb in ("status", "releases"):
            answers.problem(verb, event)
    assert all(character.isprintable() or character in "\n\t" for character in said), repr(said)
