"""What a table has is there once another one has taken its place: names, identities, comments, keys from elsewhere."""

from __future__ import annotations

import re
from typing import Any

import psycopg2
import pytest

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import apply, catalog
from hostwright.partition.plan import Step
from tests.postgres.conftest import Database, spec

WAYS = ["attach", "drain", "copy"]


@pytest.fixture(params=WAYS)
def wanted(request: pytest.FixtureRequest, events: Database) -> Any:
    events.server.needs("declarative")
    return spec(adopt=request.param, keep=None, premake=1)


def divided(database: Database, wanted: Any) -> None:
    for _ in range(2):
        database.apply(wanted)
    assert database.plan(wanted) == []


def names(database: Database, table: str = "events") -> dict[str, str]:
    """Of its indexes, with their columns and what else they are."""
    found = database.run(
        "SELECT i.relname, regexp_replace(pg_get_indexdef(x.indexrelid), '^.* USING ', '') || x.indisunique"
        " FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = %s::regclass",
        table,
    )
    return dict(found)


def test_names_definitions_and_the_comment(events: Database, wanted: Any) -> None:
    events.run(
        """
        CREATE INDEX "Of kind" ON events (kind); CREATE INDEX again ON events (kind);
        CREATE UNIQUE INDEX of_both ON events (created_at, id, kind);
        ALTER TABLE events ADD CONSTRAINT one_each UNIQUE (id, created_at, payload), ADD CONSTRAINT sane CHECK (id > 0);
        COMMENT ON TABLE events IS 'What''s seen';
        """
    )
    before = names(events)
    if wanted.adopt == "drain":
        # Each child of an inherited one has its own, so that none can be told apart while rows are moved.
        events.run("DROP INDEX again")
        before = names(events)
    divided(events, wanted)
    found = names(events)
    key = before.pop("events_pkey")
    assert (key, found.pop("events_pkey")) == ("btree (id)true", "btree (id, created_at)true")
    assert found == before
    assert events.one("SELECT obj_description('events'::regclass)") == "What's seen"
    constraints = events.run(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'events'::regclass AND contype <> 'n' ORDER BY 1"
    )
    assert constraints == [("events_pkey",), ("one_each",), ("sane",)]
    events.run('DROP INDEX "Of kind"; ALTER TABLE events DROP CONSTRAINT one_each')
    events.undo(wanted)
    found = names(events)
    assert found.pop("events_pkey") == key
    assert found == {name: text for name, text in before.items() if name not in ("Of kind", "one_each")}
    assert events.one("SELECT obj_description('events'::regclass)") == "What's seen"


def test_no_index_is_made_while_a_drained_table_is_locked(events: Database) -> None:
    events.server.needs("declarative")
    events.run(
        "ALTER TABLE events ADD UNIQUE (created_at, kind, id), ADD UNIQUE (id, created_at, payload);"
        "CREATE UNIQUE INDEX ON events (created_at, id)"
    )
    indexes = (
        "SELECT i.relfilenode FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid"
        " WHERE x.indrelid = 'events_p202512'::regclass ORDER BY 1"
    )
    before: list[Any] = []

    def done(step: Step, seconds: float) -> None:
        if step.template == "turn_index" and step.values["child"] == "events_p202512":
            before.extend(events.run(indexes))

    apply.apply(events.connection, events.plan(spec(adopt="drain", keep=None)), done)
    # All but that of the old primary key.
    assert events.run(indexes) == before[1:]


@pytest.mark.parametrize("kind", ["ALWAYS", "BY DEFAULT"])
def test_an_identity_goes_on_as_it_was(events: Database, wanted: Any, kind: str) -> None:
    events.run(
        f"""
        CREATE TABLE log (
            id int GENERATED {kind} AS IDENTITY (START WITH 7 INCREMENT BY 3 CACHE 1) PRIMARY KEY, at date NOT NULL);
        CREATE INDEX ON log (at);
        INSERT INTO log (at) SELECT date '2026-01-01' + n FROM generate_series(1, 80) n;
        """
    )
    wanted = spec(table="log", key="at", adopt=wanted.adopt, keep=None)

    def check(number: int) -> None:
        assert events.one("INSERT INTO log (at) VALUES ('2026-03-02') RETURNING id") == number
        assert events.one("SELECT pg_get_serial_sequence('log', 'id')") == "public.log_id_seq"
        # A row that is moved keeps its number.
        events.run("UPDATE log SET at = '2026-02-02' WHERE id = %s", number)
        assert events.one("SELECT count(*) FROM log WHERE id = %s AND at = '2026-02-02'", number) == 1
        if kind == "ALWAYS":
            with pytest.raises(psycopg2.errors.GeneratedAlways):
                events.run("INSERT INTO log (id, at) VALUES (1, '2026-03-02')")

    divided(events, wanted)
    check(7 + 80 * 3)
    events.undo(wanted)
    check(7 + 81 * 3)


