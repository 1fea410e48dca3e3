"""What differs between a spec and a table, as steps. Pure: (spec, table, now) -> steps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hostwright.errors import BadInput
from hostwright.partition import periods
from hostwright.partition.catalog import KEY_TYPES, Table
from hostwright.partition.spec import PartitionSpec

OLDEST = 11
"""The first PostgreSQL on which a partitioned table can have a primary key."""


@dataclass(frozen=True)
class Step:
    """One transaction: the template that renders it, and what it is told. `alone`: run outside of a transaction."""

    title: str
    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False
    destructive: bool = False


def plan(spec: PartitionSpec, table: Table, now: dt.datetime) -> list[Step]:
    """The steps that make `table` as `spec` says at the time `now`. Raises BadInput for what can't be."""
    _check(spec, table)
    current = periods.floor(now, spec.interval)
    names = {"schema": spec.schema_name, "table": spec.table_name, "key": spec.key}
    steps: list[Step] = []
    covered_to = None
    if table.kind == "plain":
        covered_to = periods.step(current, spec.interval, 1)
        steps += _adopt(spec, table, names, covered_to)
    elif table.children:
        uppers = [child.upper for child in table.children if child.upper is not None]
        covered_to = max(uppers) if uppers else None
    # A table that nobody looked after for months gets the children of those months too: late rows need them.
    first = covered_to or current
    if spec.keep is not None:
        first = max(first, periods.step(current, spec.interval, -spec.keep))
    ahead = periods.step(current, spec.interval, spec.premake)
    start = periods.floor(first, spec.interval)
    while start <= ahead:
        end = periods.step(start, spec.interval, 1)
        if start >= first and not _covered(table, start):
            child = periods.child_name(spec.table_name, start, spec.interval)
            steps.append(Step(f"make {child}", "child.sql.j2", {**names, "child": child, "lower": start, "upper": end}))
        start = end
    return steps + _retention(spec, table, names, current)


def _covered(table: Table, start: dt.datetime) -> bool:
    return any(
        not child.default
        and (child.lower is None or child.lower <= start)
        and (child.upper is None or child.upper > start)
        for child in table.children
    )


def _adopt(spec: PartitionSpec, table: Table, names: Mapping[str, Any], upper: dt.datetime) -> list[Step]:
    """A plain table becomes the first child of a partitioned one: nothing is copied."""
    child = periods.shortened(spec.table_name, "_p0")
    # The new primary key has to hold the partition key; the old columns come first, so that lookups stay as they are.
    primary = [*table.primary_key, *([] if spec.key in table.primary_key else [spec.key])] if table.primary_key else []
    values = {
        **names,
        "child": child,
        "upper": upper,
        "primary": primary,
        "old_primary": table.primary_key_name,
        "index": periods.shortened(spec.table_name, "_p0_pkey"),
        "check": periods.shortened(spec.table_name, "_p0_bound"),
        "unique": [{"name": name, "columns": columns} for name, columns in table.unique],
        "serial": dict(table.serial),
        "identity": table.identity,
        "owner": table.owner,
    }
    return [
        Step("bound what is there (no lock is held while rows are read)", "adopt_check.sql.j2", values),
        Step("prove the bound", "adopt_validate.sql.j2", values),
        *([Step("index for the new primary key", "adopt_index.sql.j2", values, alone=True)] if primary else []),
        Step(f"make {spec.table_name} partitioned, with what is there as its first child", "adopt.sql.j2", values),
    ]


def _retention(spec: PartitionSpec, table: Table, names: Mapping[str, Any], current: dt.datetime) -> list[Step]:
    if spec.keep is None:
        return []
    cutoff = periods.step(current, spec.interval, -spec.keep)
    old = [c for c in table.children if not c.default and c.upper is not None and c.upper <= cutoff]
    template = "drop.sql.j2" if spec.retention == "drop" else "detach.sql.j2"
    return [
        Step(
            f"{spec.retention} {child.name} (before {cutoff:%Y-%m-%d})",
            template,
            {**names, "child": child.name},
            destructive=spec.retention == "drop",
        )
        for child in old
    ]


def _check(spec: PartitionSpec, table: Table) -> None:
    where = f"partitions: {spec.table}"
    if not table.exists:
        raise BadInput(f"{where}: there is no such table", "Deploy first: Django's migrations make it.")
    if table.version < OLDEST:
        raise BadInput(
            f"{where}: PostgreSQL {table.version} has no partitioned tables with a primary key",
            f"PostgreSQL {OLDEST} or newer is needed.",
        )
    if not table.may_change:
        raise BadInput(f"{where}: it belongs to {table.owner}, and you are not", "Connect as its owner.")
    if table.kind == "other":
        raise BadInput(f"{where}: it is no table", "A view or a foreign table can't be divided.")
    column = next((column for column in table.columns if column[0] == spec.key), None)
    if column is None:
        raise BadInput(f"{where}: it has no column {spec.key}", f"Columns: {', '.join(c[0] for c in table.columns)}")
    if column[1] not in KEY_TYPES:
        raise BadInput(f"{where}: {spec.key} is of type {column[1]}", f"The key must be a {', '.join(KEY_TYPES)}.")
    if not column[2]:
        raise BadInput(
            f"{where}: {spec.key} may be NULL", "ALTER TABLE ... ALTER COLUMN ... SET NOT NULL, by a migration."
        )
    if table.kind == "partitioned":
        if table.partition_key != f"RANGE ({spec.key})":
            raise BadInput(f"{where}: it is divided by {table.partition_key}, not by RANGE ({spec.key})")
        return
    if table.references:
        raise BadInput(
            f"{where}: foreign keys point to it: {', '.join(table.references)}",
            "Its primary key will hold the partition key too; drop them by a migration (db_constraint=False).",
        )
    if table.in_the_way:
        raise BadInput(f"{where}: {', '.join(table.in_the_way)} would stay with the old table", "Drop them first.")
    stuck = [name for name, columns in table.unique if spec.key not in columns]
    if stuck:
        raise BadInput(
            f"{where}: unique without the partition key: {', '.join(stuck)}",
            "A unique constraint of a partitioned table has to hold its key.",
        )
