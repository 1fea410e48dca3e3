"""The same table in a database for each way of dividing it."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from hostwright.partition import apply, catalog, plan
from hostwright.partition.spec import PartitionSpec
from tests.postgres import servers

UTC = dt.timezone.utc
NOW = dt.datetime.now(UTC)
HOT = NOW.replace(day=1, hour=0, minute=0, second=0, microsecond=0)

PLAIN = """
CREATE TABLE events (
    id bigserial {key}, created_at timestamptz NOT NULL, kind text NOT NULL, payload text NOT NULL {wide});
CREATE INDEX ON events (created_at)"""


def spec(**values: Any) -> PartitionSpec:
    return PartitionSpec.model_validate({"table": "events", "key": "created_at", **values})


def month(back: int) -> dt.datetime:
    """The beginning of the month `back` months before this one; negative for ahead."""
    months = HOT.year * 12 + HOT.month - 1 - back
    return HOT.replace(year=months // 12, month=months % 12 + 1)


def database(server: servers.Server, name: str) -> Any:
    """A connection to a new, empty database."""
    admin = server.connect("postgres")
    with admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name}")
    admin.close()
    return server.connect(name)


def writer(server: servers.Server, name: str) -> Any:
    """A new connection, whose commits wait for no disk.

    One that has made the tables keeps memory from that, which makes its statements slower by an eighth, or faster.
    """
    connection = server.connect(name)
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
    return connection


@contextmanager
def apart(connections: Iterable[Any]) -> Iterator[None]:
    """Keep this process and those of the servers on different processors, where there are two.

    Whether the scheduler puts both on one is worth a factor of two, for minutes.
    """
    mine = os.sched_getaffinity(0)
    first, *others = sorted(mine)
    if others:
        os.sched_setaffinity(0, {first})
        for connection in connections:
            os.sched_setaffinity(connection.info.backend_pid, set(others))
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def how(server: servers.Server) -> str:
    """The strategy that a table gets on this server."""
    return "declarative" if server.major >= 11 else "landing"


def make(server: servers.Server, name: str, how: str, months: int = 12) -> Any:
    """A `writer` of a new database whose empty table is divided as `how` says, with children for `months` months."""
    connection = database(server, name)
    with connection.cursor() as cursor:
        wide = ", PRIMARY KEY (id, created_at)" if how in ("wide", "native", "partman") else ""
        key = "" if wide else "PRIMARY KEY"
        text = PLAIN.format(key=key, wide=wide)
        if how in ("native", "partman"):
            text = text.replace(");", ") PARTITION BY RANGE (created_at);", 1)
        cursor.execute(text)
        if how == "native":
            for back in range(-3, months + 1):
                cursor.execute(
                    f"CREATE TABLE events_{months + 3 - back} PARTITION OF events FOR VALUES FROM (%s) TO (%s)",
                    (str(month(back)), str(month(back - 1))),
                )
        elif how in ("partman", "partman_trigger"):
            kind = "native" if how == "partman" else "partman"
            cursor.execute("CREATE SCHEMA partman; CREATE EXTENSION pg_partman SCHEMA partman")
            cursor.execute(
                "SELECT partman.create_parent('public.events', 'created_at', %s, 'monthly',"
                " p_premake := 3, p_start_partition := %s)",
                (kind, str(month(months))),
            )
        elif how == "trigger":
            cursor.execute("ALTER TABLE events ALTER id DROP DEFAULT; ALTER SEQUENCE events_id_seq OWNED BY NONE")
    if how in ("landing", "trigger", "declarative"):
        with connection.cursor() as cursor:
            number = 1 if how == "trigger" else None
            for back in (months, 0):  # So that there are children for all months.
                cursor.execute(
                    "INSERT INTO events VALUES (coalesce(%s, nextval('events_id_seq')), %s, 'a', 'b')",
                    (number and number + back, month(back)),
                )
        wanted = spec(strategy=how, adopt="drain", keep=None)
        apply.apply(connection, plan.plan(wanted, catalog.read(connection, wanted), NOW), lambda *_: None)
        if how == "trigger":
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE events ALTER id SET DEFAULT nextval('events_id_seq')")
    connection.close()
    return writer(server, name)
