"""What many children cost."""

from __future__ import annotations

import datetime as dt
import statistics
import time
from typing import Any

from psycopg2.extensions import cursor

from bench.partition import tables, writes
from bench.report import Figure, median, ratio
from hostwright.partition import apply, catalog
from hostwright.partition import plan as planning
from tests.postgres import servers


def plan(server: servers.Server, rounds: int) -> list[Figure]:
    """A plan of a table with 1000 children."""
    how = tables.how(server)
    wanted = tables.spec(strategy=how, interval="day", keep=None, adopt="drain")
    connection = tables.make(server, "bench_plan", "plain")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events (created_at, kind, payload) VALUES (%s, '', '')",
            (tables.NOW - dt.timedelta(days=996),),
        )
    apply.apply(connection, planning.plan(wanted, catalog.read(connection, wanted), tables.NOW), lambda *_: None)
    connection.cursor_factory = _Counting
    times = []
    for _ in range(rounds):
        _Counting.queries = 0
        started = time.perf_counter()
        steps = planning.plan(wanted, catalog.read(connection, wanted), tables.NOW)
        times.append(time.perf_counter() - started)
        assert steps == []
    connection.close()
    name = f"plan of 1000 children, {how}, PostgreSQL {server.major}"
    return [median(name, times, "s", 1.0), median(f"{name}: queries", [_Counting.queries], "", 10)]


class _Counting(cursor):
    queries = 0

    def execute(self, query: Any, values: Any = None) -> None:
        _Counting.queries += 1
        super().execute(query, values)


def children(server: servers.Server, rounds: int) -> list[Figure]:
    """Hot rows with 120 and 1000 children, beside 12."""
    how = tables.how(server)
    made = {}
    for months in (12, 120, 1000):
        tables.make(server, f"bench_{months}", how, months).close()
        # A session of its own: one that has held the locks of a thousand children is slower ever after.
        made[months] = server.connect(f"bench_{months}", options="-c synchronous_commit=off")
    times: dict[int, list[float]] = {months: [] for months in made}
    with tables.apart(made.values()):
        for _ in range(rounds):
            turns: dict[int, list[float]] = {months: [] for months in made}
            for _ in range(writes.TURNS * 3):
                for months, connection in made.items():
                    started = time.perf_counter()
                    writes.single(connection, [tables.HOT] * 50)
                    turns[months].append(time.perf_counter() - started)
            # A median: whoever takes the processor away for a moment does not count.
            for months, seconds in turns.items():
                times[months].append(statistics.median(seconds))
    for connection in made.values():
        connection.close()
    return [
        ratio(f"hot rows, {months} children by 12, {how}, PostgreSQL {server.major}", times[12], times[months], 0.9)
        for months in (120, 1000)
    ]
