"""Rights on single columns, publications and storage parameters: children have those of their table."""

from __future__ import annotations

import psycopg2
import pytest

from hostwright.errors import BadInput
from hostwright.partition.spec import PartitionSpec
from tests.postgres.conftest import Database, spec

RIGHTS = """
SELECT c.relname, coalesce(array_agg(format('%s %s', a.attname, a.attacl)) FILTER (WHERE a.attacl <> '{}'), '{}')
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.relname ~ '^events(_p[0-9min]+)?$' AND c.relkind IN ('r', 'p') GROUP BY 1"""


@pytest.fixture(params=["attach", "drain", "landing"])
def wanted(request: pytest.FixtureRequest, events: Database) -> PartitionSpec:
    if request.param == "landing":
        return spec(strategy="landing")
    events.server.needs("declarative")
    return spec(strategy="declarative", adopt=request.param)


def test_rights_on_columns_are_those_of_the_table(events: Database, wanted: PartitionSpec) -> None:
    events.run(
        "GRANT SELECT (id, created_at), UPDATE (kind) ON events TO reader; GRANT SELECT (kind) ON events TO PUBLIC"
    )
    events.apply(wanted)
    events.apply(wanted)
    found = {name: sorted(rights) for name, rights in events.run(RIGHTS)}
    assert found["events"] == [
        "created_at {reader=r/shop}",
        "id {reader=r/shop}",
        "kind {reader=w/shop,=r/shop}",
    ]
    assert len(found) > 3
    assert [name for name, rights in found.items() if rights != found["events"]] == []
    reader = events.connect("reader")
    with reader.cursor() as cursor:
        cursor.execute("SELECT count(id), min(kind) FROM events WHERE created_at < '2026-01-01+00'")
        assert cursor.fetchone() == (20, "old")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("SELECT payload FROM events")
    reader.close()


def test_rights_on_columns_that_changed_are_seen_and_shared(events: Database, wanted: PartitionSpec) -> None:
    events.apply(wanted)
    events.apply(wanted)
    events.run("GRANT SELECT (id) ON events TO reader")
    titles = [step.title for step in events.plan(wanted)]
    assert "owner and grants of events_p202604" in titles
    events.apply(wanted)
    assert events.plan(wanted) == []
    # A right on all columns that goes takes those on single ones with it.
    events.run("GRANT SELECT ON events TO reader")
    events.apply(wanted)
    events.run("REVOKE SELECT ON events FROM reader; GRANT SELECT (kind) ON events TO reader")
    events.apply(wanted)
    assert events.plan(wanted) == []
    assert {tuple(rights) for _, rights in events.run(RIGHTS)} == {("kind {reader=r/shop}",)}


def published(events: Database) -> list[str]:
    return [name for (name,) in events.run("SELECT tablename FROM pg_publication_tables ORDER BY 1")]


def test_children_are_published_with_their_table(events: Database, wanted: PartitionSpec) -> None:
    events.server.needs("publications")
    events.run("CREATE PUBLICATION feed FOR TABLE events")
    if wanted.strategy == "declarative" and events.major < 13:
        with pytest.raises(BadInput, match=r"publication feed, which PostgreSQL 1[12] has no partitioned tables in"):
            events.plan(wanted)
        events.run("DROP PUBLICATION feed")
        return
    events.apply(wanted)
    events.apply(wanted)
    events.maintain()
    assert {"events_p202604", "events_p202606"} <= set(published(events))
    assert events.plan(wanted) == []
    events.run("DROP PUBLICATION feed")


def test_a_publication_that_would_not_be_the_same_is_in_the_way(events: Database, wanted: PartitionSpec) -> None:
    events.server.needs("publications")
    admin = events.server.connect(events.name)
    admin.cursor().execute("CREATE PUBLICATION others FOR TABLE events")
    with pytest.raises(BadInput, match="the publication others, which belongs to postgres, would not do what it does"):
        events.plan(wanted)
    admin.cursor().execute("DROP PUBLICATION others")
    admin.close()
    if events.major >= 15:
        events.run("CREATE PUBLICATION part FOR TABLE events (id, created_at)")
        with pytest.raises(BadInput, match="the publication part of some rows or columns would not do what it does"):
            events.plan(wanted)
        events.run("DROP PUBLICATION part")


def test_new_children_have_the_storage_parameters_of_the_table(events: Database, wanted: PartitionSpec) -> None:
    events.run("ALTER TABLE events SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01)")
    events.apply(wanted)
    events.maintain()
    names = "SELECT reloptions FROM pg_class WHERE relname = 'events_p202606'"
    assert events.one(names) == ["fillfactor=70", "autovacuum_vacuum_scale_factor=0.01"]
    assert events.plan(wanted) == []
