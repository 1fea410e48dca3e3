"""The check of the engine's writes, on traces that are in order and out of it."""

from __future__ import annotations

import pytest

from tests.hosts.faults.writes import problems

VAR = "/var/lib/hostwright/shop"
WRITE = f'write(5<{VAR}/state.json.new>, "{{}}", 2) = 2'
SYNC = f"fsync(5<{VAR}/state.json.new>)     = 0"
RENAME = f'rename("{VAR}/state.json.new", "{VAR}/state.json") = 0'
DIRECTORY = f"fsync(5<{VAR}>)                         = 0"
JOURNAL = f'write(3<{VAR}/journal.jsonl>, "{{\\"seq\\": 1}}\\n", 12) = 12'
JOURNAL_SYNC = f"fsync(3<{VAR}/journal.jsonl>) = 0"
TOLD = r'sendto(6<socket:[1]>, "{\"event\": \"begun\", \"seq\": 1}\n", 30, 0, NULL, 0) = 30'
IN_ORDER = [JOURNAL, JOURNAL_SYNC, TOLD, WRITE, SYNC, RENAME, DIRECTORY]


def test_a_trace_in_order() -> None:
    assert problems("\n".join(IN_ORDER)) == ([], 1, 1)


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        (JOURNAL_SYNC, ["line 2: an event is told before it is on the disk"]),
        (SYNC, [f"line 5: {VAR}/state.json.new is renamed before it is synced"]),
        (DIRECTORY, [f"{VAR} is never synced"]),
    ],
)
def test_a_sync_that_is_left_out(left_out: str, said: list[str]) -> None:
    assert problems("\n".join(line for line in IN_ORDER if line != left_out))[0] == said


def test_two_directories_at_once() -> None:
    link = 'rename("/srv/shop/current.new", "/srv/shop/current") = 0'
    lines = [WRITE, SYNC, RENAME, link, DIRECTORY, "fsync(5</srv/shop>) = 0"]
    assert problems("\n".join(lines)) == ([f"line 4: {VAR} is not synced yet"], 2, 0)
