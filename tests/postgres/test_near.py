"""A child that retention has detached, or moved to another schema, comes back."""

from __future__ import annotations

from typing import Any

import pytest

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition.archive import near
from tests.postgres.conftest import Database, spec


@pytest.fixture(params=["declarative", "landing", "trigger"])
def wanted(request: pytest.FixtureRequest, events: Database) -> Any:
    """A table whose children before February are in the schema "Old Things"."""
    if request.param == "declarative":
        events.server.needs("declarative")
    if request.param == "trigger":
        events.run("ALTER TABLE events ALTER id DROP DEFAULT; DROP SEQUENCE events_id_seq")
    wanted = spec(strategy=request.param, adopt="drain", keep=3, retention="archive", archive_schema="Old Things")
    events.run("GRANT SELECT ON events TO reader")
    for _ in range(2):
        events.apply(wanted)
    events.apply(wanted.model_copy(update={"keep": 1}))
    assert events.one("SELECT count(*) FROM events") == 20
    yield wanted
    events.run('SET client_min_messages = error; DROP SCHEMA IF EXISTS "Old Things" CASCADE')


def back(database: Database, wanted: Any, child: str) -> list[str]:
    done: list[str] = []
    near.bring_back(database.connection, wanted, child, lambda title, seconds: done.append(title))
    return done


def rows(database: Database) -> list[tuple[Any, ...]]:
    return database.run("SELECT id, extract(epoch FROM created_at)::text, kind, payload FROM events ORDER BY id")


def test_there_and_back(events: Database, wanted: Any) -> None:
    done = back(events, wanted, "events_p202601")
    assert done == (
        ["write down the bounds of events_p202601", "prove them", "attach events_p202601"]
        if wanted.strategy == "declarative"
        else ["copy and compare 10 rows"]
    )
    back(events, wanted, "events_p202512")
    assert [row[0] for row in rows(events)] == list(range(11, 51))
    assert events.counts()["events_p202512"] == 10
    events.apply(wanted)
    assert events.plan(wanted) == []
    assert events.problems(wanted) == []
    assert events.one("SELECT has_table_privilege('reader', 'events_p202512', 'SELECT')")
    # It is a child like the others: columns go, rows move, and retention takes it again.
    events.run("ALTER TABLE events DROP payload; ALTER TABLE events ADD added text DEFAULT 'a'")
    events.run("INSERT INTO events (id, created_at, kind, added) VALUES (100, '2025-12-24+00', 'late', 'b')")
    assert events.run("SELECT kind, added, tableoid::regclass::text FROM events WHERE id IN (11, 100) ORDER BY id") == [
        ("old", "a", "events_p202512"),
        ("late", "b", "events_p202512"),
    ]
    events.run("UPDATE events SET created_at = '2026-01-24+00' WHERE id = 100")
    assert events.one("SELECT tableoid::regclass::text FROM events WHERE id = 100") == "events_p202601"
    for _ in range(2):
        events.apply(wanted.model_copy(update={"keep": 1}))
    assert events.one('SELECT count(*) FROM "Old Things".events_p202601') == 11


def test_what_can_not_come_back(events: Database, wanted: Any) -> None:
    before = events.snapshot()
    with pytest.raises(BadInput, match="nowhere is not detached from it"):
        back(events, wanted, "nowhere")
    with pytest.raises(BadInput, match="events_p202602 is not detached from it"):
        back(events, wanted, "events_p202602")
    assert events.snapshot() == before
    events.run("SELECT hostwright.make_child('events', 'mine', '2026-01-10+00', '2026-01-20+00')")
    with pytest.raises(BadInput, match="mine is for rows of events_p202601 too"):
        back(events, wanted, "events_p202601")
    events.run("DROP TABLE mine; ALTER TABLE events DROP payload")
    before = events.snapshot()
    with pytest.raises((BadInput, HostwrightError), match="payload"):
        back(events, wanted, "events_p202601")
    changed = [line for line in events.snapshot() if line not in before and "hostwright_bounds" not in str(line)]
    assert changed == []
    events.run('ALTER TABLE "Old Things".events_p202601 DROP payload')
    back(events, wanted, "events_p202601")
    assert events.one("SELECT count(*) FROM events") == 30


def test_rows_that_came_meanwhile(events: Database, wanted: Any) -> None:
    if wanted.strategy == "declarative":
        wanted = wanted.model_copy(update={"overflow": "default", "keep": 1})
        events.apply(wanted)
    events.run("INSERT INTO events (id, created_at) VALUES (100, '2026-01-24+00')")
    back(events, wanted, "events_p202601")
    wanted = wanted.model_copy(update={"keep": 3})
    events.apply(wanted)
    assert events.counts()["events_p202601"] == 11


def test_a_child_with_parts(events: Database) -> None:
    events.server.needs("declarative")
    wanted = spec(adopt="copy", keep=3, retention="archive", subpartition={"key": "id", "modulus": 2})
    events.apply(wanted)
    for _ in range(2):
        events.apply(wanted.model_copy(update={"keep": 1}))
    assert events.one("SELECT count(*) FROM archive.events_p202601") == 10
    back(events, wanted, "events_p202601")
    assert events.one("SELECT count(*) FROM events WHERE created_at < '2026-02-01+00'") == 10
    events.apply(wanted.model_copy(update={"keep": 2}))
    assert events.plan(wanted.model_copy(update={"keep": 2})) == []
    events.run("SET client_min_messages = error; DROP SCHEMA archive CASCADE")
