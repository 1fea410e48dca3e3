"""What can't be done is said in one message at plan time, and nothing has changed."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest

from hostwright.errors import BadInput
from hostwright.partition import connection
from tests.postgres.conftest import Database, spec


@pytest.mark.parametrize(
    ("before", "wanted", "message"),
    [
        ("", {"table": "nowhere"}, "nowhere: there is no such table"),
        ("", {"table": "other.events"}, "other.events: there is no such table"),
        ("", {"key": "creatd_at"}, "events: it has no column creatd_at"),
        ("", {"key": "kind"}, "events: kind is of type character varying"),
        ("ALTER TABLE events ALTER created_at DROP NOT NULL", {}, "created_at may be NULL"),
        ("CREATE VIEW v AS SELECT * FROM events", {"table": "v"}, "v: it is no table"),
        ("CREATE VIEW v AS SELECT * FROM events", {}, "the view v would stay with the old table"),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TRIGGER mine BEFORE INSERT ON events FOR EACH ROW EXECUTE PROCEDURE f()",
            {},
            "the trigger mine would stay with the old table",
        ),
        ("CREATE RULE r AS ON DELETE TO events DO INSTEAD NOTHING", {}, "the rule r would stay with the old table"),
        (
            "CREATE TABLE notes (event bigint REFERENCES events)",
            {},
            "foreign keys point to it: notes (notes_event_fkey)",
        ),
        ("ALTER TABLE events ADD UNIQUE (id, kind)", {}, "unique without the partition key: events_id_kind_key"),
    ],
)
def test_a_table_that_cannot_be_divided(events: Database, before: str, wanted: dict[str, Any], message: str) -> None:
    if before:
        events.run(before)
    snapshot = events.snapshot()
    if events.major < 11 and not re.search("no such table", message):
        message = "PostgreSQL 10 has no partitioned tables with a primary key"
    with pytest.raises(BadInput, match=re.escape(message)):
        events.plan(spec(**wanted))
    assert events.snapshot() == snapshot


def test_a_role_without_rights(events: Database) -> None:
    if events.major < 11:
        pytest.skip("declarative needs PostgreSQL 11")
    events.connection.close()
    events.connection = events.connect("reader")
    with pytest.raises(BadInput, match="it belongs to shop, and you are not"):
        events.plan(spec())


def test_a_database_that_is_not_there(events: Database) -> None:
    with (
        pytest.raises(BadInput, match='database "nowhere" does not exist'),
        connection.direct(events.server.dsn("nowhere", "shop")),
    ):
        pass


def test_a_period_in_the_far_past_is_no_trouble(events: Database) -> None:
    if events.major < 11:
        pytest.skip("declarative needs PostgreSQL 11")
    events.run("INSERT INTO events (created_at) VALUES ('-infinity'), ('4713-01-01 BC'), ('0001-01-01 BC')")
    events.apply(spec(), dt.datetime(2026, 3, 15, tzinfo=dt.timezone.utc))
    assert events.one("SELECT count(*) FROM events_p0") == 53


def test_rows_of_the_future_are_refused_before_anything_changes(events: Database) -> None:
    if events.major < 11:
        pytest.skip("declarative needs PostgreSQL 11")
    events.run("INSERT INTO events (created_at) VALUES ('infinity')")
    with pytest.raises(Exception, match="events_p0_bound"):
        events.apply(spec())
