"""Django's migrations of a divided table do what they do to a plain one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.postgres.conftest import NOW, Database, spec

PROGRAM = Path(__file__).with_name("django_migrations.py")
ROWS = (
    "INSERT INTO events (created_at, kind, count) SELECT timestamptz '2025-11-05+00' + n * interval '3 days', 'old', n"
    " FROM generate_series(1, 40) n"
)


def migrate(verb: str, database: Database, library: str) -> list[Any]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), verb, database.server.dsn(database.name, "shop")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": library},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("strategy", ["declarative", "landing"])
def test_a_key_that_is_renamed(events: Database, strategy: str) -> None:
    if strategy == "declarative":
        events.server.needs("declarative")
    for _ in range(2):
        events.apply(spec(strategy=strategy, adopt="drain", keep=None))
    events.run("ALTER TABLE events RENAME created_at TO happened_at")
    renamed = spec(strategy=strategy, key="happened_at", keep=None)
    if strategy == "landing":
        with pytest.raises(psycopg2.Error, match="created_at"):
            events.run("INSERT INTO events (happened_at) VALUES ('2025-12-24+00')")
    for _ in range(2):
        events.apply(renamed)
    assert events.plan(renamed) == []
    events.run("INSERT INTO events (happened_at) VALUES ('2025-12-24+00')")
    events.run("UPDATE events SET happened_at = '2026-01-24+00' WHERE happened_at = '2025-12-24+00'")
    assert events.counts()["events_p202601"] == 11
    assert events.maintain(NOW.replace(month=5)) != []
    assert events.one("SELECT count(*) FROM hostwright.partitioned WHERE failure IS NOT NULL") == 0


@pytest.mark.parametrize(
    "values",
    [
        {"strategy": "declarative"},
        {"strategy": "declarative", "adopt": "drain"},
        {"strategy": "declarative", "adopt": "copy"},
        {"strategy": "landing"},
    ],
    ids=["attach", "drain", "copy", "landing"],
)
def test_every_operation(database: Database, values: dict[str, Any], library: str) -> None:
    if values["strategy"] == "declarative":
        database.server.needs("declarative")
    migrate("create", database, library)
    database.run(ROWS)
    expected = migrate("run", database, library)
    assert [name for name, result in expected if isinstance(result, str)] == []
    database.wipe()
    migrate("create", database, library)
    database.run(ROWS)
    wanted = spec(keep=None, **values)
    for _ in range(2):
        database.apply(wanted)
    found = migrate("run", database, library)
    assert [name for name, _ in found] == [name for name, _ in expected]
    for one, other in zip(found, expected, strict=True):
        assert one == other
    # What a parent of the older strategies got is given to its children by an apply.
    titles = database.apply(wanted)
    assert values["strategy"] == "landing" or titles == []
    assert database.plan(wanted) == []
    database.run("INSERT INTO events (created_at, kind, count, remark) VALUES ('2026-02-03+00', 'x', 1, '')")
    assert database.plan(wanted) == []
