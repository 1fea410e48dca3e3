"""What begins a transaction: after the one before, with room on the disk, and with a process that answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hostwright_engine import lock, storage, wire
from hostwright_engine.errors import Busy, Failed

from tests.unit.engine.test_gate import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def interrupted(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A transaction whose process died, and a unit that has failed."""
    storage.State(host.paths.state).save(transaction={"op": "o0", "phase": "prepared"})
    monkeypatch.setattr(wire.units, "states", lambda names: ["failed"])
    monkeypatch.setattr(wire.units, "messages", lambda names: ["said by " + " ".join(names)])
    naps = iter(range(100))
    monkeypatch.setattr(wire.time, "sleep", lambda _: next(naps))
    return host


def test_a_transaction_that_can_not_be_ended_is_tried_twice(interrupted: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(wire, "_start", started.append)
    with pytest.raises(Failed, match="the interrupted transaction before this one can't be ended") as failed:
        wire._end_interrupted(interrupted.paths, "unit")
    assert started == ["unit"] * 2
    assert failed.value.tail == ["said by unit"]


def test_a_transaction_whose_process_died_is_ended_first(interrupted: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def start(unit: str) -> None:
        started.append(unit)
        storage.State(interrupted.paths.state).save(transaction=None)

    monkeypatch.setattr(wire, "_start", start)
    wire._end_interrupted(interrupted.paths, "unit")
    assert started == ["unit"]


def test_a_transaction_that_ends_meanwhile_is_not_started_again(
    interrupted: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def states(names: list[str]) -> list[str]:
        storage.State(interrupted.paths.state).save(transaction=None)
        return ["inactive"]

    monkeypatch.setattr(wire.units, "states", states)
    monkeypatch.setattr(wire, "_start", lambda unit: pytest.fail("it was started"))
    wire._end_interrupted(interrupted.paths, "unit")


def test_a_transaction_that_is_under_way_is_not_ended(interrupted: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_start", lambda unit: pytest.fail("it was started"))
    holder = {"owner": "ann", "release": "r2", "op": "o0"}
    with lock.take(interrupted.paths.lock, holder), pytest.raises(Busy, match="ann is deploying r2"):
        wire._end_interrupted(interrupted.paths, "unit")


def test_a_process_that_does_not_answer_is_waited_for_in_vain(interrupted: Host) -> None:
    with pytest.raises(Failed, match="the transaction's process does not answer") as failed:
        wire._connect(interrupted.paths, "o1", 0)
    assert failed.value.tail == ["said by hostwright-shop-transaction.service"]


def test_there_is_no_wire_to_what_is_over_or_somebody_elses(host: Host) -> None:
    journal = storage.Journal(host.paths.journal, "web1", "o1")
    journal.append({"event": "end"})
    journal.close()
    assert wire._connect(host.paths, "o1", 0) is None
    with lock.take(host.paths.lock, {"owner": "ann", "release": "r2", "op": "o2"}), pytest.raises(Busy):
        wire._connect(host.paths, "o1", 0)


@pytest.mark.parametrize(("free", "refused"), [(64 << 20, False), ((64 << 20) - 1, True)])
def test_nothing_begins_on_a_full_disk(host: Host, monkeypatch: pytest.MonkeyPatch, free: int, refused: bool) -> None:
    monkeypatch.setattr(wire.shutil, "disk_usage", lambda path: {host.paths.srv: SimpleNamespace(free=free)}[path])
    if refused:
        with pytest.raises(Failed, match=f"the disk of {host.paths.srv} has only 63 MiB left"):
            wire._refuse_full_disk(host.paths)
    else:
        wire._refuse_full_disk(host.paths)
