"""Files that survive a power cut."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hostwright_engine import storage
from hostwright_engine.errors import Failed


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_write_file_replaces_and_leaves_nothing_aside(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    path.chmod(0o644)
    storage.write_file(str(path), "nëw")
    assert (path.read_text(encoding="utf-8"), mode(path)) == ("nëw", 0o600)
    storage.write_file(str(path), b"\0", 0o640)
    assert (path.read_bytes(), mode(path)) == (b"\0", 0o640)
    assert list(tmp_path.iterdir()) == [path]


def test_write_file_passes_over_what_a_crash_or_an_enemy_left_aside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("kept")
    (tmp_path / "f.new").symlink_to(outside)
    storage.write_file(str(tmp_path / "f"), "new")
    assert outside.read_text() == "kept"
    assert not (tmp_path / "f").is_symlink()


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_a_write_that_fails_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "f"
    path.write_text("old")

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fail)
        with pytest.raises(OSError, match="No space left"):
            storage.write_file(str(path), "new")
    assert path.read_text() == "old"
    storage.write_file(str(path), "newer")
    assert path.read_text() == "newer"


def test_what_is_written_is_synced_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)

        def call(*args: Any, name: str = name, real: Any = real) -> None:
            calls.append(name)
            real(*args)

        monkeypatch.setattr(os, name, call)
    storage.write_file(str(tmp_path / "f"), "x")
    assert calls == ["fsync", "rename", "fsync"]


def test_links(tmp_path: Path) -> None:
    path = tmp_path / "l"
    storage.write_link(str(path), "a")
    storage.write_link(str(path), "b")
    assert str(path.readlink()) == "b"
    Path(f"{path}.new").symlink_to("left by a crash")
    storage.write_link(str(path), "c")
    assert str(path.readlink()) == "c"
    storage.write_link(str(path), None)
    storage.write_link(str(path), None)
    assert list(tmp_path.iterdir()) == []


def test_state_is_on_disk_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "state.json")
    state = storage.State(path)
    assert state.data == {"current": None, "previous": None, "releases": {}, "processes": [], "transaction": None}
    state.save(previous="r0")
    state.release("r1", status="built", venv="v")
    state.release("r1", status="good")
    state.transaction(op="o", phase="locked")
    state.transaction(phase="built")
    expected = {
        "current": None,
        "previous": "r0",
        "releases": {"r1": {"status": "good", "venv": "v"}},
        "processes": [],
        "transaction": {"op": "o", "phase": "built"},
    }
    assert storage.State(path).data == expected == json.loads(Path(path).read_text())


def test_what_the_disk_does_not_take_is_not_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = storage.State(str(tmp_path / "state.json"))
    state.transaction(op="o", phase="confirmed")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage, "write_file", full)
    with pytest.raises(OSError, match="No space left"):
        state.save(transaction=None)
    assert state["transaction"] == {"op": "o", "phase": "confirmed"}


def test_a_state_that_is_no_json_is_an_error_and_not_an_empty_state(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(Failed, match=r"state.json is damaged: Expecting"):
        storage.State(str(tmp_path / "state.json"))


# --- the journal


def opened(path: Path, op: str = "o1") -> storage.Journal:
    return storage.Journal(str(path), "web1", op)


def test_events_are_numbered_stamped_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = opened(path)
    stored = [journal.append({"event": name}) for name in ("a", "b")]
    journal.close()
    assert [(e["seq"], e["event"], e["host"], e["op"]) for e in stored] == [
        (1, "a", "web1", "o1"),
        (2, "b", "web1", "o1"),
    ]
    assert storage.read_journal(str(path)) == stored
    assert mode(path) == 0o600
    again = opened(path)
    assert again.events == stored
    assert again.append({"event": "c"})["seq"] == 3
    again.close()
    other = opened(path, "o2")
    assert other.events == []
    assert other.append({"event": "d"})["seq"] == 1
    other.close()


def test_a_journal_that_is_not_there(tmp_path: Path) -> None:
    assert storage.read_journal(str(tmp_path / "journal")) == []


def test_a_line_that_a_crash_cut_off_costs_no_other_event(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = opened(path)
    journal.append({"event": "a"})
    journal.close()
    with path.open("ab") as out:
        out.write(b'{"event": "cut o\xff')
    recovered = opened(path)
    recovered.append({"event": "b"})
    recovered.close()
    assert [(e["seq"], e["event"]) for e in storage.read_journal(str(path))] == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("line", ["[]", "1", "null", '{"seq": "1"}', "{}", '"x"', "\x00\x00"])
def test_a_line_that_is_no_event_is_passed_over(tmp_path: Path, line: str) -> None:
    (tmp_path / "journal").write_text(line + '\n{"seq": 1, "event": "a"}\n')
    assert storage.read_journal(str(tmp_path / "journal")) == [{"seq": 1, "event": "a"}]


def test_a_long_journal_is_cut_to_its_newer_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    monkeypatch.setattr(storage, "JOURNAL_LIMIT", 2000)
    journal = opened(path)
    for number in range(100):
        journal.append({"event": "e", "number": number})
    journal.close()
    kept = storage.read_journal(str(path))
    assert kept == journal.events[-len(kept) :]
    assert 900 < path.stat().st_size <= 1000
    assert mode(path) == 0o600
