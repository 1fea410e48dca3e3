"""The deploy lock: a flock that lives as long as its process, and a text in it that says whose it is."""

import fcntl
import json
import os
import time

from .errors import Busy

GLANCE = 0.3
"""Seconds to wait for a lock: those who only look at it hold it for a moment."""


def take(path, holder, wait=GLANCE):
    """Take the lock for `holder` {owner, release, op}; returns the open file. Raises Busy after `wait` seconds."""
    lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+")
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                with lock:
                    raise Busy(_read(lock)) from None
            time.sleep(0.005)
    text = json.dumps(dict(holder, since=time.strftime("%Y-%m-%dT%H:%M:%S%z")))
    try:
        os.ftruncate(lock.fileno(), 0)
        os.pwrite(lock.fileno(), text.encode("utf-8"), 0)
    except OSError:
        pass  # A full disk: the lock holds all the same, it only can't say whose it is.
    return lock


def holder(path):
    """Who holds the lock, or None."""
    try:
        lock = open(path)
    except FileNotFoundError:
        return None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(lock)
    return None


def _read(lock):
    lock.seek(0)
    try:
        found = json.load(lock)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
