"""`make bench-partition`: divided tables beside plain ones, hand-written partitions and pg_partman, on real servers.

Ratios are a plain table's time by ours, in rounds that take turns: 1 is as fast as a plain table. pg_partman is
Debian's package, which is installed where the server is Debian's. What else the machine does shows in the figures.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from bench import report
from bench.partition import archive, care, scale, split, writes
from bench.report import Figure
from tests.postgres import servers

PARTS: dict[str, Callable[[servers.Server, int], list[Figure]]] = {
    "hot": writes.hot,
    "spread": writes.spread,
    "load": writes.load,
    "django": writes.django,
    "adopt": care.adopt,
    "drop": care.drop_under_a_reader,
    "roll": care.roll_over,
    "archive": archive.archive,
    "plan": scale.plan,
    "children": scale.children,
    "split": split.speed,
    "split-adopt": split.adopt,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PARTS, help="a part to measure; may be repeated")
    parser.add_argument("--pg", action="append", type=int, help="a server's major version (default: 10, 15 and 18)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median counts (default: 5)")
    chosen = parser.parse_args()
    figures: list[Figure] = []
    for major in chosen.pg or [10, 15, 18]:
        settings = {"shared_buffers": "512MB", "max_wal_size": "4GB", "max_locks_per_transaction": "4096"}
        try:
            with servers.server(major, settings) as server:
                loads = []
                for name in chosen.only or PARTS:
                    print(f"PostgreSQL {major}: {name}", flush=True)
                    loads.append(os.getloadavg()[0])
                    figures += PARTS[name](server, chosen.rounds)
                    load = report.median(f"load average before a part, PostgreSQL {major}", loads, "")
                    report.write("partition", [*figures, load])
                figures.append(load)
        except servers.Missing as missing:
            print(f"error: PostgreSQL {major}: {missing}", file=sys.stderr)
            return 1
    report.show("Partitions", figures)
    return report.status(figures)


if __name__ == "__main__":
    sys.exit(main())
