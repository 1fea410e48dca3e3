"""Bulk load: rows of a CSV file, each sent straight to its child by COPY, so that no trigger and no router sees it."""

from __future__ import annotations

import bisect
import codecs
import csv
import datetime as dt
import io
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, BinaryIO

import psycopg2

from hostwright.errors import BadInput
from hostwright.partition import render
from hostwright.partition.catalog import INTEGERS, Table
from hostwright.partition.connection import PATIENT, transaction
from hostwright.partition.spec import PartitionSpec

csv.field_size_limit(sys.maxsize)  # PostgreSQL's limit is what counts.
BLOCK = 1 << 15
"""Bytes that are looked at together: where all their days are of one child, no line is looked at by itself."""
HELD = 1 << 23
"""Bytes of rows in no order that are held at most, to be sent with others of their child."""


def load(connection: Any, spec: PartitionSpec, table: Table, source: BinaryIO, progress: Callable[[int], None]) -> int:
    """Load `source`, CSV in UTF-8 with a header line, in one transaction; returns the number of rows.

    An empty field without quotes is NULL. A moment of the key without an offset is taken for UTC. The caller sees to it
    that the table keeps its children meanwhile (`apply.alone`). Raises BadInput, and nothing is loaded, where a line
    can't be read.
    """
    header = _header(source)
    known = [column.name for column in table.columns]
    unknown = [name for name in header if name not in known]
    if unknown or spec.key not in header:
        raise BadInput(
            f"the file's columns are {', '.join(header) or 'none'}",
            f"Unknown: {', '.join(unknown)}."
            if unknown
            else f"{spec.key}, by which rows find their child, is not there.",
        )
    # A child does not number its rows by itself where the table has an identity column, before PostgreSQL 17.
    unnumbered = set(table.identity) - set(header)
    router = Router(spec, table, by_table=bool(unnumbered) and (table.kind != "partitioned" or table.version < 17))
    count, unsaid = 0, 0

    def counted(parts: Iterator[tuple[str, bytes, int]]) -> Iterator[bytes]:
        nonlocal count, unsaid
        for _, data, rows in parts:
            yield data
            count, unsaid = count + rows, unsaid + len(data)
            if unsaid >= HELD:
                progress(count)
                unsaid = 0

    with transaction(connection, f"{spec.table}: nothing was loaded") as cursor:
        cursor.execute(f"SET LOCAL timezone = 'UTC'; SET LOCAL client_encoding = 'UTF8'; {PATIENT}")
        for target, parts in groupby(routed(source, header.index(spec.key), router), key=itemgetter(0)):
            stream = _Stream(counted(parts))
            name = render.qualified(spec.schema_name, target)
            copy = f"COPY {name} ({render.identifiers(header)}) FROM STDIN WITH (FORMAT csv)"
            try:
                cursor.copy_expert(copy, stream, size=BLOCK)
            except psycopg2.Error:
                if stream.error:
                    raise stream.error from None
                raise
    return count


