"""`make bench-deploy`: how long `fab deploy` takes, what it costs, and that nobody notices it, beside other tools.

It makes hosts of its own and removes them. What else the machine does shows in the figures: leave it alone meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator, Sequence

from bench import report
from bench.deploy import parts, peers
from bench.deploy.site import Site
from bench.report import Figure
from hostwright.errors import HostwrightError
from hostwright.lab import machine

PARTS = ("speed", "row", "load", "memory")
ONE, EIGHT = "benchone", "bencheight"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PARTS, help="a part to measure; may be repeated")
    parser.add_argument("--hosts", type=int, choices=(1, 4), action="append", help="speed: this many hosts alone")
    parser.add_argument("--rounds", type=int, default=5, help="rounds for the times of `speed` (default: 5)")
    parser.add_argument("--loaded", type=int, default=1, help="rounds under load of `speed` (default: 1)")
    parser.add_argument("--keep", action="store_true", help="keep the hosts, which saves minutes the next time")
    chosen = parser.parse_args()
    started = time.monotonic()
    figures: list[Figure] = []
    status = 0
    try:
        with contextlib.ExitStack() as labs:
            for name in () if chosen.keep else (ONE, EIGHT):
                labs.callback(machine.down, name)
            for part in measure(chosen.only or PARTS, chosen.hosts or (1, 4), chosen.rounds, chosen.loaded):
                figures += part
    except HostwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        status = error.exit_status
    if figures:
        report.show("Deploys", figures)
        print(f"{report.write('deploy', figures)} ({time.monotonic() - started:.0f} s)")
    return status or report.status(figures)


def measure(chosen: Sequence[str], fleets: Sequence[int], rounds: int, loaded: int) -> Iterator[list[Figure]]:
    """The figures of each chosen part, first those on one host, then those on several."""
    if {"row", "load"} & set(chosen) or ("speed" in chosen and 1 in fleets):
        site = made(ONE, "one")
        if "speed" in chosen and 1 in fleets:
            yield parts.speed(site, site.hosts, peers.prepare(site, site.hosts), rounds, loaded)
        if "row" in chosen:
            yield parts.row(site)
        if "load" in chosen:
            yield parts.load(site)
        site.stop()
    if "memory" in chosen or ("speed" in chosen and 4 in fleets):
        site = made(EIGHT, "eight")
        if "memory" in chosen:
            yield parts.memory(site)
        if "speed" in chosen and 4 in fleets:
            site.stop(site.hosts[4:])
            yield parts.speed(site, site.hosts[:4], peers.prepare(site, site.hosts[:4]), rounds, loaded)
        site.stop()


def made(name: str, layout: str) -> Site:
    """Hosts with the sample site on them; those that an earlier run kept are used again."""
    started = time.monotonic()
    site = Site(name, layout)
    print(f"==> provisioning {len(site.hosts)} hosts ({name})", flush=True)
    site.provision()
    print(f"  {time.monotonic() - started:.0f} s", flush=True)
    return site


if __name__ == "__main__":
    sys.exit(main())
