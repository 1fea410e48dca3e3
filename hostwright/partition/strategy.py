"""Which strategy a table gets, and what each can't do: said at plan time, before anything changes."""

from __future__ import annotations

import re

from hostwright.errors import BadInput
from hostwright.partition.catalog import INTEGERS, TIMES, Column, Table
from hostwright.partition.periods import child_name
from hostwright.partition.spec import PartitionSpec, Strategy

DECLARATIVE_FROM = 11
"""The first PostgreSQL on which a partitioned table can have a primary key."""
PUBLISHED_FROM = 13
"""The first PostgreSQL whose publications take partitioned tables."""
REFERENCED_FROM = 12
"""The first PostgreSQL whose foreign keys can point to partitioned tables."""
METHODS = {"r": "range", "l": "list", "h": "hash"}


def choose(spec: PartitionSpec, version: float) -> Strategy:
    """The strategy of `spec` on a server of that version."""
    if spec.strategy != "auto":
        return spec.strategy
    return "declarative" if version >= DECLARATIVE_FROM or spec.method != "range" else "landing"


def bound_name(spec: PartitionSpec) -> str:
    """The CHECK that bounds a table while it is attached as the first child."""
    return child_name(spec.table_name, "_pmin_bound")


def check(spec: PartitionSpec, table: Table) -> Strategy:
    """The strategy for `table`. Raises BadInput for what can't be, with what to do about it."""
    where = f"partitions: {spec.table}"
    if not table.exists:
        raise BadInput(f"{where}: there is no such table", "Deploy first: Django's migrations make it.")
    strategy = choose(spec, table.version)
    if strategy == "declarative" and table.version < DECLARATIVE_FROM:
        raise BadInput(
            f"{where}: PostgreSQL {table.version:g} has no partitioned tables with a primary key",
            f"strategy: landing works there; declarative needs PostgreSQL {DECLARATIVE_FROM}."
            if spec.method == "range"
            else f"method: {spec.method} needs PostgreSQL {DECLARATIVE_FROM}.",
        )
    check_rights(where, table.owner, table.may_change, table.may_not_make)
    if table.kind == "other":
        raise BadInput(
            f"{where}: it is no plain table",
            "A view, a foreign table or one that inherits already can't be divided.",
        )
    _check_key(where, spec, table)
    _check_archive(where, spec, strategy, table)
    _check_overflow(where, spec, strategy, table)
    if spec.subpartition:
        _check_subpartition(where, spec, strategy, table)
    if table.kind == "partitioned":
        _check_partitioned(where, spec, strategy, table)
        return strategy
    _check_references(where, spec, strategy, table)
    check_obstacles(where, table)
    unproven = [name for name in table.unproven if name != bound_name(spec)]
    if unproven and (strategy == "declarative" or table.kind == "plain"):
        raise BadInput(
            f"{where}: never proved: {', '.join(unproven)}",
            "ALTER TABLE ... VALIDATE CONSTRAINT: its rows have to meet them, to be in a child.",
        )
    if strategy == "declarative":
        if table.publications and table.version < PUBLISHED_FROM:
            raise BadInput(
                f"{where}: it is in the publication {table.publications[0]}, which PostgreSQL {table.version:g} has no"
                " partitioned tables in",
                "Use strategy: landing, or ALTER PUBLICATION ... DROP TABLE.",
            )
        _check_unique(where, spec, table)
        if spec.method == "range" and isinstance(spec.interval, int):
            # Its largest value is asked for again and again: it is where the table's present is.
            _check_indexed(where, spec, table)
    if strategy != "declarative" or (spec.adopt == "drain" and spec.method == "range"):
        _check_moving(where, spec, strategy, table)
    return strategy


def check_obstacles(where: str, table: Table) -> None:
    """Raises BadInput where something hangs on the table that would not do what it does."""
    if table.in_the_way:
        raise BadInput(
            f"{where}: {', '.join(table.in_the_way)} would not do what it does on a plain table", "Drop them first."
        )


