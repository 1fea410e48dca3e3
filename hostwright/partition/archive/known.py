"""What is known of children that left their table: detached ones, and those whose rows are on the archive's server."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2

from hostwright.errors import BadInput
from hostwright.partition import catalog, plan, render
from hostwright.partition.catalog import Table
from hostwright.partition.periods import Bound
from hostwright.partition.spec import PartitionSpec

Done = Callable[[str, float], None]
"""Is told of each step that was done, and its seconds."""


@dataclass(frozen=True)
class Former:
    """A table that was a child: detached, with its rows here, or archived: a foreign table, with its rows there.

    Bounds are text, as hostwright's functions write them. `rows` and `sha256` are those of an archived one.
    """

    schema: str
    name: str
    is_archived: bool
    is_inside: bool
    """An archived one that is still a child."""
    lower: str | None
    upper: str | None
    rows: int = 0
    sha256: str = ""
    server: str = ""
    at: str = ""


def former(connection: Any, spec: PartitionSpec) -> list[Former]:
    """What was a child of the table that `spec` names: detached, or archived on another server."""
    found = []
    with connection.cursor() as cursor:
        cursor.execute(render.query("archive/found", schema=spec.schema_name, table=spec.table_name))
        for schema, name, is_foreign, comment, is_child in cursor.fetchall():
            try:
                said = json.loads(comment)
                bounds = said["from"], said["to"]
            except (ValueError, KeyError):
                continue
            more = {key: said[key] for key in ("rows", "sha256", "server", "at") if key in said}
            found.append(Former(schema, name, is_foreign, is_child, *bounds, **more))
    return found


def candidate(spec: PartitionSpec, table: Table, past: list[Former], child: str, now: dt.datetime) -> Former:
    """What `child` is now. Raises BadInput where it was no child, or its rows are still written to."""
    one = next((one for one in table.children if one.name == child and not one.is_archived), None)
    if one is None:
        found = next((one for one in past if one.name == child), None)
        if found is None:
            raise BadInput(f"{spec.table}: {child} was no child of it", "`fab partition.status` lists them.")
        return found
    if one.bound:
        raise BadInput(f"{spec.table}: {child} is {one.bound}", "Children of a range can be archived.")
    calendar, current = plan.calendar_of(spec, table, now)
    edge: Bound = calendar.bound(current)
    if one.upper is None or one.upper > edge:
        raise BadInput(f"{spec.table}: the period of {child} is not over", "Its rows are still written to.")
    lower, upper = (None if bound is None else render.bound(bound) for bound in (one.lower, one.upper))
    return Former(spec.schema_name, child, is_archived=False, is_inside=True, lower=lower, upper=upper)


def insist_filed(connection: Any, spec: PartitionSpec, table: Table, one: Former) -> None:
    """Raises BadInput where rows that belong into the child `one` wait in the table itself for maintenance."""
    if table.kind != "inherited" or not one.is_inside or table.column(spec.key) is None:
        return
    with connection.cursor() as cursor:
        cursor.execute(render.query("archive/waiting", **told(spec, table, one.name, one.lower, one.upper)))
        if cursor.fetchone()[0]:
            raise BadInput(
                f"{spec.table}: rows of {one.name} wait in the table itself", "`fab partition.maintain` moves them."
            )


def insist_room(spec: PartitionSpec, table: Table, name: str, lower: str | None, upper: str | None, mend: str) -> None:
    """Raises BadInput where a child is there for rows of `name`, with `mend` as what to do; or none by range can be."""
    column = table.column(spec.key)
    if table.kind not in ("partitioned", "inherited") or column is None or spec.method != "range":
        raise BadInput(f"{spec.table}: it is not divided by a range of {spec.key}", "`fab partition.apply` does it.")
    begin, end = (catalog.bound_of(text, column.type) for text in (lower, upper))
    for other in table.children:
        begins_later = other.lower is not None and end is not None and other.lower >= end
        ends_before = other.upper is not None and begin is not None and other.upper <= begin
        if not (other.bound or begins_later or ends_before):
            raise BadInput(f"{spec.table}: {other.name} is for rows of {name} too", mend)


def columns(cursor: Any, version: float, schema: str, table: str) -> list[dict[str, Any]]:
    """What templates are told of the columns of a table; the transaction has stream.SETTINGS."""
    cursor.execute(render.query("archive/columns", schema=schema, table=table, version=version))
    names = ("name", "type", "required", "collation", "is_generated", "is_common")
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def told(spec: PartitionSpec, table: Table, child: str, lower: str | None, upper: str | None) -> dict[str, Any]:
    """What all templates of archives are told of `child`, which has those bounds, and of its table."""
    column = table.column(spec.key)
    assert column is not None
    return {
        "version": table.version,
        "schema": spec.schema_name,
        "table": spec.table_name,
        "key": spec.key,
        "type": column.type,
        "declarative": table.kind == "partitioned",
        "child": child,
        "lower": lower,
        "upper": upper,
    }


def due(spec: PartitionSpec, table: Table, past: list[Former], now: dt.datetime) -> list[str]:
    """The names of the children that are to be archived: those that were detached, and those older than `keep`."""
    detached = [one.name for one in past if not one.is_archived]
    if spec.keep is None:
        return detached
    calendar, current = plan.calendar_of(spec, table, now)
    cutoff: Any = calendar.bound(calendar.step(current, -spec.keep))
    gone = {one.name for one in past}
    old = [c.name for c in table.children if not c.bound and c.upper is not None and c.upper <= cutoff]
    return detached + [name for name in old if name not in gone]


def problems(connection: Any, spec: PartitionSpec, read: bool) -> Iterator[str]:
    """A line for each child whose move to the archive has not ended; with `read`, each that can't be read there."""
    with connection.cursor() as cursor:
        cursor.execute(render.query("archive/frozen", schema=spec.schema_name, table=spec.table_name))
        for (name,) in cursor.fetchall():
            yield f"{name} can't be written to until it is in the archive: archive it again, or apply, if cut off"
        for one in former(connection, spec) if read else ():
            try:
                if one.is_archived:
                    cursor.execute(f"SELECT * FROM {render.qualified(one.schema, one.name)} LIMIT 1")
            except psycopg2.Error as error:
                yield f"{one.name} can't be read from the archive at {one.server}: {said(error)}"


def said(error: psycopg2.Error) -> str:
    """What the database says, without where that came up: it may show statements."""
    return ": ".join(filter(None, (error.diag.message_primary, error.diag.message_detail))) or str(error).strip()
