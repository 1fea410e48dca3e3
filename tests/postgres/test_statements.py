"""Killed at any statement: no row is lost, rows can be written to at once, and the next apply goes on from there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pglast
import pytest

from hostwright.errors import HostwrightError
from hostwright.partition import apply, catalog, undo
from hostwright.partition.plan import Step
from hostwright.partition.spec import SplitSpec
from hostwright.partition.split import catalog as split_catalog
from hostwright.partition.split import plan as split_plan
from tests.postgres.conftest import EVENTS, NOW, Database, spec

STRIDE = 7
"""Every seventh statement, and others on each server: all versions together have each of them."""
ROWS = (
    "INSERT INTO events (kind, created_at) SELECT 'old',"
    " (timestamp '2026-01-01' + n / 10 * interval '1 month' + n % 10 * interval '1 hour') AT TIME ZONE 'UTC'"
    " FROM generate_series(0, 29) n ORDER BY n"
)
WANTED = {
    "attach": spec(premake=1),
    "drain": spec(premake=1, adopt="drain"),
    "copy": spec(premake=1, adopt="copy", overflow="default"),
    "parts": spec(premake=1, adopt="copy", subpartition={"key": "id", "modulus": 2}),
    "hash": spec(key="id", method="hash", modulus=2, adopt="copy"),
    "landing": spec(premake=1, strategy="landing"),
    "trigger": spec(premake=1, strategy="trigger"),
}


class Deadly:
    """A connection that is killed by the server before its statement number `at`, and counts them."""

    def __init__(self, database: Database, at: int) -> None:
        self.database, self.at, self.count = database, at, 0
        self.real = database.connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def cursor(self) -> Any:
        return _Cursor(self, self.real.cursor())

    def tick(self) -> None:
        if self.count == self.at:
            kill(self.database)
        self.count += 1


class _Cursor:
    def __init__(self, connection: Deadly, real: Any) -> None:
        self._deadly, self._real = connection, real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> _Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        self._real.close()

    def execute(self, text: str, values: Any = None) -> None:
        for statement in [text] if values else pglast.split(text):
            self._deadly.tick()
            self._real.execute(statement, values)


def kill(database: Database) -> None:
    admin = database.server.connect(database.name)
    admin.cursor().execute("SELECT pg_terminate_backend(%s)", (database.connection.get_backend_pid(),))
    admin.close()


def fresh(database: Database, strategy: str) -> None:
    """The table with 30 rows, and nothing of what was."""
    database.wipe()
    database.run("DELETE FROM hostwright.partitioned")
    database.run(EVENTS + ROWS)
    if strategy == "trigger":
        database.run("ALTER TABLE events ALTER id DROP DEFAULT; DROP SEQUENCE events_id_seq")


def points(total: int, offset: int) -> Iterator[int]:
    yield from range(offset % STRIDE, total, STRIDE)


def through(database: Database, steps: list[Step], at: int) -> int:
    """Apply, killed before statement `at`; returns how many there were."""
    deadly = Deadly(database, at)
    apply.apply(deadly, steps, lambda *_: None)
    return deadly.count


@pytest.fixture
def installed(events: Database) -> Database:
    """A database that has the functions already: they are one transaction."""
    steps = [step for step in events.plan(spec(strategy="landing")) if step.template == "library"]
    apply.apply(events.connection, steps, lambda *_: None)
    return events


@pytest.mark.parametrize("strategy", WANTED)
@pytest.mark.parametrize("way", ["there", "back"])
def test_killed_before_any_statement(installed: Database, strategy: str, way: str) -> None:
    wanted = WANTED[strategy]
    if wanted.strategy == "auto":
        installed.server.needs("declarative")

    def steps() -> list[Step]:
        if way == "back":
            return undo.plan(wanted, catalog.read(installed.connection, wanted))
        return installed.plan(wanted)

    def begin() -> list[Step]:
        fresh(installed, strategy)
        if way == "back":
            for _ in range(2):
                apply.apply(installed.connection, installed.plan(wanted), lambda *_: None)
        return steps()

    total = through(installed, begin(), -1)
    assert steps() == [] or way == "there"
    for at in points(total, int(installed.major)):
        planned = begin()
        with pytest.raises(HostwrightError, match="connection was lost"):
            through(installed, planned, at)
        installed.connection = installed.connect()
        assert installed.one("SELECT count(*) FROM events") == 30, at
        installed.run("INSERT INTO events (id, created_at) VALUES (1000, '2026-03-15 12:00+00')")
        for _ in range(3):
            apply.apply(installed.connection, steps(), lambda *_: None)
        assert steps() == [], at
        ids = [number for (number,) in installed.run("SELECT id FROM events ORDER BY id")]
        assert ids == [*range(1, 31), 1000], at
        if way == "back":
            assert installed.one("SELECT count(*) FROM pg_inherits") == 0
            assert installed.one("SELECT count(*) FROM ONLY events") == 31


@pytest.mark.parametrize("way", ["there", "back"])
def test_a_split_killed_before_any_statement(installed: Database, way: str) -> None:
    wanted = SplitSpec(table="events", wide=["payload"])

    def steps() -> list[Step]:
        found = split_catalog.read(installed.connection, wanted)
        return split_plan.undo(wanted, found) if way == "back" else split_plan.plan(wanted, found)

    def begin() -> list[Step]:
        fresh(installed, "")
        installed.run("DROP TABLE IF EXISTS hostwright.split")
        if way == "back":
            found = split_catalog.read(installed.connection, wanted)
            apply.apply(installed.connection, split_plan.plan(wanted, found), lambda *_: None)
        return steps()

    total = through(installed, begin(), -1)
    for at in points(total, int(installed.major)):
        planned = begin()
        with pytest.raises(HostwrightError, match="connection was lost"):
            through(installed, planned, at)
        installed.connection = installed.connect()
        assert installed.one("SELECT count(*) FROM events") == 30, at
        installed.run("INSERT INTO events (id, created_at) VALUES (1000, '2026-03-15 12:00+00')")
        installed.run("UPDATE events SET payload = 'new' WHERE id = 1000")
        apply.apply(installed.connection, steps(), lambda *_: None)
        assert steps() == [], at
        ids = [number for (number,) in installed.run("SELECT id FROM events ORDER BY id")]
        assert ids == [*range(1, 31), 1000], at
        assert installed.one("SELECT payload FROM events WHERE id = 1000") == "new"


@pytest.mark.parametrize("template", ["adopt_index", "turn_index"])
def test_killed_while_an_index_is_made_concurrently(installed: Database, template: str) -> None:
    installed.server.needs("declarative")
    wanted = WANTED["attach" if template == "adopt_index" else "drain"]
    fresh(installed, "attach")
    planned = installed.plan(wanted)
    before = next(number for number, step in enumerate(planned) if step.template == template)
    apply.apply(installed.connection, planned[:before], lambda *_: None)
    holder = installed.connect()
    holder.set_session(isolation_level="REPEATABLE READ", autocommit=False)
    holder.cursor().execute("SELECT count(*) FROM events")
    installed.run("SET statement_timeout = 0")
    killer = threading.Timer(0.5, kill, (installed,))
    killer.start()
    # It waits for the snapshot of the holder, with an index that is there and not valid.
    with pytest.raises(HostwrightError, match="connection was lost"):
        apply.apply(installed.connection, planned[before:], lambda *_: None)
    killer.join()
    holder.close()
    time.sleep(0.1)
    installed.connection = installed.connect()
    assert installed.one("SELECT count(*) FROM pg_index WHERE NOT indisvalid") > 0
    for _ in range(2):
        installed.apply(wanted)
    assert installed.plan(wanted) == []
    assert installed.one("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert installed.one("SELECT count(*) FROM events") == 30


@pytest.mark.parametrize("way", ["refused", "interrupted"])
def test_what_fails_while_a_table_is_attached_leaves_nothing_that_refuses_rows(
    events: Database, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events.server.needs("declarative")
    if way == "refused":
        events.run("INSERT INTO events (created_at) VALUES ('infinity')")
        expected: type[BaseException] = HostwrightError
    else:
        expected = KeyboardInterrupt
        once: Callable[..., int] = apply._once

        def interrupted(cursor: Any, step: Step, started: float) -> int:
            if step.template == "adopt":
                raise KeyboardInterrupt
            return once(cursor, step, started)

        monkeypatch.setattr(apply, "_once", interrupted)
    with pytest.raises(expected):
        events.apply(spec())
    assert events.one("SELECT count(*) FROM pg_constraint WHERE conname = 'events_pmin_bound'") == 0
    events.run("INSERT INTO events (created_at) VALUES ('2031-01-01+00')")


def test_rows_of_the_next_week_come_while_a_table_is_attached(events: Database) -> None:
    events.server.needs("declarative")
    late = NOW.replace(day=28)
    came: list[str] = []

    def told(step: Step, seconds: float) -> None:
        if step.template.startswith("adopt"):
            events.connect().cursor().execute("INSERT INTO events (created_at) VALUES ('2026-04-02+00')")
            came.append(step.template)

    apply.apply(events.connection, events.plan(spec(), late), told)
    assert came == ["adopt_index", "adopt_check", "adopt_validate", "adopt"]
    assert events.counts() == {"events_pmin": 54}