def test_an_identity_under_landing(events: Database) -> None:
    events.server.needs("identity columns")
    events.run(
        "CREATE TABLE log (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at date NOT NULL);"
        "CREATE INDEX ON log (at);"
        "INSERT INTO log (at) SELECT date '2026-01-01' + n FROM generate_series(1, 80) n"
    )
    wanted = spec(table="log", key="at", strategy="landing", keep=None)
    divided(events, wanted)
    assert events.one("INSERT INTO log (at) VALUES ('2026-01-20') RETURNING id") == 81
    for moment in ("2026-03-02", "2026-02-02", "2026-01-03"):
        events.run("UPDATE log SET at = %s WHERE id = 5", moment)
        assert events.one("SELECT at = %s FROM log WHERE id = 5", moment)
    events.undo(wanted)
    assert events.one("INSERT INTO log (at) VALUES ('2026-01-20') RETURNING id") == 82
    with pytest.raises(BadInput, match="strategy: trigger returns no id to an INSERT"):
        events.plan(spec(table="log", key="at", strategy="trigger"))


def test_generated_columns(events: Database) -> None:
    events.server.needs("generated columns")
    events.run("ALTER TABLE events ADD twice bigint GENERATED ALWAYS AS (id * 2) STORED")
    for adopt in ("attach", "copy"):
        wanted = spec(adopt=adopt, keep=None)
        divided(events, wanted)
        assert events.one("SELECT count(*) FROM events WHERE twice = id * 2") == 50
        events.undo(wanted)
        assert events.one("SELECT count(*) FROM ONLY events WHERE twice = id * 2") == 50
    with pytest.raises(BadInput, match="generated columns: twice"):
        events.plan(spec(adopt="drain"))


@pytest.mark.parametrize("adopt", ["attach", "copy"])
def test_foreign_keys_that_hold_the_partition_key_stay(events: Database, adopt: str) -> None:
    events.run(
        "CREATE TABLE notes (id int PRIMARY KEY, event bigint REFERENCES events ON DELETE CASCADE);"
        "INSERT INTO notes SELECT n, n FROM generate_series(1, 50) n"
    )
    wanted = spec(key="id", interval=20, keep=None, adopt=adopt)
    if events.major < 12:
        with pytest.raises(BadInput, match=re.escape("foreign keys point to it: public.notes (notes_event_fkey)")):
            events.plan(wanted)
        return
    divided(events, wanted)
    assert events.run(
        "SELECT pg_get_constraintdef(oid), convalidated FROM pg_constraint"
        " WHERE conrelid = 'notes'::regclass AND contype = 'f' AND conparentid = 0"
    ) == [("FOREIGN KEY (event) REFERENCES events(id) ON DELETE CASCADE", True)]
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        events.run("INSERT INTO notes VALUES (99, 999)")
    new = events.one("INSERT INTO events DEFAULT VALUES RETURNING id")
    events.run("INSERT INTO notes VALUES (99, %s)", new)
    events.run("DELETE FROM events WHERE id IN (1, %s)", new)
    assert events.one("SELECT count(*) FROM notes") == 49
    with pytest.raises(BadInput, match="foreign keys point to it"):
        events.undo(wanted)
    # A child that notes point to stays, and maintenance says why.
    short = wanted.model_copy(update={"keep": 1, "retention": "drop"})
    if adopt == "copy":
        with pytest.raises(HostwrightError, match="foreign key"):
            events.apply(short)
    assert events.one("SELECT count(*) FROM events") == 49
    events.run("DROP TABLE notes")
    divided(events, short)


