"""What tasks use of an inventory: groups, limits, the site model, and how hosts are connected to."""

from __future__ import annotations

from typing import Any

import pytest

from hostwright.errors import BadInput
from hostwright.inventory import Inventory
from hostwright.inventory.parse import parse

SITE: dict[str, Any] = {"name": "shop", "source": {"git": "."}}
LISTED: dict[str, Any] = {
    "_meta": {"hostvars": {"web1": {"site": SITE, "ansible_host": "10.0.0.1"}, "web2": {}, "db1": {"site": SITE}}},
    "all": {"children": ["ungrouped", "web", "data", "site_a"]},
    "web": {"hosts": ["web1", "web2"]},
    "data": {"children": ["db"]},
    "db": {"hosts": ["db1"]},
    "site_a": {"children": ["web", "data"]},
}


def refusal(listed: Any) -> str:
    with pytest.raises(BadInput) as caught:
        parse(listed, "inventory/x")
    return caught.value.message


def test_groups_with_their_children() -> None:
    found = parse(LISTED)
    assert found.site.name == "shop"
    assert found.groups == {
        "all": ["web1", "web2", "db1"],
        "web": ["web1", "web2"],
        "data": ["db1"],
        "db": ["db1"],
        "site_a": ["web1", "web2", "db1"],
    }
    assert found.variables["web1"]["ansible_host"] == "10.0.0.1"


def test_groups_that_hold_each_other() -> None:
    listed = {**LISTED, "a": {"children": ["b"], "hosts": ["web1"]}, "b": {"children": ["a"], "hosts": ["db1"]}}
    assert parse(listed).groups["a"] == ["web1", "db1"]


def test_an_inventory_without_hosts_or_site() -> None:
    assert refusal({"_meta": {"hostvars": {}}, "all": {"children": ["ungrouped"]}}) == "inventory/x has no hosts"
    assert refusal({}) == "inventory/x has no hosts"
    assert refusal({"_meta": {"hostvars": {"web1": {}}}}) == "inventory/x has no variable `site`"


def test_a_wrong_site_is_named() -> None:
    wrong = {"_meta": {"hostvars": {"web1": {"site": {**SITE, "helth": 1}}}}}
    assert refusal(wrong) == "site.helth: unknown key (did you mean health?)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"web": {"wsgi": "a"}}, "the group web has no hosts: site.web needs one"),
        ({"celery": {"app": "a"}}, "the group worker has no hosts: site.celery needs one"),
        ({"celery": {"app": "a", "workers": [], "beat": True}}, "the group beat has no hosts: site.celery needs one"),
        (
            {"processes": [{"name": "relay", "command": ["x"]}]},
            "the group worker has no hosts: site.processes: relay needs one",
        ),
        (
            {"timers": [{"name": "night", "command": ["x"], "calendar": "daily"}]},
            "the group beat has no hosts: site.timers: night needs one",
        ),
        ({"services": {"redis": {}}}, "the group broker has no hosts: site.services.redis needs one"),
        (
            {"services": {"amqp": {"vhost": "v", "user": "u", "password": "p"}}},
            "the group broker has no hosts: site.services.amqp needs one",
        ),
        (
            {"services": {"databases": [{"name": "shop"}]}},
            "the group db has no hosts: site.services.databases needs one",
        ),
    ],
)
def test_a_group_that_the_site_needs_and_that_is_empty(changes: dict[str, Any], message: str) -> None:
    listed = {"_meta": {"hostvars": {"h1": {"site": {**SITE, **changes}}}}, "other": {"hosts": ["h1"]}, "web": {}}
    assert refusal(listed) == message


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ({"ansible_host": "web1.example.com"}, "it is web1.example.com"),
        ({"ansible_host": "2001:db8::1"}, "it is 2001:db8::1"),
        ({}, "it is web1"),
    ],
)
def test_a_host_that_another_lets_in_has_an_ipv4_address(address: dict[str, str], message: str) -> None:
    site = {**SITE, "services": {"databases": [{"name": "shop", "password": "secret"}]}}

    def listed(database: str, address: dict[str, str]) -> dict[str, Any]:
        variables = {"web1": {"site": site, **address}, database: {"site": site}}
        return {"_meta": {"hostvars": variables}, "web": {"hosts": ["web1"]}, "db": {"hosts": [database]}}

    assert refusal(listed("db1", address)) == (
        f"web1: ansible_host must be an IPv4 address, as db1 lets it in by that; {message}"
    )
    parse(listed("web1", address))
    parse(listed("db1", {"ansible_host": "10.0.0.1"}))
    assert refusal(listed("db1", {"ansible_host": "{{ 'web1' }}.example.com"})).endswith("it is web1.example.com")


