"""Bulk load: rows of a CSV file, each sent straight to its child by COPY, so that no trigger and no router sees it."""

from __future__ import annotations

import bisect
import csv
import datetime as dt
import io
import re
from collections.abc import Callable, Iterable
from typing import Any, TextIO

import psycopg2

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import render
from hostwright.partition.catalog import INTEGERS, Table
from hostwright.partition.spec import PartitionSpec

CHUNK = 4 << 20
"""Characters that are gathered for a child before they are sent."""


def load(connection: Any, spec: PartitionSpec, table: Table, source: TextIO, progress: Callable[[int], None]) -> int:
    """Load `source`, CSV with a header line, in one transaction; returns the number of rows.

    An empty field without quotes is NULL. A moment of the key without an offset is taken for UTC. Raises BadInput, and
    nothing is loaded, where a line can't be read or has no child.
    """
    reader = csv.reader(source)
    header = next(reader, [])
    known = [column[0] for column in table.columns]
    unknown = [name for name in header if name not in known]
    if unknown or spec.key not in header:
        raise BadInput(
            f"{spec.table}: the file's columns are {', '.join(header) or 'none'}",
            f"Unknown: {', '.join(unknown)}."
            if unknown
            else f"{spec.key}, by which rows find their child, is not there.",
        )
    route = Router(spec, table)
    at = header.index(spec.key)
    waiting: dict[str, io.StringIO] = {}
    writers: dict[str, Any] = {}
    count = 0
    connection.autocommit = False
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL timezone = 'UTC'")
            for line in reader:
                try:
                    target = route(line[at])
                except (ValueError, IndexError):
                    raise BadInput(f"{spec.table}: line {reader.line_num}: no {spec.key} in {line!r}") from None
                if target not in waiting:
                    waiting[target] = io.StringIO()
                    writers[target] = csv.writer(waiting[target])
                writers[target].writerow(line)
                count += 1
                if waiting[target].tell() > CHUNK:
                    _send(cursor, spec, target, header, waiting[target])
                    progress(count)
            for target, lines in waiting.items():
                _send(cursor, spec, target, header, lines)
        connection.commit()
    except psycopg2.Error as error:
        if not connection.closed:
            connection.rollback()
        raise HostwrightError(f"{spec.table}: nothing was loaded: {str(error).strip()}") from None
    except BaseException:
        connection.rollback()
        raise
    finally:
        if not connection.closed:
            connection.autocommit = True
    return count


def _send(cursor: Any, spec: PartitionSpec, target: str, header: Iterable[str], lines: io.StringIO) -> None:
    lines.seek(0)
    name = f"{render.identifier(spec.schema_name)}.{render.identifier(target)}"
    cursor.copy_expert(f"COPY {name} ({render.identifiers(header)}) FROM STDIN WITH (FORMAT csv)", lines)
    lines.seek(0)
    lines.truncate()


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
        self._hot = table.hot if table.trigger == "AFTER" else (None, None)
        ranged = [child for child in table.children if not child.bound]
        self._first = next((child for child in ranged if child.lower is None), None)
        self._rest = [child for child in ranged if child.lower is not None]
        self._lowers = [child.lower for child in self._rest]
        self._seen: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        found = self._seen.get(text)
        if found is None:
            found = self._find(text)
            if len(self._seen) < 100_000:
                self._seen[text] = found
        return found

    def _find(self, text: str) -> str:
        value: Any = int(text) if self._integer else _moment(text)
        if self._zoned and value.tzinfo is None:
            value = value.replace(tzinfo=dt.timezone.utc)
        lower, upper = self._hot
        if lower is not None and upper is not None and lower <= value < upper:
            return self._whole
        index = bisect.bisect_right(self._lowers, value) - 1
        if index >= 0:
            child = self._rest[index]
            if child.upper is None or value < child.upper:
                return child.name
        if index < 0 and self._first is not None and (self._first.upper is None or value < self._first.upper):
            return self._first.name
        return self._whole
