"""Django on a partitioned table: the same calls as on a plain one, with the same results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.postgres.conftest import Database, spec

CALLS = Path(__file__).with_name("django_calls.py")


def django(verb: str, database: Database) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, CALLS, verb, database.server.dsn(database.name, "shop")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


def plain(database: Database) -> dict[str, Any]:
    """What the calls give on a plain table, which is then gone."""
    django("create", database)
    result = django("run", database)
    database.run("DROP TABLE events CASCADE")
    django("create", database)
    return result


@pytest.mark.parametrize("strategy", ["declarative", "landing"])
def test_every_call_gives_what_it_gives_on_a_plain_table(database: Database, strategy: str) -> None:
    if strategy == "declarative" and database.major < 11:
        pytest.skip("declarative needs PostgreSQL 11")
    expected = plain(database)
    assert expected["the_same_key_twice"] == "IntegrityError"
    assert expected["too_long"] == "DataError"
    database.apply(spec(strategy=strategy))
    found = django("run", database)
    if strategy == "landing":
        # The row in the way is in a child, where ON CONFLICT does not look.
        assert expected.pop("ignore_conflicts") == [2000]
        assert found.pop("ignore_conflicts") == "IntegrityError"
        expected["all_rows"] = [row for row in expected["all_rows"] if row[0] != 2000]
        expected["by_month"] = [[month, n - (month == "2026-02")] for month, n in expected["by_month"]]
        expected["ranges"] = found["ranges"]
    assert found == expected
