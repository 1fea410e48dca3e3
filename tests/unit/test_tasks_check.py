"""What the checker of tasks says of lines that are in order, and of those that are not."""

from __future__ import annotations

import json

import pytest

from tests.hosts.tasks.check import Beat, Kill, Late, Run, Verdict, beats, lateness, resumed, runs, together, verdict

LOG = """\
start 1-1 10.0 a
start 2-1 10.1 other
end 1-1 11.0 a
start 1-2 11.5 b
start 1-2 20.0 b
end 1-2 21.0 b
"""
KILL = Kill("worker", ("web1",), began=13.2, over=13.3, back=15.0)


def test_runs_of_one_series() -> None:
    assert runs(LOG, "web1", "1-") == [
        Run("1-1", "web1", "a", 10.0, 11.0),
        Run("1-2", "web1", "b", 11.5),
        Run("1-2", "web1", "b", 20.0, 21.0),
    ]


def test_what_was_in_flight_may_start_again() -> None:
    assert verdict(["1-1", "1-2"], runs(LOG, "web1", "1-"), [KILL]) == Verdict(2, [], [1], [1])


ONCE, AGAIN = Run("x", "web1", "a", 1.0, 2.0), Run("x", "web1", "a", 30.0, 31.0)
RESENT = Run("x", "web1", "b", 30.0, 31.0)


@pytest.mark.parametrize(
    ("found", "broken"),
    [
        ([ONCE], []),
        ([], ["1 lost: x"]),
        ([Run("x", "web1", "a", 11.9)], ["1 lost: x"]),
        ([ONCE, AGAIN], ["1 started twice: x"]),
        ([Run("x", "web2", "a", 11.9, 12.5), AGAIN], ["1 started twice: x"]),
        ([Run("x", "web1", "a", 11.0, 11.6), AGAIN], []),
        ([Run("x", "web1", "a", 13.4, 13.6), AGAIN], ["1 started twice: x"]),
        ([ONCE, RESENT], []),
        ([ONCE, RESENT, Run("x", "web1", "c", 40.0, 41.0)], ["2 sent twice at 1 kills"]),
    ],
)
def test_what_must_not_be(found: list[Run], broken: list[str]) -> None:
    assert verdict(["x"], found, [KILL]).broken == broken


def test_seconds_until_each_host_works_again() -> None:
    both = Kill("broker", ("web1", "web2"), 12.0, 12.5, 20.0)
    found = [Run("a", "web1", "a", 12.2), Run("b", "web1", "b", 20.0), Run("c", "web2", "c", 22.5)]
    assert resumed(found, both) == 10.0
    assert resumed(found[:2], both) is None
    assert resumed(found, KILL) == pytest.approx(6.7)
    assert resumed(found, Kill("beat", (), 1, 1, 1)) is None


def journal(*lines: tuple[float, str, str]) -> list[str]:
    """As journalctl prints them: what systemd says of a unit names it in another field than what the unit says."""
    return [
        json.dumps(
            {
                "__REALTIME_TIMESTAMP": str(int(at * 1e6)),
                "MESSAGE": message,
                "UNIT" if message.startswith(("St", "Main")) or "Deact" in message else "_SYSTEMD_UNIT": unit,
            }
        )
        for at, unit, message in lines
    ]


def due(at: float, unit: str) -> tuple[float, str, str]:
    return at, unit, "[2026-01-01: INFO/MainProcess] Scheduler: Sending due task tick (orders.tasks.tick)"


REPLACED = journal(
    (0, "one", "Started beat"),
    (1, "one", "[2026-01-01: INFO/MainProcess] beat: Starting..."),
    due(5, "one"),
    due(10, "one"),
    (12, "one", "Stopping beat"),
    (12.5, "one", "one: Deactivated successfully."),
    (13, "two", "Started beat"),
    (15.5, "two", "beat: Starting..."),
    due(16, "two"),
)
FOUND = [
    Beat(0, 1, 12, 12.5, (("tick", 5.0), ("tick", 10.0))),
    Beat(13, 15.5, 16, 16, (("tick", 16.0),)),
]


def test_beat_by_its_journal() -> None:
    assert beats(REPLACED) == FOUND


def test_a_killed_beat_is_two_processes_of_one_unit() -> None:
    found = beats(
        journal(
            (0, "one", "Started beat"), due(5, "one"), (6, "one", "Main process exited"), (8, "one", "Started beat")
        )
    )
    assert found == [Beat(0, 0, 6, 6, (("tick", 5.0),)), Beat(8, 8, 8, 8, ())]


def test_beat_runs_once() -> None:
    assert together(FOUND) == 0
    assert together([FOUND[0], Beat(12.4, 13, 16, 16, ())]) == 1
    assert together([Beat(0, 1, 12, 12.5, (("tick", 14.0),)), FOUND[1]]) == 1


def test_what_is_due_waits_no_longer_than_beat_is_away() -> None:
    assert lateness(FOUND, {"tick": 5}, []) == [Late("tick", 1.0, 3.5)]
    assert lateness(FOUND, {"tick": 5}, [Kill("beat", (), 11, 11, 12)]) == []
    assert not Late("tick", 4.4, 3.5).too_late
    assert Late("tick", 4.6, 3.5).too_late
