"""Taking in an uploaded archive: copied out of reach, checked, and unpacked without trusting a byte of it."""

import gzip
import hashlib
import os
import posixpath
import shutil
import stat
import tarfile
import zlib

from . import commands
from .errors import BadRequest, Failed
from .ownership import DEPTH_LIMIT

ENTRIES_LIMIT = 200000
BYTES_LIMIT = 4 * 1024 ** 3
"""What an archive may unpack to."""

BLOCK = 1 << 20
"""Bytes read at a time."""

HEADER_LIMIT = 256 * 1024
"""Bytes that may describe one entry: a path has at most 4096, and git's own header is shorter."""


def take_in(source, target, sha256):
    """Copy the uploaded file `source` to `target`, which only root can reach, and check its sha256.

    No more is copied than it is long now, and only what leaves room on the disk.
    """
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BadRequest("the upload {} can't be read: {}".format(os.path.basename(source), error.strerror)) from None
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise BadRequest("the upload {} is no regular file".format(os.path.basename(source)))
    with os.fdopen(descriptor, "rb") as reader:
        left = about.st_size
        if left > shutil.disk_usage(os.path.dirname(target)).free:
            raise Failed("the upload of {} MiB does not fit on the disk".format(left >> 20), "Free some space, then deploy again")
        digest = hashlib.sha256()
        with open(target, "wb") as writer:
            os.fchmod(writer.fileno(), 0o600)
            while left:
                block = reader.read(min(left, BLOCK))
                if not block:
                    break
                commands.refuse_if_cancelled("unpack")
                digest.update(block)
                writer.write(block)
                left -= len(block)
    if digest.hexdigest() != sha256:
        raise BadRequest("the upload {} is not what was sent: its sha256 differs".format(os.path.basename(source)))


def unpack(archive, target, uid, gid):
    """Unpack `archive`, a tar file, plain or with gzip, into the new directory `target`, all that is in it owned by `uid`.

    Refuses absolute paths, `..`, links that lead outside, devices, pipes, duplicates and more than the limits.
    Set-id and write bits for others are dropped. `target` itself is root's, and closed to everybody else until
    `hand_over`: what root writes below it, nobody can turn into a link meanwhile.
    """
    seen = set()
    links = []
    entries = total = 0
    os.mkdir(target, 0o700)
    try:
        with open(archive, "rb") as packed:
            stream = _Stream(packed)
            tar = tarfile.open(fileobj=stream, mode="r:")
            while True:
                commands.refuse_if_cancelled("unpack")
                member = _next(tar, stream)
                if member is None:
                    break
                path = _inside(member.name)
                # A file makes the directories above it too.
                entries += 1 + path.count("/")
                total += max(member.size, 0)
                if entries > ENTRIES_LIMIT or total > BYTES_LIMIT:
                    raise BadRequest("the archive unpacks to more than {} files or {} bytes".format(ENTRIES_LIMIT, BYTES_LIMIT))
                if path == ".":
                    continue
                if path in seen:
                    raise BadRequest("the archive has {!r} twice".format(member.name))
                seen.add(path)
                stream.may_read = member.size + HEADER_LIMIT
                _extract(tar, member, path, target, uid, gid)
                if member.issym():
                    links.append((path, member.linkname))
        for path, link in links:
            _refuse_outside(target, path, link)
    except (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise BadRequest("the archive can't be read: {}".format(error)) from None
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise BadRequest("the archive can't be read: {}".format(error)) from None
        raise Failed("unpacking failed: {}".format(error.strerror or error)) from None


def hand_over(target, uid, gid):
    """Give the top of what was unpacked to `uid` too, and open it: from now on the user can change it."""
    os.chown(target, uid, gid)
    os.chmod(target, 0o755)


def _next(tar, stream):
    """The next entry, or None; what tarfile keeps of those before it is dropped, as it would fill the memory."""
    stream.may_read = HEADER_LIMIT
    member = tar.next()
    tar.members = []
    tar.pax_headers = {}
    if member is not None and (member.size < 0 or member.sparse is not None):
        raise BadRequest("the archive has {!r}, whose size is not what it holds".format(member.name))
    return member


class _Stream:
    """A tar file's bytes, unpacked; never more than `may_read` of them, as a header may claim any length."""

    def __init__(self, packed):
        magic = packed.read(2)
        packed.seek(0)
        source = gzip.GzipFile(fileobj=packed) if magic == b"\x1f\x8b" else packed
        self._read = source.read
        self.seek = source.seek
        self.tell = source.tell
        self.may_read = HEADER_LIMIT

    def read(self, size):
        self.may_read -= size
        if size < 0 or self.may_read < 0:
            raise tarfile.ReadError("a header of more than {} bytes".format(HEADER_LIMIT))
        return self._read(size)


def _inside(name):
    if not name or "\0" in name or name.startswith("/") or ".." in name.split("/"):
        raise BadRequest("the archive has an entry outside of it: {!r}".format(name))
    path = posixpath.normpath(name)
    if path.count("/") >= DEPTH_LIMIT:
        raise BadRequest("the archive has more than {} directories in each other".format(DEPTH_LIMIT))
    return path


def _extract(tar, member, path, target, uid, gid):
    parent = _real_parent(target, path, uid, gid)
    full = os.path.join(parent, posixpath.basename(path))
    try:
        if member.isdir():
            _make_directory(full)
        elif member.isreg():
            _write(tar, member, full)
        elif member.issym():
            os.symlink(member.linkname, full)
        else:
            raise BadRequest("the archive has {!r}, which is no file, directory or symbolic link".format(member.name))
    except FileExistsError:
        raise BadRequest("the archive has {!r} twice".format(member.name)) from None
    os.chown(full, uid, gid, follow_symlinks=False)


def _make_directory(full):
    """Make a directory, or keep the one that a file in it made already."""
    try:
        os.mkdir(full, 0o755)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(full).st_mode):
            raise


def _write(tar, member, full):
    descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        source = tar.extractfile(member)
        left = member.size
        while left:
            block = source.read(min(left, BLOCK))
            if not block:
                raise BadRequest("the archive is cut off in {!r}".format(member.name))
            out.write(block)
            left -= len(block)
        os.fchmod(out.fileno(), 0o755 if member.mode & 0o100 else 0o644)


def _refuse_outside(target, path, link):
    """Where a link leads is known once all of them are there: `..` after a link goes up from where that one leads."""
    top = os.path.realpath(target)
    real = os.path.realpath(os.path.join(target, path))
    if link.startswith("/") or (real != top and not real.startswith(top + "/")):
        raise BadRequest("the archive has a link that leads outside: {!r} -> {!r}".format(path, link))


def _real_parent(target, path, uid, gid):
    """The directory of `path` below `target`, made where it is missing; no part of it may be a link."""
    current = target
    for part in posixpath.dirname(path).split("/"):
        if not part:
            continue
        current = os.path.join(current, part)
        try:
            os.mkdir(current, 0o755)
            os.chown(current, uid, gid)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(current).st_mode):
                raise BadRequest("the archive puts a file below {!r}, which is no directory".format(part)) from None
    return current
