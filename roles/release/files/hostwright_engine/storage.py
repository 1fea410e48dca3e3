"""Files that survive a power cut: written aside, synced, renamed, and the directory synced."""

import ctypes
import json
import os
import sys
import time

from .errors import Failed

RESERVE_BYTES = 256 * 1024
"""Kept free for the time of a transaction, so that it can be undone on a full disk."""

JOURNAL_LIMIT = 4 * 1024 * 1024
"""Bytes; a longer journal is cut to its newer half when a transaction ends."""


def sync_directory(path):
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(descriptor):
    """Have all that was written to the file system of an open file or directory on the disk."""
    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
        raise OSError(ctypes.get_errno(), "can't be synced")


def write_file(path, data, mode=0o600):
    """Replace `path` by bytes or text `data`; a reader sees the old or the new content, whatever happens."""
    if isinstance(data, str):
        data = data.encode("utf-8")
    aside = path + ".new"
    try:
        os.unlink(aside)
    except FileNotFoundError:
        pass
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as out:
        os.fchmod(out.fileno(), mode)
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    os.rename(aside, path)
    sync_directory(os.path.dirname(path))


def write_link(path, target):
    """Make `path` a symbolic link to `target` in one step; None removes it."""
    if target is None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
    else:
        aside = path + ".new"
        try:
            os.unlink(aside)
        except FileNotFoundError:
            pass
        os.symlink(target, aside)
        os.rename(aside, path)
    sync_directory(os.path.dirname(path))


class State:
    """state.json: which release serves, which are here, and what transaction is under way.

    `current` is {release, slot, since} or None, `previous` a release or None, `releases` {name: record}, `processes`
    the unit instances that run beside the slot, `transaction` a record or None.
    """

    def __init__(self, path):
        self.path = path
        self.data = {"current": None, "previous": None, "releases": {}, "processes": [], "transaction": None}
        try:
            with open(path, encoding="utf-8") as source:
                self.data.update(json.load(source))
        except FileNotFoundError:
            pass
        except (ValueError, TypeError, RecursionError) as error:
            raise Failed(
                "{} is damaged: {}".format(path, error),
                "Put a copy of it back. Or remove it: what serves goes on, and the next deploy removes the releases before it",
            ) from None

    def __getitem__(self, key):
        return self.data[key]

    def save(self, **changes):
        """Record `changes`. What the disk does not take is not so: this process believes what a restart would find."""
        changed = dict(self.data, **changes)
        write_file(self.path, json.dumps(changed, indent=1, sort_keys=True))
        self.data = changed

    def transaction(self, **changes):
        """Record `changes` of the transaction under way."""
        self.save(transaction=dict(self.data["transaction"] or {}, **changes))

    def release(self, name, **changes):
        """Record `changes` of a release."""
        releases = dict(self.data["releases"])
        releases[name] = dict(releases.get(name, {}), **changes)
        self.save(releases=releases)


class Journal:
    """journal.jsonl: every event, numbered, on disk before anybody is told.

    A disk that takes no more stops nothing: the state is what counts, and this process still knows its events.
    """

    def __init__(self, path, host, op):
        self.path = path
        self.stamp = {"host": host, "op": op}
        self.events = [event for event in read_journal(path) if event.get("op") == op]
        self.seq = self.events[-1]["seq"] if self.events else 0
        self._out = open(path, "a+b", buffering=0)
        os.fchmod(self._out.fileno(), 0o600)
        self._end_line()

    def _end_line(self):
        """A line that a crash cut off must not take the next event with it."""
        if self._out.tell():
            self._out.seek(-1, os.SEEK_END)
            if self._out.read(1) != b"\n":
                self._out.write(b"\n")

    def append(self, event):
        """Number, stamp and store `event`; returns it as stored."""
        self.seq += 1
        stored = dict(event, seq=self.seq, at=round(time.time(), 3), **self.stamp)
        self.events.append(stored)
        try:
            self._out.write(json.dumps(stored).encode("utf-8") + b"\n")
            os.fsync(self._out.fileno())
        except OSError as error:
            sys.stderr.write("the journal {} takes no more: {}\n".format(self.path, error))
        return stored

    def close(self):
        self._out.close()
        if os.path.getsize(self.path) > JOURNAL_LIMIT:
            with open(self.path, "rb") as source:
                source.seek(-JOURNAL_LIMIT // 2, os.SEEK_END)
                source.readline()
                newer = source.read()
            write_file(self.path, newer)


def read_journal(path):
    """The events in `path`, oldest first; a line cut off by a crash is passed over."""
    events = []
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            for line in source:
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(event, dict) and isinstance(event.get("seq"), int):
                    events.append(event)
    except FileNotFoundError:
        pass
    return events
