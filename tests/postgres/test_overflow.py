"""Rows that no child is for: refused, or kept in a DEFAULT partition until there is one."""

from __future__ import annotations

import datetime as dt
import io
import re

import psycopg2
import pytest

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import catalog, load
from tests.postgres import servers
from tests.postgres.conftest import UTC, Database, spec

WANTED = spec(overflow="default", keep=3)


@pytest.fixture(autouse=True)
def _new_enough(server: servers.Server) -> None:
    server.needs("declarative")


def test_a_row_that_no_child_is_for_waits_until_there_is_one(events: Database) -> None:
    events.apply(WANTED)
    events.run("INSERT INTO events (kind, created_at) VALUES ('early', '2026-08-05+00')")
    assert events.counts() == {"events_pmin": 50, "events_default": 1}
    (problem,) = events.problems(WANTED)
    assert problem.startswith("1 rows are in events_default, from ")
    assert events.plan(WANTED) == []
    june = dt.datetime(2026, 6, 1, tzinfo=UTC)
    assert [step for step in events.apply(WANTED, june) if step.startswith("make")] == [
        "make events_p202607",
        "make events_p202608",
        "make events_p202609",
    ]
    assert events.counts()["events_p202608"] == 1
    assert events.problems(WANTED, june) == []
    assert events.plan(WANTED, june) == []


@pytest.mark.parametrize("how", ["apply", "maintain"])
def test_rows_of_a_gap_are_filed(events: Database, how: str) -> None:
    events.apply(WANTED)
    events.run("ALTER TABLE events DETACH PARTITION events_p202605; DROP TABLE events_p202605")
    events.run(
        "INSERT INTO events (kind, created_at) SELECT 'late', timestamptz '2026-05-05+00'"
        " FROM generate_series(1, 5) UNION ALL"
        " SELECT 'odd', '2035-01-01+00'"
    )
    assert events.counts()["events_default"] == 6
    done = events.maintain() if how == "maintain" else events.apply(WANTED)
    made = "public.events: made events_p202605 for rows of public.events_default"
    assert done == ([made] if how == "maintain" else ["make events_p202605"])
    assert events.counts() == {"events_default": 1, "events_p202605": 5, "events_pmin": 50}
    assert events.maintain() == []
    assert events.plan(WANTED) == []


def test_rows_older_than_what_is_kept_stay_where_they_are(events: Database) -> None:
    events.apply(WANTED)
    later = dt.datetime(2026, 8, 1, tzinfo=UTC)
    events.maintain(later)
    events.run("INSERT INTO events (created_at) VALUES ('2025-01-01+00'), ('-infinity')")
    assert events.maintain(later) == []
    assert events.plan(WANTED, later) == []
    assert events.counts() == {"events_default": 2}


def test_it_goes_only_when_it_is_empty(events: Database) -> None:
    events.apply(WANTED)
    events.run("INSERT INTO events (created_at) VALUES ('2030-01-01+00')")
    with pytest.raises(HostwrightError, match="there are rows in it"):
        events.apply(spec(keep=3))
    events.run("DELETE FROM events_default")
    assert events.apply(spec(keep=3)) == ["remove events_default, if it is empty"]
    with pytest.raises(psycopg2.errors.CheckViolation):
        events.run("INSERT INTO events (created_at) VALUES ('2030-01-01+00')")


def test_retention_beside_it(events: Database) -> None:
    events.apply(WANTED)
    later = dt.datetime(2026, 8, 2, tzinfo=UTC)
    assert [step.template for step in events.plan(WANTED, later) if "detach" in step.title] == ["retire", "retire"]
    events.apply(WANTED, later)
    assert events.plan(WANTED, later) == []


def test_a_copied_table_and_its_way_back(events: Database) -> None:
    wanted = spec(overflow="default", keep=None, adopt="copy")
    events.run("INSERT INTO events (created_at) VALUES ('2030-01-01+00')")
    rows = events.run("SELECT id, extract(epoch FROM created_at)::text, kind FROM events ORDER BY id")
    events.apply(wanted)
    assert events.counts()["events_default"] == 1
    assert events.plan(wanted) == []
    events.undo(wanted)
    assert events.run("SELECT id, extract(epoch FROM created_at)::text, kind FROM events ORDER BY id") == rows
    assert events.counts() == {"events": 51}


def test_load(events: Database) -> None:
    events.apply(WANTED)
    text = "created_at,kind\n2026-04-01,in\n2030-01-01,out\n"
    table = catalog.read(events.connection, WANTED)
    assert load.load(events.connection, WANTED, table, io.BytesIO(text.encode()), lambda rows: None) == 2
    assert events.counts() == {"events_pmin": 50, "events_p202604": 1, "events_default": 1}


def test_a_list_gives_up_the_rows_of_a_new_value(events: Database) -> None:
    first = spec(key="kind", method="list", adopt="copy", overflow="default", values={"old": ["old"]})
    events.apply(first)
    events.run("INSERT INTO events (kind) VALUES ('new'), ('newer')")
    assert events.counts() == {"events_default": 2, "events_old": 50}
    second = spec(key="kind", method="list", adopt="copy", overflow="default", values={"old": ["old"], "new": ["new"]})
    assert events.apply(second) == ["make events_new"]
    assert events.counts() == {"events_default": 1, "events_new": 1, "events_old": 50}
    (problem,) = events.problems(second)
    assert problem == "1 rows are in events_default, from newer to newer: no child is for them"


@pytest.mark.parametrize("how", ["apply", "maintain"])
def test_what_points_to_a_row_is_not_deleted_with_it(events: Database, how: str) -> None:
    """A row that moves out of the DEFAULT partition is deleted for foreign keys, which the table has got since."""
    events.server.needs("foreign keys to partitioned tables")
    wanted = spec(key="id", interval=20, keep=None, overflow="default")
    events.apply(wanted)
    events.run("ALTER TABLE events DETACH PARTITION events_p80; DROP TABLE events_p80")
    events.run("INSERT INTO events (id) VALUES (85)")
    events.run("CREATE TABLE notes (event bigint REFERENCES events ON DELETE CASCADE); INSERT INTO notes VALUES (85)")
    with pytest.raises(BadInput, match=r"overflow: default: foreign keys point to it: public.notes \(notes_event_fkey"):
        events.plan(wanted)
    said = "rows of .*events_default belong in .*events_p80, and foreign keys point to .*events"
    if how == "apply":
        with pytest.raises(HostwrightError, match=said):
            events.apply(spec(key="id", interval=20, keep=None))
    else:
        events.maintain()
        assert re.match(said, events.one("SELECT problem FROM hostwright.health"))
    assert events.run("SELECT event FROM notes") == [(85,)]
    events.run("DELETE FROM events WHERE id = 85")
    assert events.apply(spec(key="id", interval=20, keep=None)) == [
        "make events_p80",
        "remove events_default, if it is empty",
    ]
    assert events.plan(spec(key="id", interval=20, keep=None)) == []
