"""What is kept, what goes, and what may be used again."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hostwright_engine import releases, storage, venvs
from hostwright_engine.errors import BadRequest
from hostwright_engine.paths import Paths

KEYS = [letter * 32 for letter in "abcdef"]


def good(created: float, **more: Any) -> dict[str, Any]:
    return {"created": created, "status": "good", **more}


@pytest.mark.parametrize(
    ("records", "current", "previous", "keep", "kept"),
    [
        ({}, None, None, 5, set()),
        ({"r1": good(1), "r2": good(2), "r3": good(3)}, "r3", "r2", 2, {"r2", "r3"}),
        # Failed releases don't take the place of good ones.
        (
            {"r1": good(1), "r2": {"created": 2, "status": "built"}, "r3": good(3)},
            "r3",
            "r1",
            2,
            {"r1", "r3"},
        ),
        # After a rollback the one that serves is kept, however old it is.
        ({"r1": good(1), "r2": good(2), "r3": good(3)}, "r1", "r3", 1, {"r1", "r3"}),
        # By the time they were made, not by name.
        ({"z": good(1), "a": good(2)}, "a", None, 1, {"a"}),
    ],
)
def test_kept(records: Any, current: Any, previous: Any, keep: int, kept: set[str]) -> None:
    assert releases.kept(records, current, previous, keep) == kept


@pytest.fixture
def host(tmp_path: Path) -> tuple[Paths, storage.State]:
    """Five releases: r1 and r2 share a virtualenv, r4 was never live, r5 serves and came after r3."""
    paths = Paths("shop", root=str(tmp_path))
    for directory in (paths.releases, paths.venvs, paths.wheelhouses, paths.incoming, paths.log, paths.var):
        Path(directory).mkdir(parents=True)
    records = {}
    for number, key in enumerate([KEYS[0], KEYS[0], KEYS[1], KEYS[2], KEYS[3]], 1):
        name = f"r{number}"
        Path(paths.release(name)).mkdir()
        records[name] = good(number, venv=key)
        for top in (paths.venv(key), paths.wheelhouse(key)):
            Path(top).mkdir(exist_ok=True)
            Path(top, venvs.READY).touch()
    records["r4"]["status"] = "built"
    state = storage.State(paths.state)
    state.save(current={"release": "r5", "slot": "a", "since": 5}, previous="r3", releases=records)
    return paths, state


def agreed(keep: int) -> dict[str, Any]:
    return {"releases": {"keep": keep}, "user": "nobody"}


def names(path: str) -> list[str]:
    return sorted(entry.name for entry in Path(path).iterdir())


def test_clean_up_removes_what_no_kept_release_uses(host: tuple[Paths, storage.State]) -> None:
    paths, state = host
    Path(paths.releases, "link").symlink_to("/etc")
    assert releases.clean_up(agreed(keep=1), paths, state) == ["r1", "r2", "r4"]
    assert names(paths.releases) == ["link", "r3", "r5"]
    assert names(paths.venvs) == names(paths.wheelhouses) == [KEYS[1], KEYS[3]]
    assert sorted(storage.State(paths.state)["releases"]) == ["r3", "r5"]
    assert releases.clean_up(agreed(keep=1), paths, state) == []


def test_clean_up_keeps_a_virtualenv_that_a_kept_release_shares(host: tuple[Paths, storage.State]) -> None:
    paths, state = host
    state.save(previous="r2")
    assert releases.clean_up(agreed(keep=1), paths, state) == ["r1", "r3", "r4"]
    assert names(paths.venvs) == [KEYS[0], KEYS[3]]


@pytest.mark.usefixtures("as_root")
def test_clean_up_keeps_what_a_process_still_works_with(host: tuple[Paths, storage.State]) -> None:
    paths, state = host
    with subprocess.Popen(["sleep", "60"], env={"HOSTWRIGHT_RELEASE": "r1"}, user="nobody") as working:
        try:
            assert releases.clean_up(agreed(keep=1), paths, state) == ["r2", "r4"]
        finally:
            working.kill()
    assert releases.clean_up(agreed(keep=1), paths, state) == ["r1"]


def test_clean_up_leaves_the_upload_of_one_who_waits_for_the_lock(host: tuple[Paths, storage.State]) -> None:
    paths, state = host
    for name in ("waiting.tar.gz", "forgotten.tar.gz"):
        Path(paths.incoming, name).write_text("")
    Path(paths.incoming, "forgotten").mkdir()
    long_ago = time.time() - 2 * 86400
    for name in ("forgotten.tar.gz", "forgotten"):
        os.utime(Path(paths.incoming, name), (long_ago, long_ago))
    releases.clean_up(agreed(keep=5), paths, state)
    assert names(paths.incoming) == ["waiting.tar.gz"]


def test_clean_up_keeps_the_newest_logs(host: tuple[Paths, storage.State]) -> None:
    paths, state = host
    for number in range(205):
        log = Path(paths.log, f"{number}.log")
        log.touch()
        os.utime(log, (number, number))
    releases.clean_up(agreed(keep=5), paths, state)
    assert names(paths.log) == sorted(f"{number}.log" for number in range(5, 205))


def test_remove_unfinished(host: tuple[Paths, storage.State]) -> None:
    paths, _ = host
    Path(paths.venv(KEYS[0]), venvs.READY).unlink()
    Path(paths.wheelhouse(KEYS[1]), venvs.READY).unlink()
    releases.remove_unfinished(paths)
    assert names(paths.venvs) == [KEYS[1], KEYS[2], KEYS[3]]
    assert names(paths.wheelhouses) == [KEYS[0], KEYS[2], KEYS[3]]


@pytest.mark.parametrize(
    ("release", "message"),
    [
        (None, "there is no earlier release to go back to"),
        ("r9", "the release r9 is not on this host"),
        ("r2", "the release r2 is not on this host"),
        ("r4", "the release r4 was never live (built)"),
        ("r3", "the virtualenv of release r3 is not here any more"),
    ],
)
def test_what_can_not_be_used_is_refused_by_name(host: tuple[Paths, storage.State], release: str, message: str) -> None:
    paths, state = host
    Path(paths.release("r2")).rmdir()
    Path(paths.venv(KEYS[1]), venvs.READY).unlink()
    with pytest.raises(BadRequest) as caught:
        releases.usable(paths, state, release)
    assert caught.value.message == message


def test_what_can_be_used(host: tuple[Paths, storage.State]) -> None:
    paths, state = host
    releases.usable(paths, state, "r1")
