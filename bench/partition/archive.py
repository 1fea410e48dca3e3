"""A month is moved to another server and back; and what a row by its id costs when older months are there."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from bench.partition import tables
from bench.report import Figure, median
from hostwright.partition.archive import server as archives
from tests.postgres import servers

ROWS = 1_000_000
INSERTED = 100_000
"""Rows of the peer, which is slower."""
LOOKUPS = 300


def archive(server: servers.Server, rounds: int) -> list[Figure]:
    """The month before this one, to a second server of the same version, in turns beside its table and inside of it."""
    ways = [(tables.how(server), "beside"), ("landing", "inside")]
    found: dict[str, list[float]] = defaultdict(list)
    with servers.server(server.major, {"shared_buffers": "512MB", "max_wal_size": "4GB"}) as other:
        for number in range(rounds):
            _round(server, other, *ways[number % 2], found)
    name = f"PostgreSQL {server.major}"
    peer, here = {"INSERT into the foreign table": found["insert"]}, {"nothing archived": found["here"]}
    return [
        median(f"archive to another server, {name}", found["there"], "rows/s", 300_000, peer, larger=True),
        median(f"archive: longest wait of a reader for the swap, {name}", found["swap"], "ms", 10),
        median(f"archive: back from there, {name}", found["back"], "rows/s", larger=True),
        *(
            median(f"a row by its id, a month {place} in the archive, {name}", found[place], "ms", None, here)
            for place in ("beside", "inside")
            if found[place]
        ),
    ]


def _round(server: servers.Server, other: servers.Server, how: str, place: str, found: dict[str, list[float]]) -> None:
    admin = other.connect("postgres")
    admin.cursor().execute("DROP DATABASE IF EXISTS old")
    admin.cursor().execute("CREATE DATABASE old")
    admin.close()
    far = other.connect("old")
    connection = tables.make(server, "bench_archive", how, 1)
    # Superusers, as these are, are not asked for a password.
    told = {"server": str(other.socket), "name": "old", "user": "postgres", "password": "-", "place": place}
    wanted = tables.spec(strategy=how, adopt="drain", keep=None, archive=told)
    child = f"events_p{tables.month(1):%Y%m}"
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION postgres_fdw")
        cursor.execute(
            "INSERT INTO events (created_at, kind, payload) SELECT %s::timestamptz + n * interval '1 s', 'seen',"
            " 'payload of some length' FROM generate_series(1, %s) n",
            (tables.month(1), ROWS),
        )
        cursor.execute("ANALYZE events")
        found["here"].append(_lookup(cursor))
        steps: dict[str, float] = {}
        archives.move(connection, far, wanted, "events_pmin", tables.NOW, lambda *_: None)
        with _reader(server) as waits:
            started = time.perf_counter()
            archives.move(connection, far, wanted, child, tables.NOW, steps.__setitem__)
            found["there"].append(ROWS / (time.perf_counter() - started))
        # The step ends when the file of the child is gone; those who wait for its locks go on before that.
        since = started + sum(seconds for title, seconds in steps.items() if not title.startswith("put"))
        found["swap"].append(max(wait for at, wait in waits if at > since))
        found[place].append(_lookup(cursor))
        found["insert"].append(_insert(cursor, far, child))
        started = time.perf_counter()
        archives.bring_back(connection, far, wanted, child, True, tables.NOW, steps.__setitem__)
        found["back"].append(ROWS / (time.perf_counter() - started))
    far.close()
    connection.close()


@contextlib.contextmanager
def _reader(server: servers.Server) -> Iterator[list[tuple[float, float]]]:
    """A session that asks for a row of this month, again and again; gives when each answer came, and the ms it took."""
    waits: list[tuple[float, float]] = []
    stop = threading.Event()

    def read() -> None:
        connection = server.connect("bench_archive")
        with connection.cursor() as cursor:
            while not stop.is_set():
                started = time.perf_counter()
                cursor.execute("SELECT id FROM events WHERE created_at >= %s LIMIT 1", (tables.HOT,))
                now = time.perf_counter()
                waits.append((now, 1000 * (now - started)))
                time.sleep(0.001)
        connection.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield waits
    finally:
        stop.set()
        thread.join()


def _lookup(cursor: Any) -> float:
    """Milliseconds of a query for a row of this month by its id."""
    cursor.execute("SELECT id FROM events WHERE created_at >= %s LIMIT 1", (tables.HOT,))
    (number,) = cursor.fetchone()
    times = []
    for _ in range(LOOKUPS):
        started = time.perf_counter()
        cursor.execute("SELECT * FROM events WHERE id = %s", (number,))
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def _insert(cursor: Any, far: Any, child: str) -> float:
    """Rows a second of a plain INSERT through a foreign table, with the server's own settings."""
    far.cursor().execute(f"CREATE TABLE peer (LIKE {child}); ALTER TABLE peer ADD PRIMARY KEY (id)")
    cursor.execute("SELECT srvname FROM pg_foreign_server")
    (link,) = cursor.fetchone()
    cursor.execute(
        "CREATE FOREIGN TABLE peer (id bigint, created_at timestamptz, kind text, payload text)"
        f" SERVER \"{link}\" OPTIONS (table_name 'peer')"
    )
    started = time.perf_counter()
    cursor.execute(
        "INSERT INTO peer SELECT n, now(), 'seen', 'payload of some length' FROM generate_series(1, %s) n", (INSERTED,)
    )
    taken = time.perf_counter() - started
    cursor.execute("DROP FOREIGN TABLE peer")
    return INSERTED / taken
