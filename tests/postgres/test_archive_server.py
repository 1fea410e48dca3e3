"""A child on another server, and back."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import os
import re
import signal
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
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostwright import config, remote
from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import catalog, load
from hostwright.partition import connection as connections
from hostwright.partition.archive import server as archive
from hostwright.partition.spec import PartitionSpec
from hostwright.tasks import _fleet
from hostwright.tasks import partition as tasks
from tests.postgres import servers
from tests.postgres.conftest import EVENTS, NOW, UTC, Database, spec

PASSWORD = 'it\'s a \\ "secret", ünknown'
DECEMBER = "events_p202512"


@pytest.fixture(scope="session")
def far_server(server: servers.Server) -> Iterator[servers.Server]:
    """A server that asks for passwords: the newest, or the oldest where that is the one under test."""
    major = min(servers.PINNED) if server.major == max(servers.PINNED) else max(servers.PINNED)
    with tempfile.TemporaryDirectory(prefix="hostwright-hba-") as directory:
        Path(directory).chmod(0o755)
        hba = Path(directory) / "pg_hba.conf"
        hba.write_text("local all postgres trust\nlocal all all md5\n")
        # How a server before 10 asks for a password, and answers.
        kept = {"password_encryption": "md5"} if server.major < 10 else {}
        with servers.server(major, {"hba_file": str(hba), **kept}) as started:
            admin = started.connect("postgres")
            with admin.cursor() as cursor:
                for name in ("keeper", "guest"):
                    cursor.execute(f"CREATE ROLE {name} LOGIN PASSWORD %s", (PASSWORD,))
                cursor.execute("CREATE DATABASE old OWNER keeper")
            admin.close()
            yield started


@dataclass
class Far:
    """The archive: its server, and the connection of the role that owns what is there."""

    server: servers.Server
    connection: Any

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def tables(self) -> list[str]:
        return [name for (name,) in self.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")]

    def spec(self, **values: Any) -> PartitionSpec:
        """A spec with this archive; `archive` overrides some of its keys."""
        told = {"server": str(self.server.socket), "name": "old", "user": "keeper", "password": PASSWORD}
        return spec(**{"adopt": "drain", "keep": 3, **values, "archive": {**told, **values.pop("archive", {})}})


@pytest.fixture
def far(far_server: servers.Server) -> Iterator[Far]:
    admin = far_server.connect("old")
    admin.cursor().execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO keeper")
    admin.close()
    connection = far_server.connect("old", "keeper", password=PASSWORD)
    yield Far(far_server, connection)
    connection.close()


@pytest.fixture
def linked(events: Database) -> Iterator[Database]:
    """`events`, in a database whose owner may use postgres_fdw."""
    admin = events.server.connect(events.name)
    admin.cursor().execute("CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO shop")
    yield events
    with admin.cursor() as cursor:
        cursor.execute("SET client_min_messages = error; DROP EXTENSION postgres_fdw CASCADE")
        cursor.execute('DROP SCHEMA IF EXISTS "Old Things" CASCADE')
    admin.close()


WAYS = [("declarative", "beside"), ("landing", "beside"), ("landing", "inside"), ("trigger", "inside")]


@pytest.fixture(params=WAYS, ids=["-".join(way) for way in WAYS])
def wanted(request: pytest.FixtureRequest, linked: Database, far: Far) -> PartitionSpec:
    """A table divided each way, and the place of its archive."""
    strategy, place = request.param
    if strategy == "declarative":
        linked.server.needs("declarative")
    if strategy == "trigger":
        linked.run("ALTER TABLE events ALTER id DROP DEFAULT; DROP SEQUENCE events_id_seq")
    wanted = far.spec(strategy=strategy, archive={"place": place})
    linked.run("UPDATE events SET payload = %s WHERE id = 11", 'a "quoted",\nwide \\ text')
    linked.run("GRANT SELECT ON events TO reader")
    linked.apply(wanted)
    linked.apply(wanted)
    return wanted


def nothing(title: str) -> None:
    pass


def move(
    database: Database,
    far: Far,
    wanted: PartitionSpec,
    child: str = DECEMBER,
    told: Callable[[str], None] = nothing,
) -> list[str]:
    """Move `child`; returns the steps that were done, of which `told` is told too."""
    done: list[str] = []

    def step(title: str, seconds: float) -> None:
        done.append(title)
        told(title)

    archive.move(database.connection, far.connection, wanted, child, NOW, step)
    return done


def bring_back(database: Database, far: Far, wanted: PartitionSpec, drop: bool = True) -> list[str]:
    done: list[str] = []
    archive.bring_back(
        database.connection, far.connection, wanted, DECEMBER, drop, NOW, lambda title, seconds: done.append(title)
    )
    return done


def rows(database: Database, table: str = "events") -> list[tuple[Any, ...]]:
    return database.run(f"SELECT id, extract(epoch FROM created_at)::text, kind, payload FROM {table} ORDER BY id")


def shape(database: Database) -> list[str]:
    """All that is there, whatever the child's indexes are called, and without the view that stays."""
    lines = [re.sub(r"(events_p202512)_\w*?(key|idx)", r"\1_\2", str(line)) for line in database.snapshot()]
    return sorted(line for line in lines if "events_archive" not in line)


