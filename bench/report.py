"""The figures of a benchmark: a table for people, and bench/results/NAME.json for whoever compares runs."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Figure:
    """One measured quantity. Smaller is better, and `goal` is the largest value that is good enough; with `larger`
    it is the other way round.

    `spread` is the smallest and the largest of the samples of which `value` is the median. `beside` has the same
    quantity of each peer, measured in the same run.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    spread: tuple[float, float] | None = None
    beside: Mapping[str, float] = field(default_factory=dict)
    larger: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.larger else self.value <= self.goal


def median(
    name: str,
    samples: Sequence[float],
    unit: str,
    goal: float | None = None,
    beside: Mapping[str, Sequence[float]] | None = None,
    larger: bool = False,
) -> Figure:
    """The figure of several samples: their median and spread, and each peer's median."""
    medians = {peer: round(statistics.median(values), 3) for peer, values in (beside or {}).items()}
    spread = (round(min(samples), 3), round(max(samples), 3))
    return Figure(name, round(statistics.median(samples), 3), unit, goal, spread, medians, larger)


def ratio(
    name: str,
    plain: Sequence[float],
    ours: Sequence[float],
    goal: float | None = None,
    beside: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """How fast something is by a plain way of doing it, from the times of rounds that took turns; 1: as fast."""
    return median(
        name,
        [one / other for one, other in zip(plain, ours, strict=True)],
        "x plain",
        goal,
        {
            peer: [one / other for one, other in zip(plain, times, strict=True)]
            for peer, times in (beside or {}).items()
        },
        larger=True,
    )


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print the figures as a table; a peer's value has its ratio to ours behind it."""
    peers = list(dict.fromkeys(peer for figure in figures for peer in figure.beside))
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for heading in ("Hostwright", "spread", "goal", "", *peers):
        table.add_column(heading, justify="right")
    for figure in figures:
        table.add_row(
            figure.name,
            f"[bold]{figure.value:g}[/] {figure.unit}",
            f"{figure.spread[0]:g} … {figure.spread[1]:g}" if figure.spread else "",
            f"{figure.goal:g}" if figure.goal is not None else "",
            {None: "", True: "[green]holds[/]", False: "[red]falls short[/]"}[figure.holds],
            *(_beside(figure, peer) for peer in peers),
        )
    # As wide as it needs where nobody watches.
    Console(highlight=False, width=None if sys.stdout.isatty() else 180).print(table)


def _beside(figure: Figure, peer: str) -> str:
    if peer not in figure.beside:
        return ""
    theirs = figure.beside[peer]
    return f"{theirs:g} ({theirs / figure.value:.2f} x)" if figure.value else f"{theirs:g}"


def status(figures: Sequence[Figure]) -> int:
    """The exit status of a run: 1 where a goal is not met."""
    return int(any(figure.holds is False for figure in figures))


def write(name: str, figures: Sequence[Figure]) -> Path:
    """Write bench/results/NAME.json; figures of an earlier run that were not measured now stay, with their date."""
    path = RESULTS / f"{name}.json"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    known: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else []
    new = {figure.name: _record(figure, now) for figure in figures}
    rows = [new.pop(row["name"], row) for row in known] + list(new.values())
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": machine(), "at": now, "figures": rows}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def _record(figure: Figure, at: str) -> dict[str, Any]:
    return {
        "name": figure.name,
        "value": figure.value,
        "unit": figure.unit,
        "goal": figure.goal,
        "holds": figure.holds,
        "spread": figure.spread,
        "beside": dict(figure.beside),
        "at": at,
    }


def machine() -> str:
    """What the run's machine is: processors, memory, kernel, Python."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "CPU")
    memory = int(Path("/proc/meminfo").read_text(encoding="utf-8").split()[1]) / 2**20
    kernel, python = platform.release(), platform.python_version()
    return f"{os.cpu_count()} x {model}, {memory:.0f} GiB, Linux {kernel}, Python {python}"
