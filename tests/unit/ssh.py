"""A real ssh server at the other end of a socket, in this process."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import paramiko

KEY = paramiko.ECDSAKey.generate()


class Server(paramiko.ServerInterface):
    """Lets anybody in, has `command` play each command that is run, and answers until it is `mute`."""

    def __init__(self, command: Callable[[paramiko.Channel], None]) -> None:
        self.command = command
        self.mute = False
        self.asked = 0
        self.over = threading.Event()

    def check_auth_none(self, username: str) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_direct_tcpip_request(self, chanid: int, origin: object, destination: object) -> int:
        self._hang()
        return paramiko.OPEN_FAILED_CONNECT_FAILED

    def check_channel_pty_request(self, *_: object) -> bool:
        return True

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self.command, args=(channel,), daemon=True).start()
        return True

    def check_global_request(self, kind: str, msg: paramiko.Message) -> bool:
        self.asked += 1
        self._hang()
        return False

    def _hang(self) -> None:
        """Where it is mute, have it read and say nothing more."""
        if self.mute:
            self.over.wait()


@contextlib.contextmanager
def served(command: Callable[[paramiko.Channel], None]) -> Iterator[tuple[paramiko.Transport, Server]]:
    """The client's side of a connection, and the server."""
    near, far = socket.socketpair()
    theirs, ours = paramiko.Transport(far), paramiko.Transport(near)
    theirs.add_server_key(KEY)
    server = Server(command)
    theirs.start_server(event=threading.Event(), server=server)
    try:
        ours.start_client(timeout=10)
        ours.auth_none("deploy")
        yield ours, server
    finally:
        server.over.set()
        ours.close()
        theirs.close()
