"""What can't be split: said at plan time, before anything changes."""

from __future__ import annotations

from collections.abc import Iterator

from hostwright.errors import BadInput
from hostwright.partition.spec import SplitSpec
from hostwright.partition.split.catalog import VERSION_COLUMN, Relation, Split
from hostwright.partition.strategy import check_rights

RESERVED = (VERSION_COLUMN, "hostwright_row")


def plain_table(spec: SplitSpec, split: Split) -> Relation:
    """The table that is to be split. Raises BadInput for one that can't be, with what to do about it."""
    where = f"partitions: {spec.table}"
    table = changeable(where, split)
    if table.kind == "p":
        raise BadInput(f"{where}: it is partitioned", "A table is partitioned or split, not both.")
    if table.kind != "r":
        raise BadInput(f"{where}: it is no plain table", "A view or a foreign table can't be split.")
    if not split.record:
        taken = [name for name in split.names.relations[1:] if name in split.relations]
        if taken:
            raise BadInput(f"{where}: {', '.join(taken)} is there already", "Rename it; the split needs the name.")
    _primary_key(where, spec, table)
    _columns(where, spec, table)
    unclear = [*_across(spec, table), *_constraints(spec, split, table)]
    if unclear:
        raise BadInput(f"{where}: {unclear[0]}", "Drop it by a migration, or choose other columns for `wide`.")
    free_of_obstacles(where, split)
    return table


def changeable(where: str, split: Split) -> Relation:
    """The table or view. Raises BadInput where it isn't there, or the role that is connected may not change it."""
    table = split.table
    if table is None:
        raise BadInput(f"{where}: there is no such table", "Deploy first: Django's migrations make it.")
    check_rights(where, table.owner, table.may_change, split.may_not_make)
    return table


def free_of_obstacles(where: str, split: Split) -> None:
    """Raises BadInput where something hangs on the table that would not do what it does."""
    if split.obstacles:
        raise BadInput(f"{where}: {', '.join(split.obstacles)} would not do what it does now", "Drop it first.")


def _primary_key(where: str, spec: SplitSpec, table: Relation) -> None:
    if not table.primary_key:
        raise BadInput(f"{where}: it has no primary key", "Add one by a migration.")
    if table.deferrable:
        raise BadInput(f"{where}: its primary key is deferrable", "Make it again without DEFERRABLE.")
    keyed = [name for name in spec.wide if name in table.primary_key]
    if keyed:
        raise BadInput(f"{where}: wide: {', '.join(keyed)} is in the primary key", "Both tables need it; leave it out.")


def _columns(where: str, spec: SplitSpec, table: Relation) -> None:
    known = [column.name for column in table.columns]
    missing = [name for name in spec.wide if name not in known]
    if missing:
        raise BadInput(f"{where}: it has no column {', '.join(missing)}", f"Columns: {', '.join(known)}")
    if set(known) == {*spec.wide, *table.primary_key}:
        raise BadInput(f"{where}: nothing but the primary key would stay", "Leave the narrow columns out of `wide`.")
    if all(column.generated for column in table.columns if column.name in spec.wide):
        raise BadInput(f"{where}: wide: all of them are generated", "Put a column there that is stored.")
    for column in table.columns:
        if column.identity and column.name not in table.primary_key:
            raise BadInput(
                f"{where}: {column.name} is an identity column, and not in the primary key",
                "ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY, and a default instead.",
            )
        if column.name in RESERVED:
            raise BadInput(f"{where}: the name of the column {column.name} is taken", "Rename it by a migration.")


def is_across(columns: tuple[str, ...], spec: SplitSpec, table: Relation) -> bool:
    """Whether `columns` are of both tables."""
    return bool({*columns} & {*spec.wide}) and bool({*columns} - {*spec.wide} - {*table.primary_key})


def _across(spec: SplitSpec, table: Relation) -> Iterator[str]:
    """What needs columns of both tables."""
    for column in table.columns:
        if column.generated and is_across((column.name, *column.sources), spec, table):
            yield f"{column.name} is generated from columns of both parts ({', '.join(column.sources)})"
    for index in table.indexes:
        if is_across(index.columns, spec, table):
            yield f"the index {index.name} has columns of both parts ({', '.join(index.columns)})"
    for constraint in table.constraints:
        if is_across(constraint.columns, spec, table):
            yield f"the constraint {constraint.name} has columns of both parts ({', '.join(constraint.columns)})"


def _constraints(spec: SplitSpec, split: Split, table: Relation) -> Iterator[str]:
    wide = {*spec.wide}
    for constraint in (*table.constraints, *split.references):
        if not constraint.valid:
            yield f"the constraint {constraint.name} is not proved (VALIDATE CONSTRAINT)"
    for key in table.constraints:
        if key.kind == "f" and wide & {*key.columns}:
            yield f"the foreign key {key.name} begins at a wide column"
    for key in split.references:
        if wide & {*key.target_columns}:
            yield f"the foreign key {key.table} ({key.name}) points to a wide column"
        if not key.may_change:
            yield f"the foreign key {key.table} ({key.name}) is of a table that is not yours"
        if key.partitioned:
            yield f"the foreign key {key.table} ({key.name}) comes from a partitioned table"
