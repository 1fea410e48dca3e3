"""What a build made becomes root's, by a copy: nobody who had it open, or a second name for it, can write to the copy."""

import os
import shutil
import stat
import subprocess
import sys

from . import storage
from .errors import Failed

DEPTH_LIMIT = 100
"""Directories in each other."""

REMOVING = 60
"""Seconds for rm; what it has not removed by then is removed without it."""

LEFTOVERS = (".root", ".built")
"""What a copy that was cut off leaves beside its directory."""


def give_to_root(top, uid):
    """Replace the directory `top` by a copy that is root's, readable by all, writable by nobody else, and on the disk.

    Files must belong to `uid`, who built them. Links are copied as links; anything but files, directories and links is
    refused. Every name is opened below its open directory, so that none can be swapped for a link meanwhile.
    """
    fresh, old = top + LEFTOVERS[0], top + LEFTOVERS[1]
    for leftover in (fresh, old):
        remove(leftover)
    os.mkdir(fresh, 0o755)
    source = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    target = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _copy(source, target, uid, top, _Budget(fresh), 0)
        storage.sync_filesystem(target)
    finally:
        os.close(source)
        os.close(target)
    os.rename(top, old)
    os.rename(fresh, top)
    storage.sync_directory(os.path.dirname(top))
    remove(old)


def remove(path):
    """Remove `path` and all below it, however deep; links are not followed. Raises OSError where something stays."""
    if not os.path.lexists(path):
        return
    try:
        subprocess.call(["rm", "-rf", "--", path], stdin=subprocess.DEVNULL, timeout=REMOVING)
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write("rm: {}\n".format(error))
    if os.path.lexists(path):
        # rm goes deeper, but this needs no program, which may fail or hang.
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


class _Budget:
    """The bytes that may be written: a file that only claims to be long must not fill the disk."""

    def __init__(self, path):
        self.left = shutil.disk_usage(path).free

    def spend(self, size, name):
        self.left -= size
        if self.left < 0:
            raise Failed("{} does not fit on the disk any more".format(name), "Free some space, then deploy again")


def _copy(source, target, uid, where, budget, depth):
    if depth > DEPTH_LIMIT:
        raise Failed("the build made more than {} directories in each other".format(DEPTH_LIMIT))
    for name in os.listdir(source):
        shown = os.path.join(where, name)
        about = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISLNK(about.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISDIR(about.st_mode):
            os.mkdir(name, 0o755, dir_fd=target)
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=source)
            outer = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=target)
            try:
                _copy(inner, outer, uid, shown, budget, depth + 1)
            finally:
                os.close(inner)
                os.close(outer)
        elif stat.S_ISREG(about.st_mode):
            _copy_file(source, target, name, uid, shown, budget)
        else:
            raise Failed("the build left {}, which is no file, directory or link".format(shown))


def _copy_file(source, target, name, uid, shown, budget):
    reader = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=source)
    with os.fdopen(reader, "rb") as read:
        about = os.fstat(reader)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != uid:
            raise Failed("{} does not belong to the user who built it".format(shown))
        budget.spend(about.st_size, shown)
        writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=target)
        with os.fdopen(writer, "wb") as write:
            left = about.st_size
            while left:
                block = read.read(min(left, 1 << 20))
                if not block:
                    break
                write.write(block)
                left -= len(block)
            write.flush()
            os.fchmod(writer, 0o755 if about.st_mode & 0o100 else 0o644)
            # Compiled Python knows its source by this time.
            os.utime(writer, ns=(about.st_mtime_ns, about.st_mtime_ns))
