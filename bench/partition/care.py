"""What writers notice while a table in use is divided, closes a period, or loses a month."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.partition import tables
from bench.report import Figure, median
from hostwright.partition import apply, catalog, plan
from tests.postgres import servers


@contextlib.contextmanager
def sessions(
    server: servers.Server, database: str, count: int, write: Callable[[Any, int], None]
) -> Iterator[list[float]]:
    """`count` sessions that call `write` with a cursor and their number every 2 ms; gives the ms of each call."""
    stop = threading.Event()
    waits: list[float] = []

    def go_on(number: int) -> None:
        connection = server.connect(database)
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
            while not stop.is_set():
                started = time.perf_counter()
                write(cursor, number)
                waits.append((time.perf_counter() - started) * 1000)
                time.sleep(0.002)
        connection.close()

    threads = [threading.Thread(target=go_on, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.5)
        yield waits
        time.sleep(0.5)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def writers(server: servers.Server, database: str, count: int, rows: int) -> Iterator[dict[str, Any]]:
    """`count` sessions that count up rows of their own and insert; gives their waits in ms, and how much they did."""
    did: dict[str, Any] = {"updates": 0, "inserts": 0}
    last = list(range(count))

    def write(cursor: Any, number: int) -> None:
        last[number] = row = (last[number] + 7919 * count) % rows
        cursor.execute("UPDATE events SET kind = kind || '+' WHERE id = %s", (row + 1,))
        did["updates"] += 1
        cursor.execute(
            "INSERT INTO events (created_at, kind, payload) VALUES (%s, '', '{}')",
            (tables.NOW + dt.timedelta(seconds=1),),
        )
        did["inserts"] += 1

    with sessions(server, database, count, write) as did["waits"]:
        yield did


def _filled(server: servers.Server, name: str, rows: int) -> Any:
    connection = tables.make(server, name, "plain")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events (created_at, kind, payload)"
            " SELECT %s::timestamptz + n * (%s::timestamptz - %s::timestamptz) / %s, '', 'payload of some length'"
            " FROM generate_series(1, %s) n",
            (tables.month(12), tables.NOW, tables.month(12), rows, rows),
        )
        cursor.execute("ANALYZE events")
    return connection


def adopt(server: servers.Server, rounds: int) -> list[Figure]:
    """A table of 400,000 rows, two writers: drained; and attached whole."""
    rows = 400_000
    speeds, lost, waits, ddl = [], 0, [], []
    for _ in range(min(rounds, 3)):
        connection = _filled(server, "bench_adopt", rows)
        wanted = tables.spec(strategy="landing")
        moved = {"rows": 0, "seconds": 0.0}

        def done(step: plan.Step, seconds: float, moved: dict[str, Any] = moved) -> None:
            if step.mode == "repeat":
                moved["seconds"] = seconds

        def progress(step: plan.Step, count: int, moved: dict[str, Any] = moved) -> None:
            moved["rows"] = count

        with writers(server, "bench_adopt", 2, rows) as did:
            steps = plan.plan(wanted, catalog.read(connection, wanted), tables.NOW)
            apply.apply(connection, steps, done, progress)
        with connection.cursor() as cursor:
            cursor.execute("SELECT sum(length(kind)), count(*) FROM events")
            counted, total = cursor.fetchone()
        lost += did["updates"] - counted + rows + did["inserts"] - total
        speeds.append(moved["rows"] / moved["seconds"])
        waits.append(sorted(did["waits"])[int(len(did["waits"]) * 0.99)])
        connection.close()
        if server.major < 11:
            continue
        connection = _filled(server, "bench_adopt", rows)
        wanted = tables.spec()
        with writers(server, "bench_adopt", 2, rows):
            steps = plan.plan(wanted, catalog.read(connection, wanted), tables.NOW)

            def timed(step: plan.Step, seconds: float) -> None:
                if step.template == "adopt":
                    ddl.append(seconds * 1000)

            apply.apply(connection, steps, timed)
        connection.close()
    name = f"PostgreSQL {server.major}"
    figures = [
        median(f"drain, two writers, {name}", speeds, "rows/s", 150_000, larger=True),
        median(f"drain: updates and rows lost, {name}", [lost], "", 0),
        median(f"drain: writer's p99, {name}", waits, "ms", 10),
    ]
    return figures + ([median(f"attach: the step that locks, {name}", ddl, "ms", 20)] if ddl else [])


def drop_under_a_reader(server: servers.Server, rounds: int) -> list[Figure]:
    """A month is dropped while somebody reads for 4 s: the longest stall of a writer."""
    how = tables.how(server)
    stalls = []
    for _ in range(min(rounds, 3)):
        connection = tables.make(server, "bench_drop", how)
        wanted = tables.spec(strategy=how, adopt="drain", keep=11, retention="drop")
        steps = plan.plan(wanted, catalog.read(connection, wanted), tables.NOW)
        reader = server.connect("bench_drop")
        thread = threading.Thread(
            target=lambda reader=reader: reader.cursor().execute(
                "SELECT pg_sleep(4) FROM (SELECT 1 FROM events LIMIT 1) x"
            )
        )
        with writers(server, "bench_drop", 2, 1000) as did:
            thread.start()
            time.sleep(0.2)
            apply.apply(connection, steps, lambda *_: None)
            thread.join()
        reader.close()
        connection.close()
        stalls.append(max(did["waits"]))
    return [
        median(f"drop of a month under a reader: longest stall, {how}, PostgreSQL {server.major}", stalls, "ms", 60)
    ]


def roll_over(server: servers.Server, rounds: int) -> list[Figure]:
    """A new month begins, 120 children, 3 writers: the longest stall beside that of writers alone, and what is lost."""
    how = tables.how(server)
    stalls, usual, lost = [], [], 0
    for _ in range(min(rounds, 3)):
        connection = tables.make(server, "bench_roll", how, 120)
        with writers(server, "bench_roll", 3, 1000) as did:
            pass
        usual.append(max(did["waits"]))
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM events")
            (before,) = cursor.fetchone()
        with writers(server, "bench_roll", 3, 1000) as did, connection.cursor() as cursor:
            while True:
                cursor.execute("SELECT hostwright.maintain(%s)", (tables.month(-1) + dt.timedelta(seconds=1),))
                if cursor.fetchone()[0] is None:
                    break
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM events")
            lost += before + did["inserts"] - cursor.fetchone()[0]
        connection.close()
        stalls.append(max(did["waits"]))
    return [
        median(
            f"roll-over, 120 children: longest stall, {how}, PostgreSQL {server.major}",
            stalls,
            "ms",
            50,
            {"without": usual},
        ),
        median(f"roll-over: rows lost, {how}, PostgreSQL {server.major}", [lost], "", 0),
    ]