@pytest.mark.parametrize(
    ("services", "group", "message"),
    [
        ({"databases": [{"name": "a", "password": "x"}, {"name": "b"}]}, "db", "databases.1.password"),
        ({"redis": {}}, "broker", "redis.password"),
    ],
)
def test_what_is_reached_over_the_network_has_a_password(services: dict[str, Any], group: str, message: str) -> None:
    def listed(server: str) -> dict[str, Any]:
        variables = {host: {"site": {**SITE, "services": services}} for host in ("10.0.0.1", server)}
        return {"_meta": {"hostvars": variables}, "web": {"hosts": ["10.0.0.1"]}, group: {"hosts": [server]}}

    assert refusal(listed("h2")) == f"site.services.{message}: is needed, as 10.0.0.1 reaches h2 over the network"
    parse(listed("10.0.0.1"))


def connected(**variables: Any) -> Inventory:
    web1 = {"site": {**SITE, "web": {"wsgi": "a"}}, "number": 9, "nothing": None, **variables}
    unused = {"ansible_host": "{{ missing }}"}
    listed = {"_meta": {"hostvars": {"web1": web1, "other": unused}}, "web": {"hosts": ["web1"]}}
    return parse(listed, evaluate=lambda host, expression: f"{host} {expression}")


def test_the_databases_are_on_one_host() -> None:
    site = {**SITE, "services": {"databases": [{"name": "shop"}]}}
    listed = {"_meta": {"hostvars": {"db1": {"site": site}, "db2": {"site": site}}}, "db": {"hosts": ["db1", "db2"]}}
    assert refusal(listed) == "the group db has 2 hosts, and site.services.databases is on one: db1, db2"


def test_a_host_without_variables() -> None:
    """Ansible lists none of it."""
    listed = {"_meta": {"hostvars": {"web1": {"site": SITE}}}, "web": {"hosts": ["web1", "web2"]}}
    assert parse(listed).variables["web2"] == {}


