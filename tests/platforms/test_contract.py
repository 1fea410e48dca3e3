"""Every role on every release: each directive, value, option and package that it would use there is known there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from hostwright.partition import render as render_sql
from tests.platforms import site
from tests.platforms.contract import (
    POSTGRESQL,
    RELEASES,
    beyond_commands,
    beyond_logrotate,
    beyond_nginx,
    beyond_postgresql,
    beyond_rabbitmq,
    beyond_redis,
    beyond_sql,
    beyond_systemd,
    newer,
    number,
)
from tests.roles import NAMES, ROLES, defaults, evaluate, render, tasks
from tests.unit.roles.test_structure import module
from tests.unit.roles.test_templates import FULL_SITE, PROCESS, RENDERED

Checker = Callable[[str, str], list[str]]

CHECKED: dict[str, tuple[str, Checker]] = {
    r"\.(service|socket|timer)\.j2$|/online\.conf\.j2$": ("systemd", beyond_systemd),
    r"^journald\.conf\.j2$": ("systemd", beyond_systemd),
    r"^nginx/(.*\.conf|certificate)\.j2$": ("nginx", beyond_nginx),
    r"^postgresql/.*\.conf\.j2$": ("postgresql", beyond_postgresql),
    r"^redis/.*\.conf\.j2$": ("redis", beyond_redis),
    r"^rabbitmq/rabbitmq-env": ("rabbitmq", beyond_rabbitmq),
    r"^rabbitmq/restart": ("systemd", beyond_systemd),
    r"^logrotate/": ("logrotate", beyond_logrotate),
}
"""The check of each template, by a part of ROLE/NAME."""

OTHERS = {
    r"/sandbox\.j2$|/(units|sites)\.yml\.j2$": "part of, or a list of, files that are checked",
    r"^apt/": "settings of apt, which passes over what it does not know",
    r"^firewall/firewall\.nft\.j2$": "the rules keep to nftables 0.5; test_rules_are_old_enough",
    r"tmpfiles\.conf\.j2$": "lines of type d alone; test_directories_are_of_the_oldest_type",
    r"^gunicorn/gunicorn\.conf\.py\.j2$": "Python of the application",
    r"^release/hostwright-engine\.j2$": "a shell script; its command is Python's",
}
"""The templates that need none, and why."""

MORE: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("celery", "process.service.j2"): [{}, {"item": {**PROCESS, "notify": True}}],
    ("nginx", "site.conf.j2"): [{}, {"item": {**FULL_SITE, "tls": "self_signed", "redirect_to_tls": False}}],
}
"""Variants of what a template is given."""

TEMPLATES = sorted(RENDERED)


def check_of(role: str, template: str) -> tuple[str, Checker] | None:
    name = f"{role}/{template}"
    if any(re.search(pattern, name) for pattern in OTHERS):
        return None
    return next(check for pattern, check in CHECKED.items() if re.search(pattern, name) or re.search(pattern, template))


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(("role", "template"), TEMPLATES, ids=lambda value: value)
def test_a_template_keeps_to_what_the_release_knows(release: str, role: str, template: str) -> None:
    about = RELEASES[release]
    given = {**RENDERED[role, template], **site.by_release(role, site.host(release, about))}
    given |= {"ansible_python_interpreter": about["interpreter"]}
    if role == "postgresql":
        given["_postgresql_etc"] = f"/etc/postgresql/{about['versions']['postgresql']}/main"
    check = check_of(role, template)
    for variant in MORE.get((role, template), [{}]):
        text = render(role, template, **{**given, **variant})
        if check:
            program, beyond = check
            assert beyond(text, about["versions"][program]) == []


@pytest.mark.parametrize("release", RELEASES)
def test_access_rules_of_postgresql(release: str) -> None:
    server = RELEASES[release]["versions"]["postgresql"]
    known = {"_postgresql_etc": f"/etc/postgresql/{server}/main"}
    expressions = yaml.safe_load((ROLES / "postgresql" / "vars" / "main.yml").read_text())
    method = evaluate("{{ _postgresql_password_method }}", {**expressions, **known})
    assert not newer(POSTGRESQL["hba_methods"], method, server)
    asked = evaluate("{{ _postgresql_wrong_rules }}", {**expressions, **known})
    assert ("pg_hba_file_rules" in asked, beyond_sql(asked, server)) == (number(server) >= (10,), [])


@pytest.mark.parametrize("release", RELEASES)
def test_packages_are_there(release: str) -> None:
    about = RELEASES[release]
    there = {*about["packages"], *about.get("python2_packages", [])}
    wanted = set(site.packages(site.host(release, about)))
    for role in NAMES:
        listed = defaults(role).get(f"{role}_packages", [])
        variables = {**defaults(role), "ansible_python_interpreter": about["interpreter"]}
        wanted |= set(evaluate(listed, variables) if isinstance(listed, str) else listed)
    assert wanted - there == set()
    assert {"nginx", "postgresql", "redis-server", "rabbitmq-server", "python3-venv"} <= wanted


@pytest.mark.parametrize("release", RELEASES)
def test_ansible_gets_the_libraries_of_its_own_python(release: str) -> None:
    about = RELEASES[release]
    wanted = site.packages(site.host(release, about))
    assert ("python-psycopg2" in wanted) is ("2.7" in about["interpreter"])
    assert ("python3-psycopg2" in wanted) is ("2.7" not in about["interpreter"])


def texts_of_commands() -> dict[str, str]:
    """All that is run on hosts: raw and command tasks of playbooks and roles, units, programs, and the engine."""
    found = {}
    for role in NAMES:
        for file, task in tasks(role):
            name, arguments = module(task)
            if name in ("raw", "command", "hostwright_files"):
                argv = yaml.safe_dump(arguments, width=9999)
                if "argv" in arguments:
                    argv = " ".join(map(str, arguments["argv"]))
                found[f"{role}/{file}: {task['name']}"] = argv + str(task.get("environment", ""))
    for path in [*(site.ROOT / "playbooks").rglob("*.yml"), *ROLES.glob("*/files/**/*"), *ROLES.glob("*/templates/*")]:
        if path.is_file() and "__pycache__" not in path.parts:
            found[str(path.relative_to(site.ROOT))] = path.read_text(encoding="utf-8")
    return found


@pytest.mark.parametrize("release", RELEASES)
def test_commands_have_no_option_that_is_newer(release: str) -> None:
    versions = RELEASES[release]["versions"]
    beyond = {where: beyond_commands(text, versions) for where, text in texts_of_commands().items()}
    assert {where: found for where, found in beyond.items() if found} == {}


@pytest.mark.parametrize("release", RELEASES)
def test_sql_of_the_roles_is_old_enough(release: str) -> None:
    server = RELEASES[release]["versions"]["postgresql"]
    for where, text in texts_of_commands().items():
        assert beyond_sql(text, server) == [], where


@pytest.mark.parametrize("release", RELEASES)
def test_sql_of_partitions_is_old_enough(release: str) -> None:
    server = RELEASES[release]["versions"]["postgresql"]
    version = float(server)
    library = render_sql.library(version, render_sql.stamp(version))
    # What the declarative strategy executes is text to a server that has no partitioned tables.
    statements = re.sub(r"'[^'\n]*\bPARTITION\b[^'\n]*'", "''", re.sub(r"--.*", "", library))
    assert beyond_sql(statements, server) == []


def test_rules_are_old_enough() -> None:
    """nftables 0.5 has families, policies of chains, sets and states: what these came without is not used."""
    words = set(
        re.findall(r"[a-z]{2,}", render("firewall", "firewall.nft.j2", **RENDERED["firewall", "firewall.nft.j2"]))
    )
    assert {"flowtable", "synproxy", "typeof", "socket", "ct helper", "masquerade", "include"} & words == set()


@pytest.mark.parametrize("role", ["gunicorn", "release"])
def test_directories_are_of_the_oldest_type(role: str) -> None:
    text = render(role, "tmpfiles.conf.j2", **RENDERED[role, "tmpfiles.conf.j2"])
    assert {line.split()[0] for line in text.splitlines() if line and not line.startswith("#")} == {"d"}


def test_every_template_is_checked_or_there_is_a_reason() -> None:
    names = [f"{role}/{template}" for role, template in TEMPLATES]
    assert all(
        check_of(role, template) or any(re.search(o, f"{role}/{template}") for o in OTHERS)
        for role, template in TEMPLATES
    )
    assert [reason for reason in OTHERS if not any(re.search(reason, name) for name in names)] == []
