"""The peak resident memory of processes while they run, as the kernel counts it."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import TracebackType

MIB = 1024.0
"""KiB."""


class Peaks:
    """Watches the process `pid`, all that it starts, and the release engines of the hosts on this machine.

    Values are in MiB. `process` is the peak of `pid` alone, `tree` of it and its descendants at one moment, and
    `engine` the largest peak of one engine's transaction.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.process = self.tree = self.engine = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.03):
            parents, sizes = {}, {}
            for entry in Path("/proc").iterdir():
                if not entry.name.isdigit():
                    continue
                try:
                    status = (entry / "status").read_text(encoding="utf-8")
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue  # It has ended.
                parents[int(entry.name)] = int(field(status, "PPid"))
                sizes[int(entry.name)] = field(status, "VmRSS") / MIB
                if int(entry.name) == self.pid:
                    self.process = max(self.process, field(status, "VmHWM") / MIB)
                if b"hostwright_engine" in command and b"--transaction" in command:
                    self.engine = max(self.engine, field(status, "VmHWM") / MIB)
            self.tree = max(self.tree, sum(sizes[pid] for pid in descendants(self.pid, parents) if pid in sizes))


def field(status: str, name: str) -> float:
    """A number in the text of /proc/PID/status; 0 where it is not there, as for a process that has just ended."""
    found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def descendants(top: int, parents: dict[int, int]) -> set[int]:
    """`top` and every process below it; `parents` is process -> its parent."""
    found = {top}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found
