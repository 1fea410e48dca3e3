"""What a role says of its variables before it does anything: the role's own example passes, what is wrong is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.roles import NAMES, ROLES, defaults, loaded

GIVEN: dict[str, Any] = {
    "vault_database_password": "a",
    "vault_redis_password": "a",
    "vault_amqp_password": "a",
    "site": {"name": "shop", "source": {"git": "."}},
}
"""What the examples refer to."""

SITE = {"name": "shop", "upstream": "/run/shop.sock", "port": 80}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("celery", {"celery_site": "Shop"}, "celery_site must be set, to a name such as shop"),
    (
        "celery",
        {"celery_allowed_addresses": ["localhost"], "celery_systemd_version": 229},
        "celery_allowed_addresses: systemd 229 limits no addresses; 235 and newer do",
    ),
    ("firewall", {"firewall_ssh_ports": []}, "or nobody gets in any more"),
    ("gunicorn", {"gunicorn_application": "shop/wsgi.py"}, "such as shop and shop.wsgi:application"),
    (
        "gunicorn",
        {"gunicorn_allowed_addresses": ["localhost"], "gunicorn_systemd_version": 229},
        "gunicorn_allowed_addresses: systemd 229 limits no addresses; 235 and newer do",
    ),
    ("nginx", {"nginx_sites": [SITE, SITE]}, "each needs a name of its own"),
    ("nginx", {"nginx_sites": [SITE, {**SITE, "name": "other"}]}, "one for each port may be without server_names"),
    ("nginx", {"nginx_sites": [{**SITE, "name": "a/b"}]}, "each needs a name of its own, such as my-shop"),
    ("nginx", {"nginx_sites": [{**SITE, "tls": "files"}]}, "tls: files needs tls_certificate and tls_key"),
    ("partition", {"partition_site": ""}, "partition_site must be set"),
    ("postgresql", {"postgresql_databases": [{"name": "a", "owner": "b"}]}, "must be one of postgresql_roles"),
    (
        "postgresql",
        {"postgresql_hba": [{"type": "host", "database": "a", "user": "a", "method": "md5"}]},
        "each of postgresql_hba needs an address",
    ),
    ("rabbitmq", {"rabbitmq_users": [{"name": "a", "password": " a", "vhost": "a"}]}, "needs a password of one line"),
    ("redis", {"redis_bind": "0.0.0.0", "redis_password": ""}, "Redis may listen on 127.0.0.1 alone, not on 0.0.0.0"),
    ("redis", {"redis_maxmemory": "lots"}, "redis_maxmemory is a size such as 256mb"),
    ("redis", {"redis_keep": ["binds"]}, "redis_keep holds names of bind, port"),
    ("release", {"release_contract": {}}, "release_site and release_contract must be set"),
    (
        "users",
        {"users_sudo_rules": [{"name": "a", "user": "a", "command": "/bin/cat *"}]},
        "an absolute command with exact arguments",
    ),
    (
        "users",
        {"users_sudo_rules": [{"name": "a.b", "user": "a", "command": "/bin/true"}]},
        "a sudo rule needs a name of letters, digits, - and _",
    ),
]


def example(role: str) -> dict[str, Any]:
    """The variables of the role's own example."""
    play = yaml.safe_load(loaded(role, "meta/argument_specs.yml")["argument_specs"]["main"]["examples"])[0]
    given: dict[str, Any] = play["roles"][0]["vars"]
    if role == "release":
        return {"release_site": "shop", "release_contract": {"version": 1}}
    # Its key is read from a file of the reader's.
    return {**given, "users_accounts": [{"name": "deploy"}]} if role == "users" else given


def unknown(role: str) -> dict[str, Any]:
    return {f"{role}_no_such": 1}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the preflight of each role said to each set of variables, in one run; nothing where it passed."""
    cases = [(f"{role} example", role, example(role)) for role in NAMES]
    cases += [(f"{role} unknown", role, {**example(role), **unknown(role)}) for role in NAMES]
    cases += [(f"wrong {number}", role, {**example(role), **given}) for number, (role, given, _) in enumerate(WRONG)]
    tasks = [
        {
            "block": [
                {
                    "ansible.builtin.include_role": {"name": role, "tasks_from": "preflight.yml"},
                    "vars": variables,
                },
            ],
            "rescue": [
                {
                    "ansible.builtin.set_fact": {
                        "said": "{{ said | combine({case: ansible_failed_result.msg}) }}",
                    },
                    "vars": {"case": case},
                }
            ],
        }
        for case, role, variables in cases
    ]
    directory = tmp_path_factory.mktemp("preflight")
    tasks.append({"ansible.builtin.copy": {"content": "{{ said | to_json }}", "dest": str(directory / "said.json")}})
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": {"said": {}, **GIVEN}}
    # With a filter there, Ansible loads all of them once, and not for each task.
    play["serial"] = "{{ 1 | default(1) }}"
    (directory / "play.yml").write_text(yaml.safe_dump([{**play, "tasks": tasks}]), encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", str(directory / "play.yml")],
        cwd=ROLES.parent,
        env={**os.environ, "ANSIBLE_ROLES_PATH": str(ROLES), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "[DEPRECATION WARNING]" not in done.stdout + done.stderr
    answer: dict[str, str] = json.loads((directory / "said.json").read_text())
    return answer


@pytest.mark.parametrize("role", NAMES)
def test_the_roles_own_example_passes(said: dict[str, str], role: str) -> None:
    assert said.get(f"{role} example", "") == ""


@pytest.mark.parametrize("role", NAMES)
def test_a_variable_that_the_role_does_not_have_is_named(said: dict[str, str], role: str) -> None:
    known = ", ".join(defaults(role))
    assert said[f"{role} unknown"] == f"the role {role} has no {role}_no_such; it has {known}"


@pytest.mark.parametrize("number", range(len(WRONG)), ids=[f"{role}-{message}" for role, _, message in WRONG])
def test_a_wrong_value_is_explained(said: dict[str, str], number: int) -> None:
    assert WRONG[number][2] in said[f"wrong {number}"]
