"""nginx's file for a site, in each of its variants."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.roles import ROLES, defaults, evaluate, loaded, render, tasks
from tests.unit.roles.test_structure import module
from tests.unit.roles.test_templates import FULL_SITE, SITE


def site(**changes: Any) -> str:
    return render("nginx", "site.conf.j2", item={**FULL_SITE, **changes})


def blocks(text: str) -> list[str]:
    """The `server` blocks."""
    return re.findall(r"^server \{.*?^\}", text, re.MULTILINE | re.DOTALL)


def location(text: str, url: str) -> str:
    found = re.search(rf"^    location {re.escape(url)} \{{(.*?)^    \}}", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no location {url}"
    return found[1]


VARIANTS = [
    {"tls": tls, "rate_limit": rate, "server_names": names, "locations": locations, "static_paths": static}
    for tls, rate, names, locations, static in itertools.product(
        ["none", "self_signed", "files"],
        [None, "20r/s"],
        [[], ["shop.example.com"]],
        [{}, FULL_SITE["locations"]],
        [[], ["/a"], ["/a", "/b"]],
    )
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(str(len(str(value))) for value in v.values()))
def test_every_variant_is_well_formed(variant: dict[str, Any]) -> None:
    text = site(**variant)
    code = re.sub(r'"[^"]*"|^\s*#.*$', "", text, flags=re.MULTILINE)
    depth = 0
    for character in code:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    for line in filter(None, map(str.strip, code.splitlines())):
        assert line.endswith((";", "{", "}")), line
    for block in blocks(text):
        names = re.findall(r"^    location (.*) \{", block, re.MULTILINE)
        assert len(names) == len(set(names)), "a location is there twice"
    assert "None" not in code


def test_a_site_that_answers_for_every_name() -> None:
    text = site(**{**SITE, "tls": "none", "server_names": []})
    assert len(blocks(text)) == 1
    assert "    listen 80 default_server;\n" in text
    assert "    server_name _;\n" in text
    assert "ssl" not in text


def test_a_site_with_names() -> None:
    text = site(tls="none")
    assert "    listen 80;\n" in text
    assert "    server_name shop.example.com *.shop.example.com;\n" in text


def test_tls_from_files_with_a_redirect() -> None:
    plain, secure = blocks(site())
    assert "return 301 https://$host$request_uri;" in plain
    assert "proxy_pass" not in plain
    assert "    listen 443 ssl;\n" in secure
    assert "    ssl_certificate /etc/ssl/certs/x.pem;\n    ssl_certificate_key /etc/ssl/private/x.key;\n" in secure
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in secure
    assert "proxy_pass http://my_shop;" in secure
    assert "add_header Strict-Transport-Security $my_shop_strict_transport_security always;" in secure
    assert '"" "max-age=3600";' in site()


def default(*sites: dict[str, Any], **variables: Any) -> str:
    """The file of the default servers, comments left out."""
    listed = yaml.safe_load(render("nginx", "sites.yml.j2", nginx_sites=list(sites), **variables)) or []
    files = {file["path"]: file["content"] for file in listed}
    return "".join(line + "\n" for line in files.get("hostwright-_default.conf", "").splitlines() if line[:1] != "#")


def test_a_default_server_where_each_site_has_names() -> None:
    named = {**SITE, "server_names": ["shop.example.com"]}
    assert default(named, {**named, "name": "other"}) == (
        "server {\n    listen 80 default_server;\n    listen [::]:80 default_server;\n"
        "    server_name _;\n    server_tokens off;\n    return 404;\n}\n"
    )
    assert default(named, SITE) == ""
    assert default(SITE) == ""
    assert default() == ""
    assert default(named, nginx_default_server=False) == ""
    assert "listen 8080 default_server;" in default({**named, "port": 8080}, SITE)


def test_a_default_server_for_tls_shows_a_certificate_that_is_there() -> None:
    plain, secure = blocks(default(FULL_SITE, nginx_ipv6=False))
    assert "listen 80 default_server;" in plain
    assert secure == (
        "server {\n    listen 443 ssl default_server;\n    server_name _;\n    server_tokens off;\n"
        "    ssl_certificate /etc/ssl/certs/x.pem;\n    ssl_certificate_key /etc/ssl/private/x.key;\n"
        "    ssl_protocols TLSv1.2 TLSv1.3;\n    return 404;\n}"
    )
    own = {**FULL_SITE, "server_names": [], "tls": "self_signed", "tls_port": 8443}
    assert [re.findall(r"listen (\d+)", block) for block in blocks(default(FULL_SITE, own, nginx_ipv6=False))] == [
        ["443"]
    ]


def test_tls_of_our_own_on_another_port_without_a_redirect() -> None:
    plain, secure = blocks(site(tls="self_signed", tls_port=8443, redirect_to_tls=False, hsts_seconds=0))
    assert "proxy_pass" in plain
    assert "proxy_pass" in secure
    assert "    listen 8443 ssl;\n" in secure
    assert "/etc/ssl/certs/hostwright-my-shop.self-signed.pem;" in secure
    assert "Strict-Transport-Security" not in secure
    assert "return 301 https://$host:8443$request_uri;" in site(tls="self_signed", tls_port=8443)


def test_tls_protocols_are_those_that_were_chosen() -> None:
    text = render("nginx", "site.conf.j2", item=FULL_SITE, nginx_tls_protocols=["TLSv1.2"])
    assert "ssl_protocols TLSv1.2;" in text


def test_a_certificate_that_is_given_without_a_path_has_a_place_of_ours() -> None:
    own = "/etc/ssl/certs/hostwright-my-shop.pem;", "/etc/ssl/private/hostwright-my-shop.key;"
    for without in (None, ""):
        secure = blocks(site(tls_certificate=without, tls_key=without))[1]
        assert all(path in secure for path in own)
    assert not any(path in site() for path in own)


def test_a_certificate_of_our_own_is_not_where_one_was_given() -> None:
    """What is there already would stay."""
    own = blocks(site(tls="self_signed", tls_certificate=None, tls_key=None))[1]
    given = blocks(site(tls_certificate=None, tls_key=None))[1]
    places = [set(re.findall(r"(?m)^    ssl_certificate(?:_key)? (.*);", text)) for text in (own, given)]
    assert [len(found) for found in places] == [2, 2]
    assert places[0].isdisjoint(places[1])
    made = next(module(task)[1] for _, task in tasks("nginx") if task["name"] == "Make a certificate of our own")
    named = evaluate(made["argv"], {"_nginx_site": {**FULL_SITE, "tls": "self_signed"}})
    assert places[0] <= set(named)
    assert evaluate(made["creates"], {"_nginx_site": FULL_SITE}) in places[0]


@pytest.mark.parametrize(
    ("names", "alternative"),
    [
        (["shop.example.com", "www.example.com"], ["DNS:shop.example.com", "DNS:www.example.com"]),
        ([".example.com"], ["DNS:example.com", "DNS:*.example.com"]),
        (["*.example.com", "192.0.2.1"], ["DNS:*.example.com", "IP Address:192.0.2.1"]),
        ([f"{'a' * 63}.example.com"], [f"DNS:{'a' * 63}.example.com"]),
        (["~^(www\\d+)\\.example$", "shop.example.com"], ["DNS:shop.example.com"]),
        ([], ["DNS:my-shop"]),
    ],
)
def test_a_certificate_of_our_own_is_for_all_names(tmp_path: Path, names: list[str], alternative: list[str]) -> None:
    made, task = next((module(task)[1], task) for _, task in tasks("nginx") if task["name"].startswith("Make a certif"))
    known = {**task["vars"], "_nginx_site": {**FULL_SITE, "server_names": names, "tls": "self_signed"}}
    words = evaluate(made["argv"], known)
    argv = [str(tmp_path / Path(word).name) if "self-signed" in word else word for word in words]
    subprocess.run(argv, input=evaluate(made["stdin"], known), text=True, check=True, capture_output=True)
    shown = subprocess.run(
        ["openssl", "x509", "-in", argv[-1], "-noout", "-ext", "subjectAltName,basicConstraints"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert shown.splitlines()[-1].strip().split(", ") == alternative
    assert "CA:TRUE" in shown


def test_a_pair_that_is_given_is_checked_as_the_site_uses_it() -> None:
    block = next(task for _, task in tasks("nginx") if "block" in task)
    check = next(module(task)[1]["check"] for task in block["block"])
    template = ROLES / "nginx" / "templates" / "certificate.j2"
    pair = block["vars"]["_nginx_pair"].replace("'certificate.j2'", f"'{template}'")
    known = {**defaults("nginx"), "_nginx_site": {**FULL_SITE, "tls_port": 8443}, "_nginx_pair": pair}
    program, option, script = shlex.split(evaluate(check, known))
    assert (program, option) == ("sh", "-c")
    said = subprocess.run(["sh", "-n", "-c", script], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    asked = " ".join(script.split())
    assert "listen 8443 ssl; ssl_certificate /etc/ssl/certs/x.pem; ssl_certificate_key /etc/ssl/private/x.key;" in asked


def kept(*sites: dict[str, Any]) -> Any:
    known = {**loaded("nginx", "vars/main.yml"), "nginx_sites": list(sites)}
    return evaluate("{{ _nginx_own_certificates }}", known)


def test_certificates_of_ours_stay_as_long_as_a_site_has_them() -> None:
    given = {**FULL_SITE, "tls_certificate": None, "tls_key": None, "tls_key_pem": "PEM"}
    assert kept({**SITE, "tls": "self_signed"}, {**given, "name": "other"}) == ["my-shop.self-signed", "other"]
    assert kept(FULL_SITE, {**SITE, "name": "plain"}) == []


def test_an_upstream_may_be_an_address() -> None:
    assert "    server 127.0.0.1:8000 max_fails=0;\n" in site(upstream="127.0.0.1:8000")


def test_the_upstream_is_one_socket_that_is_never_held_for_dead() -> None:
    text = site()
    assert "upstream my_shop {\n    server unix:/run/my-shop/web.sock max_fails=0;\n}" in text
    assert "keepalive" not in text.replace("Connections are not kept alive", "")


def test_the_application_is_told_who_asks() -> None:
    asked = location(site(tls="none"), "/")
    for line in (
        "proxy_set_header Host $http_host;",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_hide_header X-Hostwright-Release;",
        "proxy_read_timeout 45s;",
    ):
        assert line in asked


def test_a_rate_limit_is_for_the_application_alone() -> None:
    text = site(tls="none")
    assert "limit_req_zone $binary_remote_addr zone=my_shop:10m rate=20r/s;\n" in text
    assert "limit_req zone=my_shop burst=30 nodelay;" in location(text, "/")
    assert "limit_req " not in location(text, "/static/")
    assert "limit_req" not in site(rate_limit=None)
    assert "limit_req" not in site(rate_limit="")


def test_static_files_of_both_releases() -> None:
    text = site(tls="none")
    assert "alias /srv/shop/current/static/;" in location(text, "/static/")
    assert "error_page 404 = @my_shop_static;" in location(text, "/static/")
    assert "root /srv/shop/previous/static;" in location(text, "@my_shop_static")
    assert "@my_shop_static" not in site(tls="none", static_paths=["/a"])


def test_further_locations_end_with_a_slash() -> None:
    text = site(tls="none")
    assert "alias /srv/shop/shared/media/;" in location(text, "/media/")
    assert "alias /srv/docs/;" in location(text, "/docs/")


def test_nothing_beside_a_location_is_shown() -> None:
    """nginx puts what follows the prefix behind the directory: /docs../x would be beside it."""
    text = site(tls="none", locations={"/docs": "/srv/docs", "/more/": "/srv/more/"})
    for prefix, directory in re.findall(r"location (\S+) \{\s+alias (\S+);", text):
        assert prefix.endswith("/"), prefix
        assert directory.endswith("/"), directory
    assert "alias /srv/docs/;" in location(text, "/docs/")


def test_maintenance_is_a_file() -> None:
    text = site(tls="none")
    assert "if (-f /srv/shop/maintenance) {\n            return 503;" in location(text, "/")
    assert "Retry-After" in location(text, "@unavailable")
    assert "client_max_body_size 5m;" in text


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=3600",
}


@pytest.mark.parametrize("url", ["/", "/static/", "/media/", "@unavailable"])
def test_every_answer_has_the_headers(url: str) -> None:
    secure = blocks(site())[1]
    for header in HEADERS:
        variable = header.lower().replace("-", "_")
        assert f"add_header {header} $my_shop_{variable} always;" in location(secure, url)


def test_a_header_that_the_application_sets_stays_alone() -> None:
    for header, value in HEADERS.items():
        variable = header.lower().replace("-", "_")
        mapping = f'map $upstream_http_{variable} $my_shop_{variable} {{\n    "" "{value}";\n    default "";\n}}'
        assert mapping in site()
