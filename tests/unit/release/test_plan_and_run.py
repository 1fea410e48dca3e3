"""What `fab deploy --dry-run` shows is what `fab deploy` tells the engines."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from hostwright import config
from hostwright.inventory import Inventory
from hostwright.release import plan
from hostwright.tasks import _fleet
from hostwright.tasks import site as tasks
from tests.unit.release.test_drive import ARTIFACT, DEPLOY, Engine

HOSTS = ["web1", "web2", "jobs1"]
GROUPS = {"web": ["web1", "web2"], "worker": ["jobs1"], "beat": ["jobs1"]}
HOOK = {"name": "h", "stage": "before_migrate", "command": ["true"]}
MIGRATIONS = [["orders", "0002"]]
OF_NO_STEP = {"begin", "wheelhouse", "ready"}
"""What engines are told besides: the verbs of requests, and the roll call that `flip` and `confirm` begin with."""


@pytest.mark.parametrize("batch", [0, 1, 2])
@pytest.mark.parametrize(
    ("about", "migrations"),
    [
        ({}, MIGRATIONS),
        ({"hooks": [HOOK]}, []),
        ({"releases": {"migrate": "never"}}, []),
        ({"releases": {"migrate": "never"}, "hooks": [HOOK]}, []),
    ],
)
def test_the_plan_is_what_engines_are_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    about: dict[str, Any],
    migrations: list[list[str]],
    batch: int,
) -> None:
    site = config.load({"name": "shop", "source": {"git": "."}, "web": {"wsgi": "shop.wsgi"}, **about})
    told: list[tuple[str, str]] = []

    def engines(found: Inventory, hosts: list[str]) -> list[Engine]:
        return [Engine(host, told, venv_ready=False, plan=migrations) for host in hosts]

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(_fleet, "remotes", engines)
    tasks._transact(Inventory(site, GROUPS, {}), HOSTS, DEPLOY, True, ARTIFACT, batch=batch)
    steps = plan.steps(site, GROUPS, HOSTS, batch)
    words = itertools.groupby((one for one in told if one[1] not in OF_NO_STEP), key=lambda one: one[1])
    assert [(word, {host for host, _ in those}) for word, those in words] == [(s.do, set(s.hosts)) for s in steps]
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    reached = [event["state"] for event in events if event["event"] == "state" and event["state"] != "locked"]
    assert reached == [step.state for step in steps]
