"""Which cells of the fault matrix are run, what is kept of them, and how it is shown."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.hosts.faults import results, unattended
from tests.hosts.faults.matrix import FAULTS, POINTS, chosen, diagonal
from tests.hosts.faults.results import Cell


def ran(point: str, fault: str, version: str = "new", at: str = "2030-01-02T10:00:00Z", **facts: object) -> Cell:
    return Cell(point, fault, version=version, at=at, commit="abc", **{"seconds": 3.2, "serves": "old", **facts})


def test_every_diagonal_has_every_fault_once_and_every_point() -> None:
    for number in range(len(POINTS)):
        assert [fault for _, fault in diagonal(number)] == list(FAULTS)
        assert {point for point, _ in diagonal(number)} == set(POINTS)


def test_the_diagonals_are_the_whole_matrix() -> None:
    assert len(chosen()) == len(set(chosen())) == 132
    assert chosen()[:12] == diagonal()


def test_a_row_a_column_and_a_cell() -> None:
    assert {fault for _, fault in chosen(faults=["disk full"])} == {"disk full"}
    assert len(chosen(faults=["disk full"])) == 11
    assert {point.name for point, _ in chosen(points=["built"])} == {"built"}
    assert [(point.name, fault) for point, fault in chosen(["built"], ["disk full"])] == [("built", "disk full")]


def test_what_was_never_run_comes_before_what_is_older_than_the_code() -> None:
    cells = [
        ran("built", "disk full", version="old"),
        ran("locked", "disk full"),
        ran("drained", "disk full", broken=["not run: the deploy was over before it came to the point"]),
    ]
    found = results.missing(cells, chosen(faults=["disk full"]), "new")
    assert found[-1][0].name == "built"
    assert {point.name for point, _ in found} == {point.name for point in POINTS} - {"locked"}


def test_a_cell_is_kept_in_the_place_of_its_older_run(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results.keep(path, ran("built", "disk full", at="2030-01-01T10:00:00Z"))
    results.keep(path, ran("locked", "disk full", at="2030-01-01T11:00:00Z"))
    again = ran("built", "disk full", at="2030-01-01T12:00:00Z", broken=["I5 left over"])
    results.keep(path, again)
    assert results.load(path) == [ran("locked", "disk full", at="2030-01-01T11:00:00Z"), again]
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "3 old"),
        ({"seconds": None, "serves": "both"}, "next both"),
        ({"broken": ["late: recovered after 31 s", "I5 left over: x", "I5 left over: y"]}, "3 old I5 late"),
        ({"broken": ["not run: no host"]}, "not run"),
    ],
)
def test_what_a_cell_says(facts: dict[str, object], said: str) -> None:
    assert results.shown(ran("built", "disk full", **facts)) == said


def test_cells_of_older_code_are_marked() -> None:
    cells = [
        ran("built", "disk full", version="old", at="2030-01-01T10:00:00Z"),
        ran("locked", "disk full", seconds=12.0, requests=1200, failed_elsewhere=3, broken=["I5 left over: x"]),
    ]
    heading, *body = results.rows(cells)
    row = dict(zip(heading, next(row for row in body if row[0] == "disk full"), strict=True))
    assert (row["built"], row["locked"], row["drained"]) == ("*3 old*", "12 old I5", "")
    assert results.summary(cells) == (
        "2 of the 132 cells were run, 1 of them, in italics, with older code than the others. There were 1,200 "
        "requests, of which 3 failed on hosts that were down or without their database. Of the times to recover the "
        "median is 12 s, the longest 12 s. The machine's load was 0 to 0 when a cell began. Not everything held in 1:\n"
        "\n- *disk full at locked*, abc: I5 left over: x"
    )


def test_no_cells() -> None:
    assert results.summary([]) == "No cell was run."
    assert len(results.rows([])) == 13


def test_what_takes_too_long_is_ended() -> None:
    before = signal.getsignal(signal.SIGALRM)
    began = time.monotonic()
    with pytest.raises(unattended.OutOfTime), unattended.limited(1):
        time.sleep(30)
    assert time.monotonic() - began < 5
    with unattended.limited(1):
        pass
    assert signal.getsignal(signal.SIGALRM) == before
