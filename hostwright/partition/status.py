"""What `fab partition.status` says of a table, to a pipeline and to a person. Pure: facts -> values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hostwright.partition import render
from hostwright.partition.archive.known import Former
from hostwright.partition.catalog import Table
from hostwright.partition.spec import PartitionSpec, SplitSpec
from hostwright.partition.split.catalog import Split

Lines = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""Title, headings and rows of a table for a person."""


def of_divided(spec: PartitionSpec, table: Table, problems: list[str], past: list[Former]) -> dict[str, Any]:
    """What --json prints of a table that is divided, or will be. `past` was its children."""
    return {
        "schema": 1,
        "table": spec.table,
        **{name: table.recorded.get(name) for name in ("strategy", "worked_at", "step", "failure")},
        "problems": problems,
        "children": [
            {
                "child": child.name,
                "from": "" if child.lower is None else render.bound(child.lower),
                "to": child.bound or ("" if child.upper is None else render.bound(child.upper)),
                "rows": child.rows,
                "bytes": child.size,
                "parts": child.parts or (),
            }
            for child in table.children
            if not child.is_archived
        ],
        "archived": [
            {
                "child": one.name,
                "from": one.lower,
                "to": one.upper,
                "rows": one.rows,
                "server": one.server,
                "at": one.at,
            }
            for one in past
            if one.is_archived
        ],
    }


def of_split(spec: SplitSpec, split: Split, problems: list[str]) -> dict[str, Any]:
    """What --json prints of a table that is split, or will be."""
    return {
        "schema": 1,
        "table": spec.table,
        "state": split.state,
        "problems": problems,
        "tables": [
            {"table": name, "columns": len(one.columns), "rows": one.rows, "bytes": one.size}
            for name, one in split.relations.items()
            if one.kind == "r"
        ],
    }


def lines_of_divided(kind: str, shown: dict[str, Any]) -> Lines:
    """A line for each child. `kind` is what the table is where no strategy is recorded."""
    most = max((child["bytes"] for child in shown["children"]), default=0) or 1
    rows = []
    for child in shown["children"]:
        name = f"{child['child']} ({len(child['parts'])} parts)" if child["parts"] else child["child"]
        bar = "▇" * round(20 * child["bytes"] / most)
        rows.append((name, child["from"], child["to"], f"{child['rows']:,}", _size(child["bytes"]), bar))
    for one in shown["archived"]:
        rows.append((one["child"], one["from"] or "", one["to"] or "", f"{one['rows']:,}", "", f"at {one['server']}"))
    title = f"{shown['table']}: {shown['strategy'] or kind}, maintained {shown['worked_at'] or 'never'}"
    return title, ("child", "from", "to", "rows (estimate)", "size", ""), rows


def lines_of_split(shown: dict[str, Any]) -> Lines:
    """A line for each of its tables."""
    rows = [(one["table"], str(one["columns"]), f"{one['rows']:,}", _size(one["bytes"])) for one in shown["tables"]]
    return f"{shown['table']}: {shown['state'] or 'one table'}", ("table", "columns", "rows (estimate)", "size"), rows


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"
