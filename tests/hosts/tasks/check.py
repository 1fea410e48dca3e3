"""What became of the tasks, by the lines that they left: lost, started twice, and why. Pure functions."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

ACKNOWLEDGED = 2.0
"""Seconds from a task's last line until its acknowledgement is on the broker's disk: until then it is in flight."""

SLACK = 1.0
"""Seconds by which beat may be late besides the time in which it did not run."""

STOPPED = ("Deactivated successfully.", "Main process exited", "Failed with result")


@dataclass(frozen=True)
class Run:
    """One start of a task on `host`, in seconds since 1970. `task` is Celery's id: the same for a second delivery."""

    name: str
    host: str
    task: str
    start: float
    end: float | None = None


@dataclass(frozen=True)
class Kill:
    """A SIGKILL between two moments. `hosts`: those whose tasks in flight it may repeat. `back`: all answers again."""

    kind: str
    hosts: tuple[str, ...]
    began: float
    over: float
    back: float


@dataclass(frozen=True)
class Deploy:
    """A deploy, from its first second to its last."""

    began: float
    over: float


@dataclass
class Verdict:
    """What the lines say of all tasks."""

    sent: int
    lost: list[str] = field(default_factory=list)
    """Tasks that never came to their end."""
    in_flight: list[int] = field(default_factory=list)
    """For each kill: the tasks that were under way on its hosts."""
    repeated: list[int] = field(default_factory=list)
    """For each kill: those of them that were started once more."""
    sent_twice: list[str] = field(default_factory=list)
    """Tasks that the outbox sent again, as it was killed between the broker's answer and its own commit."""
    unexplained: list[str] = field(default_factory=list)
    """Tasks that were started twice, but were not in flight at a kill."""

    @property
    def broken(self) -> list[str]:
        """What must not be."""
        problems = [f"{len(self.lost)} lost: {', '.join(self.lost[:5])}"] if self.lost else []
        if self.unexplained:
            problems.append(f"{len(self.unexplained)} started twice: {', '.join(self.unexplained[:5])}")
        if len(self.sent_twice) > len(self.in_flight):
            problems.append(f"{len(self.sent_twice)} sent twice at {len(self.in_flight)} kills")
        return problems


def runs(log: str, host: str, series: str) -> list[Run]:
    """The runs in a host's log of the tasks whose names begin with `series`."""
    found: list[Run] = []
    open_runs: dict[str, list[int]] = defaultdict(list)
    for line in log.splitlines():
        what, name, at, task = line.split()
        if not name.startswith(series):
            continue
        if what == "start":
            open_runs[task].append(len(found))
            found.append(Run(name, host, task, float(at)))
        else:
            number = open_runs[task].pop()
            found[number] = Run(name, host, task, found[number].start, float(at))
    return found


def in_flight(run: Run, kill: Kill) -> bool:
    """Whether `run` was under way at `kill`, on one of its hosts."""
    ends = run.end if run.end is not None else float("inf")
    return run.host in kill.hosts and run.start <= kill.over and ends + ACKNOWLEDGED >= kill.began


def verdict(names: Sequence[str], found: Iterable[Run], kills: Sequence[Kill]) -> Verdict:
    """Compare what was sent with what was done."""
    by_name: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(found, key=lambda run: run.start):
        by_name[run.name].append(run)
    result = Verdict(len(names), in_flight=[0] * len(kills), repeated=[0] * len(kills))
    for name in names:
        these = by_name[name]
        if all(run.end is None for run in these):
            result.lost.append(name)
        causes = [_cause(run, kills) for run in these]
        for cause in causes:
            if cause is not None:
                result.in_flight[cause] += 1
        for (run, again), cause in zip(itertools.pairwise(these), causes, strict=False):
            if run.task != again.task:
                result.sent_twice.append(name)
            elif cause is None:
                result.unexplained.append(name)
            else:
                result.repeated[cause] += 1
    return result


def _cause(run: Run, kills: Sequence[Kill]) -> int | None:
    return next((number for number, kill in enumerate(kills) if in_flight(run, kill)), None)


def resumed(found: Iterable[Run], kill: Kill) -> float | None:
    """Seconds from the kill until each of its hosts has begun a task again; None where one has not."""
    after = [run for run in found if run.start > kill.over]
    first = [min((run.start for run in after if run.host == host), default=None) for host in kill.hosts]
    return None if not first or None in first else max(at for at in first if at is not None) - kill.over


@dataclass(frozen=True)
class Beat:
    """One process of beat: when it was started, had loaded, was told to stop, had ended, and what it sent when."""

    started: float
    ready: float
    stopping: float
    ended: float
    sent: tuple[tuple[str, float], ...]


def beats(journal: Iterable[str]) -> list[Beat]:
    """The processes of beat in the lines that `journalctl -o json` says of its units."""
    entries = [json.loads(line) for line in journal]
    units = list(dict.fromkeys(entry.get("UNIT") or entry.get("_SYSTEMD_UNIT") for entry in entries))
    return sorted(
        (
            beat
            for unit in units
            for beat in _of_unit([e for e in entries if unit in (e.get("UNIT"), e.get("_SYSTEMD_UNIT"))])
        ),
        key=lambda beat: beat.started,
    )


def _of_unit(entries: list[dict[str, str]]) -> Iterable[Beat]:
    """A unit whose process was killed is started again: every start is a process of its own."""
    starts = [n for n, entry in enumerate(entries) if entry["MESSAGE"].startswith("Started ")]
    for first, behind in itertools.pairwise([*starts, len(entries)]):
        these = [(entry["MESSAGE"], int(entry["__REALTIME_TIMESTAMP"]) / 1e6) for entry in entries[first:behind]]
        ready = [at for message, at in these if message.endswith("beat: Starting...")]
        stopping = [at for message, at in these if message.startswith("Stopping ")]
        ended = [at for message, at in these if any(text in message for text in STOPPED)]
        sent = [
            (message.split("Sending due task ")[1].split()[0], at)
            for message, at in these
            if "Sending due task " in message
        ]
        last = max([*(at for _, at in sent), these[0][1]])
        began = these[0][1]
        yield Beat(began, (ready or [began])[0], (stopping or ended or [last])[0], (ended or [last])[0], tuple(sent))


def together(found: Sequence[Beat]) -> int:
    """How often a process of beat was started before the one before had ended, or sent something afterwards."""
    return sum(
        after.started < before.ended or any(at > after.started for _, at in before.sent)
        for before, after in itertools.pairwise(found)
    )


@dataclass(frozen=True)
class Late:
    """A task of beat's schedule that was due while a deploy replaced beat: seconds late, and seconds without beat."""

    entry: str
    seconds: float
    without: float

    @property
    def too_late(self) -> bool:
        return self.seconds > self.without + SLACK


def lateness(found: Sequence[Beat], schedule: dict[str, float], kills: Sequence[Kill]) -> list[Late]:
    """How late what is due every so many seconds came, for each replacement of beat without a kill at the same time."""
    away = [kill for kill in kills if kill.kind not in ("process", "worker")]
    result = []
    for entry, interval in schedule.items():
        sent = [(at, number) for number, beat in enumerate(found) for name, at in beat.sent if name == entry]
        for (before, old), (after, new) in itertools.pairwise(sent):
            if old == new or any(before < kill.back and kill.began < after for kill in away):
                continue
            without = sum(found[n + 1].ready - found[n].stopping for n in range(old, new))
            result.append(Late(entry, round(after - before - interval, 2), round(without, 2)))
    return result
