"""A child on another server, and back."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import catalog, verify
from hostwright.partition import connection as connections
from hostwright.partition.archive import server as archive
from hostwright.partition.spec import PartitionSpec
from tests.postgres import servers
from tests.postgres.conftest import EVENTS, NOW, Database, spec

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
        with servers.server(major, {"hba_file": str(hba)}) as started:
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
    admin.close()


WAYS = [("declarative", "beside"), ("landing", "beside"), ("landing", "inside"), ("trigger", "inside")]


@pytest.fixture(params=WAYS, ids=["-".join(way) for way in WAYS])
def wanted(request: pytest.FixtureRequest, linked: Database, far: Far) -> PartitionSpec:
    """A table divided each way, and the place of its archive."""
    strategy, place = request.param
    if strategy == "declarative" and linked.major < 11:
        pytest.skip("declarative needs PostgreSQL 11")
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


def problems(database: Database, wanted: PartitionSpec) -> list[str]:
    return verify.problems(database.connection, wanted, catalog.read(database.connection, wanted), NOW)


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
    assert problems(linked, wanted) == []

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
    assert problems(linked, wanted) == []
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
        assert problems(linked, wanted) == [
            f"{DECEMBER} can't be written to until it is in the archive: archive it again, where that was cut off"
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
    assert problems(linked, wanted) == []


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

    for tries in range(1000):
        pid, reader = forked(work)
        assert os.read(reader, 1) == b"!"
        os.close(reader)
        time.sleep(tries * 0.015)
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
    with pytest.raises(BadInput, match=r"events: no archive.server is given"):
        move(linked, far, drained.model_copy(update={"archive": None}))
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
