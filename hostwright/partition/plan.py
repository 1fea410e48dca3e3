"""What differs between a spec and a table, as steps. Pure: (spec, table, now) -> steps."""

from __future__ import annotations

import bisect
import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hostwright.errors import BadInput
from hostwright.partition import periods, render, strategy
from hostwright.partition.catalog import INTEGERS, Child, Table
from hostwright.partition.periods import Bound, Period, Periods, Position
from hostwright.partition.spec import PartitionSpec

CONCURRENTLY_FROM = 14
"""The first PostgreSQL that detaches a partition without keeping anybody from the others."""
MOST_CHILDREN = 2000
"""A plan that would make more of them is taken for a mistake."""
COMPARABLE = (*INTEGERS, "text", "character varying")
"""Types of keys whose values the database writes in one way."""
ROOM, SHORT_ROOM = dt.timedelta(days=7), dt.timedelta(days=1)
"""How far ahead of its newest row a table is bounded while it is adopted: later rows are refused until that is done.
Short, where a period is an hour or a day."""


@dataclass(frozen=True)
class Step:
    """One thing to do: the template that renders it, and what that is told.

    `mode`: in a transaction; `alone`, statement by statement outside of one; `given`, a query whose result are the
    statements that are run so; or `repeat`, a query run in a transaction of its own again and again, until it returns 0
    (the number of rows that it moved). `destructive`: it takes rows out of the table, which is asked for. `cleanup`:
    the template, told the same, that is run where this step fails.
    """

    title: str
    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    mode: Literal["transaction", "alone", "given", "repeat"] = "transaction"
    destructive: bool = False
    cleanup: str = ""


def plan(spec: PartitionSpec, table: Table, now: dt.datetime) -> list[Step]:
    """The steps that make `table` as `spec` says at the time `now`. Raises BadInput for what can't be."""
    chosen = strategy.check(spec, table)
    names = {"schema": spec.schema_name, "table": spec.table_name, "key": spec.key, "version": table.version}
    steps = [*_registered(spec, chosen, table, names)]
    if chosen != "declarative" or spec.adopt != "attach":
        steps += unbound(spec, table, names)
    if spec.method != "range":
        return steps + _fixed(spec, table, names)
    calendar, current = calendar_of(spec, table, now)
    copied: list[Child] = []
    if chosen != "declarative" or (spec.adopt == "drain" and table.kind == "plain") or table.kind == "inherited":
        steps += _inherited(spec, chosen, calendar, table, names, current)
    elif table.kind == "plain" and spec.adopt == "copy":
        needed = _needed(spec, calendar, [], _first(spec, calendar, table, current), current)
        copied = [Child(period.name, period.lower, period.upper) for period in needed]
        steps += _copied(spec, table, names, copied)
        copied += _children(_overflow(spec, table, names))
    else:
        steps += _declarative(spec, calendar, table, names, current, now)
    # As it is by then: a child that was just made can be old, TABLE_pmin with all rows from before `keep`.
    divided = replace(
        table,
        kind="partitioned" if chosen == "declarative" else "inherited",
        children=(*table.children, *copied, *_children(steps)),
    )
    return [*steps, *_thawed(table, names), *_rights(table, names), *_retention(spec, calendar, divided, current)]


def calendar_of(spec: PartitionSpec, table: Table, now: dt.datetime) -> tuple[Periods, Position]:
    """The periods of the table, and the current one: of numbers, the one that its newest row is in."""
    column = table.column(spec.key)
    calendar = Periods(spec, zoned=column is not None and column.zoned)
    if isinstance(spec.interval, int):
        return calendar, calendar.position(table.newest if table.newest is not None else 0)
    return calendar, calendar.position(now)


def recorded(spec: PartitionSpec, chosen: str) -> dict[str, Any]:
    """What hostwright.partitioned says of a table that is as `spec` says."""
    integer = isinstance(spec.interval, int)
    return {
        "key": spec.key,
        "unit": "none" if spec.method != "range" else "integer" if integer else spec.interval,
        "width": spec.interval if integer else None,
        "zone": spec.timezone,
        "strategy": chosen,
        "premake": spec.premake,
        "keep": spec.keep,
        "retention": spec.retention,
        "archive_schema": spec.archive_schema,
        "subpartition": spec.subpartition
        and {
            "key": spec.subpartition.key,
            "method": spec.subpartition.method,
            "bounds": _bounds(spec.subpartition.method, spec.subpartition.values, spec.subpartition.modulus),
        },
    }


