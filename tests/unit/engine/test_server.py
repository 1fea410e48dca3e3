"""The process of a transaction, over its real socket: what is lost comes again, and what was left is ended."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostwright_engine import commands, lock, server, storage
from hostwright_engine.errors import EngineError, Failed
from hostwright_engine.paths import Paths

PHASES = ("locked", "prepared", "flipped", "confirmed")


class Transaction:
    """Stands in for the work: `do` moves the phase on, and `slow` waits until it is cancelled."""

    def __init__(self, agreed: Any, paths: Any, state: storage.State, emit: Any) -> None:
        self.state = state
        self.done: list[str] = []
        made.append(self)

    @property
    def record(self) -> Any:
        return self.state["transaction"]

    release = "r1"
    stuck = 0
    undoing = 0.0
    """Seconds that it takes, in which it can be cancelled."""

    def past(self, phase: str) -> bool:
        return PHASES.index(self.record["phase"]) >= PHASES.index(phase)

    def begin(self, request: dict[str, Any]) -> None:
        if request["release"] == "refused":
            raise Failed("not this one")
        self.state.save(transaction={"op": request["op"], "owner": "ann", "release": "r1", "phase": "locked"})

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        word = command["do"]
        self.done.append(word)
        if word == "abort" and self.undoing and commands.cancelled.wait(self.undoing):
            raise Failed("the undoing was cancelled")
        if word == "abort" and self.done.count("abort") <= self.stuck:
            raise Failed("the disk is read-only")
        if word in ("finish", "abort"):
            self.state.save(transaction=None)
        elif word in PHASES:
            self.state.transaction(phase=word, flipped=time.time())
        elif word == "slow":
            assert commands.cancelled.wait(5)
            raise Failed("slow was cancelled")
        elif word == "write":
            raise OSError(28, "No space left on device", "/var/state.json")
        elif word == "bug":
            raise ZeroDivisionError("a bug")
        return {"ok": "facts can't claim this", "fact": 1}


made: list[Transaction] = []


class Running:
    """A server in a thread, and a controller's connection to it."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.server = server.Server({"host": "web1", "releases": {"confirm_timeout": 0.1}}, paths)
        self.status: Any = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.status = self.server.run()
        except Exception as error:
            self.status = error

    def connect(self, after: int = 0) -> Controller:
        deadline = time.monotonic() + 5
        while True:
            wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                wire.connect(self.paths.control)
                return Controller(wire, after)
            except OSError:
                wire.close()
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def end(self) -> Any:
        self.thread.join(5)
        assert not self.thread.is_alive()
        return self.status


class Controller:
    def __init__(self, wire: socket.socket, after: int) -> None:
        self.wire = wire
        wire.settimeout(5)
        self.lines = wire.makefile("r", encoding="utf-8")
        self.say(do="attach", after=after)

    def say(self, **command: Any) -> None:
        self.wire.sendall(json.dumps(command).encode() + b"\n")

    def until(self, event: str) -> dict[str, Any]:
        for line in self.lines:
            said: dict[str, Any] = json.loads(line)
            if said["event"] == event:
                return said
        raise AssertionError(f"the connection ended before {event}")

    def close(self) -> None:
        self.lines.close()
        self.wire.close()


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    monkeypatch.setattr(server, "Transaction", Transaction)
    made.clear()
    found = Paths("shop", root=str(tmp_path))
    for directory in (found.var, found.run):
        Path(directory).mkdir(parents=True)
    yield found
    commands.cancelled.clear()


def requested(paths: Paths, release: str = "r1") -> Running:
    Path(paths.request).write_text(json.dumps({"op": "o1", "owner": "ann", "release": release, "kind": "deploy"}))
    return Running(paths)


def test_a_whole_transaction(paths: Paths) -> None:
    running = requested(paths)
    fab = running.connect()
    begun = fab.until("begun")
    assert (begun["release"], begun["serves"]) == ("r1", None)
    held = lock.holder(paths.lock)
    assert (held["op"], held["owner"], held["recovering"]) == ("o1", "ann", False)
    fab.say(do="prepared", n=1)
    done = fab.until("done")
    assert (done["do"], done["n"], done["ok"], done["fact"]) == ("prepared", 1, True, 1)
    fab.say(do="finish", n=2)
    assert fab.until("end")["result"] == "done"
    fab.close()
    assert running.end() == 0
    assert lock.holder(paths.lock) is None
    assert not Path(paths.request).exists()
    assert not Path(paths.control).exists()


