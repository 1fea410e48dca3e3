"""Periods of time: where they begin, and what the child table of one is called. All of it in UTC."""

from __future__ import annotations

import datetime as dt
import hashlib

from hostwright.partition.spec import Interval

IDENTIFIER_BYTES = 63
"""PostgreSQL cuts longer names."""


def floor(moment: dt.datetime, interval: Interval) -> dt.datetime:
    """The beginning of the period that `moment` (aware) lies in."""
    day = moment.astimezone(dt.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
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
    if interval in ("day", "week"):
        return start + dt.timedelta(days=count * (7 if interval == "week" else 1))
    months = start.year * 12 + start.month - 1 + count * {"month": 1, "quarter": 3, "year": 12}[interval]
    return start.replace(year=months // 12, month=months % 12 + 1)


def child_name(table: str, start: dt.datetime, interval: Interval) -> str:
    """The name of the child of `table` for the period that begins at `start`; unique within 63 bytes."""
    form = {"day": "%Y%m%d", "week": "w%Y%m%d", "month": "%Y%m", "quarter": "%Yq", "year": "%Y"}[interval]
    suffix = "_p" + start.strftime(form) + (str((start.month - 1) // 3 + 1) if interval == "quarter" else "")
    return shortened(table, suffix)


def shortened(table: str, suffix: str) -> str:
    """`table` + `suffix`, with the table's name cut and marked by a hash of it where both are too long together."""
    if len((table + suffix).encode()) <= IDENTIFIER_BYTES:
        return table + suffix
    mark = "_" + hashlib.sha256(table.encode()).hexdigest()[:8]
    room = IDENTIFIER_BYTES - len((mark + suffix).encode())
    return table.encode()[:room].decode(errors="ignore") + mark + suffix