def test_a_host_s_own_expressions_say_how_to_connect_to_it() -> None:
    found = connected(
        ansible_host="10.0.0.{{ number }}", ansible_port="{{ number }}", ansible_ssh_private_key_file="{{ 'k' | own }}"
    ).variables["web1"]
    assert (found["ansible_host"], found["ansible_port"]) == ("10.0.0.9", 9)
    assert found["ansible_ssh_private_key_file"] == "web1 {{ 'k' | own }}"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ansible_host", "{{ missing }}", "web1: ansible_host: 'missing' is undefined"),
        ("ansible_host", None, "web1: ansible_host is null"),
        ("ansible_port", "{{ nothing }}", "web1: ansible_port is null"),
        ("hostwright_deploy_user", None, "web1: hostwright_deploy_user is null"),
    ],
)
def test_a_connection_that_is_not_known(key: str, value: Any, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        connected(**{key: value})
    assert caught.value.message == message


# --- limits


@pytest.mark.parametrize(
    ("limit", "hosts"),
    [
        ("", ["web1", "web2", "db1"]),
        ("web1", ["web1"]),
        ("db1,web1", ["web1", "db1"]),
        ("db1:web1", ["web1", "db1"]),
        ("web", ["web1", "web2"]),
        ("data", ["db1"]),
        ("web*", ["web1", "web2"]),
        ("*1", ["web1", "db1"]),
        ("web,!web2", ["web1"]),
        ("!web2,web", ["web1"]),
        ("!db", ["web1", "web2"]),
        ("all:!web1:!db", ["web2"]),
        ("site_a:&web", ["web1", "web2"]),
        ("&web,*1", ["web1"]),
        ("&db", ["db1"]),
        ("web:&*1:!db1", ["web1"]),
        ("web:!web", []),
        ("web1,", ["web1"]),
        ("web1, web2", ["web1", "web2"]),
    ],
)
def test_a_limit_means_what_it_means_to_ansible(limit: str, hosts: list[str]) -> None:
    assert parse(LISTED).select(["web1", "web2", "db1"], limit) == hosts


def test_a_limit_keeps_to_the_hosts_that_it_was_given() -> None:
    assert parse(LISTED).select(["web2", "web1"], "all") == ["web2", "web1"]


@pytest.mark.parametrize("limit", ["web3", "nope", "web1,nope", "!nope", "web:&nope"])
def test_a_limit_that_matches_nothing(limit: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(LISTED).select(["web1"], limit)
    assert caught.value.message.startswith("--limit: no host or group matches '")
    assert caught.value.hint == "Hosts: web1, web2, db1"


# --- what Ansible is asked for


def test_fab_asks_ansible_for_the_source_alone_and_config_check_for_all() -> None:
    site = {"name": "shop", "source": {"git": "{{ 'a' | own }}"}, "env": {"A": "{{ 'b' | own }}"}}
    listed = {"_meta": {"hostvars": {"web1": {"site": site}}}}

    def evaluate(host: str, expression: str) -> str:
        return f"{host} {expression}"

    found = parse(listed, evaluate=evaluate).site
    assert (found.source.git, found.env["A"]) == ("web1 {{ 'a' | own }}", "{{ 'b' | own }}")
    assert parse(listed, evaluate=evaluate, whole=True).site.env["A"] == "web1 {{ 'b' | own }}"


def test_what_ansible_makes_of_a_key_with_a_type_is_what_a_deploy_works_with() -> None:
    """As `fab config.check` does."""
    web = {"wsgi": "a", "workers": "{{ '3' | own }}"}
    site = {**SITE, "web": web, "partitions": [{"table": "{{ 't' | own }}", "key": "k"}]}
    listed = {"_meta": {"hostvars": {"web1": {"site": site}}}, "web": {"hosts": ["web1"]}}

    def evaluate(host: str, expression: str) -> str:
        return expression.split("'")[1]

    found = parse(listed, evaluate=evaluate).site
    assert found == parse(listed, evaluate=evaluate, whole=True).site
    assert found.web is not None
    assert (found.web.workers, found.partitions[0].table) == (3, "t")


def test_fab_asks_ansible_for_no_secret() -> None:
    """Also where a key with a type needs Ansible, or something else is wrong."""
    asked = []

    def evaluate(host: str, expression: str) -> str:
        asked.append(expression.split("'")[1])
        return "3"

    secret = {"secrets": {"A": "{{ 'secret' | own }}"}}
    site = {**SITE, **secret, "releases": {"keep": "{{ 'a' | own }}", "lock_timeout": "{{ 'b' | own }}"}}
    listed = {"_meta": {"hostvars": {"web1": {"site": site}}}}
    assert parse(listed, evaluate=evaluate).site.releases.lock_timeout == 3
    assert sorted(asked) == ["a", "b"]
    asked.clear()
    site["releases"] = {"keep": "many"}
    with pytest.raises(BadInput, match=r"site.releases.keep: must be a whole number"):
        parse(listed, evaluate=evaluate)
    assert asked == []


def test_what_ansible_can_not_resolve_is_named_by_its_key() -> None:
    def evaluate(host: str, expression: str) -> str:
        raise BadInput("no filter own")

    with pytest.raises(BadInput) as caught:
        parse(
            {"_meta": {"hostvars": {"web1": {"site": {"name": "shop", "source": {"git": "{{ 'a' | own }}"}}}}}},
            evaluate=evaluate,
        )
    assert caught.value.message == "site.source.git: no filter own"
