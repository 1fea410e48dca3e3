"""What the database says of a table that is to be split, is being split, or is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hostwright.partition import render
from hostwright.partition.catalog import version_of
from hostwright.partition.periods import child_name
from hostwright.partition.spec import SplitSpec

VERSION_COLUMN = "hostwright_version"
"""Of both tables: how often a row's wide columns were changed; NULL: never."""
COPYING, SPLIT, GATHERING, WHOLE = "copying", "split", "gathering", "whole"
"""What `hostwright.split` says of a table: its narrow columns are being copied; it is split; its rows are being put
together again; it is one table again, whose foreign keys are still to be proved."""


@dataclass(frozen=True)
class Names:
    """The relations of a table that is split, and its functions in schema hostwright."""

    schema: str
    table: str
    """The table, later the view, that the application knows."""

    def _of(self, suffix: str) -> str:
        return child_name(self.table, suffix)

    @property
    def narrow(self) -> str:
        return self._of("_narrow")

    @property
    def wide(self) -> str:
        return self._of("_wide")

    @property
    def rows(self) -> str:
        """The view below the view: it has the row's version too."""
        return self._of("_rows")

    @property
    def whole(self) -> str:
        """The table that rows are put together in, on the way back."""
        return self._of("_whole")

    @property
    def relations(self) -> tuple[str, ...]:
        return (self.table, self.narrow, self.wide, self.rows, self.whole)

    @property
    def values(self) -> dict[str, str]:
        """As templates know them."""
        functions = {
            name: child_name(f"{self.schema}.{self.table}", f" split {name}")
            for name in ("put", "copy", "insert", "update")
        }
        return {
            "schema": self.schema,
            "table": self.table,
            "narrow": self.narrow,
            "wide": self.wide,
            "rows": self.rows,
            "whole": self.whole,
            **functions,
        }


@dataclass(frozen=True)
class Column:
    """A column; what is None or empty is as the type has it. `sources`: the columns that it is generated from."""

    name: str
    type: str
    collation: str | None = None
    required: bool = False
    default: str | None = None
    generated: str = ""
    """`s`: stored, `v`: virtual."""
    identity: str = ""
    """`a`: always, `d`: by default."""
    sequence: str | None = None
    storage: str | None = None
    compression: str | None = None
    statistics: int | None = None
    comment: str | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Index:
    """An index beside the primary key's. `tail` is its definition from the access method on."""

    name: str
    tail: str
    unique: bool = False
    valid: bool = True
    constraint: str | None = None
    """Of a unique constraint: when it is checked, as SQL (often empty)."""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Constraint:
    """A check (`c`) or a foreign key (`f`) of `table`, which is SQL; so is `target`, that a foreign key points to."""

    kind: str
    name: str
    table: str
    definition: str
    valid: bool = True
    columns: tuple[str, ...] = ()
    target_columns: tuple[str, ...] = ()
    target: str | None = None
    partitioned: bool = False
    may_change: bool = True


@dataclass(frozen=True)
class Relation:
    """A table or view. `kind` is that of pg_class: `r`, `v`, `p` ..."""

    kind: str
    owner: str = ""
    may_change: bool = True
    unlogged: bool = False
    options: tuple[str, ...] = ()
    comment: str | None = None
    columns: tuple[Column, ...] = ()
    primary_key: tuple[str, ...] = ()
    primary_key_name: str = ""
    operators: str = ""
    """The schema of the operators that compare the primary key, as SQL."""
    deferrable: bool = False
    """The primary key can be checked at the end of a transaction."""
    indexes: tuple[Index, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    rows: int = 0
    """An estimate."""
    size: int = 0
    """Bytes, with indexes."""


@dataclass(frozen=True)
class Split:
    """All that a plan looks at."""

    version: float
    names: Names
    relations: Mapping[str, Relation]
    """Those of `names` that are there."""
    references: tuple[Constraint, ...] = ()
    """Foreign keys of other tables that point to one of them."""
    obstacles: tuple[str, ...] = ()
    may_not_make: str = ""
    stamp: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What hostwright.split says of the table."""

    @property
    def state(self) -> str:
        return str(self.record.get("state", ""))

    @property
    def table(self) -> Relation | None:
        return self.relations.get(self.names.table)


def read(connection: Any, spec: SplitSpec) -> Split:
    """The table that `spec` names, in the database of `connection` (psycopg2, autocommit)."""
    version = version_of(connection)
    names = Names(spec.schema_name, spec.table_name)
    with connection.cursor() as cursor:

        def rows(name: str) -> list[Any]:
            cursor.execute(render.query(f"split/{name}", version=version, schema=names.schema, tables=names.relations))
            return list(cursor.fetchall())

        cursor.execute("SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'; SET search_path = pg_catalog")
        try:
            relations = rows("catalog_relations")
            columns = rows("catalog_columns")
            indexes = rows("catalog_indexes")
            constraints = rows("catalog_constraints")
            obstacles = rows("catalog_obstacles")
            stamp, recorded, may_not_make = (rows("catalog_hostwright") or [(False, False, "")])[0]
            if stamp:
                cursor.execute("SELECT hostwright.stamp()")
                stamp = cursor.fetchone()[0]
            if recorded:
                cursor.execute(
                    "SELECT row_to_json(s) FROM hostwright.split s WHERE schema_name = %s AND table_name = %s",
                    (names.schema, names.table),
                )
                recorded = (cursor.fetchone() or [None])[0]
        finally:
            cursor.execute("RESET search_path; RESET timezone; RESET datestyle")
    return Split(
        version,
        names,
        {
            name: Relation(
                kind,
                owner,
                may_change,
                unlogged,
                tuple(options),
                comment,
                tuple(replace(Column(*row[1:]), sources=tuple(row[-1])) for row in columns if row[0] == name),
                **_primary(name, constraints),
                indexes=tuple(
                    replace(Index(*row[1:]), columns=tuple(row[-1] or ())) for row in indexes if row[0] == name
                ),
                constraints=tuple(_constraint(row) for row in constraints if row[0] == name and row[2] != "p"),
                rows=max(estimate, 0),
                size=size,
            )
            for name, kind, owner, may_change, unlogged, options, comment, estimate, size in relations
        },
        tuple(_constraint(row) for row in constraints if row[1] is not None and not row[0]),
        tuple(obstacle for (obstacle,) in obstacles),
        may_not_make or "",
        stamp or "",
        recorded or {},
    )


def _constraint(row: tuple[Any, ...]) -> Constraint:
    _, _, kind, name, table, definition, valid, columns, target_columns, target, _, _, *flags = row
    return Constraint(kind, name, table, definition, valid, tuple(columns), tuple(target_columns), target, *flags)


def _primary(name: str, constraints: list[Any]) -> dict[str, Any]:
    for row in constraints:
        if row[0] == name and row[2] == "p":
            return {
                "primary_key": tuple(row[7]),
                "primary_key_name": row[3],
                "operators": row[10] or "",
                "deferrable": row[11],
            }
    return {}
