"""A command on a host: at the terminal of this process, with a pseudo-terminal in its place, or through pipes."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from hostwright import remote, terminal
from hostwright.errors import HostwrightError
from tests.unit import ssh

ROOT = Path(__file__).resolve().parents[2]
REQUEST = {"verb": "exec", "manage": ["shell"]}
LOST = "web1: the connection was lost; it may still be under way there"


class Channel:
    """One session, whose other end is `far`."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.near, self.far = socket.socketpair()

    def fileno(self) -> int:
        return self.near.fileno()

    def recv(self, size: int) -> bytes:
        return self.near.recv(size)

    def sendall(self, data: bytes) -> None:
        self.near.sendall(data)

    def recv_exit_status(self) -> int:
        return self.status

    def recv_stderr_ready(self) -> bool:
        return False

    def exit_status_ready(self) -> bool:
        return True


class Screen:
    """Both ends of a terminal of 100 columns and 30 rows."""

    def __init__(self) -> None:
        self.person, self.here = pty.openpty()
        fcntl.ioctl(self.here, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))

    def state(self) -> list[Any]:
        return termios.tcgetattr(self.here)

    def shown(self, until: bytes) -> bytes:
        text = b""
        while until not in text:
            text += os.read(self.person, 4096)
        return text

    def await_raw(self) -> None:
        deadline = time.monotonic() + 10
        while self.state()[3] & (termios.ICANON | termios.ECHO | termios.ISIG):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    @contextlib.contextmanager
    def instead(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """It takes the place of standard input and output."""
        before = [os.dup(number) for number in (0, 1)]
        with open(self.here, closefd=False) as stdin, open(self.here, "w", closefd=False) as stdout:
            monkeypatch.setattr(sys, "stdin", stdin)
            monkeypatch.setattr(sys, "stdout", stdout)
            try:
                for number in (0, 1):
                    os.dup2(self.here, number)
                yield
            finally:
                for number, old in enumerate(before):
                    os.dup2(old, number)
                    os.close(old)
                monkeypatch.undo()


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen()
    yield made
    os.close(made.here)
    os.close(made.person)


def attached(screen: Screen, channel: Channel, play: Callable[[], None]) -> tuple[int, list[Any]]:
    """What `attach` returns while `play` plays the host, and the terminals that it asked for there."""
    asked = []

    def opened(command: str, tty: Any = None) -> Channel:
        asked.append(tty)
        return channel

    host: Any = remote.Remote("web1", {}, "shop")
    host.channel = opened

    def playing_to_the_end() -> None:
        with channel.far:
            play()

    playing = threading.Thread(target=playing_to_the_end, daemon=True)
    playing.start()
    patches = pytest.MonkeyPatch()
    patches.setenv("TERM", "vt100")
    for variable in ("COLUMNS", "LINES"):
        patches.delenv(variable, raising=False)
    with channel.near, screen.instead(patches):
        status = terminal.attach(host, REQUEST)
    playing.join(10)
    return status, asked


def test_what_is_typed_goes_to_the_host_as_it_is(screen: Screen) -> None:
    channel, before = Channel(status=3), screen.state()
    request, typed = b"", b""

    def play() -> None:
        nonlocal request, typed
        request = channel.far.recv(4096)
        channel.far.sendall(request + b"\x1e\r\n>>> ")
        screen.await_raw()
        os.write(screen.person, b"\x03\r")
        while len(typed) < 2:
            typed += channel.far.recv(4096)
        channel.far.sendall(b"bye")

    assert attached(screen, channel, play) == (3, [("vt100", 100, 30)])
    assert json.loads(request) == {**REQUEST, "tty": True, "protocol": remote.PROTOCOL}
    assert typed == b"\x03\r"  # Ctrl-C is the command's to act on.
    assert screen.shown(until=b"bye") == b">>> bye"
    assert screen.state() == before


def test_the_terminal_is_as_before_where_the_connection_breaks(screen: Screen) -> None:
    channel, before = Channel(status=-1), screen.state()

    def broken(size: int) -> bytes:
        raise OSError("broken")

    def play() -> None:
        channel.far.recv(4096)
        channel.far.sendall(b"\x1e\r\n")
        screen.await_raw()
        channel.recv = broken
        channel.far.sendall(b"x")

    with pytest.raises(OSError, match="broken"):
        attached(screen, channel, play)
    assert screen.state() == before


@pytest.mark.parametrize("error", [OSError("Socket is closed"), EOFError()])
def test_what_is_typed_when_the_command_has_ended_goes_nowhere(screen: Screen, error: Exception) -> None:
    channel, before = Channel(status=3), screen.state()
    typed = threading.Event()

    def closed(data: bytes) -> None:
        typed.set()
        raise error

    def play() -> None:
        channel.far.recv(4096)
        channel.far.sendall(b"\x1e\r\n>>> ")
        screen.await_raw()
        channel.sendall = closed
        os.write(screen.person, b"x")
        assert typed.wait(10)
        channel.far.sendall(b"bye")

    assert attached(screen, channel, play) == (3, [("vt100", 100, 30)])
    assert screen.shown(until=b"bye") == b">>> bye"
    assert screen.state() == before


def test_a_connection_that_is_lost_is_no_status_of_the_command(screen: Screen) -> None:
    channel = Channel(status=-1)

    def play() -> None:
        channel.far.recv(4096)
        channel.far.sendall(b"\x1e\r\n")
        screen.await_raw()

    with pytest.raises(remote.Unreachable) as caught:
        attached(screen, channel, play)
    assert caught.value.message == LOST


def test_a_refusal_is_found_behind_the_echo_of_the_request(screen: Screen) -> None:
    channel = Channel(status=2)

    def play() -> None:
        request = channel.far.recv(4096)
        channel.far.sendall(request + b'{"event": "error", "message": "nothing is deployed yet"}\r\n')

    with pytest.raises(HostwrightError, match=r"^web1: nothing is deployed yet$"):
        attached(screen, channel, play)


# --- without a terminal


def reached(transport: paramiko.Transport) -> remote.Remote:
    """A host at the other end of `transport`."""
    host = remote.Remote("web1", {}, "shop")
    host._connection = SimpleNamespace(transport=transport, is_connected=True)
    return host


def test_a_command_that_complains_much_is_not_held_up() -> None:
    much = b"x" * (3 << 20)  # More than a channel takes that nobody reads.
    shown = threading.Event()

    def command(channel: paramiko.Channel) -> None:
        channel.settimeout(10)
        with contextlib.closing(channel):
            channel.recv(4096)
            channel.sendall(b"\x1e\n")
            channel.sendall_stderr(much)
            shown.wait(10)
            channel.sendall(b"rows")
            channel.send_exit_status(3)

    class Errors(io.RawIOBase):
        """Standard error, which says when it has shown all of it."""

        said = 0

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.said += len(data)
            if self.said == len(much):
                shown.set()
            return len(data)

    errors, output = Errors(), io.BytesIO()
    with ssh.served(command) as (transport, _), pytest.MonkeyPatch.context() as patches:
        patches.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(errors)))
        # The output comes once all complaints were shown.
        assert terminal.copy(reached(transport), REQUEST, None, output) == 3
    assert shown.is_set()
    assert (output.getvalue(), errors.said) == (b"rows", len(much))


