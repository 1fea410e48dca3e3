"""What is wrong with a divided table, or soon will be: read only."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Any

from hostwright.partition import plan, render
from hostwright.partition.archive import known
from hostwright.partition.catalog import Table
from hostwright.partition.spec import PartitionSpec


def problems(connection: Any, spec: PartitionSpec, table: Table, now: dt.datetime, rows: bool = True) -> list[str]:
    """A line for each problem. `rows`: read all rows too, for keys that are there twice."""
    if not table.exists:
        return ["there is no such table"]
    if table.kind not in ("inherited", "partitioned"):
        return ["it is not divided"]
    return [
        *_children(spec, table, now),
        *known.problems(connection, spec, read=rows),
        *(_rows(connection, spec, table) if rows else ()),
    ]


def _children(spec: PartitionSpec, table: Table, now: dt.datetime) -> Iterator[str]:
    if table.recorded.get("failure"):
        yield f"maintenance fails since {table.recorded['failed_at']}: {table.recorded['failure']}"
    ranged = [child for child in table.children if not child.bound]
    for one, two in itertools.pairwise(ranged):
        if one.upper is not None and two.lower is not None and one.upper < two.lower:
            yield f"no child for rows from {render.bound(one.upper)} up to {render.bound(two.lower)}"
    uppers = [child.upper for child in ranged if child.upper is not None]
    if not isinstance(spec.interval, int) and uppers and table.column(spec.key):
        calendar, current = plan.calendar_of(spec, table, now)
        if max(uppers) <= calendar.bound(calendar.step(current, 1)):
            yield f"the last child ends at {render.bound(max(uppers))}, with this period: run maintenance"
    for child in table.children:
        lost = plan.lacking(spec, child)
        if lost:
            yield f"{child.name} lacks {', '.join(lost)}, whose rows are refused: apply"
        if child.is_leaving or child.name == (table.recorded.get("leaving") or {}).get("child"):
            yield f"{child.name} is being detached: apply, or run maintenance, where that was cut off"
        if not child.moves:
            yield f"{child.name} has lost the triggers that move rows: apply"


def _rows(connection: Any, spec: PartitionSpec, table: Table) -> Iterator[str]:
    names = {"schema": spec.schema_name, "table": spec.table_name, "key": spec.key}
    with connection.cursor() as cursor:
        if table.kind == "inherited":
            cursor.execute(render.query("verify_left", **names, lower=table.hot[0], upper=table.hot[1]))
            (left,) = cursor.fetchone()
            if left:
                yield f"{left} rows wait in the parent for a child or for maintenance"
        for overflow in (child.name for child in table.children if child.bound == "DEFAULT"):
            cursor.execute(render.query("verify_overflow", **names, child=overflow))
            left, first, last = cursor.fetchone()
            if left:
                yield f"{left} rows are in {overflow}, from {first} to {last}: no child is for them"
        cursor.execute(render.query("verify_unproven", **names))
        for child, constraint in cursor.fetchall():
            yield f"{child}: the constraint {constraint} was never proved: ALTER TABLE ... VALIDATE CONSTRAINT"
        alone = [name for name in table.primary_key if name != spec.key]
        # Children of an inherited table have the primary key that it came with: it promised this, or nothing.
        if alone and (table.kind == "partitioned" or spec.key not in table.primary_key):
            cursor.execute(render.query("verify_twice", **names, alone=alone))
            for values in cursor.fetchall():
                yield f"({', '.join(alone)}) = ({', '.join(map(str, values))}) is there more than once"
