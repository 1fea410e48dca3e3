"""Ctrl-C, and SIGTERM as a cancelled pipeline job sends it: noted when they come, acted on where that is safe."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)

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
