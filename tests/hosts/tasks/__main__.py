"""`python -m tests.hosts.tasks`: tasks through deploys and SIGKILLs, and what became of each."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from hostwright.errors import HostwrightError
from tests.hosts.conftest import ROOT
from tests.hosts.labs import Fleet
from tests.hosts.tasks import check, lab, rounds
from tests.hosts.tasks.lab import BROKERS


def table(series: rounds.Series, verdict: check.Verdict, found: list[check.Run]) -> Table:
    """One row for each kind of kill."""
    made = Table(box=box.ROUNDED if sys.stdout.isatty() else box.MARKDOWN)
    for heading in ("killed", "times", "in flight", "started twice", "back after, s", "tasks again after, s"):
        made.add_column(heading, justify="left" if heading == "killed" else "right")
    for kind, times in Counter(kill.kind for kill in series.killed).items():
        numbers = [number for number, kill in enumerate(series.killed) if kill.kind == kind]
        kills = [series.killed[number] for number in numbers]
        again = [seconds for kill in kills if (seconds := check.resumed(found, kill)) is not None]
        made.add_row(
            kind,
            str(times),
            str(sum(verdict.in_flight[number] for number in numbers)),
            str(sum(verdict.repeated[number] for number in numbers)),
            spread([kill.back - kill.over for kill in kills]),
            spread(again),
        )
    return made


def spread(seconds: list[float]) -> str:
    """Median and maximum."""
    return f"{statistics.median(seconds):.0f} (at most {max(seconds):.0f})" if seconds else ""


def report(fleet: Fleet, series: rounds.Series, console: Console) -> bool:
    """Print what became of the tasks and of beat; returns whether all is as it should be."""
    found = rounds.found(fleet, series)
    verdict = check.verdict(series.names, found, series.killed)
    beats = check.beats(series.journal)
    late = check.lateness(beats, rounds.SCHEDULE, series.killed)
    problems = list(verdict.broken)
    if twice := check.together(beats):
        problems.append(f"beat ran twice, {twice} times")
    if too_late := [one for one in late if one.too_late]:
        problems.append(f"{len(too_late)} due tasks came too late: {too_late[:3]}")
    console.print(table(series, verdict, found))
    console.print(
        f"{series.broker}: {verdict.sent} tasks, {len(series.deployed)} deploys, {len(series.killed)} kills: "
        f"{len(verdict.lost)} lost; started twice: {sum(verdict.repeated)} of the {sum(verdict.in_flight)} "
        f"in flight at a kill, {len(verdict.sent_twice)} sent twice, {len(verdict.unexplained)} others"
    )
    if late:
        seconds, without = max(one.seconds for one in late), max(one.without for one in late)
        console.print(
            f"beat: {len(beats)} processes; {len(late)} due tasks over a deploy, late by at most {seconds} s, "
            f"where beat was away for at most {without} s"
        )
    for problem in problems:
        console.print(problem, markup=False)
    return not problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts.tasks", description=__doc__)
    parser.add_argument("--broker", choices=list(BROKERS), default="rabbitmq")
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--deploys", type=int, default=50)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no round after so many; run again to go on")
    parser.add_argument("--anew", action="store_true", help="begin the series anew")
    parser.add_argument("--show", action="store_true", help="say what became of the tasks so far, and do nothing else")
    parser.add_argument("--down", action="store_true", help="remove the lab, and do nothing else")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 200)
    if options.down:
        lab.down()
        return 0
    began = time.monotonic()
    fleet = lab.standing() if options.show else lab.up(options.broker)
    path: Path = ROOT / ".cache" / f"tasks-{options.broker}-{options.deploys}-deploys-{options.kills}-kills.json"
    if options.anew or not path.exists():
        series = rounds.Series(options.broker, options.tasks, options.deploys, options.kills, time.time())
    else:
        series = rounds.load(path)
    while not options.show and series.rounds < series.length and time.monotonic() - began < options.minutes * 60:
        try:
            rounds.one(fleet, series, lambda text: console.print(text, markup=False))
        except HostwrightError as error:
            console.print(f"{error.message}\n{error.hint}", markup=False)
            return 1
        finally:
            series.save(path)
    if series.rounds < series.length and not options.show:
        console.print(f"{series.rounds} of {series.length} rounds were run; run it again to go on")
        return 0
    if not options.show:
        rounds.drain(fleet, series)
    return 0 if report(fleet, series, console) else 1


if __name__ == "__main__":
    sys.exit(main())
