"""Writes the fault matrix into docs/faults.md from the results of `python -m tests.hosts.faults`."""

from __future__ import annotations

import re
import sys

from generated import ROOT, publish, table

from tests.hosts.faults import results

PAGE = ROOT / "docs" / "faults.md"
BETWEEN = re.compile(r"(<!-- Made by tools/faults_table.py. -->\n).*(<!-- -->\n)", re.DOTALL)


if __name__ == "__main__":
    cells = results.load(results.RESULTS)
    heading, *body = results.rows(cells)
    made = f"{table(heading, body)}\n\n{results.summary(cells)}"
    page = BETWEEN.sub(lambda found: f"{found[1]}\n{made}\n\n{found[2]}", PAGE.read_text(encoding="utf-8"))
    sys.exit(publish({PAGE: page}, __doc__))
