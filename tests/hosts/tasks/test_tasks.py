"""A short series on each broker: some deploys, and on RabbitMQ every kind of kill once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from hostwright.errors import HostwrightError
from hostwright.lab import machine
from tests.conftest import need
from tests.hosts.labs import all_hosts
from tests.hosts.tasks import check, lab, rounds
from tests.hosts.tasks.lab import BROKERS

pytestmark = [pytest.mark.hosts, all_hosts]


@pytest.fixture(scope="module", autouse=True)
def removed() -> Iterator[None]:
    try:
        machine.prepare()
    except HostwrightError as error:
        need("tests/hosts/tasks", error.message, error.hint)
    yield
    lab.down()


@pytest.mark.parametrize("broker", BROKERS)
def test_none_is_lost_and_none_repeated(broker: str) -> None:
    fleet = lab.up(broker)
    # What a killed Redis, or a killed worker of it, can lose is described, not promised.
    kills = len(rounds.TURN) if broker == "rabbitmq" else 0
    series = rounds.Series(broker, tasks=400, deploys=3, kills=kills, began=time.time())
    while series.rounds < series.length:
        rounds.one(fleet, series, print)
    rounds.drain(fleet, series)
    found, beats = rounds.found(fleet, series), check.beats(series.journal)
    assert check.verdict(series.names, found, series.killed).broken == []
    assert len(found) >= len(series.names) == 400
    assert check.together(beats) == 0
    assert len(beats) >= series.deploys
    assert [late for late in check.lateness(beats, rounds.SCHEDULE, series.killed) if late.too_late] == []
