"""A table whose wide column is kept apart, beside the same table in one piece."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.partition import care, tables
from bench.report import Figure, median, ratio
from hostwright.partition import apply
from hostwright.partition.plan import Step
from hostwright.partition.spec import SplitSpec
from hostwright.partition.split import catalog, plan
from tests.postgres import servers

ROWS = 200_000
SPEC = SplitSpec(table="articles", wide=["body"])

TABLE = """
CREATE TABLE articles (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), kind text NOT NULL,
    views int NOT NULL DEFAULT 0, body text NOT NULL);
CREATE INDEX ON articles (created_at)"""
FILL = """
INSERT INTO articles (kind, views, body) SELECT 'kind ' || n % 10, n % 1000,
    repeat(md5(n::text), 45) FROM generate_series(1, {rows}) n"""
BODY = "0123456789abcdef" * 90


def _make(server: servers.Server, name: str, how: str, rows: int) -> Any:
    """A `tables.writer` of a new database with the table filled, `plain` or `split`."""
    connection = tables.database(server, name)
    with connection.cursor() as cursor:
        cursor.execute(TABLE)
        cursor.execute(FILL.format(rows=rows))
        if how == "split":
            apply.apply(connection, plan.plan(SPEC, catalog.read(connection, SPEC)), lambda *_: None)
        for table in ("articles_narrow", "articles_wide") if how == "split" else ("articles",):
            cursor.execute(f"VACUUM ANALYZE {table}")
    connection.close()
    writer = tables.writer(server, name)
    with writer.cursor() as cursor:
        cursor.execute("SET max_parallel_workers_per_gather = 0")
    return writer


def _repeated(statement: str, times: int, narrow: str) -> Callable[[Any], None]:
    """`statement` that many times; {n} in it counts on, over all turns; {narrow} is the table of the narrow columns."""
    numbers = iter(range(1, 10**9))

    def run(connection: Any) -> None:
        with connection.cursor() as cursor:
            for _ in range(times):
                cursor.execute(statement.format(n=next(numbers) * 7919 % ROWS + 1, narrow=narrow))

    return run


WAYS: dict[str, tuple[str, int]] = {
    "narrow scan": ("SELECT sum(views) FROM articles WHERE kind = 'kind 3'", 1),
    "rows by key": ("SELECT * FROM articles WHERE id = {n}", 100),
    "1000 rows, wide too": ("SELECT * FROM articles WHERE id BETWEEN {n} AND {n} + 999", 2),
    "counter update": ("UPDATE articles SET views = views + 1 WHERE id = {n}", 100),
    "counter update of the narrow table": ("UPDATE {narrow} SET views = views + 1 WHERE id = {n}", 100),
    "save(): all columns, body as it was": (
        "UPDATE articles SET created_at = now(), kind = 'k', views = 1, body = repeat(md5('{n}'), 45) WHERE id = {n}",
        100,
    ),
    "save(): all columns, another body": (
        f"UPDATE articles SET created_at = now(), kind = 'k', views = 1, body = '{BODY}{{n}}' WHERE id = {{n}}",
        100,
    ),
    "single insert": (f"INSERT INTO articles (kind, views, body) VALUES ('k', 1, '{BODY}{{n}}') RETURNING id", 100),
    "1000-row insert": (
        f"INSERT INTO articles (kind, views, body) SELECT 'k', n, '{BODY}{{n}}' FROM generate_series(1, 1000) n",
        1,
    ),
    "delete": ("DELETE FROM articles WHERE id = {n}", 60),
}
"""What is done, and how often in a turn."""
TURNS = 10
GOALS = {"narrow scan": 5.0, "counter update": 0.48, "single insert": 0.70}


def speed(server: servers.Server, rounds: int) -> list[Figure]:
    """Reads and writes, and the WAL of a counter update."""
    hows = ("plain", "split")
    made = {how: _make(server, f"bench_split_{how}", how, ROWS) for how in hows}
    times: dict[str, dict[str, list[float]]] = {way: {how: [] for how in hows} for way in WAYS}
    wal: dict[str, list[float]] = {how: [] for how in hows}
    narrow = {"plain": "articles", "split": "articles_narrow"}
    works = {how: {way: _repeated(*what, narrow[how]) for way, what in WAYS.items()} for how in hows}
    for _ in range(rounds):
        for way, (_, count) in WAYS.items():
            taken, written = dict.fromkeys(hows, 0.0), dict.fromkeys(hows, 0)
            # Short turns, so that what else the machine does hits both alike.
            for _ in range(TURNS):
                for how, connection in made.items():
                    before = _written(connection)
                    started = time.perf_counter()
                    works[how][way](connection)
                    taken[how] += time.perf_counter() - started
                    written[how] += _written(connection) - before
            for how in hows:
                times[way][how].append(taken[how])
                if way == "counter update":
                    wal[how].append(written[how] / count / TURNS)
    for connection in made.values():
        connection.close()
    name = f"split, PostgreSQL {server.major}"
    figures = [ratio(f"{way}, {name}", times[way]["plain"], times[way]["split"], GOALS.get(way)) for way in WAYS]
    beside = {"plain": wal["plain"]}
    return [*figures, median(f"WAL of a counter update, {name}", wal["split"], "bytes", 300, beside)]


def _written(connection: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
        return int(cursor.fetchone()[0])


@contextmanager
def _writers(server: servers.Server, database: str) -> Iterator[dict[str, Any]]:
    """Two sessions that count up rows of their own, and change the body of some; gives their waits in ms."""
    did: dict[str, Any] = {"updates": 0}
    last = [0, 1]

    def write(cursor: Any, number: int) -> None:
        last[number] = row = (last[number] + 7918) % ROWS
        body = ", body = body || '.'" if row % 10 == number else ""
        cursor.execute(f"UPDATE articles SET views = views + 1{body} WHERE id = {row + 1}")
        did["updates"] += cursor.rowcount

    with care.sessions(server, database, 2, write) as did["waits"]:
        yield did


def adopt(server: servers.Server, rounds: int) -> list[Figure]:
    """A table is split, and made one again, while two writers go on."""
    samples: dict[str, list[float]] = {"split": [], "undo": [], "p99": [], "last": [], "undo p99": [], "undo last": []}
    lost = 0
    for _ in range(min(rounds, 3)):
        connection = _make(server, "bench_split_adopt", "plain", ROWS)
        with connection.cursor() as cursor:
            cursor.execute("SELECT sum(views) FROM articles")
            (before,) = cursor.fetchone()
            updates = 0
            for way, prefix in (("split", ""), ("undo", "undo ")):
                with _writers(server, "bench_split_adopt") as did:
                    found = catalog.read(connection, SPEC)
                    steps = plan.plan(SPEC, found) if way == "split" else plan.undo(SPEC, found)

                    def done(step: Step, seconds: float, way: str = way, prefix: str = prefix) -> None:
                        if step.mode == "repeat":
                            samples[way].append(ROWS / seconds)
                        elif step.template in ("split/turn", "split/unturn"):
                            samples[f"{prefix}last"].append(seconds * 1000)

                    apply.apply(connection, steps, done)
                samples[f"{prefix}p99"].append(sorted(did["waits"])[int(len(did["waits"]) * 0.99)])
                updates += did["updates"]
            cursor.execute("SELECT sum(views) FROM articles")
            lost += before + updates - cursor.fetchone()[0]
        connection.close()
    name = f"PostgreSQL {server.major}"
    return [
        median(f"split, two writers, {name}", samples["split"], "rows/s", larger=True),
        median(f"split: writer's p99, {name}", samples["p99"], "ms", 10),
        median(f"split: the step that locks, with its tries, {name}", samples["last"], "ms"),
        median(f"split undone, two writers, {name}", samples["undo"], "rows/s", larger=True),
        median(f"split undone: writer's p99, {name}", samples["undo p99"], "ms", 10),
        median(f"split undone: the step that locks, with its tries, {name}", samples["undo last"], "ms"),
        median(f"split and undone: updates lost, {name}", [lost], "", 0),
    ]