def test_there_and_back(linked: Database, far: Far, wanted: PartitionSpec) -> None:
    before, shape_before = rows(linked), shape(linked)
    assert move(linked, far, wanted) == [
        f"keep {DECEMBER} as it is",
        "copy and compare 10 rows",
        f"put a foreign table in the place of {DECEMBER}",
    ]
    assert far.tables() == [DECEMBER]
    assert linked.one("SELECT relkind::text FROM pg_class WHERE relname = %s", DECEMBER) == "f"
    if wanted.archive and wanted.archive.place == "inside":
        assert rows(linked) == before
    else:
        assert rows(linked) == [row for row in before if not 10 < row[0] <= 20]
        assert rows(linked, "events_archive") == [row for row in before if 10 < row[0] <= 20]
    assert move(linked, far, wanted) == []
    assert linked.plan(wanted) == []
    assert linked.maintain() == []
    assert linked.problems(wanted) == []

    assert bring_back(linked, far, wanted) == [
        "copy and compare 10 rows",
        f"put {DECEMBER} in the place of its foreign table",
        f"drop {DECEMBER} in the archive",
    ]
    assert far.tables() == []
    assert rows(linked) == before
    assert linked.one("SELECT tableoid::regclass::text FROM events WHERE id = 11") == DECEMBER
    linked.apply(wanted)  # Rows of that period can have come to the parent meanwhile.
    assert linked.plan(wanted) == []
    assert linked.problems(wanted) == []
    assert shape(linked) == shape_before


def whole(database: Database, wanted: PartitionSpec) -> list[tuple[Any, ...]]:
    """All rows of the table, wherever they are."""
    found = rows(database)
    if database.one("SELECT to_regclass('events_archive')"):
        found += rows(database, "events_archive")
    return sorted(found)


def settle(database: Database) -> None:
    """Wait until the server has noticed that the session of a move is gone."""
    ended = time.monotonic() + 5
    while database.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") and time.monotonic() < ended:
        time.sleep(0.01)


def scans(database: Database, query: str) -> bool:
    """Whether the plan of `query` asks the other server."""
    return any("Foreign Scan" in line for (line,) in database.run(f"EXPLAIN {query}"))


def test_hot_queries_never_ask_the_other_server(linked: Database, far: Far, wanted: PartitionSpec) -> None:
    move(linked, far, wanted)
    hot = "created_at >= '2026-03-01+00' AND created_at < '2026-04-01+00'"
    old = "created_at >= '2025-12-05+00' AND created_at < '2025-12-06+00'"
    assert not scans(linked, f"SELECT * FROM events WHERE {hot}")
    assert not scans(linked, f"UPDATE events SET kind = 'x' WHERE id = 50 AND {hot}")
    if wanted.archive and wanted.archive.place == "inside":
        assert scans(linked, f"SELECT * FROM events WHERE {old}")
        assert scans(linked, "SELECT * FROM events WHERE id = 50")
    else:
        assert not scans(linked, f"SELECT * FROM events WHERE {old}")
        assert not scans(linked, "SELECT * FROM events WHERE id = 50")
        assert not scans(linked, f"SELECT * FROM events_archive WHERE {hot}")
        assert scans(linked, f"SELECT * FROM events_archive WHERE {old}")


def test_while_it_is_copied_its_rows_can_be_read_and_not_changed(
    linked: Database, far: Far, wanted: PartitionSpec
) -> None:
    other = linked.connect()

    def told(title: str) -> None:
        if not title.startswith("keep"):
            return
        with other.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM events")
            assert cursor.fetchone() == (40,)
            cursor.execute("UPDATE events SET kind = 'new' WHERE id = 50")
            cursor.execute("INSERT INTO events (id, created_at) VALUES (51, '2026-03-02+00')")
            for statement in ("UPDATE events SET kind = 'x' WHERE id = 11", "DELETE FROM events WHERE id = 11"):
                with pytest.raises(psycopg2.Error, match="events_p202512 is being archived, and can not be written to"):
                    cursor.execute(statement)

    before = rows(linked)
    move(linked, far, wanted, told=told)
    other.close()
    kept = [row for row in whole(linked, wanted) if row[0] < 50]
    assert kept == before[:39]


@pytest.mark.parametrize("after", ["keep", "copy", "put"])
def test_a_move_that_is_cut_off_is_gone_on_with(linked: Database, far: Far, wanted: PartitionSpec, after: str) -> None:
    before = rows(linked)

    def told(title: str) -> None:
        if title.startswith(after):
            linked.connection.close()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(linked, far, wanted, told=told)
    linked.connection = linked.connect()
    settle(linked)
    if after != "put":
        assert rows(linked) == before
        assert linked.problems(wanted) == [
            f"{DECEMBER} can't be written to until it is in the archive: archive it again, or apply, if cut off"
        ]
    assert (
        move(linked, far, wanted)
        == {
            "keep": [
                f"keep {DECEMBER} as it is",
                "copy and compare 10 rows",
                f"put a foreign table in the place of {DECEMBER}",
            ],
            "copy": [f"keep {DECEMBER} as it is", "compare 10 rows", f"put a foreign table in the place of {DECEMBER}"],
            "put": [],
        }[after]
    )
    assert whole(linked, wanted) == before
    assert linked.problems(wanted) == []


