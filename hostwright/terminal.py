"""A command on a host, at this terminal: with a terminal there if there is one here, else through pipes."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import termios
import tty
from collections.abc import Iterator, Mapping
from typing import Any

from hostwright.errors import HostwrightError
from hostwright.remote import Remote

READY = b"\x1e\r\n"
"""What the engine prints before the command's own output, on a terminal: all before it is the request's echo."""


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
        return copy(remote, request, sys.stdin.buffer, sys.stdout.buffer)
    columns, rows = shutil.get_terminal_size()
    call = remote.call({**request, "tty": True}, (os.environ.get("TERM", "xterm"), columns, rows))
    seen = b""
    while READY not in seen:
        data = call.channel.recv(4096)
        if not data:
            raise HostwrightError(f"{remote.name}: {seen.decode(errors='replace').strip()[-500:]}")
        seen += data
    os.write(1, seen.split(READY, 1)[1])
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
                call.channel.sendall(os.read(0, 4096))
    return call.channel.recv_exit_status()


def copy(remote: Remote, request: Mapping[str, Any], source: Any, target: Any) -> int:
    """Run the engine's `request` with `source` as its input (None: no input) and `target` for its output."""
    import threading

    call = remote.call(request)

    def feed() -> None:
        with contextlib.suppress(OSError):
            while source is not None and (block := source.read(65536)):
                call.channel.sendall(block)
            call.channel.shutdown_write()

    threading.Thread(target=feed, daemon=True).start()
    while data := call.channel.recv(65536):
        target.write(data)
        target.flush()
    status = call.channel.recv_exit_status()
    complaint = bytearray()
    while block := call.channel.recv_stderr(65536):
        complaint += block
    sys.stderr.write(complaint.decode(errors="replace"))
    return status