def check_archived(where: str, table: Table) -> None:
    """Raises BadInput where rows of its children are on the archive's server."""
    archived = [child.name for child in table.children if child.is_archived]
    if archived:
        raise BadInput(
            f"{where}: archived inside of it: {', '.join(archived)}", "Bring them back first: `fab partition.restore`."
        )


def check_rights(where: str, owner: str, may_change: bool, may_not_make: str) -> None:
    """Raises BadInput where the role that is connected may not change the table, or not make what it needs."""
    if not may_change:
        raise BadInput(f"{where}: it belongs to {owner}, and you are not", "Connect as its owner.")
    if may_not_make:
        raise BadInput(
            f"{where}: you may not make what is needed: {may_not_make}",
            "GRANT CREATE, or connect as the database's owner.",
        )


def _required(where: str, table: Table, name: str) -> Column:
    """The column `name`. Raises BadInput where there is none, or it may be NULL."""
    column = table.column(name)
    if column is None:
        raise BadInput(f"{where}: it has no column {name}", f"Columns: {', '.join(c.name for c in table.columns)}")
    if not column.required:
        raise BadInput(f"{where}: {name} may be NULL", "ALTER TABLE ... ALTER COLUMN ... SET NOT NULL, by a migration.")
    return column


def _check_key(where: str, spec: PartitionSpec, table: Table) -> None:
    column = _required(where, table, spec.key)
    if spec.key in table.generated:
        raise BadInput(f"{where}: {spec.key} is a generated column", "The key must be stored by the application.")
    if spec.method == "list" and column.type in INTEGERS:
        wrong = [str(value) for values in spec.values.values() for value in values if not _is_whole(value)]
        if wrong:
            raise BadInput(f"{where}: {spec.key} is of type {column.type}, and values has {', '.join(wrong)}")
    if spec.method != "range":
        return
    fitting = INTEGERS if isinstance(spec.interval, int) else TIMES
    if column.type not in fitting:
        raise BadInput(
            f"{where}: {spec.key} is of type {column.type}, which does not go with interval: {spec.interval}",
            f"The key must be a {', '.join(TIMES)}; or an integer, and interval the number of values in a child.",
        )
    if spec.interval == "hour" and column.type == "date":
        raise BadInput(f"{where}: {spec.key} is a date, which has no hours", "Use interval: day or a longer one.")


def _is_whole(value: str | int) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+", str(value).strip()))


def _check_subpartition(where: str, spec: PartitionSpec, strategy: Strategy, table: Table) -> None:
    assert spec.subpartition is not None
    if strategy != "declarative":
        raise BadInput(f"{where}: subpartition needs strategy: declarative", f"PostgreSQL {DECLARATIVE_FROM} has it.")
    _required(where, table, spec.subpartition.key)
    if table.kind == "partitioned" and table.primary_key and spec.subpartition.key not in table.primary_key:
        raise BadInput(
            f"{where}: its primary key does not hold {spec.subpartition.key}",
            "Make it a plain table again with `fab partition.undo`, then apply.",
        )


def _check_archive(where: str, spec: PartitionSpec, strategy: Strategy, table: Table) -> None:
    """What can't stay in a table when its rows are on another server."""
    if strategy == "declarative" and table.kind != "partitioned":
        check_archived(where, table)
    if spec.archive and table.references:
        raise BadInput(
            f"{where}: archive: foreign keys point to it: {', '.join(map(str, table.references))}",
            "They can't point to rows on another server.",
        )
    if spec.archive is None or spec.archive.place == "beside":
        return
    in_the_way = [f"generated columns ({', '.join(table.generated)})"] if table.generated else []
    if strategy == "declarative":
        in_the_way += ["a primary key"] if table.primary_key else []
        in_the_way += [f"the unique {name}" for name, *_ in table.unique]
        in_the_way += [text for text in table.traits.constraints if text.startswith("FOREIGN KEY")]
    if in_the_way:
        raise BadInput(
            f"{where}: archive.place: inside: PostgreSQL has no {strategy} table with a child on another server and"
            f" {', '.join(in_the_way)}",
            "Use place: beside.",
        )


