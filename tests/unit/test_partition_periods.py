"""Periods: every moment lies in exactly one, and each has a name of its own that PostgreSQL does not cut."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostwright.partition import periods

UTC = dt.timezone.utc
INTERVALS = ["day", "week", "month", "quarter", "year"]
moments = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9990, 1, 1), timezones=st.just(UTC))
names = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=63)


@pytest.mark.parametrize(
    ("interval", "moment", "start", "name"),
    [
        ("day", "2024-02-29T23:59:59", "2024-02-29", "t_p20240229"),
        ("week", "2026-12-31T12:00:00", "2026-12-28", "t_pw20261228"),
        ("week", "2021-01-03T23:59:59", "2020-12-28", "t_pw20201228"),
        ("month", "2024-02-29T23:59:59", "2024-02-01", "t_p202402"),
        ("quarter", "2026-06-30T23:59:59", "2026-04-01", "t_p2026q2"),
        ("year", "2026-12-31T23:59:59", "2026-01-01", "t_p2026"),
    ],
)
def test_where_a_period_begins(interval: periods.Interval, moment: str, start: str, name: str) -> None:
    found = periods.floor(dt.datetime.fromisoformat(moment).replace(tzinfo=UTC), interval)
    assert found == dt.datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert periods.child_name("t", found, interval) == name


def test_a_moment_of_another_zone_is_taken_for_what_it_is() -> None:
    moment = dt.datetime(2026, 3, 1, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    assert periods.floor(moment, "month") == dt.datetime(2026, 2, 1, tzinfo=UTC)


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
    name = periods.child_name(table, start, interval)
    assert len(name.encode()) <= 63
    assert name != periods.child_name(table, periods.step(start, interval, count), interval)


def test_long_tables_with_the_same_beginning_have_children_of_different_names() -> None:
    start = dt.datetime(2026, 1, 1, tzinfo=UTC)
    assert periods.child_name("x" * 62 + "a", start, "month") != periods.child_name("x" * 62 + "b", start, "month")
