"""What differs between a split's spec and the database, as steps; and the way back. Pure: (spec, split) -> steps.

Both ways are the same: rows are copied, in small batches, to a new table that triggers keep up to date; the copy is
compared with what it was made from; and in one short transaction the names change. When a table is split, the narrow
columns alone are copied: the old table stays what it is for the wide ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hostwright.errors import BadInput
from hostwright.partition import render
from hostwright.partition.periods import child_name
from hostwright.partition.plan import Step, install
from hostwright.partition.spec import SplitSpec
from hostwright.partition.split import check
from hostwright.partition.split.catalog import (
    COPYING,
    GATHERING,
    SPLIT,
    VERSION_COLUMN,
    WHOLE,
    Column,
    Constraint,
    Index,
    Relation,
    Split,
)

BATCH = 1000


def plan(spec: SplitSpec, split: Split) -> list[Step]:
    """The steps that make the table as `spec` says. Raises BadInput for what can't be."""
    where = f"partitions: {spec.table}"
    if split.state in (GATHERING, WHOLE):
        raise BadInput(f"{where}: it is being put together again", "`fab partition.undo` finishes that.")
    if split.record and split.state == COPYING and {*split.record["wide"]} != {*spec.wide}:
        raise BadInput(
            f"{where}: wide has changed since it was begun: {', '.join(split.record['wide'])}",
            "`fab partition.undo` gives that up; apply then.",
        )
    if split.state == SPLIT:
        return _kept(where, spec, split)
    table = check.plain_table(spec, split)
    return [*install(split.version, split.stamp), *_split(spec, split, table)]


def undo(spec: SplitSpec, split: Split) -> list[Step]:
    """The steps that make it one plain table again. Raises BadInput for what can't be."""
    where = f"partitions: {spec.table}"
    table = check.changeable(where, split)
    if not split.record:
        if table.kind == "r":
            return []
        raise BadInput(f"{where}: it was not split by Hostwright", "Its way back is not known here.")
    values = split.names.values
    if split.state == COPYING:
        given_up = {**values, "sources": [split.names.table], "target": split.names.narrow}
        return [Step("give up the copy", "split/cancel", given_up)]
    forget = Step("forget the split", "split/forget", values)
    if split.state == WHOLE:
        return [*_proofs([*table.constraints, *split.references]), forget]
    check.free_of_obstacles(where, split)
    return [*install(split.version, split.stamp), *_whole(split), forget]


# --- From one table to two


def _split(spec: SplitSpec, split: Split, table: Relation) -> Iterator[Step]:
    names = split.names
    kept = [column for column in table.columns if column.name not in spec.wide]
    indexes = [index for index in table.indexes if index.valid and not {*index.columns} & {*spec.wide}]
    constraints = [one for one in table.constraints if not {*one.columns} & {*spec.wide}]
    target = [replace(column, identity="") for column in kept] + [Column(VERSION_COLUMN, "integer")]
    values = {
        **_copy(split, table, names.narrow, target, [(names.table, kept)]),
        "state": COPYING,
        "columns": [column.name for column in table.columns],
        "wide_columns": spec.wide,
        "checks": [one for one in constraints if one.kind == "c"],
    }
    yield from _copied(split, values, "narrow columns", indexes)
    own, others = _foreign_keys(split, constraints, names.narrow)
    turned = {
        **values,
        "known": _known(split, names.table),
        **_views(split, _columns(spec, table), table),
        "constraints": [one.name for one in constraints]
        + [index.name for index in indexes if index.constraint is not None],
        "indexes": [_renamed(index) for index in indexes],
        # What is generated goes before what it is generated from.
        "dropped": [c.name for c in sorted(kept, key=lambda c: not c.generated) if c.name not in table.primary_key],
        "serial": {
            column.name: column.sequence for column in kept if column.sequence and column.name not in table.primary_key
        },
        "wide_primary_name": child_name(names.table, "_wide_pkey"),
        "foreign_keys": own,
        "pointing": others,
    }
    yield Step(f"make {names.table} a view of {names.narrow} and {names.wide}", "split/turn", turned)
    linked = Constraint("f", "hostwright_split", _sql(split, names.wide), "", False)
    moved = [replace(one, table=_sql(split, names.narrow), valid=False) for one in own]
    yield from _proofs([linked, *moved, *(replace(one, valid=False) for one in others)])


