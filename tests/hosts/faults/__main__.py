"""`python -m tests.hosts.faults`: the fault matrix, one row of it, one column, or one cell."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from hostwright.errors import HostwrightError
from tests.hosts.conftest import ROOT
from tests.hosts.faults import cell, lab, writes
from tests.hosts.faults.matrix import FAULTS, POINTS, Cell, chosen, diagonal


def shown(found: Cell | None) -> str:
    """What a cell says in the table: its seconds to recover, what serves, and the invariants that did not hold."""
    if found is None:
        return ""
    broken = " ".join(sorted({line.split()[0].rstrip(":") for line in found.broken}))
    seconds = "next" if found.seconds is None else f"{found.seconds:.0f}"
    return f"{seconds} {found.serves}" + (f" [red]{broken}[/red]" if broken else "")


def table(cells: list[Cell]) -> Table:
    """The matrix, as far as it was run."""
    by_name = {(found.fault, found.point): found for found in cells}
    columns = [point.name for point in POINTS if any(found.point == point.name for found in cells)]
    made = Table(box=box.ROUNDED if sys.stdout.isatty() else box.MARKDOWN)
    for heading in ("", *columns):
        made.add_column(heading)
    for fault in FAULTS:
        if any(found.fault == fault for found in cells):
            made.add_row(fault, *(shown(by_name.get((fault, column))) for column in columns))
    return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts.faults", description=__doc__)
    parser.add_argument("--fault", action="append", default=[], choices=FAULTS, help="only this row; may be repeated")
    parser.add_argument(
        "--at", action="append", default=[], choices=[point.name for point in POINTS], help="only this column"
    )
    parser.add_argument("--diagonal", action="store_true", help="every fault once, every point once")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no cell after so many")
    parser.add_argument("--missing", action="store_true", help="only the cells that the file does not hold yet")
    parser.add_argument("--json", type=Path, default=ROOT / ".cache" / "faults.json", help="where the cells are kept")
    parser.add_argument("--show", action="store_true", help="print the cells that are kept, and do nothing else")
    parser.add_argument(
        "--writes", action="store_true", help="check the order of the engine's writes, and do nothing else"
    )
    parser.add_argument("--down", action="store_true", help="remove the lab, and do nothing else")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 200)
    if options.down:
        lab.down()
        return 0
    kept = [Cell(**row) for row in json.loads(options.json.read_text())] if options.json.exists() else []
    if options.show:
        console.print(table(kept))
        return 0
    began = time.monotonic()
    fleet = lab.up()
    if options.writes:
        problems, replaced, told = writes.problems(writes.trace(fleet))
        console.print(f"{replaced} files and links replaced, {told} events told; out of order: {problems or 'none'}")
        return int(bool(problems) or not replaced or not told)
    held = {(found.point, found.fault) for found in kept}
    ran: list[Cell] = []
    for number, (point, fault) in enumerate(diagonal() if options.diagonal else chosen(options.at, options.fault)):
        if options.missing and (point.name, fault) in held:
            continue
        if time.monotonic() - began > options.minutes * 60:
            break
        started = time.monotonic()
        cell.forget(fleet)
        try:
            found = cell.run(fleet, point, fault, int(time.time()))
        except HostwrightError as error:
            found = Cell(point.name, fault, broken=[f"not run: {error}"])
        ran.append(found)
        kept = [other for other in kept if (other.point, other.fault) != (point.name, fault)] + [found]
        options.json.write_text(json.dumps([asdict(row) for row in kept], indent=1) + "\n")
        console.print(
            f"{number + 1:>3} {fault} at {point.name}: {shown(found)}, fab {found.status}, "
            f"{found.requests} requests, {time.monotonic() - started:.0f} s in all"
        )
        for line in found.broken:
            console.print(f"      {line}", markup=False)
        if any(line[:2] in ("I4", "I5", "I2") for line in found.broken):
            cell.rescue(fleet)
    console.print(table(ran))
    return int(any(found.broken for found in ran))


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