def test_an_event_is_on_the_disk_before_the_controller_is_told(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    told = server.Server({"host": "web1"}, paths)
    told.journal = storage.Journal(paths.journal, "web1", "o1")
    monkeypatch.setattr(storage.os, "fsync", lambda _: done.append(Path(paths.journal).read_text()))
    monkeypatch.setattr(told, "_send", lambda event: done.append(json.dumps(event) + "\n"))
    told.emit({"event": "note"})
    assert done == [Path(paths.journal).read_text()] * 2
    told.journal.close()


def test_a_command_that_was_lost_is_asked_for_and_one_that_comes_twice_is_done_once(paths: Paths) -> None:
    running = requested(paths)
    first = running.connect()
    first.until("begun")
    first.say(do="prepared", n=1)
    first.until("done")
    first.close()
    second = running.connect(after=2)
    assert second.until("attached")["got"] == 1
    second.say(do="prepared", n=1)
    second.say(do="finish", n=2)
    second.until("end")
    second.close()
    running.end()
    assert made[0].done == ["prepared", "finish"]


def test_an_abort_ends_what_is_under_way(paths: Paths) -> None:
    running = requested(paths)
    fab = running.connect()
    fab.say(do="slow", n=1)
    fab.say(do="abort", n=2)
    assert fab.until("done")["error"]["message"] == "slow was cancelled"
    assert fab.until("done")["do"] == "abort"
    assert fab.until("end")["result"] == "aborted"
    fab.close()
    assert running.end() == 0


@pytest.mark.parametrize("recovering", [True, False])
def test_an_abort_does_not_end_the_undoing_itself(
    paths: Paths, recovering: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as migrations that are applied again, also by the next engine of one that was killed."""
    monkeypatch.setattr(Transaction, "undoing", 1.0)
    if recovering:
        left = {"op": "o1", "owner": "ann", "release": "r1", "phase": "prepared"}
        storage.State(paths.state).save(transaction=left)
    running = Running(paths) if recovering else requested(paths)
    fab = running.connect()
    for number in (1, 2):
        fab.say(do="abort", n=number)
        time.sleep(0.2)
    assert fab.until("end")["result"] == "aborted"
    fab.close()
    assert running.end() == 0
    assert made[0].done == ["abort"]


def test_a_disk_that_takes_nothing_is_an_answer_that_says_so(paths: Paths) -> None:
    running = requested(paths)
    fab = running.connect()
    fab.say(do="write", n=1)
    error = fab.until("done")["error"]
    assert error["message"] == "the host can't go on: [Errno 28] No space left on device: '/var/state.json'"
    assert (error["kind"], error["hint"], error["step"]) == ("failed", "Mend it, then deploy again", "write")
    fab.say(do="abort", n=2)
    fab.until("end")
    fab.close()
    running.end()


def test_a_bug_is_an_answer_and_the_transaction_can_still_be_undone(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    running = requested(paths)
    fab = running.connect()
    fab.say(do="bug", n=1)
    assert fab.until("done")["error"]["message"] == "ZeroDivisionError: a bug"
    fab.say(do="abort", n=2)
    fab.until("end")
    fab.close()
    running.end()
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", [b"{\n", b"[]\n", b'{"do": 1, "n": "x"}\n', b'"attach"\n', b"\xff\xfe\n", b"[" * 9999 + b"\n"]
)
def test_what_is_no_command_is_passed_over(paths: Paths, line: bytes) -> None:
    running = requested(paths)
    fab = running.connect()
    fab.wire.sendall(line)
    fab.say(do="finish", n=1)
    fab.until("end")
    fab.close()
    assert running.end() == 0
    assert made[0].done == ["finish"]


def test_a_controller_that_is_gone_is_waited_for_and_then_the_work_is_undone(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LEASE", 0.2)
    running = requested(paths)
    running.connect().close()
    assert running.end() == 0
    assert made[0].done == ["abort"]


def test_a_controller_that_is_silent_keeps_its_connection_and_loses_the_lease(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LEASE", 1.5)
    monkeypatch.setattr(server, "SENDING", 1)
    running = requested(paths)
    fab = running.connect()
    assert fab.until("expired")["detail"] == "no word from the controller for 2 s"
    assert fab.until("end")["result"] == "aborted"
    fab.close()
    assert running.end() == 0


def test_a_controller_that_takes_nothing_is_let_go(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SENDING", 1)
    running = requested(paths)
    fab = running.connect()
    fab.until("begun")
    started = time.monotonic()
    running.server.emit({"event": "output", "line": "x" * (1 << 22)})
    assert 0.9 < time.monotonic() - started < 4
    again = running.connect(after=2)
    again.until("attached")
    again.say(do="finish", n=1)
    again.until("end")
    again.close()
    fab.close()
    assert running.end() == 0


def test_a_flip_that_nobody_confirms_is_taken_back(paths: Paths) -> None:
    running = requested(paths)
    fab = running.connect()
    fab.say(do="flipped", n=1)
    assert fab.until("expired")["detail"] == "nobody confirmed the release in time"
    assert fab.until("end")["result"] == "aborted"
    fab.close()
    running.end()
    assert made[0].done == ["flipped", "abort"]


def test_what_can_not_be_undone_is_tried_again_after_a_while(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transaction, "stuck", 2)
    monkeypatch.setattr(server, "RETRY", 0.6)
    running = requested(paths)
    fab = running.connect()
    fab.say(do="flipped", n=1)
    assert fab.until("end")["result"] == "aborted"
    fab.close()
    assert running.end() == 0
    assert made[0].done == ["flipped", "abort", "abort", "abort"]
    first, second, third = (e["at"] for e in storage.read_journal(paths.journal) if e.get("do") == "abort")
    assert second - first >= 0.6
    assert third - second >= 0.6


def test_what_the_controller_could_not_have_undone_is_undone_later(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when its lease is over: that it goes back is known."""
    monkeypatch.setattr(Transaction, "stuck", 1)
    monkeypatch.setattr(server, "RETRY", 0.6)
    running = requested(paths)
    fab = running.connect()
    fab.say(do="abort", n=1)
    assert fab.until("done")["error"]["message"] == "the disk is read-only"
    assert fab.until("end")["result"] == "aborted"
    fab.close()
    assert running.end() == 0
    assert made[0].done == ["abort", "abort"]


def test_a_confirmed_release_is_finished_without_a_controller(paths: Paths) -> None:
    running = requested(paths)
    fab = running.connect()
    fab.say(do="confirmed", n=1)
    fab.until("done")
    fab.close()
    assert running.end() == 0
    assert made[0].done == ["confirmed", "finish"]


def test_a_refusal_is_the_end(paths: Paths) -> None:
    running = requested(paths, "refused")
    assert running.end() == 0
    ends = [event for event in storage.read_journal(paths.journal) if event["event"] == "end"]
    assert (ends[0]["result"], ends[0]["error"]["message"]) == ("refused", "not this one")


@pytest.mark.parametrize(("phase", "does"), [("locked", "abort"), ("flipped", "abort"), ("confirmed", "finish")])
def test_what_a_killed_process_left_is_ended_and_no_request_begun(paths: Paths, phase: str, does: str) -> None:
    left = {"op": "o0", "owner": "bob", "release": "r0", "phase": phase, "flipped": 0}
    storage.State(paths.state).save(transaction=left)
    running = requested(paths)
    assert running.end() == 0
    assert made[0].done == [does]
    assert Path(paths.request).exists()
    assert [e["event"] for e in storage.read_journal(paths.journal) if e["op"] == "o0"] == ["recovering", "done", "end"]


def test_what_a_killed_process_left_and_can_not_be_ended_is_said(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transaction, "stuck", 1)
    left = {"op": "o0", "owner": "bob", "release": "r0", "phase": "locked"}
    storage.State(paths.state).save(transaction=left)
    error = Running(paths).end()
    assert type(error) is EngineError
    assert error.message == "the interrupted transaction could not be ended; see the journal"
    assert [event["event"] for event in storage.read_journal(paths.journal)] == ["recovering", "done"]
    assert storage.State(paths.state)["transaction"] == left


def test_without_a_request_there_is_nothing_to_do(paths: Paths) -> None:
    assert Running(paths).end() == 0
    assert made[0].done == []


def test_who_holds_the_lock_is_said(paths: Paths) -> None:
    with lock.take(paths.lock, {"owner": "bob", "release": "r0", "op": "o0"}):
        error = requested(paths).end()
    assert error.message.startswith("bob is deploying r0 since")
