"""A detached child, in this schema or another one of the database, becomes a child of its table again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import apply, catalog, periods, render
from hostwright.partition.archive import known, stream
from hostwright.partition.catalog import Table
from hostwright.partition.connection import transaction
from hostwright.partition.plan import Step
from hostwright.partition.spec import PartitionSpec


def is_here(connection: Any, spec: PartitionSpec, child: str) -> bool:
    """Whether `child` is a detached one of this database."""
    return _find(connection, spec, child) is not None


def bring_back(connection: Any, spec: PartitionSpec, child: str, done: known.Done) -> None:
    """Make the detached `child` one of its table again.

    Under declarative nothing is copied: its bounds are proved beside writers, then it is attached. Else its rows are
    copied to a new child, in one transaction: columns that were its own once would not go with those of the table.
    Raises BadInput, before anything changes, where another child has rows of its period.
    """
    with apply.locked(connection):
        table = catalog.read(connection, spec)
        one = _find(connection, spec, child)
        if one is None:
            raise BadInput(
                f"{spec.table}: {child} is not detached from it", "`fab partition.status` lists its children."
            )
        known.insist_room(spec, table, one.name, one.lower, one.upper, "Drop that first, if it is empty.")
        values = {
            **known.told(spec, table, one.name, one.lower, one.upper),
            "child_schema": one.schema,
            "back": periods.child_name(one.name, "_back"),
        }
        if table.kind == "partitioned":
            steps = [
                Step(f"write down the bounds of {child}", "archive/near_bound", values),
                Step("prove them", "archive/near_prove", values, "alone"),
                Step(f"attach {child}", "archive/near_attach", values),
            ]
            apply.apply(connection, steps, lambda step, seconds: done(step.title, seconds))
        else:
            _copy(connection, spec, table, one, values, done)


def _find(connection: Any, spec: PartitionSpec, child: str) -> known.Former | None:
    past = known.former(connection, spec)
    return next((one for one in past if one.name == child and not one.is_archived and not one.is_inside), None)


def _copy(
    connection: Any, spec: PartitionSpec, table: Table, one: known.Former, values: Mapping[str, Any], done: known.Done
) -> None:
    started = time.monotonic()
    with transaction(connection, f"{spec.table}: nothing was changed") as cursor:
        cursor.execute(stream.SETTINGS)
        columns = [column["name"] for column in known.columns(cursor, table.version, one.schema, one.name)]
        lost = [name for name in columns if table.column(name) is None]
        if lost:
            raise BadInput(
                f"{spec.table}: it has no {', '.join(lost)}, which {one.name} has",
                "Drop them there, if they are not needed: ALTER TABLE ... DROP COLUMN.",
            )
        apply.insist(cursor, one.name, render.query("archive/back", **values))
        here, there = render.qualified(spec.schema_name, values["back"]), render.qualified(one.schema, one.name)
        cursor.execute(f"LOCK TABLE {there} IN SHARE MODE")
        names = render.identifiers(columns)
        cursor.execute(f"INSERT INTO {here} ({names}) SELECT {names} FROM {there}")
        if stream.digest(cursor, here, columns, "text") != stream.digest(cursor, there, columns, "text"):
            raise HostwrightError(f"{spec.table}: {one.name} did not come back as it was")
        rows = cursor.rowcount
        apply.insist(cursor, one.name, render.query("archive/back_keys", **values))
        apply.insist(cursor, one.name, render.query("archive/near_swap", **values))
    done(f"copy and compare {rows:,} rows", time.monotonic() - started)
