"""Several sites on one host: what they want together, and what the host remembers of each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hostwright.hosts import sites


def site(name: str, **more: Any) -> dict[str, Any]:
    return {
        "site": name,
        "firewall": [{"port": 80}],
        "nginx": [{"name": name, "server_names": [f"{name}.example.com"]}],
        "hba": [{"type": "local", "database": name}],
        "ident": [{"map": "hostwright", "system_user": name}],
        "connections": 30,
        "elsewhere": False,
        "redis": "",
        "redis_databases": 0,
        "partitions": False,
        "processes": ["worker-default"],
        **more,
    }


def remembered(own: dict[str, Any], text: str = "", **tags: list[str]) -> Any:
    return sites.together("web1", text, own, **tags)["remembered"]


def told(*found: dict[str, Any]) -> str:
    lines = "".join(f"beside={json.dumps(remembered(one))}\r\n" for one in found)
    return f"systemd=252\n{lines}python=3.11\n"


@pytest.mark.parametrize(
    ("key", "had", "nothing"),
    [
        ("nginx", [{"name": "shop"}], []),
        ("hba", [{"type": "local"}], []),
        ("partitions", True, False),
        ("processes", ["relay"], []),
    ],
)
def test_what_a_site_had_and_has_no_more_is_seen(key: str, had: Any, nothing: Any) -> None:
    empty: dict[str, Any] = {"nginx": [], "hba": [], "partitions": False, "processes": []}
    shop, without = site("shop", **{**empty, key: had}), site("shop", **{**empty, key: nothing})
    assert [
        sites.together("web1", told(*before, site("blog")), own)["left"]
        for before, own in (([shop], without), ([shop], shop), ([without], without), ([], without), ([], shop))
    ] == [[key], [], [], [], []]


def test_a_run_with_tags_remembers_what_it_did() -> None:
    before, now = site("shop"), site("shop", nginx=[], processes=[], hba=[], firewall=[], redis_databases=20)
    text = told(before)
    everything = remembered(now, text)
    assert (everything["nginx"], everything["processes"], everything["redis_databases"]) == ([], [], 20)
    of_redis = remembered(now, text, tags=["redis"])
    assert (of_redis["firewall"], of_redis["redis_databases"], of_redis["site"]) == ([], 20, "shop")
    assert (of_redis["nginx"][0]["name"], of_redis["processes"]) == ("shop", before["processes"])
    assert remembered(now, text, tags=["firewall"])["nginx"] != []
    assert remembered(now, text, tags=["nginx"])["nginx"] == []
    assert remembered(now, text, tags=["all"], skipped=["nginx"])["nginx"] != []
    # Of a first run, what the others would have done is not there yet.
    assert remembered(before, "", tags=["firewall"])["nginx"] == []
    assert remembered(before, "", tags=["tagged"])["nginx"] != []


def test_a_certificate_that_was_given_is_there_for_the_other_site() -> None:
    shop = site("shop", nginx=[{"name": "shop", "tls": "files", "tls_certificate": None, "tls_key_pem": "canary"}])
    (seen,) = sites.together("web1", told(shop), site("blog", nginx=[]))["nginx"]
    assert seen == {"name": "shop", "tls": "files", "tls_certificate": None, "tls_given": True}


def test_no_two_sites_have_a_unit_of_one_name() -> None:
    shop, other = site("shop", processes=["eu-web"]), site("shop-eu")
    said = sites.together("web1", told(shop), other)["objection"]
    assert said.startswith("web1: shop is there, and has a unit of the same name: shop-eu-web\n")
    assert sites.together("web1", told(site("shop", processes=["eu"])), other)["objection"] == ""


def test_a_site_alone_is_what_it_wants() -> None:
    shop = site("shop")
    assert sites.together("web1", "systemd=252\n", shop) == {
        "firewall": [{"port": 80}],
        "nginx": shop["nginx"],
        "hba": shop["hba"],
        "ident": shop["ident"],
        "connections": 200,
        "elsewhere": False,
        "redis_databases": 0,
        "left": [],
        "remembered": shop,
        "objection": "",
    }


def test_expressions_of_the_older_ansible_give_texts() -> None:
    given = {"name": "shop", "port": "8080", "tls_port": "443", "hsts_seconds": None}
    shop = site("shop", connections="30", elsewhere="True", nginx=[given], redis_databases="17", partitions="True")
    wanted = sites.together("web1", told(site("blog")), shop)
    assert (wanted["connections"], wanted["elsewhere"], wanted["redis_databases"]) == (200, True, 17)
    assert wanted["nginx"][1] == {"name": "shop", "port": 8080, "tls_port": 443, "hsts_seconds": None}
    kept = remembered({**shop, "elsewhere": "False"})
    assert (kept["elsewhere"], kept["partitions"]) == (False, True)
    # A host was told so before.
    line = json.dumps({**site("blog"), "nginx": [{"name": "blog", "port": "8080"}]})
    assert sites.together("web1", f"beside={line}\n", shop)["nginx"][0]["port"] == 8080


def test_an_older_record_is_read() -> None:
    older = {k: v for k, v in site("blog").items() if k not in ("processes", "partitions", "redis_databases")}
    assert sites.together("web1", f"beside={json.dumps(older)}\n", site("shop"))["objection"] == ""


def test_two_sites_want_the_same_whoever_is_provisioned() -> None:
    shop, blog = (
        site("shop", firewall=[{"port": 80}, {"port": 443}]),
        site("blog", firewall=[{"port": 80}, {"port": 8080}]),
    )
    wanted, of_blog, of_first = (
        {**sites.together("web1", text, own), "remembered": None}
        for text, own in ((told(shop, blog), shop), (told(shop, blog), blog), (told(blog), shop))
    )
    assert wanted == of_blog == of_first
    assert wanted["firewall"] == [{"port": 80}, {"port": 8080}, {"port": 443}]
    assert [found["name"] for found in wanted["nginx"]] == ["blog", "shop"]
    assert [rule["database"] for rule in wanted["hba"]] == ["blog", "shop"]


@pytest.mark.parametrize(("each", "both"), [(30, 200), (100, 200), (101, 300), (150, 300)])
def test_a_second_site_seldom_needs_another_number_of_connections(each: int, both: int) -> None:
    shop, blog = site("shop", connections=each), site("blog", connections=each)
    assert sites.together("web1", told(blog), shop)["connections"] == both


def test_what_a_site_wants_now_wins_over_what_the_host_remembers() -> None:
    assert sites.together("web1", told(site("shop", firewall=[{"port": 8080}])), site("shop"))["firewall"] == [
        {"port": 80}
    ]


def test_no_secret_is_remembered() -> None:
    nginx = [{"name": "shop", "tls": "files", "tls_key_pem": "canary", "tls_certificate_pem": "PEM", "tls_key": None}]
    own = site("shop", nginx=nginx, redis=sites.fingerprint("canary"))
    assert "canary" not in json.dumps(remembered(own))
    assert remembered(own)["nginx"] == [{"name": "shop", "tls": "files", "tls_key": None, "tls_given": True}]
    assert sites.together("web1", told(own), own)["nginx"] == nginx


def test_one_redis_has_one_password() -> None:
    shop, blog = site("shop", redis=sites.fingerprint("one")), site("blog", redis=sites.fingerprint("two"))
    assert sites.together("web1", told(blog), shop) == {
        "objection": "web1: blog is there, and its Redis has another password\n"
        "  services.redis.password is the same for all sites of a host."
    }
    for other, own in ((site("blog"), shop), (blog, site("shop")), (site("blog", redis=shop["redis"]), shop)):
        assert sites.together("web1", told(other), own)["objection"] == ""


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        "{}",
        '{"site": 1}',
        json.dumps({**site("x"), "hba": "all"}),
        json.dumps({**site("x"), "connections": "many"}),
        json.dumps({**site("x"), "nginx": ["x"]}),
        json.dumps({**site("x"), "nginx": [{"port": "many"}]}),
        json.dumps({**site("x"), "ident": ["{{ lookup('pipe', 'id') }}"]}),
        json.dumps({**site("x"), "ident": ["{% raw %}"]}),
    ],
)
def test_what_a_host_may_not_say(line: str) -> None:
    assert sites.together("web1", f"beside={line}\n", site("shop")) == {
        "objection": "web1: one of /etc/hostwright/*/beside.json is not what site.yml wrote\n"
        "  Remove it, and run site.yml for that site again."
    }
