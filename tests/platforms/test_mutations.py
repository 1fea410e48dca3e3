"""The contract can fail: each check finds what is newer than a release, in texts that are otherwise right."""

from __future__ import annotations

import pytest

from tests.platforms import site
from tests.platforms.contract import (
    RELEASES,
    beyond_commands,
    beyond_logrotate,
    beyond_nginx,
    beyond_postgresql,
    beyond_rabbitmq,
    beyond_redis,
    beyond_sql,
    beyond_systemd,
    lines,
)
from tests.roles import render
from tests.unit.roles.test_templates import RENDERED

XENIAL = RELEASES["ubuntu 16.04"]["versions"]


@pytest.mark.parametrize(
    ("line", "since"),
    [
        ("StateDirectory=shop", 235),
        ("ReadWritePaths=/srv/shop", 231),
        ("ProtectSystem=strict", 232),
        ("ProtectHome=tmpfs", 238),
        ("Type=exec", 240),
        ("SystemCallFilter=~@clock", 231),
        ("SystemCallFilter=@system-service", 239),
        ("StandardOutput=append:/var/log/shop", 240),
        ("ExecStartPre=/bin/true\nExecCondition=/bin/true", 243),
        ("LoadCredential=key:/etc/key", 247),
    ],
)
def test_a_newer_line_in_a_unit(line: str, since: int) -> None:
    about = RELEASES["ubuntu 16.04"]
    given = site.by_release("gunicorn", site.host("ubuntu 16.04", about))
    unit = render("gunicorn", "web.service.j2", **{**RENDERED["gunicorn", "web.service.j2"], **given})
    assert beyond_systemd(unit, "229") == []
    mutant = unit.replace("KillMode=mixed\n", f"KillMode=mixed\n{line}\n")
    assert beyond_systemd(mutant, "229") == [line.splitlines()[-1]]
    assert beyond_systemd(mutant, str(since - 1)) == [line.splitlines()[-1]]
    assert beyond_systemd(mutant, str(since)) == []


def test_a_word_that_no_systemd_knows() -> None:
    assert beyond_systemd("[Service]\nProtectsystem=full\nType=simpel\n[Sevice]\nUser=a\n", "259") == [
        "Protectsystem=full",
        "Type=simpel",
        "User=a",
    ]
    assert beyond_systemd("[Timer]\nOnCalendar=8..17:00\n", "229") == ["OnCalendar=8..17:00"]
    assert beyond_systemd("[Unit]\nStateDirectory=a\n", "259") == ["StateDirectory=a"]


@pytest.mark.parametrize("role", ["gunicorn", "celery"])
@pytest.mark.parametrize("release", RELEASES)
def test_a_sandbox_has_every_line_that_its_systemd_knows(release: str, role: str) -> None:
    version = RELEASES[release]["versions"]["systemd"]
    given = RENDERED[role, "sandbox.j2"]
    whole = "[Service]\n" + render(role, "sandbox.j2", **given)
    beyond = set(beyond_systemd(whole, version))
    assert [line for line in lines(whole) if line not in beyond] == [
        "[Service]",
        *lines(render(role, "sandbox.j2", **given, **{f"{role}_systemd_version": version})),
    ]


@pytest.mark.parametrize(
    ("line", "since"),
    [
        ("absolute_redirect off;", "1.11.8"),
        ("ssl_protocols TLSv1.2 TLSv1.3;", "1.13.0"),
        ("return 308 https://$host$request_uri;", "1.13.0"),
        ("proxy_set_header X-Request-ID $request_id;", "1.11.0"),
        ('add_header X-Id "a $request_id" always;', "1.11.0"),
        ("limit_req_dry_run on;", "1.17.1"),
        ("ssl_reject_handshake on;", "1.19.4"),
        ("http2 on;", "1.25.1"),
    ],
)
def test_a_newer_line_for_nginx(line: str, since: str) -> None:
    text = f"server {{\n    listen 80;\n    {line}\n}}\n"
    assert beyond_nginx(text, XENIAL["nginx"]) == [line]
    assert beyond_nginx(text, since) == []


def test_what_nginx_has_dropped_and_what_it_never_had() -> None:
    assert beyond_nginx("server {\n    ssl on;\n}\n", "1.24.0") == []
    assert beyond_nginx("server {\n    ssl on;\n}\n", "1.25.1") == ["ssl on;"]
    assert beyond_nginx("server {\n    lisen 80;\n}\n", "1.28.2") == ["lisen 80;"]
    assert beyond_nginx('map $a $b {\n    volatile "";\n    default "";\n}\nlisen 80;\n', "1.28.2") == ["lisen 80;"]


def test_newer_settings() -> None:
    assert beyond_postgresql("idle_in_transaction_session_timeout = '1s'\nport = '5432'\n", "9.5") == [
        "idle_in_transaction_session_timeout '1s'"
    ]
    assert beyond_postgresql("password_encryption = 'scram-sha-256'\n", "9.6") == [
        "password_encryption 'scram-sha-256'"
    ]
    assert beyond_postgresql("password_encryption = 'scram-sha-256'\nsharedbuffers = '1MB'\n", "10") == [
        "sharedbuffers '1MB'"
    ]
    assert beyond_redis("protected-mode no\nport 6379\nmaxmemory-policy allkeys-lfu\n", "3.0.6") == [
        "protected-mode no",
        "maxmemory-policy allkeys-lfu",
    ]
    assert beyond_redis("protected-mode no\nmaxmemory-policy allkeys-lfu\n", "4.0.9") == []
    assert beyond_rabbitmq("NODE_PORT=5672\nCONFIG_FILES=/etc/a\n", "3.5.7") == ["CONFIG_FILES=/etc/a"]
    assert beyond_logrotate("/var/log/a {\n    daily\n    createolddir\n    minage 2\n}\n", "3.8.7") == [
        "createolddir",
        "minage 2",
    ]


@pytest.mark.parametrize(
    ("command", "release"),
    [
        ("systemctl show --property=Id --value a.service", "ubuntu 16.04"),
        ("systemd-run --wait true", "ubuntu 16.04"),
        ("/usr/sbin/nft -c -f /etc/rules", "ubuntu 16.04"),
        ("environment: {REDISCLI_AUTH: a}", "ubuntu 18.04"),
        ("psql --csv -c 'select 1'", "ubuntu 18.04"),
    ],
)
def test_a_newer_option(command: str, release: str) -> None:
    assert len(beyond_commands(command, RELEASES[release]["versions"])) == 1
    assert beyond_commands(command, RELEASES["debian 13"]["versions"]) == []


@pytest.mark.parametrize(
    ("sql", "since"),
    [
        ("ALTER TABLE a ADD COLUMN IF NOT EXISTS b int", "9.6"),
        ("SELECT current_setting('a.b', true)", "9.6"),
        ("CREATE TABLE a (b int) PARTITION BY RANGE (b)", "10"),
        ("CREATE TRIGGER a AFTER INSERT ON b FOR EACH ROW EXECUTE FUNCTION c()", "11"),
        ("CREATE OR REPLACE TRIGGER a", "14"),
    ],
)
def test_newer_sql(sql: str, since: str) -> None:
    assert len(beyond_sql(sql, "9.5")) == 1
    assert beyond_sql(sql, since) == []
    assert beyond_sql(f"SELECT 1; -- {sql}", "9.5") == []
