"""Writes the table of tasks into docs/fab.md from the `fab` namespace."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from generated import ROOT, publish, table

from hostwright.tasks import namespace

PAGE = ROOT / "docs" / "fab.md"
BETWEEN = re.compile(r"(<!-- Made by tools/fab_reference.py. -->\n).*(<!-- -->\n)", re.DOTALL)


def rows(collection: dict[str, Any], prefix: str = "") -> Iterator[list[str]]:
    """(task, what it does, whether it takes --json) of a collection as `fab --list --list-format=json` has it."""
    for task in collection["tasks"]:
        name = f"{prefix}{task['name']}"
        takes_json = any("json" in argument.names for argument in namespace[name].get_arguments())
        yield [f"`fab {name}`", task["help"], "yes" if takes_json else ""]
    for inner in collection["collections"]:
        yield from rows(inner, f"{prefix}{inner['name']}.")


if __name__ == "__main__":
    tasks = table(["Task", "What it does", "`--json`"], list(rows(namespace.serialized())))
    page = BETWEEN.sub(lambda found: f"{found[1]}\n{tasks}\n\n{found[2]}", PAGE.read_text(encoding="utf-8"))
    sys.exit(publish({PAGE: page}, __doc__))
