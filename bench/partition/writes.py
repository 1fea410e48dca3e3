"""Writes into divided tables, as ratios of those into a plain one."""

from __future__ import annotations

import datetime as dt
import io
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.partition import tables
from bench.report import Figure, ratio
from hostwright.errors import HostwrightError
from hostwright.lab import apt
from hostwright.partition import catalog
from hostwright.partition import load as loading
from tests.postgres import servers

TURNS = 12
Moments = Callable[[int], list[dt.datetime]]


def hot(server: servers.Server, rounds: int) -> list[Figure]:
    """Rows of the current month, 12 children."""

    def moments(count: int) -> list[dt.datetime]:
        return [tables.HOT + dt.timedelta(seconds=n) for n in range(count)]

    figures = []
    if server.major >= 11:
        figures += _writes(server, rounds, "hot", "declarative", moments, 12, {"native": "hand-written"}, plain="wide")
    goals = (0.85, 0.95, 0.90) if server.major == 10 else None
    return figures + _writes(server, rounds, "hot", "landing", moments, 12, {"partman_trigger": "pg_partman"}, goals)


def spread(server: servers.Server, rounds: int) -> list[Figure]:
    """Rows of all of 120 months."""
    dice = random.Random(1)

    def moments(count: int) -> list[dt.datetime]:
        return [tables.month(dice.randrange(120)) + dt.timedelta(seconds=n) for n in range(count)]

    goals = (0.55, 0.37, 0.19)
    peers = {"partman_trigger": "pg_partman"}
    figures = _writes(server, rounds, "spread", "trigger", moments, 120, peers, goals)
    figures += _writes(server, rounds, "spread", "landing", moments, 120, {})
    if server.major >= 11:
        figures += _writes(
            server, rounds, "spread", "declarative", moments, 120, {"native": "hand-written"}, plain="wide"
        )
    return figures


def _writes(
    server: servers.Server,
    rounds: int,
    title: str,
    how: str,
    moments: Moments,
    months: int,
    peers: dict[str, str],
    goals: tuple[float, float, float] | None = None,
    plain: str = "plain",
) -> list[Figure]:
    if not _has_partman(server):
        peers = {name: title for name, title in peers.items() if "partman" not in name}
    made = {name: tables.make(server, f"bench_{name}", name, months) for name in (plain, how, *peers)}
    ways = {"single": single, "1000-row": _many, "COPY": _copy}
    times: dict[str, dict[str, list[float]]] = {way: {name: [] for name in made} for way in ways}
    with tables.apart(made.values()):
        for _ in range(rounds):
            for way, write in ways.items():
                taken = dict.fromkeys(made, 0.0)
                # Short turns, so that what else the machine does hits all alike, each with another one first.
                for turn in range(TURNS):
                    rows = moments({"single": 150, "1000-row": 2000, "COPY": 5000}[way])
                    first = turn % len(made)
                    for name in [*made][first:] + [*made][:first]:
                        started = time.perf_counter()
                        write(made[name], rows)
                        taken[name] += time.perf_counter() - started
                for name, seconds in taken.items():
                    times[way][name].append(seconds)
    for connection in made.values():
        connection.close()
    found = []
    for number, way in enumerate(ways):
        found.append(
            ratio(
                f"{title}, {how}, {way}, PostgreSQL {server.major}",
                times[way][plain],
                times[way][how],
                goals[number] if goals else None,
                {shown: times[way][peer] for peer, shown in peers.items()},
            )
        )
        if "native" in peers:
            by_hand = times[way]["native"], times[way][how]
            found.append(
                ratio(f"{title}, {how} by hand-written, {way}, PostgreSQL {server.major}", *by_hand, goal=0.98)
            )
    return found


def _has_partman(server: servers.Server) -> bool:
    """Whether the server has pg_partman: Debian's has, from its package."""
    extensions = Path(f"/usr/share/postgresql/{server.major}/extension")
    debian = Path(f"/usr/lib/postgresql/{server.major}/bin/postgres").exists()
    if debian and not (extensions / "pg_partman.control").exists():
        try:
            apt.install([f"postgresql-{server.major}-partman"], "it is a peer")
        except HostwrightError as error:
            print(f"pg_partman is left out: {error}")
    return (extensions / "pg_partman.control").exists()


def single(connection: Any, rows: list[dt.datetime]) -> None:
    """Insert the rows one by one."""
    with connection.cursor() as cursor:
        for moment in rows:
            cursor.execute("INSERT INTO events (created_at, kind, payload) VALUES (%s, 'kind', '{}')", (moment,))


def _many(connection: Any, rows: list[dt.datetime]) -> None:
    with connection.cursor() as cursor:
        for start in range(0, len(rows), 1000):
            values = ", ".join(f"('{moment}', 'kind', '{{}}')" for moment in rows[start : start + 1000])
            cursor.execute(f"INSERT INTO events (created_at, kind, payload) VALUES {values}")


def _copy(connection: Any, rows: list[dt.datetime]) -> None:
    lines = io.StringIO("".join(f"{moment}\tkind\t{{}}\n" for moment in rows))
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY events (created_at, kind, payload) FROM STDIN", lines)


def load(server: servers.Server, rounds: int) -> list[Figure]:
    """A file of 200,000 rows over 12 months: `load` beside COPY into a plain table."""
    how = tables.how(server)
    dice = random.Random(2)
    days = sorted(dice.randrange(360 * 86400) for _ in range(200_000))
    text = "created_at,kind,payload\n" + "".join(
        f"{tables.month(0) - dt.timedelta(seconds=second)},kind,{{}}\n" for second in reversed(days)
    )
    # The same primary key on both sides.
    plain = tables.make(server, "bench_plain", "wide" if how == "declarative" else "plain")
    ours = tables.make(server, "bench_ours", how)
    times: list[list[float]] = [[], []]
    wanted = tables.spec(strategy=how)
    with tables.apart([plain, ours]):
        for _ in range(rounds):
            started = time.perf_counter()
            with plain.cursor() as cursor:
                cursor.copy_expert("COPY events (created_at, kind, payload) FROM STDIN CSV HEADER", io.StringIO(text))
            times[0].append(time.perf_counter() - started)
            started = time.perf_counter()
            loading.load(ours, wanted, catalog.read(ours, wanted), io.BytesIO(text.encode()), lambda rows: None)
            times[1].append(time.perf_counter() - started)
    plain.close()
    ours.close()
    return [ratio(f"load over 12 months, {how}, PostgreSQL {server.major}", *times, goal=1.0)]


def django(server: servers.Server, rounds: int) -> list[Figure]:
    """Django's save() and bulk_create() of 1000, of the current month."""
    how = tables.how(server)
    names = {"bench_plain": "plain", "bench_ours": how}
    for name, kind in names.items():
        tables.make(server, name, kind).close()
    script = Path(__file__).with_name("django_writes.py")
    times: dict[str, dict[str, list[float]]] = {name: {"save": [], "bulk": []} for name in names}
    for _ in range(rounds):
        for name in names:
            argv = [sys.executable, str(script), str(server.socket), name, str(tables.HOT)]
            taken = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
            for kind, seconds in taken.items():
                times[name][kind].append(seconds)
    return [
        ratio(f"Django {title}, {how}, PostgreSQL {server.major}", *(times[n][kind] for n in names), goal=goal)
        for kind, title, goal in (("save", "save()", 0.95), ("bulk", "bulk_create(1000)", 0.97))
    ]
