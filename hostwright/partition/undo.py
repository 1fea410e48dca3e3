"""The way back: a partitioned table becomes one plain table again, with writers on. Pure: (spec, table) -> steps."""

from __future__ import annotations

from hostwright.errors import BadInput
from hostwright.partition import periods
from hostwright.partition.catalog import Table
from hostwright.partition.plan import Step, install, turned, unbound
from hostwright.partition.spec import PartitionSpec
from hostwright.partition.strategy import check_archived, check_obstacles, check_rights


def plan(spec: PartitionSpec, table: Table) -> list[Step]:
    """The steps that put all rows of `table` and its children into one table. Raises BadInput for what can't be."""
    where = f"partitions: {spec.table}"
    if not table.exists:
        raise BadInput(f"{where}: there is no such table")
    if table.kind == "plain" and not table.recorded:
        return []
    if table.kind not in ("plain", "partitioned", "inherited") or not table.recorded:
        raise BadInput(f"{where}: it was not divided by Hostwright", "Its way back is not known here.")
    names = {"schema": spec.schema_name, "table": spec.table_name, "key": spec.key, "version": table.version}
    check_archived(where, table)
    check_rights(where, table.owner, table.may_change, table.may_not_make)
    if table.kind == "partitioned":
        # Another table takes its place.
        check_obstacles(where, table)
        if table.references:
            named = ", ".join(map(str, table.references))
            raise BadInput(f"{where}: foreign keys point to it: {named}", "Drop them first.")
    steps = [*install(table.version, table.stamp), *unbound(spec, table, names)]
    if spec.method != "range":
        values = {
            **turned(spec, table, names),
            "primary": _narrow(spec, table) or table.primary_key,
            "old": periods.child_name(spec.table_name, "_old"),
            "stored": [column.name for column in table.columns if column.name not in table.generated],
        }
        return [*steps, Step("copy all rows into one table, with the table locked", "undo_copy", values)]
    children = [name for child in table.children for name in ([child.name] if child.parts is None else child.parts)]
    if table.kind == "partitioned":
        values = {
            **turned(spec, table, names),
            "primary": table.primary_key,
            "old": periods.child_name(spec.table_name, "_old"),
            "children": table.children,
        }
        steps.append(
            Step(f"make {spec.table_name} a plain table whose children are tables of their own", "undo_turn", values)
        )
    elif table.trigger:
        steps.append(Step("let rows stay where they come", "undo_begin", names))
    steps += [
        Step(f"move the rows of {child} back, in small batches", "gather", {**names, "child": child}, "repeat")
        for child in children
    ]
    index = _index(spec, table)
    if index:
        values = {**names, "child": spec.table_name, "index": index, "primary": _narrow(spec, table)}
        steps.append(Step("index for the old primary key", "turn_index", values, "alone"))
    route = periods.child_name(f"{spec.schema_name}.{spec.table_name}", " route")
    values = {**names, "children": children, "route": route, "index": index}
    return [*steps, Step("remove the empty children", "undo_end", values)]


def _narrow(spec: PartitionSpec, table: Table) -> list[str]:
    """The primary key without the keys of partitions, where those were added to a numbered one."""
    rest = [name for name in table.primary_key if name not in spec.keys]
    numbered = {name for name, _ in table.serial} | set(table.identity)
    return rest if len(rest) == 1 and rest[0] in numbered and len(table.primary_key) > 1 else []


def _index(spec: PartitionSpec, table: Table) -> str:
    return periods.child_name(spec.table_name, "_key") if _narrow(spec, table) else ""
