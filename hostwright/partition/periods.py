"""Periods of a range: where they begin, the bounds of their child tables, and what those are called.

A position is where a period begins: a wall-clock time of the spec's zone without an offset, or an integer. A bound is
what the database compares the key with: a moment (aware, for timestamptz), a wall-clock time, or an integer. Those of
one table are all of one kind. `period` in templates/partition/library.sql.j2 does the same in the database.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from hostwright.partition.spec import Interval, PartitionSpec

IDENTIFIER_BYTES = 63
"""PostgreSQL cuts longer names."""

Position: TypeAlias = Any
Bound: TypeAlias = Any


@dataclass(frozen=True)
class Period:
    """A child table to be: its name and its bounds; `lower` is None for all that is older."""

    name: str
    lower: Bound | None
    upper: Bound


@dataclass(frozen=True)
class Periods:
    """The periods of `spec`, for a key with a time zone or without."""

    spec: PartitionSpec
    zoned: bool = True

    def position(self, value: Bound) -> Position:
        """The beginning of the period that `value` lies in."""
        if isinstance(value, int):
            width = int(self.spec.interval)
            return value // width * width
        local = value
        if value.tzinfo:
            local = value.astimezone(ZoneInfo(self.spec.timezone)).replace(tzinfo=None)
        return floor(local, self._unit)

    def bound(self, position: Position) -> Bound:
        """The bound at `position`."""
        if isinstance(position, int) or not self.zoned:
            return position
        zone = ZoneInfo(self.spec.timezone)
        # A time that happens twice, or never, in that zone: the later moment, as PostgreSQL takes it.
        return max(position.replace(tzinfo=zone, fold=fold).astimezone(dt.timezone.utc) for fold in (0, 1))

    def step(self, position: Position, count: int) -> Position:
        """The position `count` periods after `position`; negative for before."""
        if isinstance(position, int):
            return position + count * int(self.spec.interval)
        return step(position, self._unit, count)

    def period(self, position: Position) -> Period:
        """The child table of the period that begins at `position`."""
        name = child_name(self.spec.table_name, suffix(position, self.spec.interval))
        return Period(name, self.bound(position), self.bound(self.step(position, 1)))

    @property
    def _unit(self) -> Interval:
        assert not isinstance(self.spec.interval, int)
        return self.spec.interval


def floor(moment: dt.datetime, interval: Interval) -> dt.datetime:
    """The beginning of the period that `moment` lies in."""
    if interval == "hour":
        return moment.replace(minute=0, second=0, microsecond=0)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if interval == "day":
        return day
    if interval == "week":
        return day - dt.timedelta(days=day.weekday())
    if interval == "month":
        return day.replace(day=1)
    if interval == "quarter":
        return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    return day.replace(month=1, day=1)


def step(start: dt.datetime, interval: Interval, count: int) -> dt.datetime:
    """The beginning of the period `count` periods after the one that begins at `start`; negative for before."""
    if interval == "hour":
        return start + dt.timedelta(hours=count)
    if interval in ("day", "week"):
        return start + dt.timedelta(days=count * (7 if interval == "week" else 1))
    months = start.year * 12 + start.month - 1 + count * {"month": 1, "quarter": 3, "year": 12}[interval]
    return start.replace(year=months // 12, month=months % 12 + 1)


def suffix(position: Position, interval: Interval | int) -> str:
    """What the name of a child ends with."""
    if isinstance(position, int):
        return f"_p{position}" if position >= 0 else f"_pm{-position}"
    year, date = f"{position.year:04}", f"{position.year:04}{position.month:02}{position.day:02}"
    forms = {
        "hour": f"{date}h{position.hour:02}",
        "day": date,
        "week": f"w{date}",
        "month": date[:6],
        "quarter": f"{year}q{(position.month - 1) // 3 + 1}",
        "year": year,
    }
    return "_p" + forms[str(interval)]


def child_name(table: str, suffix: str) -> str:
    """`table` + `suffix`, with the table's name cut and marked by a hash of it where both are too long together."""
    if len((table + suffix).encode()) <= IDENTIFIER_BYTES:
        return table + suffix
    mark = "_" + hashlib.md5(table.encode(), usedforsecurity=False).hexdigest()[:8]
    room = IDENTIFIER_BYTES - len((mark + suffix).encode())
    return table.encode()[:room].decode(errors="ignore") + mark + suffix
