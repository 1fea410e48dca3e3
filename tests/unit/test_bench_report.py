"""The figures of a benchmark, and the file that they are written to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import report
from bench.deploy.memory import descendants, field
from bench.report import Figure


def test_a_median() -> None:
    figure = report.median("deploy", [3.0, 5.0, 3.5], "s", 3.7, {"floor": [4.0, 6.0]})
    assert figure == Figure("deploy", 3.5, "s", 3.7, (3.0, 5.0), {"floor": 5.0})


@pytest.mark.parametrize(("goal", "holds"), [(None, None), (2.0, True), (1.9, False)])
def test_a_goal(goal: float | None, holds: bool | None) -> None:
    assert Figure("x", 2.0, "s", goal).holds is holds


def test_the_exit_status_of_a_run() -> None:
    met, missed, without = Figure("a", 1, "s", 2), Figure("b", 3, "s", 2), Figure("c", 1, "s")
    assert (report.status([met, without]), report.status([met, missed]), report.status([])) == (0, 1, 0)


def test_what_was_not_measured_now_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.write("deploy", [Figure("a", 1, "s"), Figure("b", 1, "s")])
    path = report.write("deploy", [Figure("c", 3, "s"), Figure("b", 2, "s", 1)])
    figures = json.loads(path.read_text())["figures"]
    assert [(row["name"], row["value"], row["holds"]) for row in figures] == [
        ("a", 1, None),
        ("b", 2, False),
        ("c", 3, None),
    ]


def test_descendants() -> None:
    assert descendants(1, {1: 0, 2: 1, 3: 2, 4: 0, 5: 4}) == {1, 2, 3}


def test_a_field_of_a_status() -> None:
    status = "Name:\tfab\nVmHWM:\t   61440 kB\nVmRSS:\t   51200 kB\n"
    assert field(status, "VmHWM") == 61440
    assert field(status, "VmSwap") == 0
