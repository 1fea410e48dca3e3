"""A command on a host, at this terminal: with a terminal there if there is one here, else through pipes."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import sys
import termios
import tty
from collections.abc import Iterator, Mapping
from typing import Any

from hostwright.errors import HostwrightError
from hostwright.remote import BROKEN, LINE_LIMIT, Call, Remote, Unreachable

READY = re.compile(rb"\x1e\r?\n")
"""What the engine prints before the command's own output; before it, a terminal echoes the request."""


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def attach(remote: Remote, request: Mapping[str, Any]) -> int:
    """Run the engine's `request` with this process's input and output; returns the command's exit status."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        # sys.stdout does not say what it lost.
        out = open(1, "wb", closefd=False)  # noqa: SIM115  # A `with` would try once more to write what it could not.
        # Without a buffer, whose lock a thread that still waits for input would hold when Python ends.
        with open(0, "rb", buffering=0, closefd=False) as source:
            return copy(remote, request, source, out)
    columns, rows = shutil.get_terminal_size()
    call = remote.call({**request, "tty": True}, (os.environ.get("TERM", "xterm"), columns, rows))
    os.write(1, _started(call))
    both: list[Any] = [0, call.channel]
    with _raw():
        while True:
            ready = select.select(both, [], [])[0]
            if call.channel in ready:
                data = call.channel.recv(65536)
                if not data:
                    break
                os.write(1, data)
            if 0 in ready:
                try:
                    call.channel.sendall(os.read(0, 4096))
                except BROKEN:
                    both.remove(0)  # The command has ended; what it said last is still to come.
    return _status(call)


def _started(call: Call) -> bytes:
    """What came after the sign that the command runs. Raises what the engine says instead of it."""
    seen = b""
    while not (found := READY.search(seen)):
        data = call.channel.recv(4096)
        if not data or len(seen) > LINE_LIMIT:
            raise call.refusal(seen)
        seen += data
    return seen[found.end() :]


def _status(call: Call) -> int:
    """The command's exit status. Raises Unreachable where the connection ended before it came."""
    status = call.channel.recv_exit_status()
    if status == -1:
        raise Unreachable(f"{call.remote.name}: the connection was lost; it may still be under way there")
    return status


def copy(remote: Remote, request: Mapping[str, Any], source: Any, target: Any) -> int:
    """Run the engine's `request` with `source` as its input (None: no input) and `target` for its output."""
    import threading

    call = remote.call(request)

    def complain() -> None:
        # As it comes: one that is not read holds the command up.
        while block := call.channel.recv_stderr(65536):
            sys.stderr.buffer.write(block)
            sys.stderr.buffer.flush()

    def feed() -> None:
        with contextlib.suppress(*BROKEN):
            while source is not None and (block := source.read(65536)):
                call.channel.sendall(block)
            call.channel.shutdown_write()

    data = _started(call)
    threading.Thread(target=feed, daemon=True).start()
    complaining = threading.Thread(target=complain, daemon=True)
    complaining.start()
    while True:
        try:
            target.write(data)
            target.flush()
        except OSError as error:
            call.channel.close()
            raise HostwrightError(f"{remote.name}: cut off, as the output can't be written: {error.strerror}") from None
        data = call.channel.recv(65536)
        if not data:
            break
    complaining.join()
    return _status(call)
