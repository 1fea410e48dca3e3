"""Bulk load: rows of a CSV file, each sent straight to its child by COPY, so that no trigger and no router sees it."""

from __future__ import annotations

import bisect
import csv
import datetime as dt
import io
import itertools
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TextIO

from hostwright.errors import BadInput
from hostwright.partition import render
from hostwright.partition.catalog import INTEGERS, Table
from hostwright.partition.connection import transaction
from hostwright.partition.spec import PartitionSpec

CHUNK = 20_000
"""Lines that are read and sorted while those before them are sent."""


def load(connection: Any, spec: PartitionSpec, table: Table, source: TextIO, progress: Callable[[int], None]) -> int:
    """Load `source`, CSV with a header line, in one transaction; returns the number of rows.

    An empty field without quotes is NULL. A moment of the key without an offset is taken for UTC. Raises BadInput, and
    nothing is loaded, where a line can't be read.
    """
    header = next(csv.reader([source.readline()]), [])
    known = [column[0] for column in table.columns]
    unknown = [name for name in header if name not in known]
    if unknown or spec.key not in header:
        raise BadInput(
            f"{spec.table}: the file's columns are {', '.join(header) or 'none'}",
            f"Unknown: {', '.join(unknown)}."
            if unknown
            else f"{spec.key}, by which rows find their child, is not there.",
        )
    count = 0
    with transaction(connection, f"{spec.table}: nothing was loaded") as cursor, ThreadPoolExecutor(1) as sender:
        cursor.execute("SET LOCAL timezone = 'UTC'")
        sent: Future[None] | None = None
        for rows, lines in _sorted(source, header.index(spec.key), Router(spec, table)):
            if sent:
                sent.result()
                progress(count)
            sent = sender.submit(_send, cursor, spec, header, lines)
            count += rows
        if sent:
            sent.result()
    return count


def _send(cursor: Any, spec: PartitionSpec, header: list[str], lines: dict[str, list[str]]) -> None:
    for target, texts in lines.items():
        name = f"{render.identifier(spec.schema_name)}.{render.identifier(target)}"
        copy = f"COPY {name} ({render.identifiers(header)}) FROM STDIN WITH (FORMAT csv)"
        cursor.copy_expert(copy, io.BytesIO("".join(texts).encode()), 1 << 16)


def _sorted(source: TextIO, at: int, route: Router) -> Iterator[tuple[int, dict[str, list[str]]]]:
    """(number, lines by the table that they go to) of the next CHUNK rows, until none is left."""
    number = 1
    while lines := list(itertools.islice(source, CHUNK)):
        number += len(lines)
        if any('"' in line for line in lines):
            lines = [*_joined(lines, source)]
        found: dict[str, list[str]] = {}
        for day, those in _by_day(lines, at).items():
            for index, line in enumerate(those):
                target = route.days.get(day)
                if target:
                    found.setdefault(target, []).extend(those[index:])
                    break
                try:
                    target = route(_field(line, at))
                except (ValueError, IndexError):
                    raise BadInput(
                        f"line {number - len(lines) + lines.index(line) + 1}: no value of the key in {line[:100]!r}",
                        "Nothing was loaded.",
                    ) from None
                found.setdefault(target, []).append(line)
        yield len(lines), found


def _joined(lines: list[str], source: TextIO) -> Iterator[str]:
    """`lines` with those put together that a quoted line end divides; the last may need more of `source`."""
    more = itertools.chain(lines, source)
    for _ in range(len(lines)):
        line = next(more, "")
        while line.count('"') % 2:
            line += next(more, '"')
        if line:
            yield line


def _by_day(lines: list[str], at: int) -> dict[str, list[str]]:
    """`lines` by the first ten characters of their key, which are its day; a quoted line by itself."""
    found: dict[str, list[str]] = {}
    for line in lines:
        key = line[:10] if at == 0 else line.split(",", at + 1)[at][:10] if line.count(",") >= at else line
        if '"' in line:
            key = line
        if key in found:
            found[key].append(line)
        else:
            found[key] = [line]
    return found


def _field(line: str, at: int) -> str:
    if '"' in line:
        return next(csv.reader(line.splitlines(keepends=True)))[at]
    return line.rstrip("\r\n").split(",", at + 1)[at]


def _moment(text: str) -> dt.datetime:
    """PostgreSQL writes +00, and others Z, where Python 3.10 wants +00:00."""
    return dt.datetime.fromisoformat(re.sub(r"(:.*[+-]\d\d)$", r"\1:00", text.replace("Z", "+00:00")))


class Router:
    """Calling it with a value of the key, as text, gives the name of the table that the row goes to."""

    def __init__(self, spec: PartitionSpec, table: Table) -> None:
        column = table.column(spec.key)
        assert column is not None
        self._integer = column[1] in INTEGERS
        self._zoned = column[1] == "timestamp with time zone"
        self._whole = spec.table_name
        ranged = [child for child in table.children if not child.bound]
        edges: list[tuple[Any, Any, str]] = [(c.lower, c.upper, c.name) for c in ranged if c.lower is not None]
        lower, upper = table.hot
        if table.trigger == "AFTER" and lower is not None:
            edges = [edge for edge in edges if edge[0] != lower] + [(lower, upper, self._whole)]
        self._edges = sorted(edges, key=lambda edge: edge[0])
        self._lowers = [edge[0] for edge in self._edges]
        self._first = next((child for child in ranged if child.lower is None), None)
        self.days: dict[str, str] = {}
        """The tables of days, as the first ten characters of a moment, that lie in one child whatever its offset."""

    def __call__(self, text: str) -> str:
        if self._integer:
            return self._at(int(text))
        value = _moment(text)
        if self._zoned and value.tzinfo is None:
            value = value.replace(tzinfo=dt.timezone.utc)
        found = self._at(value)
        day = value.replace(hour=0, minute=0, second=0, microsecond=0)
        # Whatever its offset, a moment of this day lies between these.
        around = [self._at(day + dt.timedelta(days=days)) for days in (-1, 0, 1, 2)] if 1 < day.year < 9999 else []
        if around == [found] * 4 and len(text) >= 10 and text[4] == text[7] == "-":
            self.days[text[:10]] = found
        return found

    def _at(self, value: Any) -> str:
        index = bisect.bisect_right(self._lowers, value) - 1
        if index >= 0:
            _, upper, name = self._edges[index]
            return name if upper is None or value < upper else self._whole
        if self._first is not None and (self._first.upper is None or value < self._first.upper):
            return self._first.name
        return self._whole
