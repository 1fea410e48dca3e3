"""What came of the cells: kept in a file beside the driver, and shown as a table."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.hosts.faults.matrix import FAULTS, POINTS, Point

RESULTS = Path(__file__).with_name("results.json")

BRIEF = 200
"""Characters of what did not hold, in the summary."""

NOT_RUN = "not run: "
"""How the reason begins why a cell never came to its fault."""


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
    at: str = ""
    """When it began, in UTC."""
    took: float = 0.0
    """Seconds for all of it, with the next deploy."""
    commit: str = ""
    version: str = ""
    """A digest of the code that does a deploy."""

    @property
    def ran(self) -> bool:
        return not any(line.startswith(NOT_RUN) for line in self.broken)


def load(path: Path) -> list[Cell]:
    """The cells in the file, the oldest first."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return sorted((Cell(**row) for row in rows), key=lambda cell: cell.at)


def keep(path: Path, new: Cell) -> None:
    """Put a cell into the file, in the place of an older one. Whatever cuts this off, the file is whole."""
    others = [cell for cell in load(path) if (cell.point, cell.fault) != (new.point, new.fault)]
    lines = [json.dumps(asdict(cell)) for cell in (*others, new)]
    aside = path.with_suffix(".new")
    aside.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    aside.replace(path)


def missing(cells: Iterable[Cell], wanted: list[tuple[Point, str]], version: str) -> list[tuple[Point, str]]:
    """Of the wanted cells those that were not run with `version`: first what was never run, then what is older."""
    known = {(cell.point, cell.fault): cell.version for cell in cells if cell.ran}
    never = [(point, fault) for point, fault in wanted if (point.name, fault) not in known]
    return never + [(point, fault) for point, fault in wanted if known.get((point.name, fault), version) != version]


def shown(cell: Cell) -> str:
    """What a cell says in the table: its seconds to recover, what serves, and the invariants that did not hold."""
    if not cell.ran:
        return "not run"
    seconds = "next" if cell.seconds is None else f"{cell.seconds:.0f}"
    return " ".join([seconds, cell.serves, *sorted({line.split()[0].rstrip(":") for line in cell.broken})])


def newest(cells: list[Cell]) -> str:
    """The version of the cell that was run last."""
    return max(cells, key=lambda cell: cell.at).version if cells else ""


def rows(cells: list[Cell]) -> list[list[str]]:
    """The matrix, with its headings. In italics: cells that were run with older code than the newest one."""
    by_name = {(cell.point, cell.fault): cell for cell in cells}
    now = newest(cells)

    def text(fault: str, point: Point) -> str:
        cell = by_name.get((point.name, fault))
        if cell is None:
            return ""
        return shown(cell) if cell.version == now else f"*{shown(cell)}*"

    return [
        ["", *(point.name for point in POINTS)],
        *([fault, *(text(fault, point) for point in POINTS)] for fault in FAULTS),
    ]


def summary(cells: list[Cell]) -> str:
    """What the table shows, in a paragraph and a list of what did not hold."""
    ran = [cell for cell in cells if cell.ran]
    if not ran:
        return "No cell was run."
    older = sum(cell.version != newest(cells) for cell in ran)
    broken = [cell for cell in cells if cell.broken]
    timed = sorted(cell.seconds for cell in ran if cell.seconds is not None)
    loads = [cell.machine_load for cell in ran]
    said = [
        f"{len(ran)} of the {len(POINTS) * len(FAULTS)} cells were run",
        f", {older} of them, in italics, with older code than the others" * bool(older),
        f". There were {sum(cell.requests for cell in ran):,} requests, of which ",
        f"{sum(cell.failed_elsewhere for cell in ran):,} failed on hosts that were down or without their database. ",
        f"Of the times to recover the median is {timed[len(timed) // 2]:.0f} s, the longest {timed[-1]:.0f} s. "
        if timed
        else "",
        f"The machine's load was {min(loads):.0f} to {max(loads):.0f} when a cell began. ",
        "Everything held in all of them." if not broken else f"Not everything held in {len(broken)}:\n",
    ]
    lines = [f"- *{cell.fault} at {cell.point}*, {cell.commit}: {_brief(cell)}" for cell in broken]
    return "\n".join(["".join(said), *lines])


def _brief(cell: Cell) -> str:
    return "; ".join(textwrap.shorten(line, BRIEF) for line in cell.broken)
