"""Any row of operations gives the same rows and counts as it gives on a plain table."""

from __future__ import annotations

import datetime as dt
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostwright.partition.spec import PartitionSpec
from tests.postgres.conftest import NOW, UTC, Database, spec

ids = st.integers(1, 12)
moments = st.one_of(
    st.datetimes(dt.datetime(2025, 9, 1), dt.datetime(2026, 7, 31), timezones=st.just(UTC)).map(str),
    # Around bounds, and far away.
    st.sampled_from(
        [
            "2026-02-28 23:59:59.999999+00",
            "2026-03-01 00:00:00+00",
            "2026-03-31 23:59:59.999999+00",
            "2026-04-01 00:00:00+00",
            "0044-03-15 00:00:00+00 BC",
            "-infinity",
        ]
    ),
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("INSERT INTO {t} (id, created_at, kind) VALUES (%s, %s, 'new')"), ids, moments),
        st.tuples(st.just("UPDATE {t} SET created_at = %s, kind = kind || '.' WHERE id <= %s"), moments, ids),
        st.tuples(st.just("UPDATE {t} SET id = id + 100, created_at = %s WHERE id = %s"), moments, ids),
        st.tuples(st.just("UPDATE {t} SET kind = kind || '!', created_at = created_at WHERE id >= %s"), ids),
        st.tuples(
            st.just("UPDATE {t} SET created_at = created_at + %s::interval WHERE isfinite(created_at) AND id < %s"),
            st.sampled_from(["1 month", "-1 month", "1 day", "-35 days"]),
            ids,
        ),
        st.tuples(st.just("DELETE FROM {t} WHERE id = %s"), ids),
        st.tuples(st.just("DELETE FROM {t} WHERE created_at < %s"), moments),
        st.just(("SAVEPOINT s",)),
        st.just(("ROLLBACK TO s",)),
        st.just(("RELEASE s",)),
        st.just(("COMMIT",)),
        st.just(("ROLLBACK",)),
        st.tuples(st.just("maintain"), st.integers(0, 40)),
        st.just(("there and back",)),
    ),
    max_size=25,
)


KINDS: dict[str, dict[str, Any]] = {
    "declarative": {"adopt": "drain", "premake": 12},
    "landing": {"strategy": "landing", "premake": 12},
    "trigger": {"strategy": "trigger", "premake": 12},
    # Rows that no child is for, and rows that move between the parts of one child.
    "parts": {"adopt": "copy", "premake": 1, "overflow": "default", "subpartition": {"key": "id", "modulus": 3}},
}


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations)
def test_the_same_rows_as_a_plain_table(database: Database, kind: str, done: list[Any]) -> None:
    if kind in ("declarative", "parts"):
        database.server.needs("declarative")
    if not database.one("SELECT to_regclass('events')"):
        for name in ("plain", "events"):
            database.run(f"CREATE TABLE {name} (id int PRIMARY KEY, created_at timestamptz NOT NULL, kind text)")
            database.run(f"CREATE INDEX ON {name} (created_at)")
        database.run("INSERT INTO events VALUES (1, '2025-10-01+00')")
        database.apply(spec(keep=None, **KINDS[kind]))
    database.run("TRUNCATE plain, events")
    wanted = spec(keep=None, **KINDS[kind])
    results = {name: run(database, name, wanted, done) for name in ("plain", "events")}
    assert results["plain"] == results["events"]


def there_and_back(database: Database, wanted: PartitionSpec, now: dt.datetime) -> None:
    database.undo(wanted)
    for _ in range(2):
        database.apply(wanted, now)


def run(database: Database, name: str, wanted: PartitionSpec, done: list[Any]) -> list[Any]:
    """The outcome of each operation, and the rows after each transaction."""
    outcomes: list[Any] = []
    rows = f"SELECT id, created_at::text, kind FROM {name} ORDER BY 1, 2, 3"
    # Keys are unique over all of a plain table, and over one child of a divided one: stay where that is the same.
    unique = f"SELECT count(*) FROM {name} WHERE id = %s"
    with database.connection.cursor() as cursor:
        cursor.execute("BEGIN")
        saved, now = False, NOW
        for text, *values in done:
            if text in ("maintain", "there and back"):
                cursor.execute("COMMIT")
                if text == "maintain":
                    now += dt.timedelta(days=values[0])
                    database.maintain(now)
                elif name == "events":
                    there_and_back(database, wanted, now)
                cursor.execute("BEGIN")
                saved = False
                continue
            if text in ("ROLLBACK TO s", "RELEASE s") and not saved:
                continue
            if text.startswith("INSERT"):
                cursor.execute(unique, (values[0],))
                if cursor.fetchone() != (0,):
                    continue
            if "id + 100" in text:
                cursor.execute(unique, (values[1] + 100,))
                if cursor.fetchone() != (0,):
                    continue
            try:
                cursor.execute(text.format(t=name), values)
            except psycopg2.Error as error:
                raise AssertionError(f"{text} {values} on {name}: {error}") from error
            saved = {"SAVEPOINT s": True, "RELEASE s": False, "COMMIT": False, "ROLLBACK": False}.get(text, saved)
            if text in ("COMMIT", "ROLLBACK"):
                cursor.execute("BEGIN")
            # A row that a BEFORE trigger sent to its child counts as none; the plan and the docs say so.
            counted = values and not (wanted.strategy == "trigger" and text.startswith("INSERT"))
            outcomes.append((text, cursor.rowcount if counted else None))
        cursor.execute("COMMIT")
        cursor.execute(rows)
        outcomes.append(cursor.fetchall())
    return outcomes
