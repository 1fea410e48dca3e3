"""Taking in an uploaded archive: copied out of reach, checked, and unpacked without trusting a byte of it."""

import hashlib
import os
import posixpath
import stat
import tarfile

from .errors import BadRequest, Failed

ENTRIES_LIMIT = 200000
BYTES_LIMIT = 4 * 1024 ** 3
"""What an archive may unpack to."""


def take_in(source, target, sha256):
    """Copy the uploaded file `source` to `target`, which only root can reach, and check its sha256."""
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BadRequest("the upload {} can't be read: {}".format(os.path.basename(source), error.strerror)) from None
    with os.fdopen(descriptor, "rb") as reader:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadRequest("the upload {} is no regular file".format(os.path.basename(source)))
        digest = hashlib.sha256()
        with open(target, "wb") as writer:
            os.fchmod(writer.fileno(), 0o600)
            for block in iter(lambda: reader.read(1 << 20), b""):
                digest.update(block)
                writer.write(block)
    if digest.hexdigest() != sha256:
        raise BadRequest("the upload {} is not what was sent: its sha256 differs".format(os.path.basename(source)))


def unpack(archive, target, uid, gid):
    """Unpack the tar file `archive` into the new directory `target`, everything owned by `uid`.

    Refuses absolute paths, `..`, links that lead outside, devices, pipes, duplicates and more than the limits.
    Set-id and write bits for others are dropped.
    """
    seen = set()
    total = 0
    os.mkdir(target, 0o755)
    os.chown(target, uid, gid)
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                path = _inside(member.name)
                if path == ".":
                    continue
                if path in seen:
                    raise BadRequest("the archive has {!r} twice".format(member.name))
                seen.add(path)
                total += max(member.size, 0)
                if len(seen) > ENTRIES_LIMIT or total > BYTES_LIMIT:
                    raise BadRequest("the archive unpacks to more than {} files or {} bytes".format(ENTRIES_LIMIT, BYTES_LIMIT))
                _extract(tar, member, path, target, uid, gid)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise BadRequest("the archive can't be read: {}".format(error)) from None
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise BadRequest("the archive can't be read: {}".format(error)) from None
        raise Failed("unpacking failed: {}".format(error.strerror or error)) from None


def _inside(name):
    if not name or "\0" in name or name.startswith("/") or ".." in name.split("/"):
        raise BadRequest("the archive has an entry outside of it: {!r}".format(name))
    return posixpath.normpath(name)


def _extract(tar, member, path, target, uid, gid):
    parent = _real_parent(target, path, uid, gid)
    full = os.path.join(parent, posixpath.basename(path))
    if member.isdir():
        try:
            os.mkdir(full, 0o755)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(full).st_mode):
                raise BadRequest("the archive has {!r} twice".format(member.name)) from None
    elif member.isreg():
        descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            source = tar.extractfile(member)
            left = member.size
            while left:
                block = source.read(min(left, 1 << 20))
                if not block:
                    raise BadRequest("the archive is cut off in {!r}".format(member.name))
                out.write(block)
                left -= len(block)
            os.fchmod(out.fileno(), 0o755 if member.mode & 0o100 else 0o644)
    elif member.issym():
        _inside_link(path, member.linkname)
        os.symlink(member.linkname, full)
    else:
        raise BadRequest("the archive has {!r}, which is no file, directory or symbolic link".format(member.name))
    os.chown(full, uid, gid, follow_symlinks=False)


def _inside_link(path, link):
    parts = posixpath.normpath(posixpath.join(posixpath.dirname(path), link)).split("/")
    if not link or link.startswith("/") or "\0" in link or parts[0] == "..":
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


def give_to_root(top):
    """Make everything below `top` root's: no longer writable by others, no set-id bits."""
    for directory, names, files in os.walk(top):
        for name in files + names:
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            os.chown(path, 0, 0, follow_symlinks=False)
            if not stat.S_ISLNK(mode):
                os.chmod(path, stat.S_IMODE(mode) & 0o755)
    os.chown(top, 0, 0)
    os.chmod(top, 0o755)
