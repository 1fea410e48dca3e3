"""What hosts are told: exact data from a site and a fleet."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostwright import config, contract
from tests.unit.systemd import read_environment_file, read_exec_start

GROUPS = {"web": ["web1", "web2"], "worker": ["jobs1", "web2"], "beat": ["jobs1"], "db": ["db1"]}
SITE = config.load(
    {
        "name": "shop",
        "source": {"git": "."},
        "web": {"wsgi": "shop.wsgi", "domains": ["shop.example.com"]},
        "celery": {"app": "shop", "beat": True, "workers": [{"name": "mail", "queues": ["mail", "bulk"]}]},
        "processes": [{"name": "relay", "command": ["python", "relay.py"], "singleton": True}],
        "timers": [{"name": "sweep", "command": ["python", "manage.py", "sweep"], "calendar": "daily"}],
        "env": {"DEBUG": "0"},
        "secrets": {"SECRET_KEY": "s3cret"},
        "media": {"env": "MEDIA_ROOT"},
        "shared": {"cache": "var/cache", "beat": ""},
        "hooks": [
            {"name": "assets", "stage": "build", "command": ["make"]},
            {"name": "notify", "stage": "after_deploy", "command": ["true"], "once": True},
        ],
    }
)


def names(host: str) -> list[str]:
    return [process.name for process in contract.processes_on(SITE, GROUPS, host)]


def test_a_shared_directory_is_listed_once() -> None:
    assert contract.shared(SITE) == ["media", "beat", "cache"]


def test_app_hosts_are_in_order_and_without_the_database() -> None:
    assert contract.app_hosts(GROUPS) == ["web1", "web2", "jobs1"]


def test_processes_go_to_the_hosts_of_their_group_and_singletons_to_the_first() -> None:
    assert names("web1") == []
    assert names("web2") == ["worker-mail"]
    assert names("jobs1") == ["worker-mail", "beat", "relay"]


def test_a_celery_worker_has_a_node_named_for_its_release() -> None:
    worker = contract.processes(SITE)[0]
    assert " ".join(worker.command) == (
        "python -m celery -A shop worker -n shop-mail-{instance}@%h -Q mail,bulk -P prefork -c 2 -l INFO "
        "--without-gossip --without-mingle -I hostwright_ready"
    )


def test_timers_run_on_one_host() -> None:
    assert [timer["name"] for timer in contract.timers_on(SITE, GROUPS, "jobs1")] == ["sweep"]
    assert contract.timers_on(SITE, GROUPS, "web1") == []


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("plain", '"plain"'),
        ("two words", '"two words"'),
        ("$HOME", '"$$HOME"'),
        ("%h", '"%%h"'),
        ('say "x"', r'"say \"x\""'),
        ("back\\slash", r'"back\\slash"'),
        ("{venv}/bin/x", '"${HOSTWRIGHT_VENV}/bin/x"'),
        ("{unknown}", '"{unknown}"'),
        ("; rm -rf /", '"; rm -rf /"'),
    ],
)
def test_an_argument_stays_one_argument_for_systemd(argument: str, expected: str) -> None:
    assert contract.exec_start([argument]) == expected


def test_environment_file_quotes_what_systemd_unquotes() -> None:
    assert contract.environment_file({"B": 'a"b\\c$d`e', "A": "line\nline"}) == (
        'A="line\nline"\nB="a\\"b\\\\c\\$d\\`e"\n'
    )


def test_contract_of_a_web_host() -> None:
    told = contract.contract(SITE, GROUPS, "web1")
    assert json.loads(json.dumps(told)) == told
    assert told["web"]["health"]["headers"] == {"Host": "shop.example.com", "X-Forwarded-Proto": "http"}
    assert told["env"] == {"DEBUG": "0", "SECRET_KEY": "s3cret", "MEDIA_ROOT": "/srv/shop/shared/media"}
    assert told["links"] == [{"path": "var/cache", "target": "/srv/shop/shared/cache"}]
    assert told["processes"] == []
    assert [hook["name"] for hook in told["hooks"]] == ["assets", "notify"]


def test_contract_of_a_worker_host() -> None:
    told: dict[str, Any] = contract.contract(SITE, GROUPS, "jobs1")
    assert told["web"] is None
    assert [process["name"] for process in told["processes"]] == ["worker-mail", "beat", "relay"]
    assert told["timers"] == ["sweep"]
    assert [hook["name"] for hook in told["hooks"]] == ["assets"]


PRINTABLE = st.text(st.characters(blacklist_categories=["Cs", "Cc"]) | st.sampled_from("\"'\\$`%#;={} "))
UNIT = {name: f"<{name}>" for name in contract._PLACEHOLDERS.values()}


@given(st.lists(PRINTABLE, min_size=1, max_size=4))
def test_systemd_runs_the_command_that_was_written(command: list[str]) -> None:
    expected = command
    for word, variable in contract._PLACEHOLDERS.items():
        expected = [argument.replace("{" + word + "}", UNIT[variable]) for argument in expected]
    assert read_exec_start(contract.exec_start(command), UNIT) == expected


@pytest.mark.parametrize("argument", ["{venv}", "$HOME", "${HOME}", "%h", "%%", 'a"b', "a\\", "\\n", "", " ", ";", "-"])
def test_systemd_runs_what_looks_like_its_own_syntax(argument: str) -> None:
    expected = UNIT["HOSTWRIGHT_VENV"] if argument == "{venv}" else argument
    assert read_exec_start(contract.exec_start(["x", argument, "y"]), UNIT) == ["x", expected, "y"]


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True), PRINTABLE, max_size=4))
def test_systemd_reads_the_environment_that_was_written(values: dict[str, str]) -> None:
    values = {key: value + "\n\t" for key, value in values.items()}
    assert read_environment_file(contract.environment_file(values)) == values


@pytest.mark.parametrize(
    ("groups", "password", "addresses"),
    [
        ({"web": ("app1",), "db": ("app1",)}, "", []),
        ({"web": ("app1", "app2"), "db": ("app1",)}, "secret", ["10.0.0.1/32", "10.0.0.2/32"]),
        ({"web": ("app1", "app2"), "db": ("db1",)}, "secret", ["10.0.0.1/32", "10.0.0.2/32"]),
    ],
)
def test_who_may_reach_the_database(groups: contract.Groups, password: str, addresses: list[str]) -> None:
    model = config.load(
        {"name": "shop", "source": {"git": "."}, "services": {"databases": [{"name": "shop", "password": "secret"}]}}
    )
    known = {host: f"10.0.0.{host[-1]}" for host in contract.app_hosts(groups)}
    made = contract.databases(model, groups, known, "deploy")
    assert made["roles"] == [{"name": "shop", "password": password}]
    assert made["hba"] == [
        {"type": "local", "database": "shop", "user": "shop", "method": "peer", "options": "map=hostwright"},
        *(
            {"type": "host", "database": "shop", "user": "shop", "address": address, "method": "password"}
            for address in addresses
        ),
    ]


def test_the_database_allows_for_every_thread_and_worker_twice() -> None:
    # Two web hosts with 2 x 4 threads, two worker hosts with 2 + 1 processes, one relay in the fleet.
    assert contract.connections(SITE, GROUPS) == 2 * (2 * 8 + 2 * 3 + 1) + 20
    many = {**GROUPS, "web": [f"web{number}" for number in range(8)]}
    assert contract.databases(SITE, many, {}, "deploy")["connections"] == 2 * (8 * 8 + 2 * 3 + 1) + 20
