"""What the database says of a table: read in a handful of queries, whatever the number of children."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hostwright.errors import BadInput
from hostwright.partition import render
from hostwright.partition.periods import Bound
from hostwright.partition.spec import PartitionSpec

INTEGERS = ("smallint", "integer", "bigint")
TIMES = ("date", "timestamp without time zone", "timestamp with time zone")


@dataclass(frozen=True)
class Traits:
    """What a child shares with its parent."""

    owner: str = ""
    grants: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    publications: tuple[str, ...] = ()


@dataclass(frozen=True)
class Child:
    """A child table and its bounds; None where there is none on that side."""

    name: str
    lower: Bound | None = None
    upper: Bound | None = None
    traits: Traits = Traits()
    bound: str = ""
    """The bound as the database writes it, of a list or hash, or DEFAULT."""
    rows: int = 0
    """An estimate."""
    size: int = 0
    """Bytes, with indexes."""
    parts: tuple[str, ...] | None = None
    """The tables that it is divided into; None: it is not divided."""
    part_bounds: tuple[str, ...] = ()
    """Of each of them, as the database writes it."""
    is_leaving: bool = False
    """A concurrent detach of it has begun, and has not ended."""
    is_frozen: bool = False
    """It is kept from writers, for its move to the archive."""
    is_archived: bool = False
    """Its rows are on the archive's server."""
    moves: bool = True
    """It has the triggers that move a row whose key leaves its bounds (always true for declarative and archived)."""


@dataclass(frozen=True)
class Reference:
    """A foreign key of another table that points to this one."""

    table: str
    """As SQL names it."""
    constraint: str
    columns: tuple[str, ...] = ()
    """Those of this table that it points to."""
    obstacle: str | None = None
    """Why it can't be made to point elsewhere."""
    proven: bool = True

    def __str__(self) -> str:
        return f"{self.table} ({self.constraint})"


class Column(NamedTuple):
    """A column of a table, with its type as the database writes it."""

    name: str
    type: str
    required: bool
    """It is NOT NULL."""

    @property
    def zoned(self) -> bool:
        """Its values are moments, whatever the zone that they are written in."""
        return self.type == "timestamp with time zone"


@dataclass(frozen=True)
class Table:
    """A table as it is. `primary_key` and `children` are in order."""

    version: float
    """Of the server: 9.5, 10, 18."""
    exists: bool
    kind: str = ""
    """`plain`, `inherited` (with children that Hostwright made), `partitioned`, or `other`."""
    owner: str = ""
    may_change: bool = False
    may_not_make: str = ""
    """Where the role that is connected may not make what a divided table needs."""
    partition_key: tuple[str, tuple[str, ...]] = ("", ())
    """Method and columns."""
    columns: tuple[Column, ...] = ()
    generated: tuple[str, ...] = ()
    primary_key: tuple[str, ...] = ()
    primary_key_name: str = ""
    unique: tuple[tuple[str, tuple[str, ...], str | None], ...] = ()
    """Name, columns (none: of an expression, or of some rows), and the definition of a constraint."""
    references: tuple[Reference, ...] = ()
    serial: tuple[tuple[str, str], ...] = ()
    """Columns that a sequence numbers, with that, and without those that are identities."""
    identity: tuple[str, ...] = ()
    in_the_way: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    """Constraints that are NOT VALID."""
    publications: tuple[str, ...] = ()
    children: tuple[Child, ...] = ()
    traits: Traits = Traits()
    indexed: bool = True
    """It has an index that begins with the key."""
    oldest: Bound | None = None
    """The smallest value of the key, where it is needed."""
    newest: Bound | None = None
    """The largest; of a divided table, of the rows before the end of its last child."""
    overflowing: Bound | None = None
    """The smallest value of the key in the DEFAULT partition of a range."""
    stamp: str = ""
    """Of the functions in schema hostwright; empty: there are none."""
    recorded: Mapping[str, Any] = field(default_factory=dict)
    """What hostwright.partitioned says of it."""
    trigger: str = ""
    """`AFTER` (landing) or `BEFORE` (trigger); empty: there is none."""
    hot: tuple[Bound | None, Bound | None] = (None, None)
    """The current period as the triggers have it."""
    routed: bool = True
    """Its triggers are enabled, and their function sends rows to the children that there are."""
    comment: str | None = None

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


