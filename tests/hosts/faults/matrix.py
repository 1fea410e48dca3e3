"""The points at which a deploy is stopped, and the faults that happen to it there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """A transition of the deploy. `state`: fab waits after it has reported it; `step`: else the victim's engine does.

    `program` is what the victim's engine runs next; that one fails or hangs.
    """

    name: str
    state: str = ""
    step: str = ""
    victim: str = "web2"
    program: str = "/usr/bin/systemctl"


PYTHON = "/usr/bin/python3"

POINTS = (
    Point("locked", state="locked", program=PYTHON),
    Point("uploaded", state="uploaded", program=PYTHON),
    Point("built", state="built", program=PYTHON),
    Point("checked", state="checked", victim="web1", program=PYTHON),
    Point("migrated", state="migrated", program=PYTHON),
    Point("standby healthy", step="standby ok"),
    Point("barrier", state="standby healthy"),
    Point("flipped", state="flipped"),
    Point("confirmed", state="confirmed"),
    Point("drained", step="drain ok"),
    Point("workers replaced", step="old workers ok", victim="jobs1", program="/usr/bin/rm"),
)

FAULTS = (
    "controller killed",
    "connection cut",
    "controller stopped",
    "engine killed",
    "host killed",
    "disk full",
    "read-only",
    "database down",
    "command fails",
    "command hangs",
    "second operator",
    "host unreachable",
)

FIRST = 7
"""The point of the first fault on the first diagonal: with this one the twelve cells take the least time."""


def diagonal(number: int = 0) -> list[tuple[Point, str]]:
    """Every fault once, and every point at least once. The diagonals 0 to 10 are the whole matrix."""
    return [(POINTS[(2 * row + FIRST + number) % len(POINTS)], fault) for row, fault in enumerate(FAULTS)]


def chosen(points: Collection[str] = (), faults: Collection[str] = ()) -> list[tuple[Point, str]]:
    """The cells of the named points and faults; no name means all of them.

    One diagonal after another: a run that is cut off has been everywhere.
    """
    return [
        (point, fault)
        for number in range(len(POINTS))
        for point, fault in diagonal(number)
        if (not points or point.name in points) and (not faults or fault in faults)
    ]
