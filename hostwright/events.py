"""What happens in a run, as it happens: lines for people, JSON events for pipelines, and a file that keeps them."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from hostwright.errors import BadInput

SCHEMA = 1
"""Version of the JSON events; docs/events.md describes them."""


class Reporter:
    """Says what happens, as it happens: lines for people, or JSON lines with `json_lines`; all of it to `log`.

    `told` is all of it so far.
    """

    def __init__(self, json_lines: bool = False, log: Path | None = None, out: TextIO | None = None) -> None:
        self.json_lines = json_lines
        self.started = time.monotonic()
        self.log = log
        self.told: list[Mapping[str, Any]] = []
        self._out = out or sys.stdout
        self._lock = threading.Lock()
        self._color = not json_lines and self._out.isatty() and "NO_COLOR" not in os.environ
        if log:
            try:
                # What an application prints where it fails is in the events too.
                log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                log.touch(mode=0o600)
            except OSError as error:
                raise BadInput(
                    f"the events can't be kept in {log.parent}: {error.strerror}",
                    "XDG_STATE_HOME names another directory for them.",
                ) from None

    def event(self, event: str, /, **fields: Any) -> None:
        """Report one event. `fields` may come from a host: whatever they hold, they are shown."""
        own = {"schema": SCHEMA, "event": event, "elapsed": round(time.monotonic() - self.started, 3)}
        record = {**own, **fields, **own}
        with self._lock:
            self.told.append(record)
            if self.log:
                self._keep(self.log, record)
            if self.json_lines:
                print(json.dumps(record), file=self._out, flush=True)
            else:
                line = text_of(record)
                if line:
                    print(self._painted(line, record), file=self._out, flush=True)

    def _keep(self, log: Path, record: Mapping[str, Any]) -> None:
        """Add an event to the log. Where the disk is full, what is under way goes on without it."""
        try:
            with log.open("a", encoding="utf-8") as kept:
                kept.write(json.dumps(record) + "\n")
        except OSError as error:
            self.log = None
            print(f"note: {log} can't be written any more: {error.strerror}", file=sys.stderr)

    def _painted(self, line: str, record: Mapping[str, Any]) -> str:
        if not self._color:
            return line
        status = record.get("status") or record.get("result")
        code = {"failed": "31", "ok": "32", "done": "32", "skipped": "2", "cancelled": "33"}.get(
            str(status), "1" if record["event"] == "state" else ""
        )
        return f"\x1b[{code}m{line}\x1b[0m" if code else line


def text_of(record: Mapping[str, Any]) -> str:
    """The line that a person sees for an event, or nothing."""
    elapsed = f"{record['elapsed']:6.1f}s "
    kind = record["event"]
    if kind == "state":
        return f"{elapsed} == {record.get('state')}" + (f": {record['detail']}" if record.get("detail") else "")
    host, step, status = (str(record.get(key, "")) for key in ("host", "step", "status"))
    if kind == "step" and status != "start":
        took = record.get("seconds")
        seconds = f"{took:.2f} s" if took and isinstance(took, int | float) else ""
        return f"{elapsed}    {host:<12} {step:<18} {status:<9} {seconds} {record.get('detail', '')}".rstrip()
    if kind in ("note", "expired", "recovering"):
        return f"{elapsed}    {host:<12} {record.get('detail') or record.get('do', kind)}"
    if kind == "end":
        return f"{elapsed} == {record.get('result')}" + (f": {record['detail']}" if record.get("detail") else "")
    return ""


def log_path(site: str, op: str) -> Path:
    """Where the events of one operation are kept on this machine."""
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError:
        raise BadInput(
            "the events can't be kept: this user has no home directory", "Set HOME or XDG_STATE_HOME."
        ) from None
    return state / "hostwright" / site / f"{op}.jsonl"
