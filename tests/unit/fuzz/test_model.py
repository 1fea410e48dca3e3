"""The site model: what is hostile is refused by name, or is data in all that is made from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hostwright_engine import contract as engine_contract
from hypothesis import strategies as st

from hostwright import config, contract
from hostwright.errors import BadInput
from tests.unit.fuzz.hostile import fuzz, mutations, texts, values
from tests.unit.systemd import read_environment_file, read_exec_start
from tests.unit.test_example_inventory import EXAMPLE

GROUPS = {"web": ["web1"], "worker": ["w1"], "beat": ["w1"], "db": ["db1"], "broker": ["db1"]}
SECRET = "canary-of-a-secret"
FULL: dict[str, Any] = {
    **yaml.safe_load((EXAMPLE / "group_vars" / "all" / "site.yml").read_text())["site"],
    "secrets": {"SECRET_KEY": SECRET},
}
FULL["services"] = {
    **FULL["services"],
    "databases": [{"name": "shop", "password": SECRET}],
    "amqp": {"vhost": "shop", "user": "shop", "password": SECRET},
}
ENVIRONMENT = {variable: f"<{word}>" for word, variable in contract._PLACEHOLDERS.items()}


def loaded(data: Any) -> config.Site | None:
    """The site of `data`, or None where it is refused: in words, without a traceback and without a secret."""
    try:
        return config.load(data)
    except BadInput as error:
        said = str(error)
    assert SECRET not in said
    return None


def hold(site: config.Site) -> None:
    """What is made from `site` says the same to those who read it, and no more."""
    environment = contract.environment(site)
    assert read_environment_file(contract.environment_file(environment)) == environment
    for process in contract.processes(site):
        hold_command(process.command)
    for host in ("web1", "w1"):
        told = contract.contract(site, GROUPS, host)
        assert engine_contract.check(json.loads(json.dumps(told))) == told
    assert SECRET not in json.dumps(config.shown(site))
    assert SECRET not in repr(site)
    json.dumps(config.revealed(site))


def hold_command(command: list[str]) -> None:
    line = contract.exec_start(command)
    assert "\n" not in line
    expected = []
    for argument in command:
        for word, variable in contract._PLACEHOLDERS.items():
            argument = argument.replace("{" + word + "}", ENVIRONMENT[variable])
        expected.append(argument)
    assert read_exec_start(line, ENVIRONMENT) == expected


def test_the_whole_model_holds() -> None:
    site = loaded(FULL)
    assert site is not None
    hold(site)


@fuzz(mutations(FULL))
def test_a_hostile_site(data: Any) -> None:
    site = loaded(data)
    if site is not None:
        hold(site)


@fuzz(values)
def test_what_is_no_site(data: Any) -> None:
    assert loaded(data) is None


@fuzz(st.dictionaries(st.one_of(st.sampled_from(["A", "PATH", "b_2"]), texts), texts, min_size=1, max_size=4))
def test_hostile_variables(values: dict[str, str]) -> None:
    site = loaded({"name": "shop", "source": {"git": "."}, "env": {"A": "1"}, "secrets": values})
    if site is not None:
        assert contract.environment(site) == {"A": "1", **values}
        hold(site)


@fuzz(st.lists(texts, min_size=1, max_size=4))
def test_hostile_arguments(command: list[str]) -> None:
    site = loaded({"name": "shop", "source": {"git": "."}, "processes": [{"name": "mail", "command": command}]})
    if site is not None:
        assert site.processes[0].command == command
        hold(site)


@fuzz(texts)
def test_hostile_names(name: str) -> None:
    site = loaded({"name": name, "source": {"git": "."}})
    assert site is None or set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@pytest.mark.parametrize("name", ["a\n", "shop ", "Shop", "sh/op", "shop\u202e"])
def test_names_that_a_careless_pattern_takes(name: str) -> None:
    assert loaded({"name": name, "source": {"git": "."}}) is None
