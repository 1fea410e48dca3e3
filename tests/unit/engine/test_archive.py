"""Archives that mean harm, and what a good one becomes."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostwright_engine import archive
from hostwright_engine.errors import BadRequest, Failed
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("as_root")

BUILDER = 65534


def entry(name: str, data: bytes = b"x", mode: int = 0o644, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.mode = mode
    for key, value in fields.items():
        setattr(info, key, value)
    if info.isreg() and "size" not in fields:
        info.size = len(data)
    return info, data


def directory(name: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, b"", mode, type=tarfile.DIRTYPE)


def link(name: str, to: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, b"", type=tarfile.SYMTYPE, linkname=to)


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return out.getvalue()


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., Path]:
    def run(*entries: tuple[tarfile.TarInfo, bytes], data: bytes | None = None) -> Path:
        packed_file = tmp_path / "artifact"
        packed_file.write_bytes(gzip.compress(packed(*entries)) if data is None else data)
        archive.unpack(str(packed_file), str(tmp_path / "release"), BUILDER, BUILDER)
        return tmp_path / "release"

    return run


def tree(top: Path) -> dict[str, tuple[str, str]]:
    """Path -> (mode, content or target)."""
    found = {}
    for path in sorted(top.rglob("*")):
        about = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[str(path.relative_to(top))] = (stat.filemode(about.st_mode), content)
    return found


def test_a_good_archive_belongs_to_the_builder(unpack: Callable[..., Path]) -> None:
    top = unpack(
        directory("./"),
        entry("./manage.py", b"#!", 0o755),
        entry("deep/er/settings.py", b"DEBUG = False", 0o600),
        directory("deep", 0o700),
        link("deep/up", "../manage.py"),
        link("top", "."),
        entry("ümlaut", b""),
    )
    assert tree(top) == {
        "deep": ("drwxr-xr-x", ""),
        "deep/er": ("drwxr-xr-x", ""),
        "deep/er/settings.py": ("-rw-r--r--", "DEBUG = False"),
        "deep/up": ("lrwxrwxrwx", "../manage.py"),
        "manage.py": ("-rwxr-xr-x", "#!"),
        "top": ("lrwxrwxrwx", "."),
        "ümlaut": ("-rw-r--r--", ""),
    }
    assert {path.lstat().st_uid for path in top.rglob("*")} == {BUILDER}
    assert (top.stat().st_uid, stat.filemode(top.stat().st_mode)) == (0, "drwx------")
    archive.hand_over(str(top), BUILDER, BUILDER)
    assert (top.stat().st_uid, stat.filemode(top.stat().st_mode)) == (BUILDER, "drwxr-xr-x")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry("../x")], "the archive has an entry outside of it: '../x'"),
        ([entry("a/../../x")], "the archive has an entry outside of it: 'a/../../x'"),
        ([entry("a/../x")], "the archive has an entry outside of it: 'a/../x'"),
        ([entry("/etc/cron.d/x")], "the archive has an entry outside of it: '/etc/cron.d/x'"),
        ([directory("..")], "the archive has an entry outside of it: '..'"),
        ([link("l", "/etc")], "the archive has a link that leads outside: 'l' -> '/etc'"),
        ([link("l", "../x")], "the archive has a link that leads outside: 'l' -> '../x'"),
        ([link("a/l", "../../x")], "the archive has a link that leads outside: 'a/l' -> '../../x'"),
        ([link("l", "..")], "the archive has a link that leads outside: 'l' -> '..'"),
        # Harmless word by word, but the first link takes the second one's `..` above the release.
        (
            [link("a/b/top", "../.."), link("l", "a/b/top/../../etc")],
            "the archive has a link that leads outside: 'l' -> 'a/b/top/../../etc'",
        ),
        (
            [link("l", "a/b/top/../../etc"), link("a/b/top", "../..")],
            "the archive has a link that leads outside: 'l' -> 'a/b/top/../../etc'",
        ),
        ([link("d", "sub"), entry("d/x")], "the archive puts a file below 'd', which is no directory"),
        (
            [directory("sub"), link("d", "sub"), entry("d/x")],
            "the archive puts a file below 'd', which is no directory",
        ),
        ([entry("f"), entry("f/x")], "the archive puts a file below 'f', which is no directory"),
        ([link("d", "sub"), directory("d")], "the archive has 'd' twice"),
        ([entry("a"), entry("./a")], "the archive has './a' twice"),
        ([entry("a"), entry("a//.")], "the archive has 'a//.' twice"),
        ([link("a", "b"), entry("a")], "the archive has 'a' twice"),
        ([entry("a/b"), entry("a")], "the archive has 'a' twice"),
        ([entry("a/b"), link("a", "b")], "the archive has 'a' twice"),
        (
            [entry("a"), entry("b", type=tarfile.LNKTYPE, linkname="a")],
            "the archive has 'b', which is no file, directory or symbolic link",
        ),
        (
            [entry("b", type=tarfile.LNKTYPE, linkname="/etc/shadow")],
            "the archive has 'b', which is no file, directory or symbolic link",
        ),
        ([entry("p", type=tarfile.FIFOTYPE)], "the archive has 'p', which is no file, directory or symbolic link"),
        ([entry("c", type=tarfile.CHRTYPE)], "the archive has 'c', which is no file, directory or symbolic link"),
        ([entry("b", type=tarfile.BLKTYPE)], "the archive has 'b', which is no file, directory or symbolic link"),
    ],
)
def test_a_hostile_entry_is_refused_by_name(
    unpack: Callable[..., Path], tmp_path: Path, entries: Any, message: str
) -> None:
    before = set(tmp_path.parent.iterdir())
    with pytest.raises(BadRequest) as caught:
        unpack(*entries)
    assert caught.value.message == message
    assert set(tmp_path.parent.iterdir()) == before
    assert {path.name for path in tmp_path.iterdir()} == {"artifact", "release"}


def test_set_id_and_write_bits_are_dropped(unpack: Callable[..., Path]) -> None:
    top = unpack(entry("su", mode=0o6777), directory("sticky", 0o7777), entry("w", mode=0o666))
    assert {name: mode for name, (mode, _) in tree(top).items()} == {
        "su": "-rwxr-xr-x",
        "sticky": "drwxr-xr-x",
        "w": "-rw-r--r--",
    }


def test_too_many_entries(unpack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "ENTRIES_LIMIT", 3)
    with pytest.raises(BadRequest, match="more than 3 files or"):
        unpack(*(entry(str(number)) for number in range(4)))


def test_too_many_bytes_are_refused_before_they_are_written(
    unpack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(archive, "BYTES_LIMIT", 1000)
    with pytest.raises(BadRequest, match="more than 200000 files or 1000 bytes"):
        unpack(entry("a", b"x" * 600), entry("b", b"x" * 600))
    assert not (tmp_path / "release" / "b").exists()


def test_a_header_that_would_fill_the_memory_is_refused(unpack: Callable[..., Path]) -> None:
    info = tarfile.TarInfo("a")
    info.pax_headers = {"comment": "x" * 3_000_000}
    with pytest.raises(BadRequest, match="the archive can't be read: a header of more than 262144 bytes"):
        unpack((info, b""))


@pytest.mark.parametrize("end", [1, 20, 600, -700, -1100])
def test_a_truncated_archive(unpack: Callable[..., Path], end: int) -> None:
    data = packed(entry("a", os.urandom(1000)), entry("b", os.urandom(1000)))
    with pytest.raises(BadRequest, match=r"the archive (can't be read|is cut off)"):
        unpack(data=gzip.compress(data)[:end])


@pytest.mark.parametrize("end", [512 + 10, 512 + 1024 + 512 + 10])
def test_an_archive_that_is_cut_off_within_a_file(unpack: Callable[..., Path], end: int) -> None:
    data = packed(entry("a", b"x" * 1000), entry("b", b"x" * 1000))
    with pytest.raises(BadRequest, match="the archive"):
        unpack(data=data[:end])


@pytest.mark.parametrize(
    "data",
    [b"", b"no archive", b"\x1f\x8b", gzip.compress(b"no archive")],
    ids=["empty", "text", "cut", "gzip of text"],
)
def test_what_is_no_archive(unpack: Callable[..., Path], data: bytes) -> None:
    with pytest.raises(BadRequest, match="the archive can't be read"):
        unpack(data=data)


@settings(max_examples=150)
@given(st.data())
def test_damage_is_refused_and_never_a_crash(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    good = packed(entry("a/b", b"x" * 2000), link("l", "a"), entry("c" * 120, b"y"))
    if data.draw(st.booleans()):
        good = gzip.compress(good, mtime=0)
    damaged = bytearray(good)
    for at in data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=3)):
        damaged[at] = data.draw(st.integers(0, 255))
    top = tmp_path_factory.mktemp("damage")
    (top / "artifact").write_bytes(damaged)
    with contextlib.suppress(BadRequest, Failed):
        archive.unpack(str(top / "artifact"), str(top / "release"), BUILDER, BUILDER)


def test_a_release_that_is_there_already_is_not_touched(unpack: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    with pytest.raises(FileExistsError):
        unpack(entry("a"))
    assert list((tmp_path / "release").iterdir()) == []


def test_a_disk_that_fails_is_no_bad_request(unpack: Callable[..., Path]) -> None:
    with pytest.raises(Failed, match="unpacking failed: File name too long"):
        unpack(entry("x" * 300))


# --- taking in


def taken(tmp_path: Path, sha256: str) -> str:
    target = tmp_path / "taken"
    archive.take_in(str(tmp_path / "upload"), str(target), sha256)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    return target.read_text()


def test_an_upload_with_the_right_sha256(tmp_path: Path) -> None:
    (tmp_path / "upload").write_text("data")
    assert taken(tmp_path, hashlib.sha256(b"data").hexdigest()) == "data"


@pytest.mark.parametrize("sha256", ["", "0" * 64, None])
def test_an_upload_with_another_sha256(tmp_path: Path, sha256: str) -> None:
    (tmp_path / "upload").write_text("data")
    with pytest.raises(BadRequest) as caught:
        taken(tmp_path, sha256)
    assert caught.value.message == "the upload upload is not what was sent: its sha256 differs"


def test_an_upload_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "upload").symlink_to("/etc/passwd")
    with pytest.raises(BadRequest, match="the upload upload can't be read: Too many levels of symbolic links"):
        taken(tmp_path, "0" * 64)


def test_an_upload_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="the upload upload can't be read: No such file"):
        taken(tmp_path, "0" * 64)


def test_an_upload_that_is_a_pipe_or_a_directory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "upload")
    with pytest.raises(BadRequest, match="is no regular file"):
        taken(tmp_path, "0" * 64)
    (tmp_path / "upload").unlink()
    (tmp_path / "upload").mkdir()
    with pytest.raises(BadRequest, match="is no regular file"):
        taken(tmp_path, "0" * 64)
