"""Running a cell without anybody there: it ends in time, its lab is mended before the next one, and it is noted."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import traceback
from collections.abc import Iterator

from hostwright.errors import HostwrightError
from tests.hosts.faults import cell, lab, version
from tests.hosts.faults.matrix import Point
from tests.hosts.faults.results import NOT_RUN, Cell
from tests.hosts.labs import Fleet

LIMIT = 420
"""Seconds for a cell: more than all its waits together."""


class OutOfTime(Exception):
    """The time is over."""


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise OutOfTime in the body after so many seconds. For the main thread only."""

    def end(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def attempt(fleet: Fleet, point: Point, fault: str) -> Cell:
    """Run one cell, on a lab that is mended first where that is needed. Raises HostwrightError where it can't be."""
    if wrong := lab.outdated() or cell.unsound(fleet):
        print(f"    mending the lab: {wrong}", flush=True)
        mend(fleet)
    cell.forget(fleet)
    began = time.monotonic()
    found = Cell(
        point.name,
        fault,
        machine_load=round(os.getloadavg()[0], 1),
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        commit=version.commit(),
        version=version.digest(),
    )
    try:
        with limited(LIMIT):
            cell.run(fleet, point, fault, found)
    except OutOfTime:
        found.broken.append(f"I4 it did not end within {LIMIT} s")
    except Exception as error:
        # Whatever it was, the other cells can be run; this one counts as missing.
        if not isinstance(error, HostwrightError):
            traceback.print_exc()
        found.broken.append(f"{NOT_RUN}{error}")
    found.took = round(time.monotonic() - began, 1)
    return found


def mend(fleet: Fleet) -> None:
    """Take away every fault that can still be there, and deploy; where that does not help, make the lab anew."""
    try:
        lab.take_faults_away(fleet)
        lab.provision(fleet)
        fleet.commit({"shop/templates/banner.txt": f"mended at {time.time()}\n"}, "mended")
        again = cell.deploy_as_usual(fleet)
        if again.returncode:
            raise HostwrightError(f"the deploy ended with {again.returncode}: {cell.last_lines(again.stdout)}")
        if wrong := cell.unsound(fleet):
            raise HostwrightError(wrong)
    except Exception as error:
        print(f"    making the lab anew: {error}", flush=True)
        lab.down()
        fleet.hosts = lab.up().hosts
