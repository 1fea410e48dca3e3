"""The site model's filters, called as a playbook does: each line of Ansible hands them containers of its own."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.plugins.loader import filter_loader

from hostwright import config, contract
from tests.platforms.site import ROOT
from tests.roles import evaluate

GROUPS = {group: ["host1"] for group in ("web", "worker", "beat", "db", "broker")}


@pytest.fixture(scope="module", autouse=True)
def _filters() -> None:
    filter_loader.add_directory(str(ROOT / "plugins" / "filter"))


def sample() -> dict[str, Any]:
    """The sample project's model, with a variable in it as an inventory has them."""
    path = ROOT / "examples" / "shop" / "deploy" / "site.yml"
    text = path.read_text(encoding="utf-8").replace("name: default", 'name: "{{ worker }}"')
    site: dict[str, Any] = yaml.safe_load(text)["site"]
    site["env"] = {"A": "{{ worker }}"}
    site["secrets"] = {"B": "{{ worker }}"}
    site["services"]["databases"][0]["password"] = "{{ worker }}"
    site["services"]["redis"]["password"] = "{{ worker }}"
    site["source"] = {"git": "x"}
    return site


def asked(expression: str) -> Any:
    variables = {"site": sample(), "worker": "jobs", "groups": GROUPS, "host": "host1", "hostvars": {"host1": {}}}
    return evaluate(expression, variables)


def resolved() -> config.Site:
    return config.load(yaml.safe_load(yaml.safe_dump(sample()).replace("{{ worker }}", "jobs")))


def test_the_model() -> None:
    assert asked("{{ site | hostwright_site }}") == config.revealed(resolved())


def test_the_contract() -> None:
    found = asked("{{ site | hostwright_contract(groups, host) }}")
    assert found == contract.contract(resolved(), GROUPS, "host1")


def test_what_the_hosts_need() -> None:
    assert [one["name"] for one in asked("{{ site | hostwright_processes(groups, host) }}")] == ["worker-jobs", "beat"]
    assert [one["name"] for one in asked("{{ site | hostwright_timers(groups, host) }}")] == ["clear-sessions"]
    databases = asked("{{ site | hostwright_databases(groups, hostvars, 'deploy') }}")
    assert databases == contract.databases(resolved(), GROUPS, {"host1": "host1"}, "deploy")
    assert 'A="jobs"\nB="jobs"\n' in asked("{{ site | hostwright_environment_file }}")
