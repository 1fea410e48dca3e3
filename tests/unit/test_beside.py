"""Several sites on one host: what they want together, and what the host remembers of each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hostwright import beside


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
        **more,
    }


def told(*sites: dict[str, Any]) -> str:
    return (
        "systemd=252\n"
        + "".join(f"beside={json.dumps(beside.remembered(found))}\r\n" for found in sites)
        + "python=3.11\n"
    )


def test_a_site_that_was_served_and_is_no_more_is_seen() -> None:
    shop, unserved = site("shop"), site("shop", nginx=[])
    assert [
        beside.together("web1", told(*remembered, site("blog")), own)["left_web"]
        for remembered, own in (([shop], unserved), ([shop], shop), ([unserved], unserved), ([], unserved), ([], shop))
    ] == [True, False, False, False, False]


def test_a_site_alone_is_what_it_wants() -> None:
    shop = site("shop")
    assert beside.together("web1", "systemd=252\n", shop) == {
        "firewall": [{"port": 80}],
        "nginx": shop["nginx"],
        "hba": shop["hba"],
        "ident": shop["ident"],
        "connections": 200,
        "elsewhere": False,
        "left_web": False,
        "objection": "",
    }


def test_expressions_of_the_older_ansible_give_texts() -> None:
    shop = site("shop", connections="30", elsewhere="True")
    wanted = beside.together("web1", told(site("blog")), shop)
    assert (wanted["connections"], wanted["elsewhere"]) == (200, True)
    assert beside.remembered({**shop, "elsewhere": "False"})["elsewhere"] is False


def test_two_sites_want_the_same_whoever_is_provisioned() -> None:
    shop, blog = (
        site("shop", firewall=[{"port": 80}, {"port": 443}]),
        site("blog", firewall=[{"port": 80}, {"port": 8080}]),
    )
    wanted = beside.together("web1", told(shop, blog), shop)
    assert wanted == beside.together("web1", told(shop, blog), blog) == beside.together("web1", told(blog), shop)
    assert wanted["firewall"] == [{"port": 80}, {"port": 8080}, {"port": 443}]
    assert [found["name"] for found in wanted["nginx"]] == ["blog", "shop"]
    assert [rule["database"] for rule in wanted["hba"]] == ["blog", "shop"]


@pytest.mark.parametrize(("each", "both"), [(30, 200), (100, 200), (101, 300), (150, 300)])
def test_a_second_site_seldom_needs_another_number_of_connections(each: int, both: int) -> None:
    shop, blog = site("shop", connections=each), site("blog", connections=each)
    assert beside.together("web1", told(blog), shop)["connections"] == both


def test_what_a_site_wants_now_wins_over_what_the_host_remembers() -> None:
    assert beside.together("web1", told(site("shop", firewall=[{"port": 8080}])), site("shop"))["firewall"] == [
        {"port": 80}
    ]


def test_no_secret_is_remembered() -> None:
    nginx = [{"name": "shop", "tls": "files", "tls_key_pem": "canary", "tls_certificate_pem": "PEM", "tls_key": None}]
    own = site("shop", nginx=nginx, redis=beside.fingerprint("canary"))
    assert "canary" not in json.dumps(beside.remembered(own))
    assert beside.remembered(own)["nginx"] == [{"name": "shop", "tls": "files", "tls_key": None}]
    assert beside.together("web1", told(own), own)["nginx"] == nginx


def test_one_redis_has_one_password() -> None:
    shop, blog = site("shop", redis=beside.fingerprint("one")), site("blog", redis=beside.fingerprint("two"))
    assert beside.together("web1", told(blog), shop) == {
        "objection": "web1: blog is there, and its Redis has another password\n"
        "  services.redis.password is the same for all sites of a host."
    }
    for other, own in ((site("blog"), shop), (blog, site("shop")), (site("blog", redis=shop["redis"]), shop)):
        assert beside.together("web1", told(other), own)["objection"] == ""


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        "{}",
        '{"site": 1}',
        json.dumps({**site("x"), "hba": "all"}),
        json.dumps({**site("x"), "connections": "many"}),
        json.dumps({**site("x"), "ident": ["{{ lookup('pipe', 'id') }}"]}),
        json.dumps({**site("x"), "ident": ["{% raw %}"]}),
    ],
)
def test_what_a_host_may_not_say(line: str) -> None:
    assert beside.together("web1", f"beside={line}\n", site("shop")) == {
        "objection": "web1: one of /etc/hostwright/*/beside.json is not what site.yml wrote\n"
        "  Remove it, and run site.yml for that site again."
    }
