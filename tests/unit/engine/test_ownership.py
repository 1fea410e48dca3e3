"""What a build made becomes root's: a copy that nobody else can write to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hostwright_engine import ownership
from hostwright_engine.errors import Failed

pytestmark = pytest.mark.usefixtures("as_root")

BUILDER = 64123


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A directory with a program and a file, all of it the builder's, and open to everybody."""
    top = tmp_path / "release"
    (top / "sub").mkdir(parents=True)
    (top / "sub" / "su").write_text("#!/bin/sh\n")
    (top / "sub" / "su").chmod(0o6777)
    (top / "file").write_text("text")
    (top / "file").chmod(0o666)
    (top / "sub").chmod(0o7777)
    for path in (top, *top.rglob("*")):
        os.chown(path, BUILDER, BUILDER)
    return top


def modes(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): stat.filemode(path.lstat().st_mode) for path in sorted(top.rglob("*"))}


def test_everything_becomes_roots(top: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o666)
    os.chown(outside, BUILDER, BUILDER)
    (top / "link").symlink_to(outside)
    os.utime(top / "file", (5, 5))
    ownership.give_to_root(str(top), BUILDER)
    assert modes(top) == {"file": "-rw-r--r--", "link": "lrwxrwxrwx", "sub": "drwxr-xr-x", "sub/su": "-rwxr-xr-x"}
    assert {path.lstat().st_uid for path in (top, *top.rglob("*"))} == {0}
    assert (top / "file").stat().st_mtime == 5
    assert (outside.stat().st_uid, stat.S_IMODE(outside.stat().st_mode)) == (BUILDER, 0o666)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "release"]


def test_the_copy_is_on_the_disk_before_it_takes_the_place(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, rename = ownership.storage.sync_filesystem, os.rename

    def synced(descriptor: int) -> None:
        done.append("synced " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def renamed(old: str, new: str) -> None:
        done.append(f"{Path(old).name} to {Path(new).name}")
        rename(old, new)

    monkeypatch.setattr(ownership.storage, "sync_filesystem", synced)
    monkeypatch.setattr(ownership.os, "rename", renamed)
    ownership.give_to_root(str(top), BUILDER)
    assert done == ["synced release.root", "release to release.built", "release.root to release"]


def test_who_has_it_open_writes_to_what_is_gone(top: Path) -> None:
    with (top / "file").open("r+") as held:
        ownership.give_to_root(str(top), BUILDER)
        held.write("evil")
        held.flush()
    assert (top / "file").read_text() == "text"


def test_a_file_of_somebody_else_is_refused(top: Path) -> None:
    (top / "secret").write_text("root's")
    with pytest.raises(Failed, match="secret does not belong to the user who built it"):
        ownership.give_to_root(str(top), BUILDER)


def test_a_pipe_is_refused(top: Path) -> None:
    os.mkfifo(top / "pipe")
    with pytest.raises(Failed, match="pipe, which is no file"):
        ownership.give_to_root(str(top), BUILDER)


def test_a_file_that_claims_more_than_the_disk_has_is_refused(top: Path) -> None:
    with (top / "file").open("r+") as sparse:
        sparse.truncate(1 << 43)
    with pytest.raises(Failed, match="file does not fit on the disk"):
        ownership.give_to_root(str(top), BUILDER)


def test_directories_in_each_other_have_a_limit(top: Path) -> None:
    (top / "/".join("d" * (ownership.DEPTH_LIMIT + 2))).mkdir(parents=True)
    with pytest.raises(Failed, match="directories in each other"):
        ownership.give_to_root(str(top), BUILDER)


def test_what_a_crash_left_is_no_obstacle(top: Path) -> None:
    for end in ownership.LEFTOVERS:
        Path(str(top) + end).mkdir()
    ownership.give_to_root(str(top), BUILDER)
    assert (top / "file").read_text() == "text"


def test_removing_goes_as_deep_as_it_must_and_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    here = Path.cwd()
    deep = tmp_path / "deep"
    deep.mkdir()
    (deep / "link").symlink_to(outside)
    try:
        os.chdir(deep)
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
    finally:
        os.chdir(here)
    ownership.remove(str(deep))
    ownership.remove(str(deep))
    assert list(tmp_path.iterdir()) == [outside]


@pytest.mark.parametrize("script", ["exit 1", "exec sleep 30", None])
def test_removing_works_without_rm(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    """It fails, or hangs, or is not there."""
    programs = tmp_path / "bin"
    programs.mkdir()
    if script:
        (programs / "rm").write_text(f"#!/bin/sh\n{script}\n")
        (programs / "rm").chmod(0o755)
    (top / "link").symlink_to(programs)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{'/usr/bin:/bin' if script else ''}")
    monkeypatch.setattr(ownership, "REMOVING", 0.3)
    for path in (top / "file", top):
        ownership.remove(str(path))
        assert not path.exists()
    assert programs.exists()