def _bounds(method: str, values: Mapping[str, list[str | int]], modulus: int) -> dict[str, str]:
    """What stands behind FOR VALUES, by the suffix of the child's name."""
    if method == "hash":
        return {f"_h{n}": f"WITH (modulus {modulus}, remainder {n})" for n in range(modulus)}
    return {f"_{suffix}": f"IN ({', '.join(map(render.literal, those))})" for suffix, those in values.items()}


def install(version: float, found: str) -> Iterator[Step]:
    """The functions in the database, where those whose stamp is `found` are not of this Hostwright and server."""
    stamp = render.stamp(version)
    if found != stamp:
        yield Step(
            "install the functions in schema hostwright",
            "library",
            {"version": version, "stamp": stamp, "advisory_lock": render.ADVISORY_LOCK},
        )


def _registered(spec: PartitionSpec, chosen: str, table: Table, names: Mapping[str, Any]) -> Iterator[Step]:
    yield from install(table.version, table.stamp)
    wanted = recorded(spec, chosen)
    if chosen == "declarative" and _is_to_drain(spec, table):
        # On its way its rows are moved as those of landing are, by apply alone: maintenance leaves it in peace.
        wanted |= {"strategy": "landing", "unit": "none"}
    if {name: table.recorded.get(name) for name in wanted} != wanted:
        yield Step("write down the spec", "record", {**names, "record": wanted})


def unbound(spec: PartitionSpec, table: Table, names: Mapping[str, Any]) -> Iterator[Step]:
    """Take back the bound of an attach that was cut off: what takes the place of the table would have it too."""
    check = strategy.bound_name(spec)
    if table.kind == "plain" and check in table.checks:
        yield Step("take back the bound of an attach that was cut off", "adopt_uncheck", {**names, "check": check})


def _is_to_drain(spec: PartitionSpec, table: Table) -> bool:
    return table.kind == "inherited" or (table.kind == "plain" and spec.adopt == "drain" and spec.method == "range")


# --- Declarative


def _declarative(
    spec: PartitionSpec,
    calendar: Periods,
    table: Table,
    names: Mapping[str, Any],
    current: Position,
    now: dt.datetime,
) -> list[Step]:
    if table.kind == "plain":
        upper = _room(calendar, table, now)
        attached = [Child(periods.child_name(spec.table_name, "_pmin"), None, upper)]
        return [
            *_attached(spec, table, names, upper),
            *_made(spec, calendar, attached, names, current),
            *_overflow(spec, table, names),
        ]
    first = current
    if table.overflowing is not None:
        first = min(current, calendar.position(table.overflowing))
    return [
        *_proofs(table),
        *_made(spec, calendar, list(table.children), names, current, first),
        *_parts(spec, table, names),
        *_overflow(spec, table, names),
    ]


def _room(calendar: Periods, table: Table, now: dt.datetime) -> Bound:
    """The end of the first child that a table is attached as: no row that comes while it is adopted lies beyond."""
    if isinstance(calendar.spec.interval, int):
        return calendar.bound(calendar.step(calendar.position(table.newest or 0), 2))
    room = SHORT_ROOM if calendar.spec.interval in ("hour", "day") else ROOM
    newest = calendar.position(now + room)
    try:
        if table.newest is not None:
            newest = max(newest, calendar.position(table.newest + room))
        return calendar.bound(calendar.step(newest, 1))
    except (OverflowError, ValueError):
        raise BadInput(
            f"partitions: {calendar.spec.table}: {calendar.spec.key} is {table.newest} in one of its rows",
            "No period can end after that; correct the row.",
        ) from None


def _parts(spec: PartitionSpec, table: Table, names: Mapping[str, Any]) -> Iterator[Step]:
    """What divided children lack of the tables that they are made of."""
    for child in table.children:
        lost = lacking(spec, child)
        if lost:
            yield Step(f"make {', '.join(lost)}", "make_parts", {**names, "child": child.name})


