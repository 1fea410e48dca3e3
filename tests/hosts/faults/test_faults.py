"""The order of the engine's writes; and of the fault matrix every fault once, and every point at least once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hostwright.errors import HostwrightError
from hostwright.lab import machine
from tests.conftest import need
from tests.hosts.faults import lab, writes
from tests.hosts.faults.matrix import Point, diagonal
from tests.hosts.faults.unattended import attempt
from tests.hosts.labs import Fleet, all_hosts

pytestmark = [pytest.mark.hosts, all_hosts]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    try:
        machine.prepare()
    except HostwrightError as error:
        need("tests/hosts/faults", error.message, error.hint)
    try:
        yield lab.up()
    finally:
        lab.down()


def test_the_engine_syncs_before_it_goes_on(fleet: Fleet) -> None:
    problems, replaced, told = writes.problems(writes.trace(fleet))
    assert problems == []
    assert replaced > 0, "strace saw no file replaced"
    assert told > 0, "strace saw no event told"


@pytest.mark.parametrize(("point", "fault"), [pytest.param(p, f, id=f"{f} at {p.name}") for p, f in diagonal()])
def test_fault(fleet: Fleet, point: Point, fault: str) -> None:
    found = attempt(fleet, point, fault)
    if not found.ran:
        # It never came to the fault, which says nothing of the deploy: the lab is mended, and it is tried once more.
        found = attempt(fleet, point, fault)
    assert found.broken == []
