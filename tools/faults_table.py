"""Writes the fault matrix into docs/faults.md from the results of `python -m tests.hosts.faults`."""

from __future__ import annotations

import re
import sys
import textwrap

from generated import ROOT, publish, table

from tests.hosts.faults import results

PAGE = ROOT / "docs" / "faults.md"
BETWEEN = re.compile(r"(<!-- Made by tools/faults_table.py. -->\n).*(<!-- -->\n)", re.DOTALL)


if __name__ == "__main__":
    cells = results.load(results.RESULTS)
    heading, *body = results.rows(cells)
    lines = [
        textwrap.fill(line, 140, subsequent_indent="  " * line.startswith("-"))
        for line in results.summary(cells).splitlines()
    ]
    made = "\n\n".join([table(heading, body), *filter(None, lines)])
    page = BETWEEN.sub(lambda found: f"{found[1]}\n{made}\n\n{found[2]}", PAGE.read_text(encoding="utf-8"))
    sys.exit(publish({PAGE: page}, __doc__))