def lacking(spec: PartitionSpec, child: Child) -> list[str]:
    """The tables that a divided child should be made of, and is not."""
    if child.parts is None or not spec.subpartition:
        return []
    bounds = _bounds(spec.subpartition.method, spec.subpartition.values, spec.subpartition.modulus)
    wanted = {periods.child_name(child.name, suffix): bound for suffix, bound in bounds.items()}
    there = dict(zip(child.parts, child.part_bounds, strict=False))
    if any(name not in wanted or not _is_same(there[name], wanted[name]) for name in there):
        return []  # It was made when the spec said otherwise, and stays as it is.
    return [name for name in wanted if name not in child.parts]


def _is_same(found: str, wanted: str) -> bool:
    """Whether two bounds of a list or hash are one, as the database writes it and as it is written here."""

    def words(bound: str) -> list[str]:
        parts = re.findall(r"(E?)'((?:[^']|'')*)'|([^\s,()']+)", bound.removeprefix("FOR VALUES "))
        return sorted(bare or (text.replace("\\\\", "\\") if escaped else text) for escaped, text, bare in parts)

    return words(found) == words(wanted)


def _overflow(spec: PartitionSpec, table: Table, names: Mapping[str, Any]) -> Iterator[Step]:
    """The DEFAULT partition that lacks, or is not wanted any more. One of another name is left alone."""
    name = periods.child_name(spec.table_name, "_default")
    there = [child.name for child in table.children if child.bound == "DEFAULT"]
    if spec.overflow == "default" and not there:
        yield _partition(names, name, "DEFAULT", "false")
    elif spec.overflow == "error" and there == [name]:
        yield Step(f"remove {name}, if it is empty", "drop_overflow", {**names, "child": name})


def _partition(names: Mapping[str, Any], child: str, bound: str, inside: str) -> Step:
    return Step(f"make {child}", "make_fixed", {**names, "child": child, "bound": bound, "inside": inside})


def _attached(spec: PartitionSpec, table: Table, names: Mapping[str, Any], upper: Bound) -> list[Step]:
    """A plain table becomes the first child of a partitioned one: nothing is copied."""
    told = turned(spec, table, names)
    primary = told["primary"]
    values = {
        **told,
        "child": periods.child_name(spec.table_name, "_pmin"),
        "upper": upper,
        # A primary key that holds the partition key stays as it is, and what points to it.
        "index": periods.child_name(spec.table_name, "_pmin_pkey") if len(table.primary_key) < len(primary) else "",
        "check": strategy.bound_name(spec),
    }
    # The bound comes last, since it is one for new rows too, and making the index can take hours.
    whole = f"make {spec.table_name} partitioned, with what is there as its first child"
    return [
        *([Step("index for the new primary key", "adopt_index", values, "alone")] if values["index"] else []),
        Step("bound what is there (no lock is held while rows are read)", "adopt_check", values),
        Step("prove the bound", "adopt_validate", values, "alone", cleanup="adopt_uncheck"),
        Step(whole, "adopt", values, cleanup="adopt_uncheck"),
        *_proofs(table),
    ]


def _proofs(table: Table) -> Iterator[Step]:
    """Foreign keys to the table, which are made to point to the new one; or were, by an apply that was cut off."""
    for key in table.references if table.kind == "plain" else [key for key in table.references if not key.proven]:
        told = {"on": key.table, "constraint": key.constraint}
        yield Step(f"prove {key.constraint} of {key.table}", "prove", told, "alone")


def turned(spec: PartitionSpec, table: Table, names: Mapping[str, Any]) -> dict[str, Any]:
    """What a template that replaces `table` by a partitioned one, or the other way round, is told."""
    # The new primary key has to hold the partition key; the old columns come first, so that lookups stay as they are.
    lost = [key for key in spec.keys if key not in table.primary_key]
    primary = [*table.primary_key, *lost] if table.primary_key else []
    return {
        **names,
        "method": spec.method,
        "primary": primary,
        "unique": [definition for _, _, definition in table.unique if definition],
        "serial": dict(table.serial),
        "publications": table.publications,
        "comment": table.comment,
    }


def _copied(spec: PartitionSpec, table: Table, names: Mapping[str, Any], children: list[Child]) -> list[Step]:
    """All rows are written once more, in one transaction, with the table locked."""
    bounds = {
        child.name: f"FOR VALUES FROM ({'MINVALUE' if child.lower is None else render.literal(child.lower)})"
        f" TO ({render.literal(child.upper)})"
        for child in children
    }
    return [_copy(spec, table, names, bounds), *_proofs(table)]