def version_of(connection: Any) -> float:
    """The server's major version: 9.5, 9.6, 10, 18."""
    number: int = connection.server_version
    return number // 10000 if number >= 100000 else number // 100 % 100 / 10 + number // 10000


def read(connection: Any, spec: PartitionSpec) -> Table:
    """The table that `spec` names, in the database of `connection` (psycopg2, autocommit)."""
    version = version_of(connection)
    found = _rows(connection, spec, version)
    if found is None:
        return Table(version, exists=False)
    _, kind, owner, may_change, may_not_make, method, keys, _, indexed, comment = found.table
    constraints = found.constraints
    type_ = found.type
    primary_key_name, primary_key = next(
        ((name, tuple(held)) for kind_, name, held, *_ in constraints if kind_ == "p"), ("", ())
    )

    def named(wanted: str) -> tuple[str, ...]:
        return tuple(name for kind_, name, *_ in constraints if kind_ == wanted)

    return Table(
        version=version,
        exists=True,
        kind={"r": "plain", "p": "partitioned", "i": "inherited"}.get(kind, "other"),
        owner=owner,
        may_change=may_change,
        may_not_make=may_not_make or "",
        partition_key=(method, tuple(keys or ())),
        columns=tuple(Column(name, of, bool(required)) for name, of, required, *_ in found.columns),
        generated=tuple(name for name, _, _, _, generated, _ in found.columns if generated),
        primary_key=primary_key,
        primary_key_name=primary_key_name,
        unique=tuple((name, tuple(held or ()), text) for kind_, name, held, text, _ in constraints if kind_ == "u"),
        references=tuple(
            Reference(table=of, constraint=name, columns=tuple(held), obstacle=why, proven=kind_ == "r")
            for kind_, name, held, why, of in constraints
            if kind_ in ("r", "q")
        ),
        serial=tuple(
            (name, sequence) for name, _, _, identity, _, sequence in found.columns if sequence and not identity
        ),
        identity=tuple(name for name, _, _, identity, _, _ in found.columns if identity),
        in_the_way=named("w"),
        checks=named("c"),
        unproven=named("n"),
        publications=named("b"),
        children=tuple(sorted((_child(row, type_) for row in found.tables if not row[0]), key=_order)),
        traits=next((Traits(row[5], *map(tuple, row[6:11])) for row in found.tables if row[0]), Traits()),
        indexed=indexed,
        oldest=bound_of(found.oldest, type_),
        newest=bound_of(found.newest, type_),
        overflowing=bound_of(found.overflowing, type_),
        stamp=found.stamp,
        recorded=found.recorded,
        trigger=found.trigger,
        hot=_hot(found.hot, type_),
        routed=found.routed,
        comment=comment,
    )


class _Found(NamedTuple):
    """What the queries gave of a table that is there. Bounds are text."""

    table: Any
    columns: list[Any]
    constraints: list[Any]
    tables: list[Any]
    """The table itself, and its children."""
    type: str
    """Of the key."""
    stamp: str
    recorded: Mapping[str, Any]
    routed: bool
    trigger: str
    hot: str
    oldest: str | None
    newest: str | None
    overflowing: str | None


