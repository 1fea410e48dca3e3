"""`python -m tests.hosts.faults`: the fault matrix, one row of it, one column, or one cell."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from hostwright.errors import HostwrightError
from tests.hosts.conftest import ROOT
from tests.hosts.faults import lab, results, version, writes
from tests.hosts.faults.matrix import FAULTS, POINTS, chosen, diagonal
from tests.hosts.faults.unattended import attempt


def show(console: Console, path: Path) -> None:
    """Print the cells that are kept, and what did not hold in them."""
    cells = results.load(path)
    heading, *body = results.rows(cells)
    table = Table(*heading, box=box.ROUNDED)
    for row in body:
        table.add_row(*row)
    console.print(table)
    console.print(results.summary(cells), markup=False)
    here = len(results.missing(cells, chosen(), version.digest()))
    console.print(f"{here} cells were not run with the code that is here, {version.digest()}.")


def check_writes(console: Console) -> int:
    problems, replaced, told = writes.problems(writes.trace(lab.up()))
    console.print(f"{replaced} files and links replaced, {told} events told; out of order: {problems or 'none'}")
    return int(bool(problems) or not replaced or not told)


def run(console: Console, options: argparse.Namespace) -> int:
    """Run the cells one after another, each kept as soon as it has ended; 1 where something did not hold."""
    began = time.monotonic()
    fleet = lab.up()
    wanted = diagonal() if options.diagonal else chosen(options.at, options.fault)
    if options.missing:
        wanted = results.missing(results.load(options.json), wanted, version.digest())
    broken = False
    for number, (point, fault) in enumerate(wanted, 1):
        if time.monotonic() - began > options.minutes * 60:
            console.print(f"The time is over: {len(wanted) - number + 1} cells were not begun.")
            break
        found = attempt(fleet, point, fault)
        results.keep(options.json, found)
        console.print(
            f"{time.strftime('%H:%M')} {number:>3}/{len(wanted)} {fault} at {point.name}: {results.shown(found)}, "
            f"fab {found.status}, {found.requests} requests, {found.took:.0f} s in all",
            highlight=False,
        )
        for line in found.broken:
            console.print(f"      {line}", markup=False)
        broken = broken or bool(found.broken)
    return int(broken)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts.faults", description=__doc__)
    parser.add_argument("--fault", action="append", default=[], choices=FAULTS, help="only this row; may be repeated")
    parser.add_argument(
        "--at", action="append", default=[], choices=[point.name for point in POINTS], help="only this column"
    )
    parser.add_argument("--diagonal", action="store_true", help="every fault once, every point at least once")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no cell after so many")
    parser.add_argument("--missing", action="store_true", help="only what was not run with the code that is here")
    parser.add_argument("--json", type=Path, default=results.RESULTS, help="where the cells are kept")
    parser.add_argument("--show", action="store_true", help="print the cells that are kept, and do nothing else")
    parser.add_argument(
        "--writes", action="store_true", help="check the order of the engine's writes, and do nothing else"
    )
    parser.add_argument("--down", action="store_true", help="remove the lab, and do nothing else")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 200)
    if options.down:
        lab.down()
    elif options.show:
        show(console, options.json)
    elif options.writes:
        return check_writes(console)
    else:
        return run(console, options)
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    try:
        sys.exit(main())
    except HostwrightError as error:
        print(error.message, error.hint, sep="\n", file=sys.stderr)
        sys.exit(error.exit_status)
