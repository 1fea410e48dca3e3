"""Standard input, output and error of `fab`: closed, full or with nobody at the other end, they end no work."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from invoke.exceptions import Exit


class _Output(io.FileIO):
    """A standard stream that takes what is written also after its reader went away or its disk was full."""

    lost: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.lost = error
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return super().write(data)


def guard(program: Any) -> None:
    """Have nothing fail that Fabric's `program` prints: what was begun goes on, and ends with its own status."""
    parse, clean_up, execute = program.parse_tasks, program.parse_cleanup, program.execute

    def parse_tasks() -> None:
        _fill()
        sys.stdout = _enduring(sys.stdout)
        sys.stderr = _enduring(sys.stderr)
        parse()

    program.parse_tasks = parse_tasks
    program.parse_cleanup = lambda: _checked(clean_up)
    program.execute = lambda: _checked(execute)


def _fill() -> None:
    """Open /dev/null for those that are closed: the next file that is opened would take a stream's place."""
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(null, True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(null, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # For good.


def _enduring(stream: TextIO) -> TextIO:
    stream.flush()
    raw = io.BufferedWriter(_Output(stream.fileno(), "w", closefd=False))
    at_once = stream.isatty() or stream is sys.stderr
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=at_once)


def _checked(step: Callable[[], None]) -> None:
    """Do `step`, and say where it could not print. A reader that went away wants no more of it."""
    try:
        step()
    except Exit as done:
        if done.code:
            raise
        _check()
        raise
    _check()


def _check() -> None:
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    lost = raw.lost if isinstance(raw, _Output) else None
    if lost and not isinstance(lost, BrokenPipeError):
        hint = "What was asked for is done; what it said is lost."
        raise Exit(f"error: standard output can't be written: {lost.strerror}\n  {hint}", code=1)