def _kept(where: str, spec: SplitSpec, split: Split) -> list[Step]:
    """What a table that is split lacks."""
    check.changeable(where, split)
    narrow, wide = split.relations[split.names.narrow], split.relations[split.names.wide]
    apart = [c.name for c in wide.columns if c.name not in (*wide.primary_key, VERSION_COLUMN)]
    if {*apart} != {*spec.wide}:
        raise BadInput(
            f"{where}: wide: the spec has {', '.join(spec.wide)}, and {split.names.wide} has {', '.join(apart)}",
            "Make it one table with `fab partition.undo`, then apply.",
        )
    values = {**split.names.values, **_views(split, _both(split), narrow)}
    renewed = [] if values["stamp"] == split.record["views"] else [Step("renew the views", "split/views", values)]
    return [
        *install(split.version, split.stamp),
        *renewed,
        *_proofs([*narrow.constraints, *wide.constraints, *split.references]),
    ]


# --- From two tables to one


def _whole(split: Split) -> Iterator[Step]:
    names = split.names
    narrow, wide = split.relations[names.narrow], split.relations[names.wide]
    columns = [column for column, _ in _both(split)]
    numbered = [column.name for column in wide.columns if column.identity]
    apart = [c for c in wide.columns if c.name not in (*wide.primary_key, VERSION_COLUMN)]
    kept = [c for c in narrow.columns if c.name != VERSION_COLUMN]
    constraints = [one for one in (*narrow.constraints, *wide.constraints) if one.name != "hostwright_split"]
    table = replace(split.relations[names.table], options=narrow.options, unlogged=narrow.unlogged)
    table = replace(
        table,
        primary_key=narrow.primary_key,
        primary_key_name=narrow.primary_key_name,
        operators=narrow.operators,
        columns=tuple(columns),
    )
    values = {
        **_copy(
            split,
            table,
            names.whole,
            [replace(column, identity="") for column in columns],
            [(names.narrow, kept), (names.wide, apart)],
        ),
        "state": GATHERING,
        "columns": [column.name for column in columns],
        "wide_columns": split.record["wide"],
        "checks": [one for one in constraints if one.kind == "c"],
    }
    indexes = [index for index in (*narrow.indexes, *wide.indexes) if index.valid]
    yield from _copied(split, values, "rows", indexes)
    own, others = _foreign_keys(split, constraints, names.table)
    sequences = {c.name: c.sequence for c in (*narrow.columns, *wide.columns) if c.sequence}
    turned = {
        **values,
        "indexes": [_renamed(index) for index in indexes],
        "foreign_keys": own,
        "pointing": others,
        "serial": {name: sequence for name, sequence in sequences.items() if name not in numbered},
        "comment": table.comment,
        "known": _known(split, names.narrow, names.wide),
    }
    yield Step(f"make {names.table} one plain table", "split/unturn", turned)
    moved = [replace(one, table=_sql(split, names.table), valid=False) for one in own]
    yield from _proofs([*moved, *(replace(one, valid=False) for one in others)])


# --- Both ways


def _copy(
    split: Split,
    table: Relation,
    target: str,
    target_columns: Sequence[Column],
    sources: Sequence[tuple[str, Sequence[Column]]],
) -> dict[str, Any]:
    """What the templates of copying are told. Rows of `sources` that have the same primary key are copied as one."""
    primary = list(table.primary_key)
    compared = [
        {"name": column.name, "alias": alias, "stored": not column.generated}
        for alias, (_, columns) in zip("ab", sources, strict=False)
        for column in columns
    ]
    types = {column.name: column.type for column in table.columns}
    return {
        **split.names.values,
        "version": split.version,
        "owner": table.owner,
        "unlogged": table.unlogged,
        "options": table.options,
        "target": target,
        "target_columns": target_columns,
        "sources": [name for name, _ in sources],
        "compared": compared,
        "copied": [column for column in compared if column["stored"]],
        "primary": primary,
        "keys": [{"name": name, "type": types[name]} for name in primary],
        "operators": table.operators,
        "primary_name": table.primary_key_name,
        "new_primary_name": child_name(table.primary_key_name, "_new"),
        "batch": BATCH,
    }