def _copy(spec: PartitionSpec, table: Table, names: Mapping[str, Any], children: dict[str, str]) -> Step:
    """`children`: bounds by name."""
    title = f"copy all rows into {len(children)} children, with the table locked"
    overflow = [(step.values["child"], step.values["bound"]) for step in _overflow(spec, table, names)]
    values = {
        **turned(spec, table, names),
        "children": [*children.items(), *overflow],
        "old": periods.child_name(spec.table_name, " before"),
        "stored": [column.name for column in table.columns if column.name not in table.generated],
        "subpartition": spec.subpartition and spec.subpartition.model_dump(),
    }
    return Step(title, "adopt_copy", values)


def _fixed(spec: PartitionSpec, table: Table, names: Mapping[str, Any]) -> list[Step]:
    """Lists and hashes: children that are made once."""
    bounds = _bounds(spec.method, spec.values, spec.modulus)
    wanted = {periods.child_name(spec.table_name, suffix): bound for suffix, bound in bounds.items()}
    if table.kind == "plain":
        if spec.adopt != "copy":
            raise BadInput(
                f"partitions: {spec.table}: a {spec.method} can only be made by adopt: copy",
                "All rows are written once more, in one transaction, with the table locked.",
            )
        copied = _copy(spec, table, names, {name: f"FOR VALUES {bound}" for name, bound in wanted.items()})
        return [copied, *_proofs(table)]
    there = {child.name: child.bound for child in table.children}
    column = table.column(spec.key)
    is_plain = spec.method == "hash" or (column is not None and column.type in COMPARABLE)
    for name, bound in wanted.items():
        if is_plain and name in there and not _is_same(there[name], bound):
            raise BadInput(
                f"partitions: {spec.table}: {name} is {there[name]}, and the spec says {bound}",
                "What a child holds can't be changed in place: copy the rows to a new table, or give the old bounds.",
            )
    return [
        *(
            _partition(
                names,
                name,
                f"FOR VALUES {bound}",
                f"{render.identifier(spec.key)} {bound}" if spec.method == "list" else "false",
            )
            for name, bound in wanted.items()
            if name not in there
        ),
        *_proofs(table),
        *_parts(spec, table, names),
        *_overflow(spec, table, names),
        *_rights(table, names),
    ]


# --- Inheritance: landing and trigger, and the way of a drained table to declarative


def _inherited(
    spec: PartitionSpec, chosen: str, calendar: Periods, table: Table, names: Mapping[str, Any], current: Position
) -> list[Step]:
    turning = chosen == "declarative"
    hot = (None, None) if turning else (calendar.bound(current), calendar.bound(calendar.step(current, 1)))
    end = calendar.bound(calendar.step(current, spec.premake + 1))
    if turning and table.newest is not None and table.newest >= end:
        raise BadInput(
            f"partitions: {spec.table}: {spec.key} is {table.newest} in one of its rows, and the last child would end"
            f" at {render.bound(end)}",
            "Give it a larger premake, or correct the row: partitions of the server's own have no place for it.",
        )
    made = _made(spec, calendar, list(table.children), names, current, _first(spec, calendar, table, current))
    steps = [*made, *_structure(table, names)]
    timing = "BEFORE" if chosen == "trigger" else "AFTER"
    if (table.trigger, table.hot) != (timing, hot) or not table.routed:
        what = "each row to its child" if turning or chosen == "trigger" else "late and early rows to their children"
        steps.append(Step(f"send {what}", "route", {**names, "lower": hot[0], "upper": hot[1]}))
    moves = [step for step in steps if step.template in ("route", "make_child")]
    if moves or not table.recorded.get("filed", False) or turning:
        steps.append(Step("move rows to the children of their periods, in small batches", "file", names, "repeat"))
    if turning:
        steps += _turn(spec, table, names, [*table.children, *_children(made)])
    return steps


