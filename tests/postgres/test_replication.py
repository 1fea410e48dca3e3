"""A table in a publication is divided, kept up and undone, and its subscriber goes on getting each change."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hostwright.errors import BadInput
from tests.postgres.conftest import EVENTS, NOW, Database, spec

ROWS = "SELECT id, extract(epoch FROM created_at)::text, kind FROM events ORDER BY id"


@pytest.fixture
def subscriber(events: Database) -> Iterator[Any]:
    """Another database that subscribes to the publication `feed` of `events`, once that is there."""
    admin = events.server.connect("postgres")
    admin.cursor().execute("CREATE DATABASE copy TEMPLATE template0")
    far = events.server.connect("copy")
    far.cursor().execute(EVENTS)
    yield far
    with contextlib.suppress(Exception), far.cursor() as cursor:
        cursor.execute("ALTER SUBSCRIPTION feed DISABLE")
        cursor.execute("ALTER SUBSCRIPTION feed SET (slot_name = NONE)")
        cursor.execute("DROP SUBSCRIPTION feed")
    far.close()
    with admin.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
        time.sleep(0.2)
        cursor.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'copy'")
        cursor.execute("DROP DATABASE copy")
    admin.close()


def subscribe(events: Database, far: Any) -> None:
    admin = events.server.connect(events.name)
    admin.cursor().execute("SELECT pg_create_logical_replication_slot('feed', 'pgoutput')")
    admin.close()
    with far.cursor() as cursor:
        cursor.execute(
            f"CREATE SUBSCRIPTION feed CONNECTION '{events.server.dsn(events.name)}' PUBLICATION feed"
            " WITH (create_slot = false, slot_name = 'feed')"
        )


def arrived(events: Database, far: Any) -> bool:
    """Whether the subscriber has the same rows, within some seconds."""
    with far.cursor() as cursor:
        for _ in range(200):
            cursor.execute(ROWS)
            if cursor.fetchall() == events.run(ROWS):
                return True
            time.sleep(0.05)
    return False


@pytest.mark.parametrize("adopt", ["attach", "copy"])
def test_a_subscriber_sees_one_table(events: Database, subscriber: Any, adopt: str) -> None:
    events.server.needs("publications of partitioned tables")
    events.run("CREATE PUBLICATION feed FOR TABLE events WITH (publish_via_partition_root = true)")
    subscribe(events, subscriber)
    assert arrived(events, subscriber)
    wanted = spec(adopt=adopt, keep=None)
    events.apply(wanted)

    def change() -> None:
        events.run("INSERT INTO events (created_at) VALUES ('2026-03-20+00'), ('2026-04-02+00'), ('2025-12-02+00')")
        events.run("UPDATE events SET kind = 'changed' WHERE id IN (2, 12, 51)")
        events.run("UPDATE events SET created_at = '2026-05-05+00' WHERE id = 3")
        events.run("DELETE FROM events WHERE id = (SELECT min(id) FROM events WHERE id > 20)")

    change()
    assert arrived(events, subscriber)
    events.maintain(NOW.replace(month=6))
    change()
    assert arrived(events, subscriber)
    if adopt == "attach":
        events.undo(wanted)
        events.run("INSERT INTO events (created_at) VALUES ('2026-03-20+00')")
        assert events.run("SELECT tablename FROM pg_publication_tables") == [("events",)]
    events.run("DROP PUBLICATION feed")


def test_a_child_that_is_not_published_is_seen(events: Database) -> None:
    events.server.needs("publications")
    wanted = spec(strategy="landing", premake=1)
    events.apply(wanted)
    events.run("CREATE PUBLICATION feed FOR TABLE ONLY events")
    titles = [step.title for step in events.plan(wanted)]
    assert "publish events_p202604 with the table: feed" in titles
    events.apply(wanted)
    assert events.plan(wanted) == []
    assert events.one("SELECT count(*) FROM pg_publication_tables") == 8
    events.run("DROP PUBLICATION feed")


def test_a_replica_identity_that_children_would_not_have(events: Database) -> None:
    events.server.needs("publications")
    events.run("ALTER TABLE events REPLICA IDENTITY FULL")
    assert events.plan(spec(strategy="landing")) != []
    events.run("CREATE PUBLICATION feed FOR TABLE events")
    message = "its REPLICA IDENTITY, in a publication, would not do what it does"
    with pytest.raises(BadInput, match=message):
        events.plan(spec(strategy="landing"))
    events.run("DROP PUBLICATION feed")
    admin = events.server.connect(events.name)
    with contextlib.closing(admin), admin.cursor() as cursor:
        for of in ("ALL TABLES", "TABLES IN SCHEMA public")[: 1 if events.major < 15 else 2]:
            cursor.execute(f"CREATE PUBLICATION feed FOR {of}")
            try:
                with pytest.raises(BadInput, match=message):
                    events.plan(spec(strategy="landing"))
            finally:
                cursor.execute("DROP PUBLICATION feed")