def _rows(connection: Any, spec: PartitionSpec, version: float) -> _Found | None:
    with connection.cursor() as cursor:

        def rows(name: str, **values: Any) -> list[Any]:
            cursor.execute(render.query(name, version=version, key=spec.key, **values))
            return list(cursor.fetchall())

        cursor.execute("SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'; SET search_path = pg_catalog")
        try:
            found = rows("catalog_table", schema=spec.schema_name, table=spec.table_name)
            if not found:
                return None
            oid, kind, *_, readable, indexed, _ = found[0]
            columns = rows("catalog_columns", oid=oid)
            constraints = rows("catalog_constraints", oid=oid)
            tables = rows("catalog_children", oid=oid)
            stamp, recorded, routed, trigger, hot = rows("catalog_hostwright", oid=oid)[0]
            if stamp:
                cursor.execute("SELECT hostwright.stamp()")
                stamp = cursor.fetchone()[0]
            if recorded:
                cursor.execute(
                    "SELECT row_to_json(p) FROM hostwright.partitioned p WHERE schema_name = %s AND table_name = %s",
                    (spec.schema_name, spec.table_name),
                )
                recorded = (cursor.fetchone() or [None])[0]
            if recorded and routed:
                cursor.execute(render.query("catalog_routed", oid=oid, version=version))
                routed = cursor.fetchone()[0]
            type_ = next((column[1] for column in columns if column[0] == spec.key), "")
            oldest, newest = (None, None)
            # Of times without an index all rows are read, but only until the table is divided.
            needed = (kind == "r" and type_ in TIMES) or (indexed and type_ in INTEGERS)
            if readable and needed and spec.method == "range":
                uppers: list[Any] = [bound_of(row[4], type_) for row in tables if not row[0] and _is_ranged(row[2])]
                end = None if None in uppers else max(uppers, default=None)
                oldest, newest = rows(
                    "catalog_range", schema=spec.schema_name, table=spec.table_name, times=type_ in TIMES, end=end
                )[0]
            overflow = next((row[1] for row in tables if row[2] == "DEFAULT"), None)
            overflowing = None
            if overflow and type_ in (*INTEGERS, *TIMES):
                (overflowing, _), *_ = rows(
                    "catalog_range", schema=spec.schema_name, table=overflow, times=type_ in TIMES, end=None
                )
        finally:
            # The order of day and month is the role's own; psycopg2 reads ISO alone.
            cursor.execute("RESET search_path; RESET timezone; RESET datestyle; SET datestyle = 'ISO'")
    return _Found(
        table=found[0],
        columns=columns,
        constraints=constraints,
        tables=tables,
        type=type_,
        stamp=stamp or "",
        recorded=recorded or {},
        routed=bool(routed),
        trigger=trigger or "",
        hot=hot or ",",
        oldest=oldest,
        newest=newest,
        overflowing=overflowing,
    )


def _hot(text: str, type_: str) -> tuple[Bound | None, Bound | None]:
    lower, upper = text.split(",")
    return bound_of(lower or None, type_), bound_of(upper or None, type_)


def _is_ranged(bound: str) -> bool:
    return bound.startswith(("CHECK", "FOR VALUES FROM"))


def _child(row: Sequence[Any], type_: str) -> Child:
    _, name, bound, lower, upper, owner, *shared, rows, size, parts, part_bounds, leaving, frozen, archived, moves = row
    ranged = _is_ranged(bound)
    return Child(
        name=name,
        lower=bound_of(lower, type_) if ranged else None,
        upper=bound_of(upper, type_) if ranged else None,
        traits=Traits(owner, *map(tuple, shared)),
        bound="" if ranged else bound,
        rows=max(rows, 0),
        size=size,
        parts=None if parts is None else tuple(parts),
        part_bounds=tuple(part_bounds or ()),
        is_leaving=leaving,
        is_frozen=frozen,
        is_archived=archived,
        moves=moves,
    )


def _order(child: Child) -> tuple[bool, bool, Any, str]:
    return (bool(child.bound), child.lower is not None, child.lower if child.lower is not None else 0, child.name)


def _is_endless(text: str) -> bool:
    return "infinity" in text or text.endswith("BC") or len(text.split("-")[0]) > 4


def bound_of(text: str | None, type_: str) -> Bound | None:
    """A value of the key as the database writes it (ISO, UTC); None for one that Python can't say."""
    if text is None or (type_ not in INTEGERS and _is_endless(text)):
        return None
    try:
        return int(text) if type_ in INTEGERS else dt.datetime.fromisoformat(text.replace("+00", "+00:00"))
    except ValueError:
        raise BadInput(f"{text!r} is no bound of a {type_}", "Only ranges of one column are handled.") from None
