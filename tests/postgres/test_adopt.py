"""From a plain table in use to a divided one, and back: no row and no update is lost."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import pytest

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import apply, catalog
from tests.postgres.conftest import NOW, Database, sessions, spec


def drained(**values: Any) -> Any:
    return spec(adopt="drain", premake=1, **values)


@pytest.fixture
def many(events: Database) -> Database:
    """20,000 rows over five months, each with a counter."""
    events.run(
        "ALTER TABLE events ADD count int NOT NULL DEFAULT 0; INSERT INTO events (created_at)"
        " SELECT timestamptz '2025-11-01 00:00+00' + n * interval '9 minutes' FROM generate_series(1, 20000) n"
    )
    return events


@contextlib.contextmanager
def writers(database: Database) -> Iterator[list[int]]:
    """Two writers that count up rows of their own and insert new ones; gives what they did: updates and inserts."""
    did = [0, 0]

    def write(cursor: Any, dice: random.Random, number: int) -> None:
        row = dice.randrange(51, 20001, 2) + number
        cursor.execute("UPDATE events SET count = count + 1 WHERE id = %s", (row,))
        did[0] += cursor.rowcount
        assert cursor.rowcount == 1, f"an update of row {row} was lost"
        cursor.execute("INSERT INTO events (created_at) VALUES ('2026-03-14 12:00+00')")
        did[1] += 1

    with sessions(database, write):
        yield did


def test_landing_with_writers_on(many: Database) -> None:
    with writers(many) as did:
        many.apply(spec(strategy="landing"))
    assert many.apply(spec(strategy="landing")) == []
    assert many.one("SELECT sum(count) FROM events") == did[0]
    assert many.one("SELECT count(*) FROM events") == 20050 + did[1]
    assert many.one("SELECT count(*) FROM ONLY events WHERE created_at < '2026-03-01+00'") == 0
    with writers(many) as more:
        many.undo(spec(strategy="landing"))
    assert many.one("SELECT sum(count) FROM ONLY events") == did[0] + more[0]
    assert many.one("SELECT count(*) FROM ONLY events") == 20050 + did[1] + more[1]
    assert many.one("SELECT count(*) FROM pg_inherits") == 0


def test_declarative_with_writers_on(many: Database) -> None:
    many.server.needs("declarative")
    many.run("GRANT SELECT ON events TO reader; CREATE INDEX ON events (kind)")
    with writers(many) as did:
        many.apply(drained())
    assert many.apply(drained()) == []
    assert many.one("SELECT sum(count) FROM events") == did[0]
    assert many.one("SELECT count(*) FROM events") == 20050 + did[1]
    assert many.one("SELECT relkind FROM pg_class WHERE relname = 'events'") == "p"
    assert many.one("SELECT has_table_privilege('reader', 'events', 'SELECT')")
    assert [child.name for child in catalog.read(many.connection, spec()).children] == [
        "events_pmin",
        *(f"events_p{month}" for month in (202511, 202512, 202601, 202602, 202603, 202604)),
    ]
    assert many.one("SELECT count(*) FROM pg_indexes WHERE tablename = 'events_p202512'") == 3
    with writers(many) as more:
        many.undo(drained())
    assert many.one("SELECT sum(count) FROM ONLY events") == did[0] + more[0]
    assert many.one("SELECT count(*) FROM ONLY events") == 20050 + did[1] + more[1]
    primary = (
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'events'::regclass AND contype = 'p'"
    )
    assert many.one(primary) == "PRIMARY KEY (id)"
    assert many.one("INSERT INTO events DEFAULT VALUES RETURNING id") == 20051 + did[1] + more[1]
    assert many.undo(drained()) == []


@pytest.mark.parametrize("after", range(1, 13, 3))
def test_a_drain_that_is_cut_off_goes_on(events: Database, after: int) -> None:
    wanted = drained() if events.major >= 11 else spec(strategy="landing", premake=1)
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            admin = events.server.connect(events.name)
            admin.cursor().execute("SELECT pg_terminate_backend(%s)", (events.connection.get_backend_pid(),))
            admin.close()

    with pytest.raises(HostwrightError, match="connection was lost"):
        apply.apply(events.connection, events.plan(wanted), count, count)
    events.connection = events.connect()
    assert events.one("SELECT count(*) FROM events") == 50
    events.apply(wanted)
    assert events.apply(wanted) == []
    assert events.one("SELECT count(*) FROM events") == 50


def test_a_drain_that_is_paused_rests(events: Database) -> None:
    """Maintenance neither goes on with it nor makes another of it."""
    events.server.needs("declarative")
    steps = events.plan(drained())
    apply.apply(
        events.connection, [step for step in steps if step.template in ("library", "record", "make_child")], print
    )
    before = events.snapshot()
    assert events.maintain() == []
    assert events.snapshot() == before
    assert events.one("SELECT problem FROM hostwright.health") is None
    for _ in range(2):
        events.apply(drained())
    assert events.plan(drained()) == []
    assert events.one("SELECT unit FROM hostwright.partitioned") == "month"
    assert events.maintain(NOW.replace(month=8)) != []


def test_a_table_attached_whole_comes_back(events: Database) -> None:
    events.server.needs("declarative")
    events.apply(spec())
    events.run("INSERT INTO events (created_at) VALUES ('2026-05-05+00')")
    events.undo(spec())
    assert events.one("SELECT count(*) FROM ONLY events") == 51
    assert events.one("INSERT INTO events DEFAULT VALUES RETURNING id") == 52
    events.apply(spec())
    assert events.one("SELECT count(*) FROM events") == 52


def test_copy(events: Database) -> None:
    events.server.needs("declarative")
    wanted = spec(adopt="copy", premake=1)
    assert events.apply(wanted) == ["copy all rows into 7 children, with the table locked"]
    assert events.counts() == {f"events_p{month}": 10 for month in (202511, 202512, 202601, 202602, 202603)}
    assert events.apply(wanted) == []
    assert events.one("INSERT INTO events DEFAULT VALUES RETURNING id") == 51


@pytest.mark.parametrize(
    "values",
    [
        {"adopt": "copy"},
        {"adopt": "copy", "overflow": "default"},
        {"adopt": "drain"},
        {"adopt": "drain", "overflow": "default"},
        {"strategy": "landing"},
    ],
)
def test_rows_from_before_keep_leave_at_the_end(events: Database, values: dict[str, str]) -> None:
    if "adopt" in values:
        events.server.needs("declarative")
    wanted = spec(keep=3, **values)
    assert events.apply(wanted)[-1] == "detach events_pmin (before 2025-12-01 00:00:00+00)"
    assert events.counts() == {
        **{f"events_p{month}": 10 for month in (202512, 202601, 202602)},
        "events" if "strategy" in values else "events_p202603": 10,
    }
    assert events.counts("events_pmin") == {"events_pmin": 10}
    assert [title for title in events.apply(wanted) if title != "make events_default"] == []


@pytest.mark.parametrize(
    "values",
    [{"adopt": "copy"}, {"adopt": "drain"}, {"strategy": "landing"}, {"method": "hash", "adopt": "copy"}, None],
)
@pytest.mark.parametrize("last", ["adopt_check", "adopt_validate"])
def test_the_bound_of_an_attach_that_was_cut_off_goes_when_another_way_is_taken(
    events: Database, values: dict[str, str] | None, last: str
) -> None:
    events.server.needs("declarative")
    steps = events.plan(spec())
    until = [step.template for step in steps].index(last) + 1
    apply.apply(events.connection, steps[:until], lambda *_: None)
    if values is None:
        events.undo(spec())
    else:
        wanted = spec(keep=None, **({"key": "id", **values} if "method" in values else values))
        for _ in range(2):
            events.apply(wanted)
        assert events.apply(wanted) == []
    assert events.run("SELECT conrelid::regclass FROM pg_constraint WHERE conname = 'events_pmin_bound'") == []


@pytest.mark.parametrize("adopt", ["attach", "copy"])
def test_a_table_without_an_index_of_its_key_is_not_taken_for_empty(events: Database, adopt: str) -> None:
    events.server.needs("declarative")
    events.run("DROP INDEX events_created_at; INSERT INTO events (created_at) VALUES ('2026-05-05+00')")
    events.apply(spec(adopt=adopt, keep=None))
    assert len(events.counts()) == (1 if adopt == "attach" else 6)
    events.run("CREATE TABLE numbers (id int PRIMARY KEY, n int NOT NULL)")
    with pytest.raises(BadInput, match="numbers: no index begins with n"):
        events.plan(spec(table="numbers", key="n", interval=10, adopt=adopt))


def test_lists_and_hashes(events: Database) -> None:
    events.server.needs("declarative")
    events.run("CREATE TABLE copied AS SELECT * FROM events; ALTER TABLE copied ALTER id SET NOT NULL")
    wanted = spec(method="list", key="kind", values={"early": ["old", "older"], "late": ["seen"]}, adopt="copy")
    events.apply(wanted)
    assert events.counts() == {"events_early": 50}
    assert events.one("INSERT INTO events DEFAULT VALUES RETURNING tableoid::regclass::text") == "events_late"
    assert events.apply(wanted) == []
    more = wanted.model_copy(update={"values": {**wanted.values, "never": ["never"]}})
    assert events.apply(more) == ["make events_never"]
    with pytest.raises(BadInput, match="a hash can only be made by adopt: copy"):
        events.plan(spec(table="copied", method="hash", key="id"))
    hashed = spec(table="copied", method="hash", key="id", modulus=4, adopt="copy")
    events.apply(hashed)
    assert list(events.counts("copied")) == ["copied_h0", "copied_h1", "copied_h2", "copied_h3"]
    assert events.apply(hashed) == []
    assert events.maintain() == []
    for one in (more, hashed):
        rows = events.run(f"SELECT * FROM {one.table} ORDER BY id")
        assert events.undo(one) == ["copy all rows into one table, with the table locked"]
        assert events.run(f"SELECT * FROM ONLY {one.table} ORDER BY id") == rows
        table = catalog.read(events.connection, one)
        assert (table.kind, table.recorded) == ("plain", {})
        events.apply(one)
        events.undo(one)
    assert catalog.read(events.connection, spec()).primary_key == ("id",)
    assert events.one("INSERT INTO events DEFAULT VALUES RETURNING id") == 52
