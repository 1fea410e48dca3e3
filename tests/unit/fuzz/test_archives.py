"""Archives: whatever is in one, nothing but plain files, directories and links inside comes of it, and inside only."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostwright_engine import archive
from hostwright_engine.errors import BadRequest, Failed
from hypothesis import strategies as st

from tests.unit.engine.test_archive import BUILDER
from tests.unit.fuzz.hostile import fuzz, texts

pytestmark = pytest.mark.usefixtures("as_root")

NAMES = ["a", "b", "a/b", "a/b/c", "./a", "a/../b", "/a", "..", ".", "", "a/", "a//b", "manage.py"]
TYPES = [*(bytes([kind]) for kind in b"01234567SLKxgDVX\0"), *[tarfile.REGTYPE] * 8, *[tarfile.SYMTYPE] * 5]

RECORDS = ["path", "linkpath", "size", "GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.size"]


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """A tar file with hostile entries, some of them broken, in gzip or not."""
    out = b""
    for _ in range(draw(st.integers(0, 6))):
        info = tarfile.TarInfo(draw(st.one_of(st.sampled_from(NAMES), texts)))
        info.type = draw(st.sampled_from(TYPES))
        info.linkname = draw(st.one_of(st.sampled_from([*NAMES, "../..", "/etc/passwd", "a/../../x"]), texts))
        info.mode = draw(st.integers(0, 0o7777))
        info.uid = draw(st.sampled_from([0, 1, 65534, 2**20]))
        data = draw(st.binary(max_size=600))
        info.size = draw(st.sampled_from([len(data)] * 6 + [0, 1, 511, 10**6, 8**11 - 1]))
        info.pax_headers = draw(st.dictionaries(st.sampled_from(RECORDS), texts, max_size=1))
        with contextlib.suppress(ValueError, UnicodeError):
            form = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]))
            out += info.tobuf(form, "utf-8", "surrogateescape") + data + b"\0" * (-len(data) % 512)
    packed = bytearray(out + b"\0" * draw(st.sampled_from([0, 512, 1024])))
    if packed and draw(st.booleans()):
        for at in draw(st.lists(st.integers(0, len(packed) - 1), max_size=3)):
            packed[at] = draw(st.integers(0, 255))
    whole = gzip.compress(bytes(packed), 1, mtime=0) if draw(st.booleans()) else bytes(packed)
    return whole[: draw(st.sampled_from([len(whole)] * 5 + [len(whole) // 2, max(len(whole) - 1, 0)]))]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory in memory, with one that archives are unpacked in, and something beside it."""
    top = Path("/dev/shm") / f"hostwright-fuzz-{os.getpid()}"
    shutil.rmtree(top, ignore_errors=True)
    (top / "inside").mkdir(parents=True)
    (top / "beside").write_text("beside")
    yield top
    shutil.rmtree(top)


def hold(place: Path) -> None:
    """What was unpacked, whole or in part, is the builder's and harmless; nothing else is there."""
    assert sorted(path.name for path in place.iterdir()) == ["beside", "inside"]
    assert (place / "beside").read_text() == "beside"
    assert {path.name for path in (place / "inside").iterdir()} <= {"artifact", "release"}
    for directory, names, files in os.walk(place / "inside" / "release"):
        for name in (*names, *files):
            about = Path(directory, name).lstat()
            assert stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode) or stat.S_ISLNK(about.st_mode)
            assert about.st_uid in (0, BUILDER)
            if not stat.S_ISLNK(about.st_mode):
                assert stat.S_IMODE(about.st_mode) in (0o600, 0o644, 0o755)
            assert about.st_nlink == 1 or stat.S_ISDIR(about.st_mode)


def leads_outside(release: Path) -> list[Path]:
    top = os.path.realpath(release)
    found = []
    for directory, names, files in os.walk(release):
        for name in (*names, *files):
            path = Path(directory, name)
            # Not resolve(), which refuses links that lead round.
            if path.is_symlink() and not (os.path.realpath(path) + "/").startswith(top + "/"):
                found.append(path)
    return found


@fuzz(archives())
def test_a_hostile_archive(place: Path, data: bytes) -> None:
    artifact, release = place / "inside" / "artifact", place / "inside" / "release"
    artifact.write_bytes(data)
    try:
        archive.unpack(str(artifact), str(release), BUILDER, BUILDER)
    except (BadRequest, Failed):
        pass
    else:
        assert leads_outside(release) == []
    finally:
        hold(place)
        shutil.rmtree(release, ignore_errors=True)


@fuzz(st.binary(max_size=2000))
def test_what_is_no_archive(place: Path, data: bytes) -> None:
    artifact, release = place / "inside" / "artifact", place / "inside" / "release"
    artifact.write_bytes(data)
    with contextlib.suppress(BadRequest, Failed):
        archive.unpack(str(artifact), str(release), BUILDER, BUILDER)
    hold(place)
    shutil.rmtree(release)


@fuzz(texts, st.one_of(texts, st.none(), st.integers()))
def test_an_upload_with_a_hostile_sum(place: Path, content: str, sha256: object) -> None:
    artifact = place / "inside" / "artifact"
    artifact.write_bytes(content.encode("utf-8", "replace"))
    with pytest.raises(BadRequest, match="its sha256 differs"):
        archive.take_in(str(artifact), str(place / "inside" / "release"), sha256)
    (place / "inside" / "release").unlink()
