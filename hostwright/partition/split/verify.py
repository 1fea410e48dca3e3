"""What is wrong with a table that is split: read only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hostwright.partition import render
from hostwright.partition.split.catalog import COPYING, SPLIT, Split


def problems(connection: Any, split: Split, rows: bool = True) -> list[str]:
    """A line for each problem. `rows`: read all rows too."""
    if not split.record:
        return ["it is not split"]
    if split.state != SPLIT:
        return [f"it is {split.state}: {'apply' if split.state == COPYING else 'undo'} was cut off; run it again"]
    return [*_proofs(split), *(_rows(connection, split) if rows else ())]


def _proofs(split: Split) -> Iterator[str]:
    for relation in split.relations.values():
        for one in relation.constraints:
            if not one.valid:
                yield f"{one.table}: the constraint {one.name} was never proved: apply"
    for one in split.references:
        if not one.valid:
            yield f"{one.table}: the constraint {one.name} was never proved: apply"


def _rows(connection: Any, split: Split) -> Iterator[str]:
    narrow = split.relations[split.names.narrow]
    values = {"primary": narrow.primary_key, "operators": narrow.operators, **split.names.values}
    with connection.cursor() as cursor:
        cursor.execute(render.query("split/verify_apart", **values))
        missing, differing = cursor.fetchone()
    if missing:
        yield f"{missing} rows have no line in {split.names.wide}"
    if differing:
        yield f"{differing} rows of {split.names.narrow} and {split.names.wide} were not written together"
