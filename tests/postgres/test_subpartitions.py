"""Children that are divided once more, by hash or list."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
from typing import Any

import psycopg2
import pytest

from hostwright.partition import catalog, load
from tests.postgres import servers
from tests.postgres.conftest import UTC, Database, spec

HASH = {"key": "account", "modulus": 2}
LIST = {"key": "account", "method": "list", "values": {"few": [0, 1], "many": [2, 3, 4]}}
LATER = dt.datetime(2026, 7, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _new_enough(server: servers.Server) -> None:
    server.needs("declarative")


@pytest.fixture
def accounts(events: Database) -> Database:
    events.run("ALTER TABLE events ADD account int NOT NULL DEFAULT 0; UPDATE events SET account = id % 5")
    events.run("GRANT SELECT ON events TO reader")
    return events


def leaves(database: Database) -> list[str]:
    found = database.run(
        "WITH RECURSIVE tree AS (SELECT 'events'::regclass::oid AS oid UNION ALL"
        " SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid)"
        " SELECT c.relname FROM tree JOIN pg_class c ON c.oid = tree.oid WHERE c.relkind = 'r' ORDER BY 1"
    )
    return [name for (name,) in found]


@pytest.mark.parametrize(("part", "suffixes"), [(HASH, ["_h0", "_h1"]), (LIST, ["_few", "_many"])])
@pytest.mark.parametrize("adopt", ["attach", "copy"])
def test_made_kept_up_and_undone(accounts: Database, adopt: str, part: dict[str, Any], suffixes: list[str]) -> None:
    wanted = spec(subpartition=part, adopt=adopt, keep=None)
    rows = accounts.run("SELECT id, extract(epoch FROM created_at)::text, kind FROM events ORDER BY id")
    accounts.apply(wanted)
    old = (
        ["events_pmin"]
        if adopt == "attach"
        else [
            f"events_{p}{s}" for p in ("p202511", "p202512", "p202601", "p202602", "p202603", "pmin") for s in suffixes
        ]
    )
    ahead = [f"events_p2026{month:02}{suffix}" for month in (4, 5, 6) for suffix in suffixes]
    assert leaves(accounts) == sorted([*ahead, *old])
    assert accounts.run("SELECT id, extract(epoch FROM created_at)::text, kind FROM events ORDER BY id") == rows
    assert accounts.plan(wanted) == []
    assert accounts.problems(wanted) == []

    # Rows find their part, by insert, update and load; readers may read all of it.
    accounts.run("INSERT INTO events (created_at, account) SELECT '2026-04-09+00', n % 5 FROM generate_series(1, 40) n")
    accounts.run(
        "UPDATE events SET created_at = '2026-05-09+00', account = account + 1"
        " WHERE created_at = '2026-04-09+00' AND account = 1"
    )
    text = "created_at,account\n2026-06-01,1\n2026-06-02,2\n2026-06-03,3\n"
    table = catalog.read(accounts.connection, wanted)
    assert load.load(accounts.connection, wanted, table, io.BytesIO(text.encode()), lambda rows: None) == 3
    assert accounts.one("SELECT count(*) FROM events_p202604") == 32
    assert accounts.one("SELECT count(*) FROM events_p202605") == 8
    assert accounts.one("SELECT count(*) FROM events_p202606") == 3
    with contextlib.closing(accounts.connect("reader")) as reader, reader.cursor() as cursor:
        parts = [f"SELECT * FROM events_p202606{suffix}" for suffix in suffixes]
        cursor.execute(" UNION ALL ".join(parts))
        assert len(cursor.fetchall()) == 3

    # Maintenance makes the same children, and takes old ones out.
    wanted = spec(subpartition=part, adopt=adopt, keep=2)
    accounts.apply(wanted)
    assert "public.events: made events_p202607" in accounts.maintain(LATER)
    assert accounts.plan(wanted, LATER) == []
    found = {child.name: child for child in catalog.read(accounts.connection, wanted).children}
    assert found["events_p202607"].parts == tuple(f"events_p202607{suffix}" for suffix in suffixes)
    assert found["events_p202607"].size > 0
    assert "events_p202604" not in found
    assert accounts.one("SELECT count(*) FROM events_p202604") == 32

    rows = accounts.run("SELECT id, extract(epoch FROM created_at)::text, kind FROM events ORDER BY id")
    accounts.undo(wanted)
    assert accounts.counts() == {"events": len(rows)}
    assert accounts.run("SELECT id, extract(epoch FROM created_at)::text, kind FROM events ORDER BY id") == rows
    table = catalog.read(accounts.connection, wanted)
    assert (table.kind, table.primary_key, table.recorded) == ("plain", ("id",), {})


def test_a_part_that_is_gone_is_seen_and_made_again(accounts: Database) -> None:
    wanted = spec(subpartition=HASH)
    accounts.apply(wanted)
    accounts.run("DROP TABLE events_p202604_h1")
    assert accounts.problems(wanted) == ["events_p202604 lacks events_p202604_h1, whose rows are refused: apply"]
    assert accounts.apply(wanted) == ["make events_p202604_h1"]
    assert accounts.plan(wanted) == []


def test_a_list_takes_no_other_value(accounts: Database) -> None:
    accounts.apply(spec(subpartition=LIST))
    with pytest.raises(psycopg2.errors.CheckViolation, match="no partition of relation"):
        accounts.run("INSERT INTO events (created_at, account) VALUES ('2026-04-01+00', 9)")


@pytest.mark.parametrize("retention", ["drop", "archive"])
def test_retention_takes_a_child_with_its_parts(accounts: Database, retention: str) -> None:
    wanted = spec(subpartition=HASH, keep=2, retention=retention)
    accounts.apply(wanted)
    accounts.apply(wanted, LATER)
    assert [name for name in leaves(accounts) if "202604" in name] == []
    assert accounts.one("SELECT to_regclass('events_p202604_h0')") is None
    moved = accounts.one("SELECT to_regclass('archive.events_p202604_h1')::text")
    assert moved == ("archive.events_p202604_h1" if retention == "archive" else None)
    accounts.run("DROP SCHEMA IF EXISTS archive CASCADE")


def test_a_default_partition_has_no_parts(accounts: Database) -> None:
    wanted = spec(subpartition=HASH, overflow="default")
    accounts.apply(wanted)
    accounts.run("INSERT INTO events (created_at) VALUES ('2026-08-01+00')")
    later = dt.datetime(2026, 5, 1, tzinfo=UTC)
    accounts.apply(wanted, later)
    assert accounts.one("SELECT count(*) FROM events_p202608") == 1
    assert accounts.plan(wanted, later) == []


def test_lists_too_can_be_divided(accounts: Database) -> None:
    wanted = spec(key="kind", method="list", adopt="copy", values={"old": ["old"], "new": ["new"]}, subpartition=HASH)
    accounts.apply(wanted)
    assert leaves(accounts) == ["events_new_h0", "events_new_h1", "events_old_h0", "events_old_h1"]
    accounts.run("DROP TABLE events_new")
    assert accounts.apply(wanted) == ["make events_new"]
    assert accounts.plan(wanted) == []
