"""Django on a divided table gives what it gives on a plain one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.postgres.conftest import Database, spec

HERE = Path(__file__).resolve().parent


def django(verb: str, database: Database, library: str, keyed: bool = False) -> dict[str, Any]:
    argv = [sys.executable, str(HERE / "django_calls.py"), verb, database.server.dsn(database.name, "shop")]
    done = subprocess.run(
        [*argv, *(["keyed"] if keyed else [])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": library},
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


def plain(database: Database, library: str, keyed: bool = False) -> dict[str, Any]:
    """What the calls give on a plain table, which is then made anew."""
    django("create", database, library, keyed)
    result = django("run", database, library, keyed)
    database.run("DROP TABLE events CASCADE")
    django("create", database, library, keyed)
    return result


@pytest.mark.parametrize("strategy", ["declarative", "landing"])
def test_filters_that_say_the_period_read_its_child_alone(database: Database, strategy: str, library: str) -> None:
    if strategy == "declarative":
        database.server.needs("declarative")
    django("create", database, library)
    database.run(
        "INSERT INTO events (created_at, kind, count, payload) SELECT timestamptz '2025-11-05 12:00+00'"
        " + n * interval '1 day', 'k', n, '{}' FROM generate_series(1, 120) n"
    )
    for _ in range(2):
        database.apply(spec(strategy=strategy, adopt="drain", keep=None, premake=1))
    database.run("ANALYZE events")
    months = ["pmin", "p202511", "p202512", "p202601", "p202602", "p202603", "p202604"]
    found = {
        name: [table.removeprefix("events_") for table in tables if table != "events"]
        for name, tables in django("explain", database, library).items()
    }
    january, everything = ["p202601"], sorted(months)
    assert found == {
        "gte and lt": january,
        "range": january,
        "exact": january,
        "in": january,
        # The site's zone is Vienna's: its years begin an hour before those of the spec's UTC.
        "year": ["p202511", "p202512", "pmin"],
        "year__gte": ["p202512", "p202601", "p202602", "p202603", "p202604"],
        "month": everything,
        "date": everything,
        "gte, python's now": ["p202602", "p202603", "p202604"],
        # Known when the query runs: partitions of the server's own are left out then. (All of these are in the past;
        # before 13 a plan shows the first of them, which is not read.)
        "gte, Now()": everything if strategy != "declarative" else [] if database.major >= 13 else ["pmin"],
        "pk": everything,
        "pk and range": january,
    }


def with_the_conflict(expected: dict[str, Any]) -> dict[str, Any]:
    """What the calls give where a conflict that is to be ignored is an error, and so the row beside it is not there."""
    assert expected["ignore_conflicts"] == [2000]
    return {
        **expected,
        "ignore_conflicts": "IntegrityError",
        "all_rows": [row for row in expected["all_rows"] if row[0] != 2000],
        "by_month": [[month, n - (month == "2026-02")] for month, n in expected["by_month"]],
    }


@pytest.mark.parametrize("strategy", ["declarative", "landing", "trigger"])
def test_every_call_gives_what_it_gives_on_a_plain_table(database: Database, strategy: str, library: str) -> None:
    if strategy == "declarative":
        database.server.needs("declarative")
    keyed = strategy == "trigger"
    expected = plain(database, library, keyed)
    assert expected["the_same_key_twice"] == "IntegrityError"
    assert expected["too_long"] == "DataError"
    database.apply(spec(strategy=strategy))
    found = django("run", database, library, keyed)
    if strategy != "declarative":
        # The row in the way is in a child, where ON CONFLICT does not look.
        expected = with_the_conflict(expected)
    assert found == expected