def _turn(spec: PartitionSpec, table: Table, names: Mapping[str, Any], children: list[Child]) -> list[Step]:
    """An empty parent gives way to a partitioned table that takes over its children."""
    values = turned(spec, table, names)
    steps = [
        Step(
            f"index of {child.name} for the new primary key",
            "turn_index",
            {**values, "child": child.name, "index": periods.child_name(child.name, "_key")},
            "alone",
        )
        for child in children
        if spec.key not in table.primary_key
    ]
    taken = [
        {
            "name": child.name,
            "lower": child.lower,
            "upper": child.upper,
            "index": periods.child_name(child.name, "_key") if spec.key not in table.primary_key else "",
        }
        for child in children
    ]
    return [
        *steps,
        Step(
            f"make {spec.table_name} declarative",
            "turn",
            {
                **values,
                "children": taken,
                "old": periods.child_name(spec.table_name, "_old"),
                "record": recorded(spec, "declarative"),
            },
        ),
    ]


def _first(spec: PartitionSpec, calendar: Periods, table: Table, current: Position) -> Position:
    """The oldest period that gets a child of its own when a table is divided whose rows are there already."""
    kept = None if spec.keep is None else calendar.step(current, -spec.keep)
    oldest = current if table.oldest is None else calendar.position(table.oldest)
    first = min(oldest, current) if kept is None else max(min(oldest, current), kept)
    return first


def _structure(table: Table, names: Mapping[str, Any]) -> Iterator[Step]:
    """What children lack of the indexes, constraints, triggers and publications that such a parent gives them."""
    for child in table.children:
        if child.is_archived:
            continue
        if child.traits.columns != table.traits.columns:
            raise BadInput(
                f"{names['table']}: the columns of {child.name} are in another order:"
                f" {', '.join(child.traits.columns)}, not {', '.join(table.traits.columns)}",
                "Rows are sent by position; make its columns as those of the table.",
            )
        told = {**names, "child": child.name}
        title = f"give {child.name} what the table has: "
        indexes = sorted({*table.traits.indexes} - {*child.traits.indexes})
        if indexes:
            yield Step(title + "; ".join(indexes), "share_indexes", told, "given")
        constraints = sorted({*table.traits.constraints} - {*child.traits.constraints})
        if constraints:
            yield Step(title + "; ".join(constraints), "share_structure", told)
        if not child.moves:
            yield Step(f"let rows move out of {child.name}", "guard", told)
        unpublished = sorted({*table.traits.publications} - {*child.traits.publications})
        if unpublished:
            yield Step(f"publish {child.name} with the table: {', '.join(unpublished)}", "share_publications", told)


# --- Both


def _made(
    spec: PartitionSpec,
    calendar: Periods,
    children: list[Child],
    names: Mapping[str, Any],
    current: Position,
    first: Position | None = None,
) -> list[Step]:
    return [
        Step(
            f"make {period.name}",
            "make_child",
            {**names, "child": period.name, "lower": period.lower, "upper": period.upper},
        )
        for period in _needed(spec, calendar, children, first if first is not None else current, current)
    ]


def _children(steps: Iterable[Step]) -> list[Child]:
    """Those that `steps` make."""
    return [
        Child(s.values["child"], s.values.get("lower"), s.values.get("upper"), bound=s.values.get("bound", ""))
        for s in steps
        if s.template in ("make_child", "make_fixed")
    ]


def _needed(
    spec: PartitionSpec, calendar: Periods, children: list[Child], first: Position, current: Position
) -> Iterator[Period]:
    """The children that lack: from the first of those that are there on, and not those that would be gone at once."""
    ranged = [child for child in children if not child.bound]
    lowers = [calendar.position(child.lower) for child in ranged if child.lower is not None]
    endless = any(child.lower is None for child in ranged)
    start: Position = min([*lowers, first])
    if endless:
        start = min([*lowers, calendar.position(min(c.upper for c in ranged if c.upper is not None))])
    if spec.keep is not None:
        start = max(start, calendar.step(current, -spec.keep))
    last = calendar.step(current, spec.premake)
    if not ranged:
        yield Period(periods.child_name(spec.table_name, "_pmin"), None, calendar.bound(start))
    covered = sorted(
        ((child.lower, child.upper) for child in ranged if child.lower is not None),
        key=lambda pair: pair[0],
    )
    edge: Bound = max((c.upper for c in ranged if c.lower is None and c.upper is not None), default=None)
    taken = {child.name for child in children}
    count = 0
    left: Period | None = None
    while start <= last:
        whole = calendar.period(start)
        period = _gap(covered, edge, whole)
        start = calendar.step(start, 1)
        if left and period and period.lower == left.upper and period.name not in taken:
            period, left = Period(period.name, left.lower, period.upper), None
        if period and period.name in taken and period.upper == whole.upper and start <= last:
            left = period  # By other data of time zones, say, its child ends before it does: the next one begins there.
            continue
        period = left or period
        if period is None:
            continue
        if period.name in taken:
            since: Bound = period.lower
            raise BadInput(
                f"partitions: {spec.table}: no child holds the rows from {render.bound(since)} up to"
                f" {render.bound(period.upper)}, and {period.name} is there with other bounds",
                "Make a child for them by hand, or rename that one.",
            )
        count += 1
        if count > MOST_CHILDREN:
            raise BadInput(
                f"partitions: {spec.table}: more than {MOST_CHILDREN} children would be needed",
                "Use a longer interval, or keep fewer of them.",
            )
        yield period


