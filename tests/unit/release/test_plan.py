"""What a deploy does, in order, and on which hosts."""

from __future__ import annotations

from typing import Any

import pytest

from hostwright import config
from hostwright.errors import BadInput
from hostwright.release import plan

GROUPS = {
    "web": ["web1", "web2"],
    "worker": ["jobs1"],
    "beat": ["jobs1"],
    "db": ["db1"],
    "all": ["db1", "jobs1", "web1"],
}
HOSTS = ["web1", "web2", "jobs1"]


def site(**changes: Any) -> config.Site:
    return config.load(
        {
            "name": "shop",
            "source": {"git": "."},
            "web": {"wsgi": "shop.wsgi"},
            "celery": {"app": "shop", "beat": True},
            "health": {"path": "/up"},
            **changes,
        }
    )


def said(steps: list[plan.Step]) -> list[tuple[str, str, str]]:
    return [(step.do, ",".join(step.hosts), step.state) for step in steps]


ALL = "web1,web2,jobs1"


def test_a_deploy() -> None:
    steps = plan.steps(site(), GROUPS, HOSTS)
    assert said(steps) == [
        ("prepare", ALL, "uploaded"),
        ("wheels", ALL, "built"),
        ("build", ALL, "checked"),
        ("migrate", "web1", "migrated"),
        ("standby", ALL, "standby healthy"),
        ("flip", ALL, "flipped"),
        ("confirm", ALL, "confirmed"),
        ("finish", ALL, "workers replaced"),
    ]
    details = {step.do: step.detail for step in steps}
    assert details["standby"] == "asks /up on web1, web2"
    assert details["finish"] == "drain, then beat, worker-default, clean up"


def test_a_deploy_that_never_migrates() -> None:
    steps = plan.steps(site(releases={"migrate": "never"}), GROUPS, HOSTS)
    assert "migrate" not in [step.do for step in steps]


def test_a_deploy_in_batches() -> None:
    steps = plan.steps(site(), GROUPS, HOSTS, batch=2)
    assert [(step.do, step.hosts) for step in steps if step.do in ("migrate", "standby", "finish")] == [
        ("migrate", ("web1",)),
        ("standby", ("web1", "web2")),
        ("finish", ("web1", "web2")),
        ("standby", ("jobs1",)),
        ("finish", ("jobs1",)),
    ]


def test_a_site_without_web_and_processes() -> None:
    steps = plan.steps(site(web=None, celery=None), GROUPS, ["jobs1"])
    details = {step.do: step.detail for step in steps}
    assert details["standby"] == "asks /up on no host"
    assert details["finish"] == "drain, then no processes, clean up"


@pytest.mark.parametrize(
    ("selected", "hosts"),
    [
        (["db1", "jobs1", "web2", "web1"], ["web1", "web2", "jobs1"]),
        (["jobs1", "db1"], ["jobs1"]),
    ],
)
def test_the_hosts_of_a_site_in_order(selected: list[str], hosts: list[str]) -> None:
    assert plan.hosts_of(site(), GROUPS, selected) == hosts


@pytest.mark.parametrize("selected", [[], ["db1"], ["elsewhere"]])
def test_no_host_to_deploy_to(selected: list[str]) -> None:
    with pytest.raises(BadInput, match="no host to deploy to"):
        plan.hosts_of(site(), GROUPS, selected)


@pytest.mark.parametrize(
    ("size", "batches"),
    [
        (0, [["a", "b", "c"]]),
        (1, [["a"], ["b"], ["c"]]),
        (2, [["a", "b"], ["c"]]),
        (9, [["a", "b", "c"]]),
    ],
)
def test_batches(size: int, batches: list[list[str]]) -> None:
    assert plan.batches(["a", "b", "c"], size) == batches
