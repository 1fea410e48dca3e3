"""Partitions without declarative: `landing`, and where it makes no difference `trigger`, on every server."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any

import psycopg2
import pytest

from hostwright.errors import BadInput
from hostwright.partition import catalog
from tests.postgres.conftest import NOW, UTC, Database, spec, until_it_waits

MONTHS = ["2025-11", "2025-12", "2026-01", "2026-02", "2026-03"]
CHILDREN = ["events_pmin", *(f"events_p{month.replace('-', '')}" for month in MONTHS), "events_p202604"]


def wanted(strategy: str = "landing", **values: Any) -> Any:
    return spec(strategy=strategy, premake=1, **values)


@pytest.fixture(params=["landing", "trigger"])
def strategy(request: pytest.FixtureRequest, events: Database) -> str:
    if request.param == "trigger":  # Its keys come from the application.
        events.run("ALTER TABLE events ALTER id DROP DEFAULT; DROP SEQUENCE events_id_seq")
    return str(request.param)


def insert(events: Database, number: int, moment: str) -> str:
    """Insert a row; returns the table that it went to."""
    events.run("INSERT INTO events (id, created_at) VALUES (%s, %s)", number, moment)
    return str(events.one("SELECT tableoid::regclass::text FROM events WHERE id = %s", number))


def test_adopts_a_table_with_rows_and_then_has_nothing_to_do(events: Database, strategy: str) -> None:
    done = events.apply(wanted(strategy))
    assert done == [
        *(f"make {name}" for name in CHILDREN),
        "send each row to its child" if strategy == "trigger" else "send late and early rows to their children",
        "move rows to the children of their periods, in small batches",
    ]
    assert events.counts() == {
        **{f"events_p{month.replace('-', '')}": 10 for month in MONTHS[:4]},
        ("events" if strategy == "landing" else "events_p202603"): 10,
    }
    before = events.snapshot()
    assert events.apply(wanted(strategy)) == []
    assert events.maintain() == []
    assert events.snapshot() == before


def test_rows_find_their_child(events: Database, strategy: str) -> None:
    events.apply(wanted(strategy))
    events.run("SET timezone = 'Pacific/Auckland'")
    here = "events" if strategy == "landing" else "events_p202603"
    assert insert(events, 100, "1999-01-01 00:00+00") == "events_pmin"
    assert insert(events, 101, "-infinity") == "events_pmin"
    assert insert(events, 102, "2026-02-28 23:59:59.999999+00") == "events_p202602"
    assert insert(events, 103, "2026-03-01 00:00+00") == here
    assert insert(events, 104, "2026-03-31 23:59:59.999999+00") == here
    assert insert(events, 105, "2026-04-01 00:00+00") == "events_p202604"
    # Beyond the last child a row stays in the parent, until there is a child for it.
    assert insert(events, 106, "2026-05-01 00:00+00") == "events"
    assert insert(events, 107, "infinity") == "events"
    events.apply(wanted(strategy, keep=None), dt.datetime(2026, 4, 2, tzinfo=UTC))
    assert events.one("SELECT tableoid::regclass::text FROM events WHERE id = 106") == "events_p202605"
    assert events.one("SELECT count(*) FROM events") == 58


@pytest.mark.parametrize("moment", ["-infinity", "4713-01-01 BC"])
def test_rows_at_the_end_of_time_are_moved(events: Database, strategy: str, moment: str) -> None:
    events.run("DELETE FROM events WHERE created_at < '2026-03-01+00'; UPDATE events SET id = id + 10000")
    events.run("INSERT INTO events (id, created_at) SELECT n, %s FROM generate_series(1, 2500) n", moment)
    events.apply(wanted(strategy))
    assert events.apply(wanted(strategy)) == []
    assert events.maintain() == []
    assert events.counts()["events_pmin"] == 2500
    events.run("UPDATE events SET created_at = '2026-02-01+00' WHERE id = 7")
    events.run("UPDATE events SET created_at = %s WHERE id = 7", moment)
    events.undo(wanted(strategy))
    assert events.one("SELECT count(*) FROM ONLY events") == 2510


def test_an_update_moves_a_row_and_counts_it_once(events: Database, strategy: str) -> None:
    events.apply(wanted(strategy))
    for moment in ("2026-01-05", "2026-03-05", "2025-12-05", "2026-04-05", "2026-06-05", "2026-01-05", "2026-01-06"):
        with events.connection.cursor() as cursor:
            cursor.execute("UPDATE events SET created_at = %s, payload = 'x' WHERE id = 1", (moment + "+00",))
            assert cursor.rowcount == 1
        at = "to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
        assert events.run(f"SELECT {at}, payload FROM events WHERE id = 1") == [(moment, "x")]
    with events.connection.cursor() as cursor:
        cursor.execute("UPDATE events SET created_at = created_at + interval '1 month'")
        assert cursor.rowcount == 50
    assert events.one("SELECT count(*) FROM events") == 50
    assert events.one("SELECT count(DISTINCT id) FROM events") == 50


def test_a_row_moved_inside_a_savepoint_that_is_rolled_back_is_where_it_was(events: Database, strategy: str) -> None:
    events.apply(wanted(strategy))
    events.connection.autocommit = False
    with events.connection.cursor() as cursor:
        cursor.execute("UPDATE events SET created_at = '2026-03-05+00' WHERE id = 1")
        cursor.execute("SAVEPOINT s")
        cursor.execute("UPDATE events SET created_at = '2025-12-05+00' WHERE id IN (1, 2)")
        cursor.execute("ROLLBACK TO s")
        cursor.execute("UPDATE events SET created_at = '2026-01-05+00' WHERE id = 2")
        cursor.execute("UPDATE events SET created_at = created_at WHERE id IN (1, 2, 3)")
    events.connection.commit()
    events.connection.autocommit = True
    here = "events" if strategy == "landing" else "events_p202603"
    assert events.run("SELECT id, tableoid::regclass::text FROM events WHERE id < 4 ORDER BY id") == [
        (1, here),
        (2, "events_p202601"),
        (3, "events_p202511"),
    ]


def test_landing_returns_the_key_of_a_row_that_goes_elsewhere(events: Database) -> None:
    events.apply(wanted())
    assert events.one("INSERT INTO events (created_at) VALUES ('2025-12-24+00') RETURNING id") == 51
    assert events.counts()["events_p202512"] == 11


def test_a_role_that_may_only_insert_can(events: Database, strategy: str) -> None:
    events.run("GRANT INSERT ON events TO app; GRANT SELECT ON events TO reader")
    events.apply(wanted(strategy))
    app = events.connect("app")
    app.cursor().execute(
        "INSERT INTO events (id, created_at)"
        " VALUES (100, '2025-12-24+00'), (101, '2026-03-03+00'), (102, '2026-04-01+00')"
    )
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        app.cursor().execute("SELECT * FROM events_p202512")
    app.close()
    reader = events.connect("reader")
    with reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM events_p202512")
        assert cursor.fetchone() == (11,)
    reader.close()


def test_a_temporary_table_of_a_child_s_name_steals_nothing(events: Database, strategy: str) -> None:
    events.apply(wanted(strategy))
    events.run("CREATE TEMP TABLE events_p202512 (LIKE events); CREATE TEMP TABLE events (LIKE events_p202512)")
    events.run("INSERT INTO public.events (id, created_at) VALUES (100, '2025-12-24+00')")
    assert events.one("SELECT count(*) FROM public.events_p202512") == 11


def test_a_column_added_later_is_there_in_every_child(events: Database, strategy: str) -> None:
    events.apply(wanted(strategy))
    events.run("ALTER TABLE events DROP payload; ALTER TABLE events ADD added text NOT NULL DEFAULT 'new'")
    insert(events, 100, "2025-12-24+00")
    events.run("UPDATE events SET added = 'changed', created_at = '2026-01-05+00' WHERE id = 100")
    assert events.run("SELECT added FROM events_p202601 WHERE id = 100") == [("changed",)]
    assert events.apply(wanted(strategy)) == []
    assert events.maintain(dt.datetime(2026, 4, 2, tzinfo=UTC))[-1].startswith("public.events: ")
    assert events.one("SELECT count(*) FROM events WHERE added = 'new'") == 50


def test_a_new_period_begins(events: Database, strategy: str) -> None:
    events.apply(wanted(strategy))
    april = dt.datetime(2026, 4, 1, 0, 0, 1, tzinfo=UTC)
    insert(events, 100, "2026-04-01 00:00:00+00")
    assert events.maintain(april) == [
        "public.events: made events_p202605",
        "public.events: began the period of 2026-04-01 00:00:00+00",
        *(["public.events: filed 10 rows"] if strategy == "landing" else []),
    ]
    assert events.counts()["events_p202603"] == 10
    assert insert(events, 101, "2026-04-02+00") == ("events" if strategy == "landing" else "events_p202604")
    assert events.apply(wanted(strategy), april) == []
    assert events.maintain(april) == []


def test_retention_keeps_whole_periods_and_a_detached_child_gets_no_row(events: Database, strategy: str) -> None:
    events.apply(wanted(strategy))
    assert events.apply(wanted(strategy, keep=2), dt.datetime(2026, 3, 31, 23, tzinfo=UTC)) == [
        "detach events_pmin (before 2026-01-01 00:00:00+00)",
        "detach events_p202511 (before 2026-01-01 00:00:00+00)",
        "detach events_p202512 (before 2026-01-01 00:00:00+00)",
    ]
    assert insert(events, 100, "2025-12-24+00") == "events"
    events.run("UPDATE events_p202512 SET created_at = '2025-12-24+00'")
    assert events.one("SELECT count(*) FROM events_p202512") == 10
    assert events.apply(wanted(strategy, keep=1, retention="drop")) == [
        "drop events_p202601 (before 2026-02-01 00:00:00+00)"
    ]


def test_retention_in_the_database(events: Database, strategy: str) -> None:
    events.apply(wanted(strategy, keep=2, retention="drop"))
    assert events.one("SELECT to_regclass('events_p202512')") is None
    assert events.maintain(dt.datetime(2026, 4, 30, 23, 59, tzinfo=UTC))[-1] == "public.events: dropped events_p202601"
    assert events.counts() == {"events_p202602": 10, "events_p202603": 10}


def test_retention_to_another_schema(events: Database, strategy: str) -> None:
    archived = wanted(strategy, keep=2, retention="archive", archive_schema="Old rows")
    assert events.apply(archived)[-1] == "archive events_pmin (before 2026-01-01 00:00:00+00)"
    assert events.apply(archived) == []
    assert events.one('SELECT count(*) FROM "Old rows".events_pmin') == 20
    assert events.one("SELECT count(*) FROM events") == 30
    assert events.maintain(dt.datetime(2026, 4, 2, tzinfo=UTC))[-1] == "public.events: archived events_p202601"
    assert events.one('SELECT count(*) FROM "Old rows".events_p202601') == 10
    events.run('ALTER SCHEMA "Old rows" RENAME TO public_archive; DROP SCHEMA public_archive CASCADE')


def test_what_was_changed_by_hand_is_seen_and_mended(events: Database, strategy: str) -> None:
    events.apply(wanted(strategy))
    events.run(
        """
        GRANT SELECT ON events TO reader;
        CREATE INDEX ON events (kind);
        ALTER TABLE events_p202512 NO INHERIT events;
        CREATE OR REPLACE FUNCTION hostwright."public.events route"() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN RETURN NULL; END';
        """
    )
    events.run("DROP TABLE events_p202512")
    titles = [step.title for step in events.plan(wanted(strategy))]
    assert titles[0] == "make events_p202512"
    assert "owner and grants of events_pmin" in titles
    assert any(title.startswith("give events_p202601 what the table has: btree {kind}") for title in titles)
    assert any(title.startswith("send ") for title in titles)
    events.apply(wanted(strategy))
    assert events.apply(wanted(strategy)) == []


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE events DISABLE TRIGGER hostwright_insert",
        "ALTER TABLE events DISABLE TRIGGER USER",
        "DROP TRIGGER hostwright_update ON events",
        "DROP TRIGGER hostwright_moved ON events_p202601",
        "ALTER TABLE events_p202601 DISABLE TRIGGER hostwright_move",
    ],
)
def test_triggers_that_are_off_are_seen_and_mended(events: Database, strategy: str, statement: str) -> None:
    events.apply(wanted(strategy))
    events.run(statement)
    found = events.problems(wanted(strategy))
    assert ("events_p202601 has lost the triggers that move rows: apply" in found) == ("p202601" in statement)
    assert events.apply(wanted(strategy)) != []
    assert events.apply(wanted(strategy)) == []
    assert insert(events, 100, "2025-12-24+00") == "events_p202512"
    for moment, home in (("2026-01-05", "events_p202601"), ("2025-11-05", "events_p202511")):
        events.run("UPDATE events SET created_at = %s WHERE id = 100", moment + "+00")
        assert events.one("SELECT tableoid::regclass::text FROM events WHERE id = 100") == home


def test_an_index_of_a_child_is_made_beside_its_writers(events: Database, strategy: str) -> None:
    events.apply(wanted(strategy))
    # One that was cut off.
    events.run("CREATE INDEX CONCURRENTLY broken ON events_p202512 (kind)")
    admin = events.server.connect(events.name)
    admin.cursor().execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass")
    admin.close()
    events.run("CREATE INDEX ON events (kind)")
    writer, other = events.connect(), events.connect()
    writer.autocommit = False
    writer.cursor().execute("UPDATE events SET payload = 'x' WHERE id = 11")
    thread = threading.Thread(target=events.apply, args=(wanted(strategy),))
    thread.start()
    until_it_waits(events, events.connection.get_backend_pid())
    other.cursor().execute("SET lock_timeout = '200ms'")
    other.cursor().execute("UPDATE events SET payload = 'y' WHERE id = 12")
    writer.commit()
    thread.join()
    writer.close()
    other.close()
    assert events.plan(wanted(strategy)) == []
    assert events.one("SELECT to_regclass('broken')") is None
    assert events.one("SELECT count(*) FROM pg_indexes WHERE tablename = 'events_p202512'") == 3


def test_a_child_without_its_triggers_can_leave(events: Database, strategy: str) -> None:
    events.apply(wanted(strategy))
    events.run("DROP TRIGGER hostwright_moved ON events_pmin")
    assert "detach events_pmin (before 2026-01-01 00:00:00+00)" in events.apply(wanted(strategy, keep=2))


def test_a_table_that_is_renamed(events: Database, strategy: str) -> None:
    """By a migration that changes db_table, and then in the spec."""
    events.apply(wanted(strategy))
    events.run("ALTER TABLE events RENAME TO happenings")
    renamed = spec(strategy=strategy, premake=1, table="happenings")
    for _ in range(2):
        events.apply(renamed)
    assert events.plan(renamed) == []
    events.run("INSERT INTO happenings (id, created_at) VALUES (100, '2025-12-24+00')")
    assert events.one("SELECT tableoid::regclass::text FROM happenings WHERE id = 100") == "events_p202512"
    assert events.run("SELECT table_name, problem FROM hostwright.health WHERE problem LIKE '%%gone%%'") == [
        ("events", "the table is gone, and its line in hostwright.partitioned is not")
    ]
    events.run("DELETE FROM hostwright.partitioned WHERE table_name = 'events'")
    assert events.maintain() == []
    assert events.one("SELECT count(*) FROM hostwright.partitioned WHERE failure IS NOT NULL") == 0


def test_moving_rows_waits_little_for_what_they_point_to(events: Database) -> None:
    events.run(
        "CREATE TABLE kinds (kind varchar(40) PRIMARY KEY); INSERT INTO kinds VALUES ('old');"
        "ALTER TABLE events ADD FOREIGN KEY (kind) REFERENCES kinds DEFERRABLE INITIALLY DEFERRED"
    )
    events.apply(wanted())
    holder = events.connect()
    holder.autocommit = False
    holder.cursor().execute("SELECT FROM kinds FOR UPDATE")
    ender = threading.Timer(5, holder.close)
    ender.start()
    april = NOW.replace(month=4)
    assert "filed" not in " ".join(events.maintain(april))
    assert not holder.closed
    assert "lock timeout" in events.one("SELECT problem FROM hostwright.health")
    ender.cancel()
    holder.close()
    events.run("UPDATE hostwright.partitioned SET failed_at = failed_at - interval '61 s'")
    assert events.maintain(april) == ["public.events: filed 10 rows"]


def test_what_inheritance_cannot_do_is_refused(events: Database) -> None:
    before = events.snapshot()
    with pytest.raises(BadInput, match="strategy: trigger returns no id to an INSERT"):
        events.plan(wanted("trigger"))
    events.run("DROP INDEX events_created_at")
    with pytest.raises(BadInput, match="no index begins with created_at"):
        events.plan(wanted())
    events.run("CREATE INDEX events_created_at ON events (created_at)")
    assert events.snapshot() == before


def test_integer_ranges(events: Database, strategy: str) -> None:
    ranges = wanted(strategy, key="id", interval=20)
    events.apply(ranges)
    here = "events" if strategy == "landing" else "events_p40"
    assert events.counts() == {"events_p0": 19, "events_p20": 20, here: 11}
    assert insert(events, 65, "2026-03-01+00") == "events_p60"
    assert events.maintain()[-1].startswith("public.events: ")
    assert events.apply(ranges) == []
    assert [child.name for child in catalog.read(events.connection, ranges).children][-1] == "events_p80"


def test_a_date_in_another_zone(events: Database, strategy: str) -> None:
    zoned = wanted(strategy, timezone="America/New_York")
    events.apply(zoned, NOW)
    here = "events" if strategy == "landing" else "events_p202603"
    assert insert(events, 100, "2026-03-01 04:59:59+00") == "events_p202602"
    assert insert(events, 101, "2026-03-01 05:00:00+00") == here
    # Daylight saving time has begun by April.
    assert insert(events, 102, "2026-04-01 03:59:59+00") == here
    assert insert(events, 103, "2026-04-01 04:00:00+00") == "events_p202604"
    assert events.maintain(NOW) == []


def test_maintenance_says_what_it_did_and_nothing_else(events: Database, strategy: str) -> None:
    events.apply(wanted(strategy))
    events.connection.notices.clear()
    assert "public.events: made events_p202605" in events.maintain(NOW.replace(month=4))
    assert events.connection.notices == []


def test_rows_that_the_primary_key_tells_apart_are_not_there_twice(events: Database, strategy: str) -> None:
    events.run("ALTER TABLE events DROP CONSTRAINT events_pkey, ADD PRIMARY KEY (kind, created_at)")
    events.apply(wanted(strategy))
    assert events.one("SELECT count(*) FROM events WHERE kind = 'old'") == 50
    assert events.problems(wanted(strategy)) == []


def test_the_sql_for_9_5(events: Database, strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a 9.5 server would be sent works on a newer one: it keeps to what both know."""
    monkeypatch.setattr(catalog, "version_of", lambda connection: 9.5)
    old = wanted(strategy, keep=None)
    events.apply(old)
    assert "EXCEPTION WHEN undefined_object" in events.one(
        "SELECT prosrc FROM pg_proc WHERE oid = 'hostwright.moved_rows'::regproc"
    )
    events.run("UPDATE events SET created_at = created_at + interval '1 month' WHERE id IN (1, 11, 21)")
    events.run("UPDATE events SET created_at = created_at")
    assert events.one("SELECT count(*) FROM events") == 50
    assert insert(events, 100, "2025-12-24+00") == "events_p202512"
    assert len(events.maintain(dt.datetime(2026, 4, 2, tzinfo=UTC))) >= 2
    assert events.apply(old, dt.datetime(2026, 4, 2, tzinfo=UTC)) == []
    events.undo(old)
    assert events.one("SELECT count(*) FROM ONLY events") == 51