def _gap(covered: list[Any], edge: Bound, period: Period) -> Period | None:
    """What no child holds of `period`, up to the next child; `covered` are bounds in order, `edge` is where all begins.

    Children of another interval, or made by hand, can hold a part of it.
    """
    lower = period.lower if edge is None else max(period.lower, edge)
    index = max(bisect.bisect_right(covered, lower, key=lambda pair: pair[0]) - 1, 0)
    for first, last in covered[index:]:
        if first > lower:
            return Period(period.name, lower, min(first, period.upper)) if lower < period.upper else None
        if last is None:
            return None
        lower = max(lower, last)
        if lower >= period.upper:
            return None
    return Period(period.name, lower, period.upper) if lower < period.upper else None


def _thawed(table: Table, names: Mapping[str, Any]) -> Iterator[Step]:
    """Children that a move to the archive, which was cut off, keeps from writers."""
    for child in table.children:
        if child.is_frozen:
            told = {"child": child.name, "child_schema": names["schema"]}
            yield Step(f"let {child.name} be written to again", "archive/thaw", told)


def _rights(table: Table, names: Mapping[str, Any]) -> Iterator[Step]:
    for child in table.children:
        differs = (child.traits.owner, child.traits.grants) != (table.traits.owner, table.traits.grants)
        if table.kind in ("partitioned", "inherited") and differs:
            yield Step(f"owner and grants of {child.name}", "share_rights", {**names, "child": child.name})


def _retention(spec: PartitionSpec, calendar: Periods, table: Table, current: Position) -> Iterator[Step]:
    leaving = table.recorded.get("leaving")
    if leaving:
        names = {"schema": spec.schema_name, "table": spec.table_name}
        yield Step(f"finish with {leaving['child']}", "finish", names, destructive=True)
    if spec.keep is None:
        return
    cutoff = calendar.bound(calendar.step(current, -spec.keep))
    for child in (child for child in table.children if not child.is_archived):
        if child.bound or child.upper is None or child.upper > cutoff or (leaving and leaving["child"] == child.name):
            continue
        yield from taken_out(
            spec,
            table,
            child,
            f"{spec.retention} {child.name} (before {render.bound(cutoff)})",
            dropped=spec.retention == "drop",
            moved_to=spec.archive_schema if spec.retention == "archive" else None,
        )


def taken_out(
    spec: PartitionSpec, table: Table, child: Child, title: str, dropped: bool = False, moved_to: str | None = None
) -> Iterator[Step]:
    """The steps that make `child` a table of its own, then drop it or move it to another schema.

    Where the server can, it is detached concurrently: nobody is kept from the other children, however long others read.
    """
    names = {"schema": spec.schema_name, "table": spec.table_name, "child": child.name}
    fate = {**names, "dropped": dropped, "moved_to": moved_to}
    alone = (
        table.kind == "partitioned"
        and table.version >= CONCURRENTLY_FROM
        and not child.is_leaving
        and all(other.bound != "DEFAULT" for other in table.children)
    )
    if not alone:
        yield Step(title, "retire", fate, destructive=True)
        return
    yield Step(f"write down that {child.name} goes", "leave", fate)
    yield Step(f"detach {child.name} beside readers and writers", "detach", names, "alone")
    yield Step(title, "finish", names, destructive=True)
