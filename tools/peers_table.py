"""Writes the measured figures into docs/comparison.md from bench/results."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from generated import ROOT, publish, table

PAGE = ROOT / "docs" / "comparison.md"
BETWEEN = re.compile(r"(<!-- Made by tools/peers_table.py. -->\n).*(<!-- -->\n)", re.DOTALL)

PEERS = {
    "floor": "by hand: rsync and ssh",
    "pyinfra": "pyinfra",
    "capistrano": "Capistrano",
    "plain playbook": "plain Ansible playbook",
    "pg_partman": "pg_partman, by triggers",
}
"""What results call a peer, and what a reader does."""


def section(name: str) -> str:
    """The date, the machine, and the figures that a peer has one of as well, of bench/results/NAME.json."""
    results = json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    figures = [figure for figure in results["figures"] if set(figure.get("beside") or {}) & set(PEERS)]
    peers = [peer for peer in PEERS if any(peer in figure["beside"] for figure in figures)]
    rows = [[figure["name"], shown(figure, "value"), *(shown(figure, peer) for peer in peers)] for figure in figures]
    headings = [results["at"][:10], "Hostwright", *(PEERS[peer] for peer in peers)]
    return f"{results['machine']}:\n\n{table(headings, rows)}"


def shown(figure: dict[str, Any], whose: str) -> str:
    value = figure["value"] if whose == "value" else figure["beside"].get(whose)
    return "" if value is None else f"{value:.3g} {figure['unit']}"


if __name__ == "__main__":
    made = "\n\n".join(section(name) for name in ("deploy", "provision", "partition"))
    page = BETWEEN.sub(lambda found: f"{found[1]}\n{made}\n\n{found[2]}", PAGE.read_text(encoding="utf-8"))
    sys.exit(publish({PAGE: page}, __doc__))
