"""The fleet that the tasks run on: two hosts with a worker each, one of them with beat, and one with both brokers."""

from __future__ import annotations

import json
import shutil
from typing import Any

from hostwright.lab import machine
from tests.hosts.conftest import ROOT, sample
from tests.hosts.labs import Fleet

LAB = "tasks"
WORKERS = ("web1", "web2")
CONCURRENCY = 2
"""Tasks at the same time on each worker host."""

BROKERS = {
    "rabbitmq": "amqp://shop:{{ shop_redis_password }}@{{ hostvars[groups.broker[0]].ansible_host }}:5672/shop",
    "redis": "redis://:{{ shop_redis_password }}@{{ hostvars[groups.broker[0]].ansible_host }}:6379/0",
}
VISIBILITY = 30
"""Seconds of Redis's visibility timeout: several times as long as the longest task."""

REPOSITORY = machine.CACHE.parent / "tests" / LAB


def up(broker: str) -> Fleet:
    """The lab as it stands, or a new one; provisioned for `broker`, with a release that uses it."""
    ready = machine.CACHE / LAB / "ready"
    if ready.exists() and all(state == "running" for _, state in machine.states(LAB)):
        fleet = standing()
        sample(LAB, REPOSITORY)
    else:
        down()
        fleet = Fleet(machine.up(LAB, "two", "debian:12"), REPOSITORY)
        sample(LAB, REPOSITORY)
        inventory = ROOT / "inventory" / LAB / "hosts.yml"
        groups = json.loads(inventory.read_text(encoding="utf-8"))
        groups["all"]["children"]["worker"]["hosts"] = {name: {} for name in WORKERS}
        inventory.write_text(json.dumps(groups, indent=2), encoding="utf-8")
        fleet.run("ansible-playbook", "playbooks/bootstrap.yml")
    if not ready.exists() or ready.read_text() != broker:
        fleet.change_site(lambda site: _use(site, broker))
        fleet.run("ansible-playbook", "playbooks/site.yml")
        fleet.deploy_text(f"with {broker}")
        ready.write_text(broker)
    return fleet


def standing() -> Fleet:
    """The lab as it stands."""
    return Fleet(machine.hosts(LAB), REPOSITORY)


def down() -> None:
    """Remove the lab."""
    machine.down(LAB)
    shutil.rmtree(REPOSITORY, ignore_errors=True)


def _use(site: dict[str, Any], broker: str) -> None:
    site["env"].update(VISIBILITY_TIMEOUT=str(VISIBILITY))
    site["secrets"].update(BROKER_URL=BROKERS[broker])
    site["services"]["amqp"] = {"vhost": "shop", "user": "shop", "password": "{{ shop_redis_password }}"}
    site["celery"]["workers"] = [{"name": "default", "concurrency": CONCURRENCY, "stop_timeout": 60}]
