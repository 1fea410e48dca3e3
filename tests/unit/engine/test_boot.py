"""At boot: what serves comes back before what a crash cut off is ended, however long that takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hostwright_engine import boot, lock, storage, wire
from hostwright_engine.errors import Failed
from hostwright_engine.paths import Paths

AGREED: dict[str, Any] = {"site": "shop", "host": "web1", "web": {"timeout": 30}}
SLOT = ["shop-web@b.socket", "shop-web@b.service"]
WORKER = "shop-mail@r2.1.service"


class Host:
    """A host that has come up, with r2 in slot b; `happened` is what was done, in order."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths = Paths("shop", root=str(root))
        for directory in (self.paths.instances, self.paths.sockets):
            Path(directory).mkdir(parents=True)
        self.happened: list[Any] = []
        self.state = storage.State(self.paths.state)
        self.state.save(current={"release": "r2", "slot": "b", "since": 1.0}, processes=[WORKER[: -len(".service")]])
        self.fails: list[Any] = []
        monkeypatch.setattr(boot.units, "start", self.start)
        monkeypatch.setattr(boot.server, "Server", lambda *_: self)

    def start(self, wanted: list[str], step: str, timeout: float) -> None:
        assert Path(self.paths.upstream).readlink() == Path("web-b.sock")
        self.happened.append(wanted)
        if wanted in self.fails:
            raise Failed("it did not start")

    def run(self) -> int:
        """Stands for the server: ends what was left."""
        lock.take(self.paths.lock, {"owner": "ann"}).close()
        self.happened.append("ended")
        if "ended" in self.fails:
            raise Failed("it could not be ended")
        storage.State(self.paths.state).save(transaction=None)
        return 0


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


@pytest.mark.parametrize("phase", ["prepared", "flipped", "confirmed"])
def test_the_current_slot_starts_before_what_was_cut_off_is_ended(host: Host, phase: str) -> None:
    host.state.transaction(op="o", phase=phase)
    assert boot.run(AGREED, host.paths) == 0
    assert host.happened == [SLOT, "ended", [WORKER, *SLOT]]


def test_migrations_that_were_undone_come_before_what_needs_them(host: Host) -> None:
    host.state.transaction(op="o", phase="standby", undoing=True)
    assert boot.run(AGREED, host.paths) == 0
    assert host.happened == ["ended", [WORKER, *SLOT]]


def test_a_slot_that_does_not_start_is_no_reason_not_to_end_what_was_cut_off(host: Host) -> None:
    host.state.transaction(op="o", phase="confirmed")
    host.fails = [SLOT]
    assert boot.run(AGREED, host.paths) == 0
    assert host.happened == [SLOT, "ended", [WORKER, *SLOT]]


def test_what_can_not_be_ended_is_no_reason_not_to_serve(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.state.transaction(op="o", phase="confirmed")
    host.fails = ["ended"]
    assert boot.run(AGREED, host.paths) == 1
    assert host.happened == [SLOT, "ended", [WORKER, *SLOT]]
    assert capsys.readouterr().err == "the interrupted transaction could not be ended: it could not be ended\n"


def test_without_a_transaction_everything_starts_at_once(host: Host) -> None:
    Path(host.paths.instances, "shop-mail@r1.1.env").touch()
    assert boot.run(AGREED, host.paths) == 0
    assert host.happened == [[WORKER, *SLOT]]
    assert list(Path(host.paths.instances).iterdir()) == []


def test_an_old_process_is_forgotten_whatever_it_is_called(host: Host) -> None:
    for name in ("shop-worker-web@r1.1", "shop-web@b", "shop-timer-sweep", WORKER[: -len(".service")]):
        Path(host.paths.instances, name + ".env").touch()
    assert boot.run(AGREED, host.paths) == 0
    left = sorted(path.name for path in Path(host.paths.instances).iterdir())
    assert left == ["shop-mail@r2.1.env", "shop-timer-sweep.env", "shop-web@b.env"]


def test_a_host_on_which_nothing_is_deployed(host: Host) -> None:
    host.state.save(current=None)
    assert boot.run(AGREED, host.paths) == 0
    assert host.happened == []


@pytest.mark.parametrize(
    ("state", "waits"), [("inactive", True), ("activating", True), ("active", False), ("failed", False)]
)
def test_what_begins_waits_until_the_host_has_come_back(
    monkeypatch: pytest.MonkeyPatch, state: str, waits: bool
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(wire.units, "states", lambda names: [state])
    monkeypatch.setattr(wire.units, "systemctl", lambda *argv, **_: asked.append(argv))
    wire._await_boot("shop")
    assert asked == ([("start", "hostwright-shop-boot.service")] if waits else [])


def test_a_transaction_begins_after_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(wire, "_refuse_full_disk", lambda _: None)
    for name in ("_await_boot", "_end_interrupted", "_await_end", "_start", "_connect", "_relay"):
        monkeypatch.setattr(wire, name, lambda *_, name=name: done.append(name))
    wire.begin(AGREED, host.paths, {"kind": "restart", "op": "o1"})
    assert done[:2] == ["_await_boot", "_end_interrupted"]
