"""What can't be done is said in one message at plan time, and nothing has changed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import apply, connection
from tests.postgres.conftest import Database, spec


@pytest.mark.parametrize(
    ("before", "wanted", "message"),
    [
        ("", {"table": "nowhere"}, "nowhere: there is no such table"),
        ("", {"table": "other.events"}, "other.events: there is no such table"),
        ("", {"key": "creatd_at"}, "events: it has no column creatd_at"),
        ("", {"key": "kind"}, "events: kind is of type character varying"),
        ("ALTER TABLE events ALTER created_at DROP NOT NULL", {}, "created_at may be NULL"),
        ("CREATE VIEW v AS SELECT * FROM events", {"table": "v"}, "v: it is no plain table"),
        ("CREATE VIEW v AS SELECT * FROM events", {}, "the view public.v would not do what it does"),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TRIGGER mine BEFORE INSERT ON events FOR EACH ROW EXECUTE PROCEDURE f()",
            {},
            "the trigger mine would not do what it does",
        ),
        ("ALTER TABLE events ENABLE ROW LEVEL SECURITY", {}, "row level security would not do what it does"),
        ("CREATE RULE r AS ON DELETE TO events DO INSTEAD NOTHING", {}, "the rule r would not do what it does"),
        (
            "CREATE TABLE notes (event bigint REFERENCES events)",
            {},
            "foreign keys point to it: public.notes (notes_event_fkey)",
        ),
        ("ALTER TABLE events ADD UNIQUE (id, kind)", {}, "unique without the partition key: events_id_kind_key"),
    ],
)
def test_a_table_that_cannot_be_divided(events: Database, before: str, wanted: dict[str, Any], message: str) -> None:
    if before:
        events.run(before)
    snapshot = events.snapshot()
    if events.major < 11 and "unique" in message:
        # Landing is what such a server gets; it keeps the table's unique constraints.
        assert "send late and early rows to their children" in [step.title for step in events.plan(spec(**wanted))]
    else:
        with pytest.raises(BadInput, match=re.escape(message)):
            events.plan(spec(**wanted))
    assert events.snapshot() == snapshot


def test_a_server_too_old_for_the_strategy(events: Database) -> None:
    if events.major >= 11:
        pytest.skip("this server is new enough")
    with pytest.raises(BadInput, match=r"PostgreSQL (9\.[56]|10) has no partitioned tables with a primary key"):
        events.plan(spec(strategy="declarative"))
    with pytest.raises(BadInput, match="method: hash needs PostgreSQL 11"):
        events.plan(spec(method="hash"))


def test_a_role_without_rights(events: Database) -> None:
    events.connection.close()
    events.connection = events.connect("reader")
    with pytest.raises(BadInput, match="it belongs to shop, and you are not"):
        events.plan(spec())


def test_a_role_that_may_not_make_schemas(events: Database) -> None:
    admin = events.server.connect(events.name)
    admin.cursor().execute("ALTER TABLE events OWNER TO app")
    events.connection.close()
    events.connection = events.connect("app")
    with pytest.raises(BadInput, match="you may not make what is needed: tables in schema public"):
        events.plan(spec())
    admin.cursor().execute("GRANT CREATE ON SCHEMA public TO app")
    with pytest.raises(BadInput, match="what is needed: the schema hostwright in database test"):
        events.plan(spec())
    admin.cursor().execute("CREATE SCHEMA hostwright")
    admin.close()
    with pytest.raises(BadInput, match="functions in schema hostwright, which belongs to postgres"):
        events.plan(spec())


def test_settings_of_the_role_do_not_get_in_the_way(events: Database) -> None:
    steps = events.plan(spec())
    events.run("SET statement_timeout = 1; SET default_transaction_isolation = 'serializable'")
    apply.apply(events.connection, steps, lambda *_: None)
    events.run("RESET statement_timeout")
    assert events.plan(spec()) == []


def test_a_database_that_is_not_there(events: Database) -> None:
    with (
        pytest.raises(BadInput, match='database "nowhere" does not exist'),
        connection.direct(events.server.dsn("nowhere", "shop")),
    ):
        pass


def test_keys_in_the_far_past_are_no_trouble(events: Database) -> None:
    events.run("INSERT INTO events (created_at) VALUES ('-infinity'), ('4713-01-01 BC'), ('0001-01-01 BC')")
    events.apply(spec())
    assert events.one("SELECT count(*) FROM events_pmin") == (53 if events.major >= 11 else 3)


def test_keys_of_the_future(events: Database) -> None:
    events.run("INSERT INTO events (created_at) VALUES ('infinity')")
    if events.major < 11:
        events.apply(spec())
        assert events.one("SELECT count(*) FROM ONLY events WHERE created_at = 'infinity'") == 1
        return
    with pytest.raises(HostwrightError, match=r"prove the bound: .*events_pmin_bound"):
        events.apply(spec())
    events.run("DELETE FROM events WHERE created_at = 'infinity'")
    events.apply(spec())
