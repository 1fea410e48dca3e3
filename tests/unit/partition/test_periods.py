"""Periods: every moment lies in exactly one, and each has a name of its own that PostgreSQL does not cut."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostwright.partition import periods
from hostwright.partition.spec import PartitionSpec

UTC = dt.timezone.utc
INTERVALS = ["hour", "day", "week", "month", "quarter", "year"]
moments = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9990, 1, 1))
names = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=63)


@pytest.mark.parametrize(
    ("interval", "moment", "start", "name"),
    [
        ("hour", "2026-12-31T23:59:59", "2026-12-31T23:00:00", "t_p20261231h23"),
        ("day", "2024-02-29T23:59:59", "2024-02-29", "t_p20240229"),
        ("week", "2026-12-31T12:00:00", "2026-12-28", "t_pw20261228"),
        ("week", "2021-01-03T23:59:59", "2020-12-28", "t_pw20201228"),
        ("month", "2024-02-29T23:59:59", "2024-02-01", "t_p202402"),
        ("quarter", "2026-06-30T23:59:59", "2026-04-01", "t_p2026q2"),
        ("year", "2026-12-31T23:59:59", "2026-01-01", "t_p2026"),
    ],
)
def test_where_a_period_begins(interval: periods.Interval, moment: str, start: str, name: str) -> None:
    found = periods.floor(dt.datetime.fromisoformat(moment), interval)
    assert found == dt.datetime.fromisoformat(start)
    assert periods.child_name("t", periods.suffix(found, interval)) == name


def calendar(zoned: bool = True, **values: object) -> periods.Periods:
    return periods.Periods(PartitionSpec.model_validate({"table": "t", "key": "k", **values}), zoned)


def test_a_moment_of_another_zone_is_taken_for_what_it_is() -> None:
    moment = dt.datetime(2026, 3, 1, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    assert calendar().position(moment) == dt.datetime(2026, 2, 1)
    assert calendar(timezone="Europe/Vienna").position(moment) == dt.datetime(2026, 3, 1)


@pytest.mark.parametrize(
    ("zone", "day", "bound"),
    [
        ("Europe/Vienna", (2026, 3, 29), (2026, 3, 28, 23)),
        ("Europe/Vienna", (2026, 3, 30), (2026, 3, 29, 22)),
        # Midnight did not happen: the clock went from 23:59:59 to 01:00.
        ("America/Sao_Paulo", (2018, 11, 4), (2018, 11, 4, 3)),
        # Midnight happened twice: the clock went from 00:59:59 back to 00:00. The later one counts.
        ("America/Havana", (2026, 11, 1), (2026, 11, 1, 5)),
    ],
)
def test_a_day_begins_at_midnight_of_its_zone(zone: str, day: tuple[int, ...], bound: tuple[int, ...]) -> None:
    found = calendar(timezone=zone, interval="day").bound(dt.datetime(*day))
    assert found == dt.datetime(*bound, tzinfo=UTC)


def test_without_a_zone_bounds_are_wall_clock_times() -> None:
    found = calendar(zoned=False, timezone="Europe/Vienna").period(dt.datetime(2026, 3, 1))
    assert found == periods.Period("t_p202603", dt.datetime(2026, 3, 1), dt.datetime(2026, 4, 1))


def test_ranges_of_integers() -> None:
    found = calendar(interval=100)
    assert [found.position(value) for value in (-101, -1, 0, 99, 100)] == [-200, -100, 0, 0, 100]
    assert found.period(-200) == periods.Period("t_pm200", -200, -100)
    assert found.step(0, 3) == 300


@given(moments, st.sampled_from(INTERVALS))
def test_every_moment_lies_in_its_period(moment: dt.datetime, interval: periods.Interval) -> None:
    start = periods.floor(moment, interval)
    end = periods.step(start, interval, 1)
    assert start <= moment < end
    assert periods.floor(start, interval) == start
    assert periods.floor(end, interval) == end
    assert periods.floor(end - dt.timedelta(microseconds=1), interval) == start


@given(moments, st.sampled_from(INTERVALS), st.integers(-12, 12))
def test_steps_there_and_back(moment: dt.datetime, interval: periods.Interval, count: int) -> None:
    start = periods.floor(moment.replace(year=min(max(moment.year, 100), 9900)), interval)
    there = periods.step(start, interval, count)
    assert periods.step(there, interval, -count) == start
    assert (there > start) == (count > 0)


@given(names, moments, st.sampled_from(INTERVALS), st.integers(1, 200))
def test_names_are_unique_and_short_enough(
    table: str, moment: dt.datetime, interval: periods.Interval, count: int
) -> None:
    start = periods.floor(moment.replace(year=min(moment.year, 9700)), interval)
    name = periods.child_name(table, periods.suffix(start, interval))
    assert len(name.encode()) <= 63
    assert name != periods.child_name(table, periods.suffix(periods.step(start, interval, count), interval))


def test_long_tables_with_the_same_beginning_have_children_of_different_names() -> None:
    assert periods.child_name("x" * 62 + "a", "_p202601") != periods.child_name("x" * 62 + "b", "_p202601")
