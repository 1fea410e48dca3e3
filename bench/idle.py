"""Waiting until the machine is idle."""

from __future__ import annotations

import time
from pathlib import Path


def settle(busy: float = 0.2, seconds: float = 10.0) -> None:
    """Wait until the processors have been idle for a second, so that one measurement does not burden the next."""
    deadline = time.monotonic() + seconds
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        before = _cpu()
        time.sleep(0.5)
        after = _cpu()
        idle, total = after[0] - before[0], after[1] - before[1]
        quiet = quiet + 1 if 1 - idle / max(total, 1) < busy else 0


def _cpu() -> tuple[int, int]:
    """Ticks that the processors were idle, and all ticks."""
    ticks = [int(word) for word in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