def test_what_a_table_has_that_children_can_not(events: Database) -> None:
    for statement, message in (
        ("ALTER TABLE events ADD CONSTRAINT apart EXCLUDE (id WITH =)", "the exclusion constraint apart"),
        ("ALTER TABLE events ADD CONSTRAINT later UNIQUE (id) DEFERRABLE", "the deferrable key later"),
        ("ALTER TABLE events ADD CONSTRAINT odd CHECK (id > 9) NOT VALID", "never proved: odd"),
    ):
        events.run(statement)
        for strategy in ("auto", "landing"):
            with pytest.raises(BadInput, match=message):
                events.plan(spec(strategy=strategy))
        events.run(f"ALTER TABLE events DROP CONSTRAINT {statement.split()[5]}")
    if events.major >= 11:
        events.run("CREATE UNIQUE INDEX of_kind ON events (id) INCLUDE (created_at)")
        with pytest.raises(BadInput, match="unique without the partition key: of_kind"):
            events.plan(spec(strategy="declarative"))


def test_rows_that_would_change_on_their_way_are_not_moved(events: Database) -> None:
    """By a trigger of a child, say."""
    landing = spec(strategy="landing", keep=None)
    for body in ("NEW.payload := 'other'; RETURN NEW", "RETURN NULL"):
        steps = events.plan(landing)
        made = [step for step in steps if step.template != "file"]
        apply.apply(events.connection, made, lambda *_: None)
        events.run(
            f"CREATE OR REPLACE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {body}; END'".replace(
                "'other'", "''other''"
            )
        )
        events.run("CREATE TRIGGER mine BEFORE INSERT ON events_p202512 FOR EACH ROW EXECUTE PROCEDURE mine()")
        with pytest.raises(HostwrightError, match=r"of 10 rows only 0 came to public[.]events_p202512 as they"):
            events.apply(landing)
        assert events.one("SELECT count(*) FROM events") == 50
        events.run("DROP TRIGGER mine ON events_p202512")
        events.apply(landing)
        assert events.plan(landing) == []
        events.undo(landing)
        assert events.one("SELECT count(*) FROM ONLY events WHERE payload = '{}'") == 50


def test_a_row_that_no_child_will_be_for_is_named_before_a_drain(events: Database) -> None:
    events.server.needs("declarative")
    events.run("INSERT INTO events (created_at) VALUES ('2031-01-01+00')")
    with pytest.raises(BadInput, match=r"created_at is 2031-01-01 .* the last child would end at 2026-07-01"):
        events.plan(spec(adopt="drain"))
    divided(events, spec())


def test_what_a_list_or_hash_holds_is_not_changed_in_place(events: Database) -> None:
    events.server.needs("declarative")
    values = {"odd": ["it's", "b\\c"], "rest": ["old", "seen"]}
    listed = spec(key="kind", method="list", adopt="copy", values=values)
    divided(events, listed)
    moved = listed.model_copy(update={"values": {"odd": ["it's", "old"], "rest": ["seen"]}})
    with pytest.raises(BadInput, match="events_odd is FOR VALUES IN"):
        events.plan(moved)
    events.run("CREATE TABLE hashed (id int PRIMARY KEY); INSERT INTO hashed SELECT generate_series(1, 99)")
    hashed = spec(table="hashed", key="id", method="hash", modulus=2, adopt="copy")
    divided(events, hashed)
    with pytest.raises(BadInput, match=r"hashed_h0 is FOR VALUES WITH \(modulus 2, remainder 0\)"):
        events.plan(hashed.model_copy(update={"modulus": 4}))
    events.run("CREATE TABLE numbers (id int PRIMARY KEY, n int NOT NULL)")
    wanted = spec(table="numbers", key="n", method="list", adopt="copy", values={"a": [1, -2], "b": [3]})
    events.run("ALTER TABLE numbers DROP CONSTRAINT numbers_pkey")
    divided(events, wanted)


def test_parts_of_a_spec_from_before_stay(events: Database) -> None:
    events.server.needs("declarative")
    first = spec(adopt="copy", premake=1, subpartition={"key": "id", "modulus": 2})
    divided(events, first)
    second = first.model_copy(
        update={"premake": 2, "subpartition": first.subpartition.model_copy(update={"modulus": 3})}
    )
    divided(events, second)
    found = {child.name: len(child.parts or ()) for child in catalog.read(events.connection, second).children}
    assert (found["events_p202604"], found["events_p202605"]) == (2, 3)