def test_a_server_before_10_is_said_to_need_passwords_as_md5(
    linked: Database, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        linked.apply(far.spec(strategy="landing"))
    wrong = far.spec(strategy="landing", archive={"password": "wrong"})
    with pytest.raises(BadInput) as new:
        move(linked, far, wrong)
    monkeypatch.setattr(catalog, "version_of", lambda connection: 9.5)
    with pytest.raises(BadInput) as old:
        move(linked, far, wrong)
    asked = """SET password_encryption = 'md5'; ALTER ROLE "keeper" PASSWORD"""
    assert (asked in new.value.hint, asked in old.value.hint) == (linked.major < 10, True)


@pytest.mark.parametrize("place", ["beside", "inside"])
def test_the_sql_for_9_5(linked: Database, far: Far, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "version_of", lambda connection: 9.5)
    old = far.spec(strategy="landing", archive={"place": place})
    for _ in range(2):
        linked.apply(old)
    before = rows(linked)
    move(linked, far, old)
    assert whole(linked, old) == before
    assert (linked.plan(old), linked.problems(old)) == ([], [])
    bring_back(linked, far, old)
    linked.apply(old)
    assert rows(linked) == before
    assert linked.plan(old) == []


def test_an_apply_lets_a_child_be_written_to_again(linked: Database, far: Far, wanted: PartitionSpec) -> None:
    def told(title: str) -> None:
        if title.startswith("keep"):
            linked.connection.close()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(linked, far, wanted, told=told)
    linked.connection = linked.connect()
    settle(linked)
    assert linked.apply(wanted) == [f"let {DECEMBER} be written to again"]
    assert linked.plan(wanted) == []
    linked.run("UPDATE events SET kind = 'x' WHERE id = 11")
    move(linked, far, wanted)
    assert len(whole(linked, wanted)) == 40


def test_a_late_row_waits_for_a_child_that_comes_back(linked: Database, far: Far, wanted: PartitionSpec) -> None:
    if wanted.strategy == "declarative":
        wanted = wanted.model_copy(update={"overflow": "default"})
        linked.apply(wanted)
    move(linked, far, wanted)
    linked.run("INSERT INTO events (id, created_at) VALUES (100, '2025-12-24+00')")
    bring_back(linked, far, wanted)
    linked.apply(wanted)
    assert linked.counts()[DECEMBER] == 11
    assert linked.plan(wanted) == []


def forked(work: Callable[[], None]) -> tuple[int, int]:
    """Do `work` in a process of its own; returns its id, and a descriptor that has a byte once it has begun."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    try:
        os.write(writer, b"!")
        work()
        os._exit(0)
    except BadInput:
        os._exit(2)
    except BaseException:
        os._exit(1)


@pytest.mark.parametrize("verb", ["move", "back"])
def test_killed_again_and_again_nothing_is_lost(linked: Database, far: Far, wanted: PartitionSpec, verb: str) -> None:
    linked.run(
        "INSERT INTO events (id, kind, payload, created_at) SELECT n, 'many', repeat('x', 200),"
        " timestamptz '2025-12-02+00' + n * interval '1 s' FROM generate_series(100, 10000) n"
    )
    before = rows(linked)
    if verb == "back":
        move(linked, far, wanted)
    dsn = linked.server.dsn(linked.name, "shop")

    def work() -> None:
        assert wanted.archive
        with connections.direct(dsn) as here, connections.archive(wanted.archive, None) as there:
            if verb == "move":
                archive.move(here, there, wanted, DECEMBER, NOW, lambda *_: None)
            else:
                archive.bring_back(here, there, wanted, DECEMBER, True, NOW, lambda *_: None)

    started = time.monotonic()
    pid, reader = forked(work)
    os.close(reader)
    assert os.waitpid(pid, 0)[1] == 0
    took = time.monotonic() - started
    (bring_back if verb == "move" else move)(linked, far, wanted)

    for tries in range(1000):
        pid, reader = forked(work)
        assert os.read(reader, 1) == b"!"
        os.close(reader)
        time.sleep(tries * took / 20)
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        settle(linked)
        assert whole(linked, wanted) == before
        if not os.WIFSIGNALED(status):
            # What was done to the end before the signal came is not there to be done again.
            assert os.WEXITSTATUS(status) in (0, 2)
            break
    assert tries > 2
    kind = linked.one("SELECT relkind::text FROM pg_class WHERE relname = %s", DECEMBER)
    assert (kind, far.tables()) == {"move": ("f", [DECEMBER]), "back": ("r", [])}[verb]


def refused(database: Database, far: Far, wanted: PartitionSpec, message: str) -> None:
    """A move that is refused says so as bad input, and changes nothing, here or there."""
    before, there = database.snapshot(), far.tables()
    with pytest.raises(BadInput, match=message):
        move(database, far, wanted)
    assert (database.snapshot(), far.tables()) == (before, there)
    assert database.one("SELECT count(*) FROM pg_foreign_server WHERE srvname LIKE '%%archive%%'") == 0


@pytest.fixture
def drained(linked: Database, far: Far) -> PartitionSpec:
    """A table with children, and a spec with an archive."""
    wanted = far.spec()
    linked.apply(wanted)
    linked.apply(wanted)
    return wanted


def test_what_cannot_be_moved_is_refused_and_changes_nothing(
    linked: Database, far: Far, drained: PartitionSpec
) -> None:
    with pytest.raises(BadInput, match="events: nowhere was no child of it"):
        move(linked, far, drained, "nowhere")
    with pytest.raises(BadInput, match="events: the period of events_p202603 is not over"):
        move(linked, far, drained, "events_p202603")
    with pytest.raises(BadInput, match="events_p202512 is older than events_p202601, and in the table"):
        move(linked, far, drained, "events_p202601")
    with pytest.raises(BadInput, match="events: events_p202512 is not in the archive"):
        bring_back(linked, far, drained)
    refused(linked, far, far.spec(archive={"in_schema": "nowhere"}), "has no schema nowhere")
    far.run("CREATE TABLE events_p202512 ()")
    refused(linked, far, drained, "has a table events_p202512 that is none of this table's")
    far.run("DROP TABLE events_p202512")
    refused(
        linked, far, far.spec(archive={"password": "wrong"}), "the database can't read from the archive at .*password"
    )
    refused(linked, far, far.spec(archive={"name": "nowhere"}), 'database "nowhere" does not exist')
    refused(linked, far, far.spec(archive={"server": "/nowhere"}), "can't read from the archive at /nowhere")
    guest = Far(far.server, far.server.connect("old", "guest", password=PASSWORD))
    refused(linked, guest, far.spec(archive={"user": "guest"}), "guest may not make tables in schema public")
    guest.connection.close()
    admin = linked.server.connect(linked.name)
    admin.cursor().execute("REVOKE USAGE ON FOREIGN DATA WRAPPER postgres_fdw FROM shop")
    refused(linked, far, drained, "no extension postgres_fdw that its owner may use")
    admin.cursor().execute("DROP EXTENSION postgres_fdw")
    refused(linked, far, drained, "no extension postgres_fdw that its owner may use")
    admin.cursor().execute("CREATE EXTENSION postgres_fdw")
    admin.close()


@pytest.mark.parametrize(
    "wrong", [{"server": "/nowhere"}, {"name": "nowhere"}, {"password": "wrong"}, {"user": "nobody"}]
)
def test_an_archive_that_cannot_be_reached(far: Far, wrong: dict[str, str]) -> None:
    told = far.spec(archive=wrong).archive
    assert told
    with (
        pytest.raises(BadInput, match=r"the archive at .* can't be reached: ") as caught,
        connections.archive(told, None),
    ):
        pass
    assert PASSWORD not in str(caught.value)


def test_a_copy_that_fails_leaves_the_child_as_it_was(
    linked: Database, far: Far, wanted: PartitionSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, shape_before = rows(linked), linked.snapshot()
    with monkeypatch.context() as patch:
        patch.setattr(archive.stream, "digest", lambda *_: (9, "other"))
        with pytest.raises(HostwrightError, match="events_p202512 did not come to the archive as it was sent"):
            move(linked, far, wanted)
    admin = far.server.connect("old")
    admin.cursor().execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keeper'")
    admin.close()
    with pytest.raises(HostwrightError, match="the connection was lost"):
        move(linked, far, wanted)
    far.connection = far.server.connect("old", "keeper", password=PASSWORD)
    assert (rows(linked), linked.snapshot(), far.tables()) == (before, shape_before, [])
    linked.run("UPDATE events SET kind = 'again' WHERE id = 11")
    move(linked, far, wanted)


def test_another_table_of_that_name_in_the_archive_is_never_touched(
    linked: Database, far: Far, wanted: PartitionSpec
) -> None:
    move(linked, far, wanted)
    bring_back(linked, far, wanted, drop=False)
    linked.run("UPDATE events SET kind = 'changed' WHERE id = 11")
    with pytest.raises(BadInput, match="the archive has another events_p202512"):
        move(linked, far, wanted)
    with pytest.raises(BadInput, match=r"events_p202512 is here, and .* is another"):
        bring_back(linked, far, wanted)
    assert far.run("SELECT count(*) FROM events_p202512") == [(10,)]


def test_the_password_is_in_no_log(far_server: servers.Server, far: Far, server: servers.Server) -> None:
    with servers.server(server.major, {"log_statement": "all", "log_min_error_statement": "info"}) as logged:
        admin = logged.connect("postgres")
        with admin.cursor() as cursor:
            cursor.execute("CREATE EXTENSION postgres_fdw; CREATE ROLE shop LOGIN")
            cursor.execute(
                "GRANT CREATE ON DATABASE postgres TO shop; GRANT CREATE ON SCHEMA public TO shop;"
                " GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO shop"
            )
        admin.close()
        database = Database(logged, "postgres", logged.connect("postgres", "shop"))
        database.run(EVENTS)
        database.run("INSERT INTO events (created_at) VALUES ('2025-12-02+00')")
        wanted = far.spec()
        database.apply(wanted)
        with pytest.raises(BadInput):
            move(database, far, far.spec(archive={"password": PASSWORD + "wrong"}), "events_pmin")
        move(database, far, wanted, "events_pmin")
        database.connection.close()
        text = (logged.socket / "log").read_text()
    assert "hostwright_password" in text
    assert "secret" not in text


@pytest.fixture
def bare(linked: Database, far: Far) -> PartitionSpec:
    """A table without a primary key, whose partitions can be foreign tables."""
    linked.server.needs("declarative")
    linked.run("ALTER TABLE events DROP CONSTRAINT events_pkey")
    wanted = far.spec(strategy="declarative", adopt="copy", archive={"place": "inside"})
    linked.apply(wanted)
    linked.apply(wanted)
    return wanted


def test_a_partition_without_a_primary_key_can_be_a_foreign_table(
    linked: Database, far: Far, bare: PartitionSpec
) -> None:
    before = rows(linked)
    move(linked, far, bare)
    assert rows(linked) == before
    assert linked.one("SELECT relispartition FROM pg_class WHERE relname = %s", DECEMBER)
    assert not scans(linked, "SELECT * FROM events WHERE created_at >= '2026-03-01+00'")
    assert linked.plan(bare) == []
    assert linked.maintain() == []
    assert linked.problems(bare) == []
    linked.run("INSERT INTO events (id, created_at) VALUES (100, '2025-12-24+00')")
    assert far.run("SELECT count(*) FROM events_p202512") == [(11,)]
    with pytest.raises(BadInput, match="archived inside of it: events_p202512"):
        linked.undo(bare)
    bring_back(linked, far, bare)
    assert [row for row in rows(linked) if row[0] != 100] == before
    assert linked.plan(bare) == []


def test_late_rows_and_loads_find_their_way_to_an_archive_inside(linked: Database, far: Far) -> None:
    wanted = far.spec(strategy="landing", archive={"place": "inside"})
    linked.apply(wanted)
    linked.apply(wanted)
    move(linked, far, wanted)
    linked.run("INSERT INTO events (id, created_at) VALUES (100, '2025-12-24+00')")
    text = b"id,created_at\n101,2025-12-25 00:00:00+00\n102,2026-02-01 00:00:00+00\n"
    table = catalog.read(linked.connection, wanted)
    assert load.load(linked.connection, wanted, table, io.BytesIO(text), lambda rows: None) == 2
    assert far.run("SELECT id FROM events_p202512 WHERE id > 50 ORDER BY id") == [(100,), (101,)]
    linked.run("UPDATE events SET kind = 'late' WHERE created_at = '2025-12-24+00'")
    assert far.run("SELECT kind FROM events_p202512 WHERE id = 100") == [("late",)]
    assert linked.one("SELECT count(*) FROM ONLY events WHERE id >= 100") == 0
    assert linked.maintain(dt.datetime(2026, 8, 1, tzinfo=UTC)) != []
    assert linked.one("SELECT relkind::text FROM pg_class WHERE relname = %s", DECEMBER) == "f"


def test_others_read_the_archive_without_its_password(linked: Database, far: Far, wanted: PartitionSpec) -> None:
    move(linked, far, wanted)
    table = "events" if wanted.archive and wanted.archive.place == "inside" else "events_archive"
    reader = linked.connect("reader")
    with reader.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table} WHERE id BETWEEN 11 AND 20")
        assert cursor.fetchone() == (10,)
        cursor.execute("SELECT umoptions FROM pg_user_mappings")
        assert cursor.fetchall() == [(None,)]
    reader.close()
    stranger = linked.connect("app")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), stranger.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
    stranger.close()


def test_what_retention_has_detached_is_archived_too(linked: Database, far: Far) -> None:
    for keep, retention in ((3, "detach"), (1, "archive")):
        wanted = far.spec(keep=keep, retention=retention, archive_schema="Old Things")
        linked.apply(wanted)
        linked.apply(wanted)
    past = archive.known.former(linked.connection, wanted)
    due = archive.known.due(wanted, catalog.read(linked.connection, wanted), past, NOW)
    # By schema and name.
    assert due == ["events_p202512", "events_p202601", "events_pmin"]
    assert {one.schema for one in past} == {"public", "Old Things"}
    for name in due:
        move(linked, far, wanted, name)
    assert [row[0] for row in rows(linked)] == list(range(31, 51))
    assert [row[0] for row in rows(linked, "events_archive")] == list(range(1, 31))
    assert far.tables() == sorted(due)
    assert linked.problems(wanted) == []
    linked.apply(wanted.model_copy(update={"keep": 3}))
    bring_back(linked, far, wanted)
    assert linked.one("SELECT count(*) FROM events") == 30


def test_types_and_names_of_all_kinds(linked: Database, far: Far) -> None:
    """What the archive's server does not have, such as an enum, has to be made there first."""
    linked.run(
        """
        CREATE TYPE mood AS ENUM ('good', 'b"ad');
        CREATE TABLE "Ev ""e"" nts" (
            "I d" bigint PRIMARY KEY, "a""t" date NOT NULL, n numeric(20, 5), f float8, j jsonb, b bytea,
            t text COLLATE "C", m mood, ms mood[], ts timestamp[], i interval, u uuid);
        CREATE INDEX ON "Ev ""e"" nts" ("a""t");
        INSERT INTO "Ev ""e"" nts"
        SELECT n, date '2025-12-01' + n, n / 7.0, n / 3.0, json_build_object('n', n)::jsonb,
               decode(md5(n::text), 'hex'), E'tab\t line\n back\\\\ é \\\\. \\\\N', 'b"ad',
               ARRAY['good', 'b"ad']::mood[], ARRAY[timestamp 'infinity', '0044-03-15 BC'],
               n * interval '1 day 3 s', md5(n::text)::uuid
          FROM generate_series(0, 80) n;
        INSERT INTO "Ev ""e"" nts"
        VALUES (-1, '2025-12-31', 'NaN', '-infinity', 'null', '', '', NULL, '{}', '{}', '-1 mon', NULL);
        """
    )
    name = 'Ev "e" nts'
    wanted = far.spec(table=name, key='a"t', keep=3)
    linked.apply(wanted)
    linked.apply(wanted)
    before = linked.run('SELECT x::text FROM "Ev ""e"" nts" x ORDER BY "I d"')
    with pytest.raises(HostwrightError, match=r'was not copied: type "public\.mood" does not exist'):
        move(linked, far, wanted, name + "_p202512")
    far.run("""CREATE TYPE mood AS ENUM ('good', 'b"ad')""")
    if far.server.major < 12 <= linked.major or linked.major < 12 <= far.server.major:
        linked.run(
            'UPDATE "Ev ""e"" nts" SET f = round(f)'
        )  # As text, PostgreSQL writes fractions otherwise before 12.
        before = linked.run('SELECT x::text FROM "Ev ""e"" nts" x ORDER BY "I d"')
    move(linked, far, wanted, name + "_pmin")
    move(linked, far, wanted, name + "_p202512")
    assert linked.one('SELECT count(*) FROM "Ev ""e"" nts_archive"') == 32
    archive.bring_back(linked.connection, far.connection, wanted, name + "_p202512", True, NOW, lambda *_: None)
    assert linked.run('SELECT x::text FROM "Ev ""e"" nts" x ORDER BY "I d"') == before


def test_columns_that_come_and_go(linked: Database, far: Far, drained: PartitionSpec) -> None:
    move(linked, far, drained, "events_pmin")
    move(linked, far, drained)
    linked.run("ALTER TABLE events ADD colour text DEFAULT 'red'; ALTER TABLE events DROP kind")
    move(linked, far, drained, "events_p202601")
    assert linked.run("SELECT id, kind, colour FROM events_archive WHERE id IN (11, 21) ORDER BY id") == [
        (11, "old", None),
        (21, None, "red"),
    ]
    with pytest.raises(BadInput, match="it has no kind, which the archived events_p202512 has"):
        bring_back(linked, far, drained)
    bring_back(linked, far, drained, drop=False)
    assert linked.run("SELECT id, colour FROM events WHERE id IN (11, 12)") == [(11, "red"), (12, "red")]


def test_generated_columns_and_integers(linked: Database, far: Far) -> None:
    linked.server.needs("generated columns")
    wanted = far.spec()
    linked.apply(wanted)
    linked.apply(wanted)
    linked.run("ALTER TABLE events ADD twice bigint GENERATED ALWAYS AS (id * 2) STORED")
    move(linked, far, wanted)
    assert linked.run("SELECT twice FROM events_archive WHERE id = 11") == [(22,)]
    bring_back(linked, far, wanted)
    assert linked.run("SELECT twice FROM events WHERE id = 11") == [(22,)]
    linked.run("CREATE TABLE numbers (id int PRIMARY KEY); INSERT INTO numbers SELECT generate_series(1, 1000)")
    counted = far.spec(table="numbers", key="id", interval=100, keep=3, adopt="copy")
    linked.apply(counted)
    linked.apply(counted)
    before = linked.run("SELECT id FROM numbers ORDER BY id")
    with pytest.raises(BadInput, match="the period of numbers_p1000 is not over"):
        move(linked, far, counted, "numbers_p1000")
    for name in ("numbers_pmin", "numbers_p700"):
        if name in [child.name for child in catalog.read(linked.connection, counted).children]:
            move(linked, far, counted, name)
    assert linked.run("SELECT id FROM numbers UNION ALL SELECT id FROM numbers_archive ORDER BY id") == before[-301:]


def test_a_child_that_is_divided_once_more_is_archived_whole(linked: Database, far: Far) -> None:
    linked.server.needs("declarative")
    linked.run("ALTER TABLE events DROP CONSTRAINT events_pkey, ADD PRIMARY KEY (id, kind)")
    wanted = far.spec(adopt="copy", subpartition={"key": "kind", "modulus": 2})
    linked.apply(wanted)
    linked.apply(wanted)
    before = rows(linked)
    seen: list[str] = []

    def told(title: str) -> None:
        if title.startswith("keep"):
            other = linked.connect()
            with pytest.raises(psycopg2.Error, match="is being archived") as caught:
                other.cursor().execute("UPDATE events SET payload = '' WHERE id = 11")
            seen.append(str(caught.value))
            seen.extend(linked.problems(wanted))
            other.close()

    move(linked, far, wanted, told=told)
    assert len(seen) == 2
    assert whole(linked, wanted) == before
    bring_back(linked, far, wanted)
    assert rows(linked) == before


def test_undo_leaves_an_archive_beside_alone(linked: Database, far: Far, drained: PartitionSpec) -> None:
    move(linked, far, drained)
    linked.undo(drained)
    assert linked.one("SELECT count(*) FROM events") == 30
    assert linked.one("SELECT count(*) FROM events_archive") == 10


def test_it_gives_way_to_a_long_reader(linked: Database, far: Far, wanted: PartitionSpec) -> None:
    reader = linked.connect()
    reader.autocommit = False
    reader.cursor().execute("SELECT count(*) FROM events")
    threading.Timer(1.0, reader.close).start()
    started = time.monotonic()
    move(linked, far, wanted)
    assert time.monotonic() - started > 0.8
    assert linked.one("SELECT relkind::text FROM pg_class WHERE relname = %s", DECEMBER) == "f"


def test_while_the_archive_is_away(linked: Database, far: Far, wanted: PartitionSpec) -> None:
    move(linked, far, wanted)
    linked.run("ALTER SERVER \"public.events archive\" OPTIONS (SET port '1')")
    linked.connection.close()
    linked.connection = linked.connect()
    assert linked.one("SELECT count(*) FROM events WHERE created_at >= '2026-03-01+00'") == 10
    linked.run("INSERT INTO events (id, created_at) VALUES (100, '2026-03-20+00')")
    assert next(archive.known.problems(linked.connection, wanted, read=True)).startswith(
        f"{DECEMBER} can't be read from the archive at {far.server.socket}: could not connect to server"
    )
    assert linked.maintain() == []
    if wanted.archive and wanted.archive.place == "inside":
        with pytest.raises(psycopg2.Error, match="could not connect to server"):
            linked.run("SELECT * FROM events WHERE id = 100")
    else:
        linked.run("UPDATE events SET kind = 'x' WHERE id = 100")
        with pytest.raises(psycopg2.Error, match="could not connect to server"):
            linked.run("SELECT * FROM events_archive")
        assert linked.run("SELECT * FROM events_archive WHERE created_at >= '2026-03-01+00'") == []
    with pytest.raises(BadInput, match=r"children are archived at .*:1/old"):
        move(linked, far, wanted, "events_p202601")


FORWARDER = """
import re, socket, sys, threading

near, far = re.fullmatch(r"127.0.0.1:([0-9]+):(.+)", sys.argv[sys.argv.index("-L") + 1]).groups()
listening = socket.create_server(("127.0.0.1", int(near)))

def pump(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)

while True:
    one, _ = listening.accept()
    other = socket.socket(socket.AF_UNIX)
    other.connect(far)
    for pair in ((one, other), (other, one)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


def test_the_archive_is_reached_through_the_database_host(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what stands for ssh here."""
    host = remote.Remote("db1", {"ansible_host": "192.0.2.1"}, "shop")
    monkeypatch.setattr(host, "ssh_command", lambda *options: [sys.executable, "-c", FORWARDER, *options])
    told, wrong = far.spec().archive, far.spec(archive={"password": "wrong"}).archive
    assert told
    assert wrong
    with connections.archive(told, host) as through, through.cursor() as cursor:
        cursor.execute("SELECT current_user, current_database()")
        assert cursor.fetchone() == ("keeper", "old")
    with contextlib.ExitStack() as stack, pytest.raises(BadInput, match="password authentication failed"):
        stack.enter_context(connections.archive(wrong, host))


def test_the_tasks(
    linked: Database, far: Far, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = far.spec().model_dump(mode="python", exclude_defaults=True)
    told["archive"]["password"] = PASSWORD
    shop = {"name": "shop", "source": {"git": "."}, "services": {"databases": [{"name": "shop"}]}}
    site = config.load({**shop, "partitions": [told]})
    monkeypatch.setattr(_fleet, "inventory", lambda name: types.SimpleNamespace(site=site))

    def fab(name: str, **options: Any) -> tuple[list[str], int]:
        status, said = 0, ""
        try:
            getattr(tasks, name)(invoke.Context(), dsn=linked.server.dsn(linked.name, "shop"), **options)
        except invoke.exceptions.Exit as end:
            status, said = end.code, end.message or ""
        return (capsys.readouterr().out + said).splitlines(), status

    linked.apply(far.spec())
    linked.apply(far.spec())
    if linked.major < 11:
        april = "'2026-04-01 00:00:00+00', '2026-05-01 00:00:00+00'"
        linked.run(f"SELECT hostwright.route('events', {april}); SELECT hostwright.file('events', 1000)")
    printed, status = fab("archive")
    assert status == 2
    assert printed[0].startswith("error: events: move events_pmin, events_p202512, events_p202601")
    assert printed[0].endswith(" to the archive, and drop them here? Nobody is here to ask.")
    printed, status = fab("archive", yes=True)
    assert status == 0, printed
    assert [line.rpartition("  ")[0] for line in printed[:3]] == [
        "events: events_pmin: keep events_pmin as it is",
        "events: events_pmin: copy and compare 10 rows",
        "events: events_pmin: put a foreign table in the place of events_pmin",
    ]
    assert fab("archive", yes=True) == (["events: nothing to do"], 0)
    found = {one["child"]: one["rows"] for one in json.loads(fab("status", json=True)[0][0])["archived"]}
    assert found["events_pmin"] == found["events_p202601"] == 10
    assert any("events_p202601" in line and f"at {far.server.socket}" in line for line in fab("status")[0])
    assert fab("restore")[0][0] == "error: restore takes --manifest or --child"
    printed, status = fab("restore", child="events_p202603", drop=True, yes=True)
    assert (printed[-1], status) == ("events: events_p202603 is back, 10 rows", 0)
    assert fab("restore", child="events_p202603")[1] == 2
    assert fab("archive", to="/nowhere")[0][0] == "error: --to takes one child"


MONTHS = ["events_pmin", DECEMBER, "events_p202601", "events_p202602"]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(WAYS),
    st.lists(
        st.one_of(
            st.tuples(st.just("move"), st.sampled_from(MONTHS)),
            st.tuples(st.just("back"), st.sampled_from(MONTHS)),
            st.tuples(st.just("insert"), st.integers(1, 4)),
            st.tuples(st.just("update"), st.integers(1, 50)),
            st.tuples(st.sampled_from(["apply", "maintain"]), st.none()),
        ),
        max_size=12,
    ),
)
def test_whatever_is_moved_and_brought_back_all_rows_are_there_once(
    linked: Database, far: Far, way: tuple[str, str], doings: list[tuple[str, Any]]
) -> None:
    strategy, place = way
    if strategy == "declarative" and linked.major < 11:
        strategy = "landing"
    linked.run("DROP TABLE IF EXISTS events CASCADE; DROP SCHEMA IF EXISTS hostwright CASCADE")
    linked.run('DROP SERVER IF EXISTS "public.events archive" CASCADE')
    for name in far.tables():
        far.run(f"DROP TABLE {name}")
    linked.run(EVENTS)
    linked.run(
        "INSERT INTO events (kind, created_at) SELECT 'old', (timestamp '2025-11-01' + n / 10 * interval '1 month'"
        " + n % 10 * interval '1 hour') AT TIME ZONE 'UTC' FROM generate_series(0, 49) n ORDER BY n"
    )
    if strategy == "trigger":
        linked.run("ALTER TABLE events ALTER id DROP DEFAULT; DROP SEQUENCE events_id_seq")
    wanted = far.spec(strategy=strategy, keep=None, archive={"place": place})
    linked.apply(wanted)
    linked.apply(wanted)
    expected = {row[0]: row for row in rows(linked)}
    number = 1000
    for what, which in doings:
        number += 1
        try:
            if what == "move":
                move(linked, far, wanted, which)
            elif what == "back":
                archive.bring_back(linked.connection, far.connection, wanted, which, True, NOW, lambda *_: None)
            elif what == "insert":
                linked.run("INSERT INTO events (id, created_at) VALUES (%s, %s)", number, f"2026-0{which}-05+00")
            elif what == "update":
                linked.run("UPDATE events SET kind = 'new' WHERE id = %s", which)
            elif what == "apply":
                linked.apply(wanted)
            else:
                linked.maintain()
        except (BadInput, psycopg2.errors.CheckViolation):
            pass  # Not the oldest, not there, or no child for a row: nothing has changed.
        else:
            if what == "insert":
                expected[number] = (number, None, "seen", "{}")
            elif what == "update" and linked.one("SELECT count(*) FROM events WHERE id = %s", which):
                expected[which] = (*expected[which][:2], "new", expected[which][3])
        found = whole(linked, wanted)
        assert [(row[0], row[2]) for row in found] == [(row[0], row[2]) for row in sorted(expected.values())]
    linked.apply(wanted)
    assert linked.plan(wanted) == []
