"""The slots: counting connections, and asking a standby for its health."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hostwright_engine import slots, units
from hostwright_engine.errors import Failed
from hostwright_engine.paths import Paths

# As the kernel prints it: a listening socket, an accepted and a queued connection, their clients, and others.
TABLE = """\
Num       RefCount Protocol Flags    Type St Inode Path
00000000b62ce6dc: 00000002 00000000 00010000 0001 01 15623 /run/shop/web-a.sock
000000009cef0082: 00000003 00000000 00000000 0001 03 44128 /run/shop/web-a.sock
0000000048a4d61c: 00000002 00000000 00000000 0001 02 44130 /run/shop/web-a.sock
0000000005c1fd28: 00000003 00000000 00000000 0001 03 43756
000000006f1e2d28: 00000002 00000000 00010000 0001 01 15624 /run/shop/web-b.sock
00000000aa1e2d28: 00000003 00000000 00000000 0001 03 15625 /run/shop/web-a.sock.new
00000000bb1e2d28: 00000003 00000000 00000000 0002 01 15626 @/org/freedesktop/x
"""


def test_connections_of_a_socket() -> None:
    assert slots.connections(TABLE, "/run/shop/web-a.sock") == 2
    assert slots.connections(TABLE, "/run/shop/web-b.sock") == 0
    assert slots.connections(TABLE, "/run/shop") == 0
    assert slots.connections("", "/run/shop/web-a.sock") == 0


def test_connections_as_this_kernel_counts_them(tmp_path: Path) -> None:
    path = str(tmp_path / "s")

    def now() -> int:
        return slots.connections(Path("/proc/net/unix").read_text(), path)

    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen(4)
        assert now() == 0
        client.connect(path)
        assert now() == 1, "queued"
        accepted = server.accept()[0]
        assert now() == 1, "accepted"
        client.close()
        assert now() == 1, "the server has not closed it yet"
        accepted.close()
        assert now() == 0


def test_slots_take_turns() -> None:
    assert [slots.other(slot) for slot in (None, "a", "b")] == ["a", "b", "a"]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths("shop", root=str(tmp_path))
    for directory in (found.sockets, found.srv):
        Path(directory).mkdir(parents=True)
    return found


def test_point_moves_the_links_and_takes_them_away(paths: Paths) -> None:
    def links() -> list[str | None]:
        return [
            str(p.readlink()) if p.is_symlink() else None
            for p in map(Path, (paths.upstream, paths.current, paths.previous))
        ]

    slots.point(paths, "b", "r2", "r1")
    assert links() == ["web-b.sock", "releases/r2", "releases/r1"]
    slots.point(paths, "a", "r1", None)
    assert links() == ["web-a.sock", "releases/r1", None]
    slots.point(paths, None, None, None)
    assert links() == [None, None, None]


def test_drain_waits_for_the_last_connection(paths: Paths) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(paths.slot_socket("a"))
        server.listen(4)
        client = socket.socket(socket.AF_UNIX)
        client.connect(paths.slot_socket("a"))
        accepted = server.accept()[0]
        assert slots.drain(paths, "a", 0.1) is False

        def leave() -> None:
            time.sleep(0.1)
            client.close()
            accepted.close()

        leaving = threading.Thread(target=leave)
        leaving.start()
        assert slots.drain(paths, "a", 5) is True
        leaving.join()


# --- health

HEALTH: dict[str, Any] = {
    "path": "/healthz?full=1",
    "headers": {"Host": "shop.example.com", "X-Forwarded-Proto": "https"},
    "status": [200],
    "deadline": 0.2,
    "timeout": 0.1,
}


def answer(status: int, release: str | None = "r1", body: str = "ok") -> bytes:
    header = f"X-Hostwright-Release: {release}\r\n" if release else ""
    return f"HTTP/1.1 {status} X\r\n{header}Content-Length: {len(body)}\r\n\r\n{body}".encode()


DRIPS = 5


@pytest.fixture
def service(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[bytes]]]:
    """Serves the slot a: each answer is used once, the last one again and again; None never answers.

    With `drips` an answer is followed by a byte every 0.02 s, for `DRIPS` seconds at most.
    """
    monkeypatch.setattr(units, "messages", lambda _: ["the journal's last line"])
    server = socket.socket(socket.AF_UNIX)
    held: list[socket.socket] = []
    requests: list[bytes] = []

    def drip(client: socket.socket) -> None:
        until = time.monotonic() + DRIPS
        while time.monotonic() < until:
            try:
                client.sendall(b"x")
            except OSError:
                return
            time.sleep(0.02)

    def start(*answers: bytes | None, state: str = "active", drips: bool = False) -> list[bytes]:
        monkeypatch.setattr(units, "states", lambda _: [state])
        server.bind(paths.slot_socket("a"))
        server.listen(8)

        def serve() -> None:
            number = 0
            while True:
                try:
                    client = server.accept()[0]
                except OSError:
                    return
                held.append(client)
                said = answers[min(number, len(answers) - 1)]
                number += 1
                requests.append(client.recv(4096))
                if said is not None:
                    client.sendall(said)
                    if drips:
                        drip(client)
                    client.close()

        thread.append(threading.Thread(target=serve, daemon=True))
        thread[0].start()
        return requests

    thread: list[threading.Thread] = []
    yield start
    # A thread in accept() is woken by shutdown, not by close.
    with server:
        if thread:
            server.shutdown(socket.SHUT_RDWR)
    if thread:
        thread[0].join()
    for client in held:
        client.close()


def test_a_healthy_standby_is_asked_with_the_sites_headers(paths: Paths, service: Any) -> None:
    requests = service(answer(200))
    slots.await_health(paths, "a", HEALTH, "r1")
    assert requests == [
        b"GET /healthz?full=1 HTTP/1.1\r\nHost: shop.example.com\r\nX-Forwarded-Proto: https\r\n"
        b"Connection: close\r\n\r\n"
    ]


def test_a_standby_that_needs_a_moment(paths: Paths, service: Any) -> None:
    requests = service(answer(500), b"", b"no http\r\n\r\n", answer(200, None), answer(204))
    slots.await_health(paths, "a", {**HEALTH, "deadline": 5, "status": [200, 204]}, "r1")
    assert len(requests) == 5


@pytest.mark.parametrize("said", [answer(500), answer(500, None), answer(200)])
def test_a_standby_that_only_has_to_answer(paths: Paths, service: Any, said: bytes) -> None:
    service(said)
    slots.await_health(paths, "a", {**HEALTH, "status": []}, "r1")


@pytest.mark.parametrize(
    ("said", "state", "message"),
    [
        (answer(500), "active", "is not healthy: status 500 for /healthz?full=1 (expected 200)"),
        (answer(302), "active", "is not healthy: status 302 for /healthz?full=1 (expected 200)"),
        (
            answer(200, None),
            "active",
            "is not healthy: status 200 without X-Hostwright-Release for /healthz?full=1 (expected 200)",
        ),
        (None, "active", "is not healthy: no answer (timed out) for /healthz?full=1 (expected 200)"),
        (
            b"",
            "failed",
            "is not healthy: the service died; no answer (Remote end closed connection without response)"
            " for /healthz?full=1 (expected 200)",
        ),
        (answer(200, "r0"), "active", "answers for release r0, not r1"),
        (answer(500, "r0"), "active", "answers for release r0, not r1"),
    ],
)
def test_an_unhealthy_standby(paths: Paths, service: Any, said: bytes, state: str, message: str) -> None:
    service(said, state=state)
    with pytest.raises(Failed) as caught:
        slots.await_health(paths, "a", HEALTH, "r1")
    assert caught.value.message == f"the standby slot {message}"
    assert caught.value.step == "standby"
    assert caught.value.tail == ["the journal's last line"]


@pytest.mark.parametrize(("said", "state"), [(answer(200, "r0"), "active"), (b"", "failed")])
def test_a_wrong_release_and_a_dead_service_are_not_waited_for(
    paths: Paths, service: Any, said: bytes, state: str
) -> None:
    service(said, state=state)
    started = time.monotonic()
    with pytest.raises(Failed):
        slots.await_health(paths, "a", {**HEALTH, "deadline": 30}, "r1")
    assert time.monotonic() - started < 3


HEAD = b"HTTP/1.1 200 OK\r\nX-Hostwright-Release: r1\r\nContent-Length: 1000\r\n\r\n"


def test_an_answer_that_does_not_come_whole_is_none(paths: Paths, service: Any) -> None:
    service(HEAD + b"x")
    with pytest.raises(Failed, match="not healthy: no answer"):
        slots.await_health(paths, "a", HEALTH, "r1")


def test_an_answer_that_never_ends_does_not_outlast_the_deadline(paths: Paths, service: Any) -> None:
    service(HEAD, drips=True)
    started = time.monotonic()
    with pytest.raises(Failed, match="not healthy: no answer"):
        slots.await_health(paths, "a", HEALTH, "r1")
    assert time.monotonic() - started < HEALTH["deadline"] + HEALTH["timeout"] + slots.GRACE + 2


def test_no_socket_at_all(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "states", lambda _: ["inactive"])
    monkeypatch.setattr(units, "messages", lambda _: [])
    with pytest.raises(Failed, match=r"the service died; no answer .*No such file"):
        slots.await_health(paths, "a", HEALTH, "r1")