def _copied(split: Split, values: Mapping[str, Any], what: str, indexes: Sequence[Index]) -> Iterator[Step]:
    """Copy to a new table, with writers on; where that was begun before, the rest of it."""
    target = values["target"]
    made = split.relations.get(target)
    if made and split.state != values["state"]:
        raise BadInput(f"partitions: {values['table']}: {target} is there already", "Rename it; its name is needed.")
    if made and [column.name for column in made.columns] != [column.name for column in values["target_columns"]]:
        yield Step("give up a copy that has other columns", "split/cancel", values)
        made = None
    if made is None:
        yield Step(f"make {target}, and keep it up to date", "split/begin", values)
    yield Step(f"copy the {what} to {target}, in small batches", "split/copy", values, "repeat")
    there = {index.name for index in made.indexes if index.valid} if made else set()
    for index in indexes:
        new = _renamed(index)["new"]
        if new not in there:
            told = {**values, "index": new, "unique": index.unique, "tail": index.tail}
            yield Step(f"index {index.name} of {target}", "split/index", told, "alone")
    yield Step(f"gather statistics of {target}", "split/vacuum", values, "alone")
    yield Step("compare all rows with the copy", "split/compare", values)


def _known(split: Split, *tables: str) -> dict[str, list[str]]:
    """The names of what the tables have, in order."""
    known = {}
    for name in tables:
        relation = split.relations[name]
        columns, indexes = [one.name for one in relation.columns], [one.name for one in relation.indexes]
        known[name] = sorted([*columns, *indexes, *(one.name for one in relation.constraints)])
    return known


def _renamed(index: Index) -> dict[str, Any]:
    return {"name": index.name, "new": child_name(index.name, "_new"), "constraint": index.constraint}


def _foreign_keys(
    split: Split, constraints: Sequence[Constraint], target: str
) -> tuple[list[Constraint], list[Constraint]]:
    """The foreign keys of the table, and those of others that point to it, as they are to be where it is `target`."""
    ours = {one.table for one in constraints}
    new = _sql(split, target)

    def moved(key: Constraint) -> Constraint:
        return replace(key, definition=key.definition.replace(f"REFERENCES {key.target}(", f"REFERENCES {new}(", 1))

    own = [moved(one) if one.target in ours else one for one in constraints if one.kind == "f"]
    return own, [moved(one) for one in split.references]


def _proofs(constraints: Sequence[Constraint]) -> list[Step]:
    return [
        Step(f"prove {one.name} of {one.table}", "prove", {"on": one.table, "constraint": one.name}, "alone")
        for one in constraints
        if not one.valid
    ]


def _sql(split: Split, name: str) -> str:
    return render.qualified(split.names.schema, name)


# --- The views


def _columns(spec: SplitSpec, table: Relation) -> list[tuple[Column, bool]]:
    """The columns of a table in their order, and whether each is wide."""
    return [(column, column.name in spec.wide) for column in table.columns]


def _both(split: Split) -> list[tuple[Column, bool]]:
    """The columns of both tables in the order of the old one; those that came later come last."""
    narrow, wide = split.relations[split.names.narrow], split.relations[split.names.wide]
    numbered = {column.name: column for column in wide.columns if column.name in wide.primary_key}
    found = {
        column.name: (
            replace(column, identity=numbered[column.name].identity, sequence=numbered[column.name].sequence)
            if column.name in numbered
            else column,
            False,
        )
        for column in narrow.columns
        if column.name != VERSION_COLUMN
    }
    for column in wide.columns:
        if column.name != VERSION_COLUMN:
            found.setdefault(column.name, (column, True))
    order = [name for name in split.record["columns"] if name in found]
    return [found[name] for name in [*order, *(name for name in found if name not in order)]]


def _views(split: Split, columns: Sequence[tuple[Column, bool]], table: Relation) -> dict[str, Any]:
    """What the template of the views is told; `table` has the primary key."""

    def named(wide: bool, generated: bool) -> list[str]:
        return [c.name for c, apart in columns if apart == wide and bool(c.generated) == generated]

    relation = split.relations[split.names.table]
    wide_stored = named(True, False)
    values: dict[str, Any] = {
        **split.names.values,
        "view_columns": [
            {
                "name": column.name,
                "wide": wide,
                "default": column.default,
                "computed": bool(column.generated),
                "identity": column.identity,
                "sequence": column.sequence,
            }
            for column, wide in columns
        ],
        "narrow_stored": named(False, False),
        "narrow_computed": named(False, True),
        "wide_stored": wide_stored,
        "wide_computed": named(True, True),
        "wide_columns": [column.name for column, wide in columns if wide],
        "always": [column.name for column, _ in columns if column.generated or column.identity == "a"],
        "overriding": any(column.identity == "a" for column, _ in columns),
        "primary": list(table.primary_key),
        "operators": table.operators,
        "owner": relation.owner,
        "comment": relation.comment,
        "stamp": "",
    }
    text = render.query("split/views", **values)
    return {**values, "stamp": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:12]}
