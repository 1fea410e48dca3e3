"""Each row of a CSV file goes to the table of its key, as it stands in the file."""

from __future__ import annotations

import csv
import datetime as dt
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostwright.errors import BadInput
from hostwright.partition import load
from hostwright.partition.catalog import Child, Column, Table
from hostwright.partition.spec import PartitionSpec

UTC = dt.timezone.utc
SPEC = PartitionSpec.model_validate({"table": "events", "key": "at"})


def month(number: int) -> dt.datetime:
    return dt.datetime(2026, number, 1, tzinfo=UTC)


def table(kind: str, children: tuple[Child, ...], **values: Any) -> Table:
    return Table(15, True, columns=(Column("at", kind, True),), children=children, **values)


MONTHS = table(
    "timestamp with time zone",
    (Child("old", None, month(2)), Child("p2", month(2), month(3)), Child("p3", month(3), month(4))),
)


def routed(text: str, at: int = 0, of: Table = MONTHS) -> dict[str, str]:
    found: dict[str, str] = {}
    for target, data, rows in load.routed(io.BytesIO(text.encode()), at, load.Router(SPEC, of)):
        assert rows == len(list(csv.reader(io.StringIO(data.decode(), newline=""))))
        found[target] = found.get(target, "") + data.decode()
    return found


@pytest.mark.parametrize(
    ("moment", "target"),
    [
        ("2026-02-10 12:00:00+00", "p2"),
        ("2026-02-01", "p2"),
        ("2026-01-31", "old"),
        ("2026-02-28 23:59:59.999999+00", "p2"),
        ("2026-03-01 00:00:00+00", "p3"),
        ("2026-03-01 00:30:00+01", "p2"),
        ("2026-02-28 23:30:00-01", "p3"),
        ("2026-03-01T00:15:00.5+00:30", "p2"),
        ("2026-03-01T00:15:00Z", "p3"),
        ("2026-03-31 23:59", "p3"),
        ("2026-04-01", "events"),
        ("0001-01-01 00:00:00+00", "old"),
        ("9999-12-31 23:59:59+00", "events"),
    ],
)
def test_a_moment_goes_to_the_child_of_its_period(moment: str, target: str) -> None:
    # Once by itself, and once where others of that day have come before.
    assert routed(f"{moment},x\n") == {target: f"{moment},x\n"}
    around = [
        f"{moment[:10]} {hour:02}:{minute:02}:00{zone}"
        for hour in range(24)
        for minute in (0, 59)
        for zone in ("", "+00", "-10", "+13:45")
    ]
    text = "".join(f"{one},y\n" for one in around if not moment.startswith(("0001", "9999"))) + f"{moment},x\n"
    assert [name for name, lines in routed(text).items() if f"{moment},x" in lines.splitlines()] == [target]


def test_under_landing_the_current_period_goes_to_the_parent() -> None:
    landing = table("timestamp with time zone", MONTHS.children, trigger="AFTER", hot=(month(3), month(4)))
    text = "2026-02-10,a\n2026-03-10,b\n2026-03-01 00:30+01,c\n"
    assert routed(text, of=landing) == {"p2": "2026-02-10,a\n2026-03-01 00:30+01,c\n", "events": "2026-03-10,b\n"}


def test_an_offset_means_nothing_to_a_key_without_one() -> None:
    local = table(
        "timestamp without time zone", (Child("p2", month(2).replace(tzinfo=None), month(3).replace(tzinfo=None)),)
    )
    text = "2026-02-28 23:30:00+00,a\n2026-02-28 23:30:00-05,b\n2026-02-01 00:00:00+05,c\n2026-03-01,d\n"
    assert routed(text, of=local) == {"p2": "".join(text.splitlines(keepends=True)[:3]), "events": "2026-03-01,d\n"}


def test_integers_by_their_range() -> None:
    numbers = table("bigint", (Child("p0", 0, 10), Child("p10", 10, 20)))
    assert routed("a,9\nb,10\nc,-1\nd,20\n", 1, numbers) == {"p0": "a,9\n", "p10": "b,10\n", "events": "c,-1\nd,20\n"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("2026-02-01,a\n,b\n", 3),
        ("2026-02-01,a\n\n", 3),
        ('2026-02-01,"two\nlines"\nyesterday,b\n', 4),
        ('"2026-02-01,a\n', 2),
    ],
)
def test_a_line_without_a_key_is_named(text: str, line: int) -> None:
    with pytest.raises(BadInput, match=f"line {line}: no value of the key in"):
        routed(text)


def test_a_field_may_be_as_long_as_postgresql_takes_it() -> None:
    line = f'"{"a," * 100_000}",2026-02-10\n'
    assert routed(line, 1) == {"p2": line}


def test_a_line_separator_of_unicode_ends_no_line() -> None:
    line = '"a,b"\u2028,2026-02-10\n'
    assert routed(line, 1) == {"p2": line}


def test_a_carriage_return_in_the_middle_of_a_line() -> None:
    with pytest.raises(BadInput, match="line 2: no value of the key in"):
        routed('"a,b"\rc,2026-02-10\n', 1)


@pytest.mark.parametrize("text", ["at,kind\r2026-02-10,a\r", "at,kind\rx\n2026-02-10,a\n"])
def test_a_header_that_does_not_end(text: str) -> None:
    with pytest.raises(BadInput, match="line 1, which names the columns, can't be read: new-line character"):
        load.load(None, SPEC, MONTHS, io.BytesIO(text.encode()), lambda rows: None)


ROWS = st.lists(
    st.tuples(
        st.text(st.sampled_from('a",\n ä'), max_size=6),
        st.datetimes(dt.datetime(2026, 1, 20), dt.datetime(2026, 4, 10), timezones=st.just(UTC)),
        st.text(st.sampled_from('b",\n '), max_size=6),
    ),
    min_size=1,
    max_size=60,
)


@given(
    ROWS,
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.integers(1, 400),
)
def test_rows_go_where_a_csv_reader_would_send_them(
    rows: list[tuple[str, dt.datetime, str]], quoting: Any, end: str, ended: bool, size: int
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator=end).writerows(rows)
    whole = text.getvalue() if ended else text.getvalue().removesuffix(end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "BLOCK", size)
        patch.setattr(load, "HELD", size)
        found = routed(whole, 1)
    expected: dict[str, list[list[str]]] = {}
    for one, moment, two in rows:
        target = next((c.name for c in MONTHS.children if moment < c.upper), "events")
        expected.setdefault(target, []).append([one, str(moment), two])
    read = {target: sorted(csv.reader(io.StringIO(lines, newline=""))) for target, lines in found.items()}
    assert read == {target: sorted(lines) for target, lines in expected.items()}
