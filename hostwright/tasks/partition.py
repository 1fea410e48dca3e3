"""Partitioned tables: what differs from the spec, and making it so."""

from __future__ import annotations

import contextlib
import datetime as dt
import json as json_
from collections.abc import Iterator
from typing import Any

from hostwright import console
from hostwright import inventory as inventories
from hostwright.errors import BadInput, HostwrightError
from hostwright.partition.plan import Step
from hostwright.partition.spec import PartitionSpec
from hostwright.tasks import _fleet
from hostwright.tasks._task import task

PENDING = 3
"""Exit status of a plan that has something to do."""


@contextlib.contextmanager
def _databases(inventory: str, dsn: str, table: str) -> Iterator[list[tuple[PartitionSpec, Any]]]:
    """Each spec with a connection to its database."""
    from hostwright.partition import connection

    found = inventories.load(inventory)
    specs = [spec for spec in found.site.partitions if not table or table in (spec.table, spec.table_name)]
    if not specs:
        raise BadInput(f"no partition spec for {table}" if table else "the site has no partitions", "See `partitions`.")
    with contextlib.ExitStack() as stack:
        opened: dict[str, Any] = {}
        for spec in specs:
            name = dsn or spec.database or found.site.services.databases[0].name
            if name in opened:
                continue
            if dsn:
                opened[name] = stack.enter_context(connection.direct(dsn))
                continue
            database = next((d for d in found.site.services.databases if d.name == name), None)
            if database is None:
                raise BadInput(f"partitions: {spec.table}: the site has no database {name}", "See services.databases.")
            remote = _fleet.remotes(found, [_fleet.database_host(found)])[0]
            role = found.site.database_owner(database)
            opened[name] = stack.enter_context(connection.through(remote, name, role))
        default = next(iter(opened))
        yield [(spec, opened[dsn or spec.database or default]) for spec in specs]


def _plan(spec: PartitionSpec, connection: Any) -> list[Step]:
    from hostwright.partition import catalog, plan

    return plan.plan(spec, catalog.read(connection, spec), dt.datetime.now(dt.timezone.utc))


@task(help={"table": "only this table", "dsn": "a database, instead of the site's own"})
def plan(c: Any, inventory: str = "", table: str = "", dsn: str = "", json: bool = False) -> None:
    """Show what differs between spec and database, as SQL; status 3 while something does."""
    from invoke.exceptions import Exit

    from hostwright.partition import render

    pending = 0
    with _databases(inventory, dsn, table) as databases:
        for spec, connection in databases:
            steps = _plan(spec, connection)
            pending += len(steps)
            for step in steps:
                text = render.sql(step)
                if json:
                    print(json_.dumps({"schema": 1, "table": spec.table, "step": step.title, "sql": text}))
                else:
                    print(f"-- {spec.table}: {step.title}\n{text}")
            if not steps and not json:
                print(f"-- {spec.table}: nothing to do")
    if pending:
        raise Exit(code=PENDING)


@task(help={"table": "only this table", "dsn": "a database, instead of the site's own", "check": "plan only"})
def apply(
    c: Any,
    inventory: str = "",
    table: str = "",
    dsn: str = "",
    check: bool = False,
    json: bool = False,
    yes: bool = False,
) -> None:
    """Make the database as the spec says; what is there already is left alone."""
    from hostwright.partition import apply as applying

    if check:
        plan(c, inventory=inventory, table=table, dsn=dsn, json=json)
        return
    with _databases(inventory, dsn, table) as databases:
        for spec, connection in databases:
            steps = _plan(spec, connection)
            destructive = [step.title for step in steps if step.destructive]
            if destructive:
                console.confirm(f"{spec.table}: {'; '.join(destructive)}. Go on?", yes)

            def done(step: Step, seconds: float, name: str = spec.table) -> None:
                if json:
                    print(json_.dumps({"schema": 1, "table": name, "step": step.title, "seconds": round(seconds, 3)}))
                else:
                    print(f"{name}: {step.title}  {seconds:.2f} s", flush=True)

            applying.apply(connection, steps, done)
            left = _plan(spec, connection)
            if left:
                raise HostwrightError(f"{spec.table}: still different after apply: {left[0].title}")
            if not steps and not json:
                print(f"{spec.table}: nothing to do")


@task(help={"table": "only this table", "dsn": "a database, instead of the site's own"})
def status(c: Any, inventory: str = "", table: str = "", dsn: str = "") -> None:
    """Show the children of each partitioned table, with their bounds, rows and sizes."""
    from hostwright.partition import catalog

    with _databases(inventory, dsn, table) as databases:
        for spec, connection in databases:
            children = catalog.read(connection, spec).children
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT c.relname, c.reltuples::bigint, pg_size_pretty(pg_total_relation_size(c.oid))"
                    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                    " WHERE n.nspname = %s AND c.relname = ANY(%s)",
                    (spec.schema_name, [child.name for child in children]),
                )
                sizes = {name: (rows, size) for name, rows, size in cursor.fetchall()}
            rows = [
                (
                    child.name,
                    f"{child.lower:%Y-%m-%d}" if child.lower else "",
                    f"{child.upper:%Y-%m-%d}" if child.upper else "",
                    str(max(sizes[child.name][0], 0)),
                    sizes[child.name][1],
                )
                for child in children
            ]
            console.table(spec.table, ("child", "from", "to", "rows (estimate)", "size"), rows)
