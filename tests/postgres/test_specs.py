"""Random specs, names, clocks and zones: whatever a table is divided by, its rows are those of a plain one."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hostwright.partition import catalog, periods, render
from hostwright.partition.spec import PartitionSpec
from tests.postgres.conftest import UTC, Database

WAYS = [
    {"strategy": "landing"},
    {"strategy": "trigger"},
    {"strategy": "declarative", "adopt": "attach"},
    {"strategy": "declarative", "adopt": "drain"},
    {"strategy": "declarative", "adopt": "copy"},
    {"strategy": "declarative", "adopt": "copy", "overflow": "default"},
    {"strategy": "declarative", "adopt": "attach", "overflow": "default", "subpartition": {"key": "n", "modulus": 2}},
]
TYPES = {"timestamptz": True, "timestamp": False, "date": False}
ZONES = [
    "UTC",
    "Europe/Vienna",
    "America/Havana",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Pacific/Apia",
]
# Nights whose clocks change, a leap day, week 53, a year's end, and a day that Samoa did not have.
CLOCKS = [
    dt.datetime(2026, 3, 29, 0, 59, 59),
    dt.datetime(2026, 11, 1, 4, 30),
    dt.datetime(2018, 11, 4, 2, 59, 59),
    dt.datetime(2024, 2, 29, 12),
    dt.datetime(2026, 12, 31, 23, 59, 59, 999999),
    dt.datetime(2011, 12, 30, 9, 59),
    dt.datetime(2021, 1, 3, 12),
]
clocks = st.one_of(st.sampled_from(CLOCKS), st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2037, 1, 1)))
names = st.one_of(
    st.sampled_from(['a"b', "CamelCase", "Üñï 'q'", "é" * 31 + "x", "percent %s %I", "select", "$body$", "a b", "key"]),
    st.text(st.characters(exclude_characters="\0.", exclude_categories=("Cs",)), min_size=1, max_size=63).filter(
        lambda name: len(name.encode()) <= 63
    ),
)


@st.composite
def specs(draw: Any) -> tuple[dict[str, Any], str]:
    """What a spec says beside its names, and the type of its key."""
    way = draw(st.sampled_from(WAYS))
    common = {**way, "premake": draw(st.integers(1, 3)), "keep": None}
    if draw(st.integers(0, 4)) == 0:
        return {**common, "interval": draw(st.integers(1, 50))}, "bigint"
    interval = draw(st.sampled_from(["hour", "day", "week", "month", "quarter", "year"]))
    kind = draw(st.sampled_from(["timestamptz", "timestamp"] if interval == "hour" else list(TYPES)))
    zone = "UTC" if interval == "hour" else draw(st.sampled_from(ZONES))
    return {**common, "interval": interval, "timezone": zone}, kind


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    specs(),
    names,
    names,
    clocks,
    st.lists(st.tuples(st.integers(-5, 1), st.floats(0, 1)), min_size=1, max_size=12),
    st.integers(0, 4),
    st.booleans(),
)
@example(
    ({"strategy": "landing", "interval": "month", "keep": None}, "timestamptz"),
    "$body$",
    "$body$",
    CLOCKS[0],
    [(0, 0.5)],
    1,
    True,
)
def test_the_same_rows_as_a_plain_table(
    database: Database,
    wanted: tuple[dict[str, Any], str],
    table: str,
    key: str,
    clock: dt.datetime,
    places: list[tuple[int, float]],
    later: int,
    extreme: bool,
) -> None:
    values, kind = wanted
    if values["strategy"] == "declarative" and database.major < 11:
        values = {**values, "strategy": "landing", "adopt": "attach", "overflow": "error", "subpartition": None}
    if key in ("n", "id"):
        key += "_"
    spec = PartitionSpec.model_validate({"table": table, "key": key, **values})
    now = clock.replace(tzinfo=UTC)
    calendar = periods.Periods(spec, zoned=TYPES.get(kind, False))
    whole, column = f"public.{render.identifier(table)}", render.identifier(key)
    database.wipe()
    database.run("DROP SCHEMA IF EXISTS hostwright CASCADE")
    database.run(f"CREATE TABLE {whole} (id int PRIMARY KEY, n int NOT NULL, {column} {kind} NOT NULL)")
    database.run(f"CREATE INDEX ON {whole} ({column})")

    moments = [_moment(calendar, kind, now, *place) for place in places]
    if extreme and kind in TYPES:
        moments += ["-infinity", "0044-03-15 BC"]
    expected: list[tuple[int, str]] = []

    def rows() -> list[tuple[Any, ...]]:
        database.run("SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'")
        return database.run(f"SELECT id, {column}::text FROM {whole} ORDER BY id")

    def insert(what: list[str]) -> None:
        for moment in what:
            number = len(expected) + 1
            database.run("SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'")
            text = database.one(f"SELECT {render.literal(moment)}::{kind}::text")
            database.run(f"INSERT INTO {whole} VALUES ({number}, {number % 3}, {render.literal(moment)})")
            expected.append((number, text))

    def check(at: dt.datetime) -> None:
        assert rows() == expected
        assert database.plan(spec, at) == []
        found = database.problems(spec, at)
        assert [problem for problem in found if "rows are in" not in problem] == []

    insert(moments)
    for _ in range(2):
        database.apply(spec, now)
    check(now)
    insert(moments)
    if spec.interval != "hour" and kind in TYPES:
        # A later clock: by maintenance alone, as on a host that slept.
        now = _moment_of(calendar, now, later)
        database.maintain(now)
    check(now)
    database.undo(spec)
    assert rows() == expected
    assert catalog.read(database.connection, spec).kind == "plain"


def _moment_of(calendar: periods.Periods, now: dt.datetime, count: int) -> dt.datetime:
    """A moment `count` periods later."""
    start = calendar.step(calendar.position(now), count)
    return periods.Periods(calendar.spec).bound(start) + dt.timedelta(hours=1)


def _moment(calendar: periods.Periods, kind: str, now: dt.datetime, count: int, part: float) -> str:
    """A value of the key `count` periods after the current one, `part` of the way through it."""
    if kind == "bigint":
        return str(count * int(calendar.spec.interval) + int(part * int(calendar.spec.interval)))
    position = calendar.position(now)
    first, last = (calendar.bound(calendar.step(position, count + n)) for n in (0, 1))
    value = first + (last - first) * min(part, 0.999)
    return str(value.date()) if kind == "date" else str(value)


@pytest.mark.parametrize("strategy", ["landing", "declarative"])
def test_maintenance_goes_on_where_children_of_another_interval_end(database: Database, strategy: str) -> None:
    if strategy == "declarative":
        database.server.needs("declarative")
    database.run("CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE INDEX ON t (at)")
    monthly = PartitionSpec.model_validate(
        {"table": "t", "key": "at", "strategy": strategy, "keep": None, "premake": 1}
    )
    quarterly = monthly.model_copy(update={"interval": "quarter"})
    april = dt.datetime(2026, 4, 10, tzinfo=UTC)
    for one in (monthly, monthly, quarterly):
        database.apply(one, april)
    june = dt.datetime(2026, 6, 10, tzinfo=UTC)
    database.maintain(june)
    assert database.plan(quarterly, june) == []
    database.run(
        "INSERT INTO t SELECT n, timestamptz '2026-04-01+00' + n * interval '1 day' FROM generate_series(1, 170) n"
    )
    assert database.one("SELECT count(*) FROM t") == 170
    assert database.problems(quarterly, june) == []


@pytest.mark.parametrize("strategy", ["landing", "declarative"])
def test_a_child_that_ends_early_leaves_no_gap(database: Database, strategy: str) -> None:
    """As where the data of time zones are not the same here and there."""
    if strategy == "declarative":
        database.server.needs("declarative")
    database.run("CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE INDEX ON t (at)")
    spec = PartitionSpec.model_validate({"table": "t", "key": "at", "strategy": strategy, "keep": None, "premake": 2})
    april = dt.datetime(2026, 4, 10, tzinfo=UTC)
    for _ in range(2):
        database.apply(spec, april)
    database.run(
        "DROP TABLE t_p202606; SELECT hostwright.make_child('t', 't_p202606', '2026-06-01+00', '2026-06-30 23:00+00')"
    )
    database.run("SELECT hostwright.route('t', h.lower, h.upper) FROM hostwright.hot('t') h")
    june = dt.datetime(2026, 6, 10, tzinfo=UTC)
    assert "public.t: made t_p202607" in database.maintain(june)
    database.run("INSERT INTO t VALUES (1, '2026-06-30 23:30+00')")
    # Under landing, June's rows are in the table itself.
    home = "t" if strategy == "landing" else "t_p202607"
    assert database.one("SELECT tableoid::regclass::text FROM t") == home
    assert database.plan(spec, june) == []
    assert database.problems(spec, june) == []
