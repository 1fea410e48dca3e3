"""Ctrl-C, and SIGTERM as a cancelled pipeline job sends it: noted when they come, acted on where that is safe."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Collection, Iterator
from concurrent.futures import ALL_COMPLETED, Future
from concurrent.futures import wait as wait_for
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)

ATTENTION = 0.1
"""Seconds until an interrupt is acted on."""

_waiting = 0


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """While the body runs, a signal only leaves a note for `heed`.

    A handler that raises may do so between the taking of a lock and its release (threading.Condition is written in
    Python), and whoever wants that lock then waits for ever.
    """

    def note(*_: Any) -> None:
        global _waiting
        _waiting += 1

    global _waiting
    _waiting = 0
    before = [(number, signal.signal(number, note)) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def heed() -> None:
    """Raise KeyboardInterrupt for what was noted since the last time."""
    global _waiting
    if _waiting:
        _waiting = 0
        raise KeyboardInterrupt


def wait(futures: Collection[Future[Any]], until: str = ALL_COMPLETED) -> tuple[set[Future[Any]], set[Future[Any]]]:
    """Wait as concurrent.futures does, and heed what is noted meanwhile; returns those that ended, and the others."""
    while True:
        ended, others = wait_for(futures, timeout=ATTENTION, return_when=until)
        heed()
        if not others or (until != ALL_COMPLETED and any(future.exception() for future in ended)):
            return ended, others
