"""Children on another server, and back: copied as a stream, compared, then swapped for a foreign table and dropped."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Mapping
from typing import Any

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import apply, catalog, periods, render, strategy
from hostwright.partition.archive import known, link, stream
from hostwright.partition.catalog import Table
from hostwright.partition.connection import transaction
from hostwright.partition.plan import Step
from hostwright.partition.spec import ArchiveServer, PartitionSpec


def move(connection: Any, far: Any, spec: PartitionSpec, child: str, now: dt.datetime, done: known.Done) -> None:
    """Move the rows of `child` to the archive at the connection `far`, and put a foreign table in its place.

    From the first step to the last, the child can be read and not written to; where something fails in between, it can
    be written to again, and nothing else has changed. A run that was killed is gone on with by the next. Raises
    BadInput, before anything changes, for what can't be, and HostwrightError where the work fails.
    """
    server = _server(spec)
    with apply.locked(connection):
        table = catalog.read(connection, spec)
        strategy.check(spec, table)
        past = known.former(connection, spec)
        one = _candidate(spec, table, past, child, now)
        if one.is_archived:
            return
        known.insist_filed(connection, spec, table, one)
        values = _values(connection, spec, table, one, now)
        is_there = link.is_there(far, spec, server, values)
        link.make(connection, spec, server, values, bool([old for old in past if old.is_archived]))
        here, there = render.qualified(one.schema, child), render.qualified(server.in_schema, child)
        columns = [column["name"] for column in values["columns"]]
        try:
            _step(connection, "freeze", f"keep {child} as it is", values, done)
            started = time.monotonic()
            with (
                transaction(far, f"{spec.table}: {child} was not copied") as cursor,
                transaction(connection, f"{spec.table}: {child} was not copied") as reading,
            ):
                cursor.execute(stream.SETTINGS)
                reading.execute(stream.SETTINGS)
                if is_there:
                    sent = stream.digest(reading, here, columns, values["form"])
                    if stream.digest(cursor, there, columns, values["form"]) != sent:
                        raise BadInput(
                            f"{spec.table}: the archive has another {child}",
                            f"Look at {there} at {server.server}. Rename or drop it there, then archive again.",
                        )
                else:
                    cursor.execute(render.query("archive/there_make", **values))
                    sent = stream.send(reading, here, cursor, there, columns, values["form"])
                    if stream.digest(cursor, there, columns, values["form"]) != sent:
                        raise HostwrightError(f"{spec.table}: {child} did not come to the archive as it was sent")
                    cursor.execute(render.query("archive/there_finish", **values, comment=_comment(values, *sent)))
            done(f"{'compare' if is_there else 'copy and compare'} {sent[0]:,} rows", time.monotonic() - started)
            beside = [old for old in past if old.is_archived and not old.is_inside]
            with transaction(connection, spec.table) as cursor:
                cursor.execute(stream.SETTINGS)
                values |= _view(cursor, spec, table, beside)
            values["archived"].append(_shown(one.schema, values["fresh"], values["columns"]))
            values["comment"] = _comment(values, *sent)
            _step(connection, "swap", f"put a foreign table in the place of {child}", values, done)
        except BaseException:
            if not connection.closed:
                _step(connection, "thaw", f"let {child} be written to again", values, lambda *_: None)
            raise


def bring_back(
    connection: Any, far: Any, spec: PartitionSpec, child: str, drop: bool, now: dt.datetime, done: known.Done
) -> int:
    """Make the archived `child` a table here again; returns its rows. With `drop` it is dropped in the archive then.

    Nobody can write to it in the archive meanwhile. All that is done here is one transaction. Raises as `move` does.
    """
    server = _server(spec)
    failed = f"{spec.table}: nothing was changed"
    with apply.locked(connection):
        table = catalog.read(connection, spec)
        past = [one for one in known.former(connection, spec) if one.is_archived]
        one = next((one for one in past if one.name == child), None)
        if one is None:
            return _end_of_bringing_back(connection, far, spec, table, child, drop, now, done)
        values = {
            **_values(connection, spec, table, one, now),
            "back": periods.child_name(child, "_back"),
            "is_inside": one.is_inside,
        }
        there, here = render.qualified(server.in_schema, child), render.qualified(spec.schema_name, values["back"])
        ours = {column.name for column in table.columns}
        lost = [column["name"] for column in values["columns"] if column["name"] not in ours]
        if lost and drop:
            raise BadInput(
                f"{spec.table}: it has no {', '.join(lost)}, which the archived {child} has",
                "Bring it back without --drop, so that they stay in the archive.",
            )
        columns = [c["name"] for c in values["columns"] if c["name"] in ours and c["name"] not in table.generated]
        started = time.monotonic()
        with transaction(far, failed) as cursor:
            cursor.execute(stream.SETTINGS)
            cursor.execute("SELECT pg_catalog.to_regclass(%s) IS NULL", (there,))
            if cursor.fetchone()[0]:
                raise BadInput(f"{spec.table}: the archive at {server.server} has no {there}")
            cursor.execute(f"LOCK TABLE {there} IN SHARE MODE")
            with transaction(connection, failed) as writing:
                writing.execute(stream.SETTINGS)
                apply.insist(writing, child, render.query("archive/back", **values))
                sent = stream.send(cursor, there, writing, here, columns, values["form"])
                if stream.digest(writing, here, columns, values["form"]) != sent:
                    raise HostwrightError(f"{spec.table}: {child} did not come back as it was sent")
                done(f"copy and compare {sent[0]:,} rows", time.monotonic() - started)
                started = time.monotonic()
                apply.insist(writing, child, render.query("archive/back_keys", **values))
                values |= _view(writing, spec, table, [old for old in past if old != one and not old.is_inside])
                apply.insist(writing, child, render.query("archive/back_swap", **values))
            done(f"put {child} in the place of its foreign table", time.monotonic() - started)
            if drop:
                started = time.monotonic()
                cursor.execute(render.query("archive/there_drop", **values))
        if drop:
            done(f"drop {child} in the archive", time.monotonic() - started)
        return sent[0]


def _end_of_bringing_back(
    connection: Any,
    far: Any,
    spec: PartitionSpec,
    table: Table,
    child: str,
    drop: bool,
    now: dt.datetime,
    done: known.Done,
) -> int:
    """Drop in the archive what a run before this one brought back, and could not drop any more."""
    server = _server(spec)
    one = known.Former(spec.schema_name, child, is_archived=False, is_inside=True, lower=None, upper=None)
    attached = any(other.name == child for other in table.children)
    values = _values(connection, spec, table, one, now) if attached and drop else {}
    if not values or not link.is_there(far, spec, server, values):
        raise BadInput(f"{spec.table}: {child} is not in the archive", "`fab partition.status` lists what is.")
    here, there = render.qualified(spec.schema_name, child), render.qualified(server.in_schema, child)
    columns = [column["name"] for column in values["columns"] if not column["is_generated"]]
    failed = f"{spec.table}: nothing was changed"
    started = time.monotonic()
    with transaction(far, failed) as cursor:
        cursor.execute(stream.SETTINGS)
        with transaction(connection, failed) as reading:
            reading.execute(stream.SETTINGS)
            sent = stream.digest(reading, here, columns, values["form"])
        if stream.digest(cursor, there, columns, values["form"]) != sent:
            raise BadInput(
                f"{spec.table}: {child} is here, and {there} at {server.server} is another",
                "Look at both, and drop the one that is not needed.",
            )
        cursor.execute(render.query("archive/there_drop", **values))
    done(f"drop {child} in the archive", time.monotonic() - started)
    return sent[0]


# --- What is known before anything changes


def _server(spec: PartitionSpec) -> ArchiveServer:
    assert spec.archive is not None  # The caller is connected to it.
    return spec.archive


def _candidate(
    spec: PartitionSpec, table: Table, past: list[known.Former], child: str, now: dt.datetime
) -> known.Former:
    """What `child` is now. Raises BadInput where it is no child, or one that is in use."""
    found = known.candidate(spec, table, past, child, now)
    one = next((one for one in table.children if one.name == child), None)
    if one is None or found.is_archived or _server(spec).place == "inside":
        return found
    older = [c.name for c in table.children if c.upper is not None and one.lower is not None and c.upper <= one.lower]
    if older:
        raise BadInput(f"{spec.table}: {older[0]} is older than {child}, and in the table", "Archive that first.")
    return found


def _values(connection: Any, spec: PartitionSpec, table: Table, one: known.Former, now: dt.datetime) -> dict[str, Any]:
    """What the templates are told."""
    server = _server(spec)
    with transaction(connection, spec.table) as cursor:
        cursor.execute(stream.SETTINGS)
        columns = known.columns(cursor, table.version, one.schema, one.name)
        cursor.execute("SELECT pg_catalog.format('%%I.%%I', %s::text, %s::text)", (spec.schema_name, spec.table_name))
        (whole,) = cursor.fetchone()
    return {
        **known.told(spec, table, one.name, one.lower, one.upper),
        "whole": whole,
        "child_schema": one.schema,
        "fresh": periods.child_name(one.name, "_there"),
        "columns": columns,
        "form": stream.form({c["name"]: c["is_common"] for c in columns}),
        "primary": [] if set(table.primary_key) - {c["name"] for c in columns} else list(table.primary_key),
        "link": periods.child_name(f"{spec.schema_name}.{spec.table_name}", " archive"),
        "reader": "PUBLIC" if server.place == "inside" else render.identifier(table.owner),
        "owner": render.identifier(table.owner),
        "user": server.user,
        "in_schema": server.in_schema,
        "place": server.place,
        "server": server.server,
        "at": now.isoformat(" ", "seconds"),
    }


def _view(cursor: Any, spec: PartitionSpec, table: Table, archived: list[known.Former]) -> dict[str, Any]:
    """What the view is made of: the columns that it has, then those that only the table has."""
    view = periods.child_name(spec.table_name, "_archive")
    cursor.execute("SELECT pg_catalog.to_regclass(%s) IS NOT NULL", (render.qualified(spec.schema_name, view),))
    columns = known.columns(cursor, table.version, spec.schema_name, view) if cursor.fetchone()[0] else []
    there = {column["name"] for column in columns}
    columns += [
        c for c in known.columns(cursor, table.version, spec.schema_name, spec.table_name) if c["name"] not in there
    ]
    return {
        "view": view,
        "view_columns": columns,
        "archived": [
            _shown(one.schema, one.name, known.columns(cursor, table.version, one.schema, one.name)) for one in archived
        ],
    }


def _shown(schema: str, name: str, columns: list[dict[str, Any]]) -> dict[str, Any]:
    """A table that the view shows."""
    return {"schema": schema, "name": name, "types": {column["name"]: column["type"] for column in columns}}


# --- How it is done


def _step(connection: Any, template: str, title: str, values: Mapping[str, Any], done: known.Done) -> None:
    step = Step(title, f"archive/{template}", values)
    apply.apply(connection, [step], lambda step, seconds: done(step.title, seconds))


def _comment(values: Mapping[str, Any], rows: int, sha256: str) -> str:
    """What is kept with the table of an archived child, there and here."""
    said = {
        "table": values["whole"],
        "from": values["lower"],
        "to": values["upper"],
        "rows": rows,
        "sha256": sha256,
        "server": values["server"],
        "at": values["at"],
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))