def test_a_connection_that_is_lost_without_a_terminal() -> None:
    def command(channel: paramiko.Channel) -> None:
        channel.recv(4096)
        channel.sendall(b"\x1e\n")
        channel.sendall(b"rows")
        channel.get_transport().close()

    output = io.BytesIO()
    with ssh.served(command) as (transport, _), pytest.raises(remote.Unreachable) as caught:
        terminal.copy(reached(transport), REQUEST, None, output)
    assert (output.getvalue(), caught.value.message) == (b"rows", LOST)


def test_input_that_stays_open_holds_nothing_up_at_the_end() -> None:
    """Python would end with an abort where a thread that reads still had the lock of a buffer."""
    program = """
import sys
from types import SimpleNamespace
from hostwright import terminal
from tests.unit.test_terminal import REQUEST, Channel

channel = Channel(3)
channel.recv_stderr = lambda size: b""
channel.far.sendall(b"\\x1e\\nrows")
channel.far.shutdown(1)
host = SimpleNamespace(name="web1", call=lambda request: SimpleNamespace(channel=channel))
sys.exit(terminal.attach(host, REQUEST))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.wait(30) == 3
        assert process.stdout is not None
        assert process.stderr is not None
        assert (process.stdout.read(), process.stderr.read()) == (b"rows", b"")
