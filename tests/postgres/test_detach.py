"""Children that are detached concurrently, where the server can: beside readers, and cut off at any point."""

from __future__ import annotations

import datetime as dt
import threading
import time

import psycopg2
import pytest

from hostwright.errors import HostwrightError
from hostwright.partition import apply, catalog
from hostwright.partition.spec import PartitionSpec
from tests.postgres import servers
from tests.postgres.conftest import UTC, Database, impatient, spec

LATER = dt.datetime(2026, 7, 2, tzinfo=UTC)
"""events_pmin and April are older than two months."""


@pytest.fixture(autouse=True)
def _new_enough(server: servers.Server) -> None:
    server.needs("DETACH CONCURRENTLY")


@pytest.fixture
def wanted(events: Database) -> PartitionSpec:
    events.apply(spec(keep=None))
    events.apply(spec(keep=None), LATER)
    return spec(keep=2, retention="drop")


def children(database: Database) -> list[str]:
    return [child.name for child in catalog.read(database.connection, spec()).children]


def interrupted(database: Database, wanted: PartitionSpec, template: str) -> None:
    """Apply up to and with the first step of `template`, and no further."""
    steps = database.plan(wanted, LATER)
    apply.apply(database.connection, steps[: [step.template for step in steps].index(template) + 1], lambda *_: None)


def pending(database: Database, child: str = "events_pmin") -> None:
    """Begin to detach `child`, and cut that off while it waits for a reader."""
    reader = database.connect()
    reader.autocommit = False
    reader.cursor().execute("SELECT count(*) FROM events")
    other = database.connect()
    other.cursor().execute("SET lock_timeout = '100ms'")
    with other.cursor() as cursor, pytest.raises(psycopg2.errors.LockNotAvailable):
        cursor.execute(f"ALTER TABLE events DETACH PARTITION {child} CONCURRENTLY")
    reader.close()
    other.close()
    assert database.one("SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = %s::regclass", child)


def test_nobody_waits_while_others_read(events: Database, wanted: PartitionSpec) -> None:
    reader = events.connect()
    reader.autocommit = False
    reader.cursor().execute("SELECT count(*) FROM events")
    ender = threading.Timer(1.5, reader.close)
    ender.start()
    waits: list[float] = []
    stop = threading.Event()

    def write() -> None:
        connection = events.connect()
        with connection.cursor() as cursor:
            while not stop.is_set():
                started = time.monotonic()
                cursor.execute("INSERT INTO events (created_at) VALUES ('2026-07-02+00')")
                waits.append(time.monotonic() - started)
                time.sleep(0.005)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    started = time.monotonic()
    done = events.apply(wanted, LATER)
    took = time.monotonic() - started
    stop.set()
    writer.join()
    ender.join()
    assert done == [
        "drop events_pmin (before 2026-05-01 00:00:00+00)",
        "drop events_p202604 (before 2026-05-01 00:00:00+00)",
    ]
    # It waited for the reader, and no writer waited for it.
    assert took > 1
    assert len(waits) > 20
    assert max(waits) < took / 2
    assert children(events)[0] == "events_p202605"
    assert events.one("SELECT to_regclass('events_pmin')") is None
    assert events.plan(wanted, LATER) == []


@pytest.mark.parametrize("how", ["apply", "maintain"])
@pytest.mark.parametrize("last", ["leave", "pending", "detach"])
def test_a_detach_that_was_cut_off_is_brought_to_its_end(
    events: Database, wanted: PartitionSpec, last: str, how: str
) -> None:
    interrupted(events, wanted, "detach" if last == "detach" else "leave")
    if last == "pending":
        pending(events)
        found = events.problems(wanted, LATER)
        assert "events_pmin is being detached: apply, or run maintenance, where that was cut off" in found
    if how == "maintain":
        assert events.maintain(LATER) != []
    else:
        assert events.apply(wanted, LATER)[0] == "finish with events_pmin"
        events.apply(wanted, LATER)
    assert children(events)[0] == "events_p202605"
    assert events.one("SELECT to_regclass('events_pmin')") is None
    assert events.one("SELECT leaving::text FROM hostwright.partitioned") is None
    assert events.plan(wanted, LATER) == []


def test_one_that_somebody_else_began_is_finished_too(events: Database, wanted: PartitionSpec) -> None:
    pending(events)
    assert events.apply(wanted, LATER) == [
        "drop events_pmin (before 2026-05-01 00:00:00+00)",
        "drop events_p202604 (before 2026-05-01 00:00:00+00)",
    ]


def test_rows_do_not_come_to_a_child_that_leaves(events: Database, wanted: PartitionSpec) -> None:
    pending(events)
    with pytest.raises(psycopg2.errors.CheckViolation):
        events.run("INSERT INTO events (created_at) VALUES ('2026-01-01+00')")


def test_a_reader_that_does_not_end(events: Database, wanted: PartitionSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "PATIENCE", 0.2)
    impatient(monkeypatch)
    reader = events.connect()
    reader.autocommit = False
    reader.cursor().execute("SELECT count(*) FROM events")
    with pytest.raises(HostwrightError, match="was locked by others"):
        events.apply(wanted, LATER)
    reader.close()
    assert events.apply(wanted, LATER)[0] == "finish with events_pmin"


def test_a_child_goes_to_another_schema(events: Database, wanted: PartitionSpec) -> None:
    events.apply(spec(keep=2, retention="archive"), LATER)
    assert events.one("SELECT count(*) FROM archive.events_pmin") == 50
    events.run("DROP SCHEMA archive CASCADE")