class _Stream:
    """What COPY reads: rows that are sorted while the server takes those before them."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._part = io.BytesIO()
        self.error: BaseException | None = None
        """Why it ended too early; psycopg2 keeps only the text of it."""

    def read(self, size: int) -> bytes:
        if data := self._part.read(size):
            return data
        try:
            self._part = io.BytesIO(next(self._parts, b""))
        except BaseException as error:
            self.error = error
            raise
        return self._part.read(size)


def _header(source: BinaryIO) -> list[str]:
    try:
        line = source.readline().removeprefix(codecs.BOM_UTF8).decode()
        return next(csv.reader([line]), [])
    except UnicodeDecodeError:
        raise BadInput("the file is not in UTF-8", "Convert it, with iconv for example.") from None
    except csv.Error as error:
        raise BadInput(
            f"line 1, which names the columns, can't be read: {error}",
            "Lines end with a line feed, with a carriage return before it or without.",
        ) from None


def routed(source: BinaryIO, at: int, route: Router) -> Iterator[tuple[str, bytes, int]]:
    """The rows of `source`, whose key is the column `at`, as (table that they go to, text, number of rows).

    A block of one table goes out at once; rows in no order are held until there are many for each table.
    """
    # The first ten characters of the key of each line; nothing of a line that has no such key.
    days = re.compile(rb"(?:[^,\n]*,){%d}([^,\n]{10})[^\n]*\n|[^\n]*\n" % at)
    number, size = 2, 0
    held: dict[str, list[bytes]] = defaultdict(list)

    def sorted_ones() -> Iterator[tuple[str, bytes, int]]:
        for target, lines in held.items():
            yield target, b"".join(lines), len(lines)
        held.clear()

    for block in _blocks(source):
        homes = set() if b'"' in block else {route.of_day(day) for day in set(days.findall(block))}
        home = homes.pop() if len(homes) == 1 else None
        if home is None:
            _by_line(block, number, at, route, held)
            size += len(block)
        if home or size >= HELD:
            yield from sorted_ones()
            size = 0
        if home:
            yield home, block, block.count(b"\n")
        number += block.count(b"\n")
    yield from sorted_ones()


def _by_line(block: bytes, number: int, at: int, route: Router, targets: dict[str, list[bytes]]) -> None:
    """Sort the lines of `block`, the first of which has that number in the file, into `targets`."""
    lines = _lines(block)
    key = _key if b'"' in block else _plain_key
    for index, line in enumerate(lines):
        try:
            value = key(line, at)
            target = route.of_day(value[:10]) or route(value.decode())
        except (ValueError, IndexError, csv.Error):
            before = sum(1 + one.count(b"\n") for one in lines[:index])
            raise BadInput(
                f"line {number + before}: no value of the key in {line[:100].decode(errors='replace')!r}",
                "Nothing was loaded.",
            ) from None
        targets[target].append(line + b"\n")


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    """`source` in blocks that end where a row does, with a line end."""
    while data := source.read(BLOCK) + source.readline():
        rest = []
        quotes = data.count(b'"')
        while quotes % 2 and (line := source.readline()):
            rest.append(line)
            quotes += line.count(b'"')
        block = b"".join([data, *rest])
        yield block if block.endswith(b"\n") else block + b"\n"


def _lines(data: bytes) -> list[bytes]:
    """The rows of `data`; a line end between quotes does not end one."""
    lines = data.removesuffix(b"\n").split(b"\n")
    if b'"' not in data:
        return lines
    rows: list[bytes] = []
    parts: list[bytes] = []
    for line in lines:
        odd = line.count(b'"') % 2
        if parts or odd:
            parts.append(line)
        if not parts:
            rows.append(line)
        elif odd and len(parts) > 1:
            rows.append(b"\n".join(parts))
            parts = []
    return [*rows, b"\n".join(parts)] if parts else rows


def _plain_key(line: bytes, at: int) -> bytes:
    """The column `at` of `line`, which has no quotes."""
    return line.split(b",", at + 1)[at].rstrip(b"\r")


def _key(line: bytes, at: int) -> bytes:
    """The column `at` of `line`."""
    fields = line.split(b",", at + 1)
    if any(field.count(b'"') % 2 for field in fields[: at + 1]):  # There is a comma between quotes.
        return next(csv.reader(io.StringIO(line.decode(), newline="")))[at].encode()
    return fields[at].rstrip(b"\r").strip(b'"')


def _moment(text: str) -> dt.datetime:
    """PostgreSQL writes +00, and others Z, where Python 3.10 wants +00:00."""
    return dt.datetime.fromisoformat(re.sub(r"(:.*[+-]\d\d)$", r"\1:00", text.replace("Z", "+00:00")))


class Router:
    """Calling it with a value of the key, as text, gives the name of the table that the row goes to.

    `by_table`: that is the divided table itself, for each.
    """

    def __init__(self, spec: PartitionSpec, table: Table, by_table: bool = False) -> None:
        column = table.column(spec.key)
        assert column is not None
        self._integer = column.type in INTEGERS
        self._zoned = column.zoned
        self._whole = spec.table_name
        # A row of an archived period goes the way of any other insert: not each server copies into a foreign table.
        ranged = [c for c in table.children if not (by_table or c.bound or c.is_archived or c.is_leaving)]
        edges: list[tuple[Any, Any, str]] = [(c.lower, c.upper, c.name) for c in ranged if c.lower is not None]
        lower, upper = table.hot
        if table.trigger == "AFTER" and lower is not None:
            edges = [edge for edge in edges if edge[0] != lower] + [(lower, upper, self._whole)]
        self._edges = sorted(edges, key=lambda edge: edge[0])
        self._lowers = [edge[0] for edge in self._edges]
        self._first = next((child for child in ranged if child.lower is None), None)
        self._days: dict[bytes, str | None] = {}
        self._hours: dict[tuple[str, str], str] = {}
        """The tables of hours that lie in one child, by the first thirteen characters and the offset."""

    def of_day(self, day: bytes) -> str | None:
        """The table of all moments that begin with `day`, such as 2026-01-31; None: of several, or it is no day."""
        if day not in self._days:
            self._days[day] = self._of_day(day)
        return self._days[day]

    def _of_day(self, day: bytes) -> str | None:
        if self._integer or not re.fullmatch(rb"\d{4}-\d\d-\d\d", day):
            return None
        try:
            start = dt.datetime.fromisoformat(day.decode())
        except ValueError:
            return None
        if not 1 < start.year < 9999:
            return None
        if self._zoned:
            # Whatever its offset, which is less than 16 hours, a moment of this day lies between these.
            start = start.replace(tzinfo=dt.timezone.utc)
            first, last = start - dt.timedelta(hours=16), start + dt.timedelta(hours=40, microseconds=-1)
        else:
            first, last = start, start + dt.timedelta(hours=24, microseconds=-1)
        found = self._at(first)
        return found if self._at(last) == found else None

    def __call__(self, text: str) -> str:
        if self._integer:
            return self._at(int(text))
        hour = text[:13], text[13:].lstrip(":.0123456789")
        if known := self._hours.get(hour):
            return known
        value = _moment(text)
        if not self._zoned or value.tzinfo is None:  # PostgreSQL takes no notice of an offset where it keeps none.
            value = value.replace(tzinfo=dt.timezone.utc if self._zoned else None)
        found = self._at(value)
        if len(text) < 14:
            self._hours[hour] = found
        if not (text[4] == text[7] == "-" and 1 < value.year < 9999):
            return found
        start = value.replace(minute=0, second=0, microsecond=0)
        if (
            text[13:14] == ":"
            and self._at(start) == self._at(start + dt.timedelta(minutes=59, seconds=59, microseconds=999999)) == found
        ):
            self._hours[hour] = found
        return found

    def _at(self, value: Any) -> str:
        index = bisect.bisect_right(self._lowers, value) - 1
        if index >= 0:
            _, upper, name = self._edges[index]
            return name if upper is None or value < upper else self._whole
        if self._first is not None and (self._first.upper is None or value < self._first.upper):
            return self._first.name
        return self._whole