def _check_overflow(where: str, spec: PartitionSpec, strategy: Strategy, table: Table) -> None:
    """A row that leaves the DEFAULT partition is one that is deleted, for a foreign key that points to it."""
    if strategy == "declarative" and spec.overflow == "default" and table.references:
        raise BadInput(
            f"{where}: overflow: default: foreign keys point to it: {', '.join(map(str, table.references))}",
            "Rows that move to a new child would be deleted for them, and what points to those with them;"
            " use overflow: error.",
        )


def _check_partitioned(where: str, spec: PartitionSpec, strategy: Strategy, table: Table) -> None:
    method, columns = table.partition_key
    if (METHODS.get(method), columns) != (spec.method, (spec.key,)):
        raise BadInput(
            f"{where}: it is divided by {METHODS.get(method, method)} of {', '.join(columns)},"
            f" not by {spec.method} of {spec.key}",
            "Make it a plain table again with `fab partition.undo`, then apply.",
        )
    if strategy != "declarative":
        raise BadInput(
            f"{where}: it is declarative, not {strategy}", "Make it a plain table with `fab partition.undo` first."
        )


def _check_references(where: str, spec: PartitionSpec, strategy: Strategy, table: Table) -> None:
    """Foreign keys to the table stay where the server, and the way to the partitions, let them."""
    lost = [key for key in table.references if not {*spec.keys} <= {*key.columns}]
    if table.references and (strategy != "declarative" or table.version < REFERENCED_FROM or lost):
        raise BadInput(
            f"{where}: foreign keys point to it: {', '.join(map(str, lost or table.references))}",
            f"From PostgreSQL {REFERENCED_FROM} on they can, under declarative, if they hold the partition key;"
            " drop them by a migration (db_constraint=False).",
        )
    for key in table.references:
        obstacle = key.obstacle or (None if key.proven else "was never proved")
        if obstacle:
            raise BadInput(f"{where}: the foreign key {key} points to it, and {obstacle}", "Drop it first.")
    if table.references and (spec.adopt == "drain" or table.kind == "inherited"):
        raise BadInput(
            f"{where}: foreign keys point to it: {', '.join(map(str, table.references))}",
            "Their rows can't be moved one by one; use adopt: attach or copy.",
        )


def _check_indexed(where: str, spec: PartitionSpec, table: Table) -> None:
    if not table.indexed:
        raise BadInput(
            f"{where}: no index begins with {spec.key}", "Rows are found by it; add one by a migration (db_index=True)."
        )


def _check_unique(where: str, spec: PartitionSpec, table: Table) -> None:
    stuck = [name for name, columns, _ in table.unique if not {*spec.keys} <= {*columns}]
    if stuck:
        raise BadInput(
            f"{where}: unique without the partition key: {', '.join(stuck)}",
            "A unique constraint of a partitioned table has to hold its key; drop it by a migration.",
        )


def _check_moving(where: str, spec: PartitionSpec, strategy: Strategy, table: Table) -> None:
    """What inheritance, and moving rows between tables, can't do."""
    if not table.primary_key:
        raise BadInput(f"{where}: it has no primary key", "Add one by a migration.")
    if table.generated:
        raise BadInput(
            f"{where}: generated columns: {', '.join(table.generated)}",
            "Rows with them can't be moved; use strategy: declarative with adopt: attach (PostgreSQL 12).",
        )
    _check_indexed(where, spec, table)
    numbered = [name for name in (*(name for name, _ in table.serial), *table.identity) if name in table.primary_key]
    if strategy == "trigger" and numbered:
        raise BadInput(
            f"{where}: strategy: trigger returns no {', '.join(numbered)} to an INSERT, which Django asks for",
            "Use strategy: landing; trigger is for tables whose keys come from the application.",
        )
