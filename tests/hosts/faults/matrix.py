"""The points at which a deploy is stopped, and the faults that happen to it there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


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
    phase: str = "before"
    """before: nothing is flipped; flipped: not confirmed; after: confirmed."""


PYTHON = "/usr/bin/python3"

POINTS = (
    Point("locked", state="locked", program=PYTHON),
    Point("uploaded", state="uploaded", program=PYTHON),
    Point("built", state="built", program=PYTHON),
    Point("checked", state="checked", victim="web1", program=PYTHON),
    Point("migrated", state="migrated", program=PYTHON),
    Point("standby healthy", step="standby ok"),
    Point("barrier", state="standby healthy"),
    Point("flipped", state="flipped", phase="flipped"),
    Point("confirmed", state="confirmed", phase="after"),
    Point("drained", step="drain ok", phase="after"),
    Point("workers replaced", step="old workers ok", victim="jobs1", program="/usr/bin/rm", phase="after"),
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

STOPPED = {"before": 28.0, "flipped": 13.0, "after": 8.0}
"""Seconds for which the controller is stopped: longer than the engine waits for it."""


@dataclass
class Cell:
    """What came of one fault at one point."""

    point: str
    fault: str
    status: int | None = None
    """The exit status of `fab deploy`; None where it was killed."""
    seconds: float | None = None
    """From the fault, or from its end where it had to end first, until every host had ended the transaction."""
    alone: bool = True
    """Whether that came without the next deploy."""
    serves: str = ""
    """old, new, or both."""
    machine_load: float = 0.0
    """Of the machine when the cell began, as the mean number of processes that ran or waited in a minute."""
    requests: int = 0
    failed_elsewhere: int = 0
    """Failed requests on the host that the fault took away, or while it had taken the database away."""
    broken: list[str] = field(default_factory=list)
    """The invariants that did not hold, each with why."""


def diagonal() -> list[tuple[Point, str]]:
    """Every fault once, and every point at least once."""
    return [(POINTS[(2 * number + 7) % len(POINTS)], fault) for number, fault in enumerate(FAULTS)]


def chosen(at: Iterable[str], faults: Iterable[str]) -> list[tuple[Point, str]]:
    """The cells of the named points and faults; no name means all of them."""
    wanted_points, wanted_faults = set(at), set(faults)
    return [
        (point, fault)
        for point in POINTS
        for fault in FAULTS
        if (not wanted_points or point.name in wanted_points) and (not wanted_faults or fault in wanted_faults)
    ]
