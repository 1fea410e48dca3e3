"""Each role's verify.yml: it passes on a finished host, and fails once the service does not do its work any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.hosts.labs import Fleet, all_hosts, fleet

pytestmark = [pytest.mark.hosts, all_hosts]

SITE = {"name": "shop", "upstream": "/run/shop/web.sock", "port": 80, "server_names": []}
RULE = {"name": "x", "user": "deploy", "command": "/usr/local/sbin/hostwright-engine shop"}
ROLES: dict[str, dict[str, Any]] = {
    "users": {"users_sudo_rules": [RULE]},
    "firewall": {"firewall_rules": [{"port": 80}]},
    "journald": {},
    "logrotate": {},
    "postgresql": {"postgresql_databases": [{"name": "shop", "owner": "shop"}]},
    "redis": {"redis_password": "{{ shop_redis_password }}"},
    "virtualenv": {},
    "release": {"release_site": "shop"},
    "partition": {"partition_site": "shop"},
    "gunicorn": {"gunicorn_site": "shop"},
    "celery": {
        "celery_site": "shop",
        "celery_timers": [{"name": "clear-sessions", "exec_start": "true", "calendar": "daily", "timeout": 1}],
    },
    "nginx": {"nginx_sites": [SITE]},
}
"""Role -> the variables with which it verifies the sample site."""

BROKEN = {
    "users": "rm /etc/sudoers.d/hostwright-shop",
    "firewall": "nft delete table inet hostwright",
    "journald": "printf '[Journal]\\nStorage=volatile\\n' > /etc/systemd/journald.conf.d/zz.conf;"
    " systemctl restart systemd-journald; rm -r /var/log/journal/*",
    "logrotate": "echo '/var/log/hostwright/*/*.log {}' > /etc/logrotate.d/twice",
    "postgresql": "systemctl stop postgresql",
    "redis": "systemctl stop redis-server",
    "virtualenv": "mv /usr/lib/python3.11/ensurepip /mnt",
    "release": "rm -r /usr/local/lib/hostwright/hostwright_engine",
    "partition": "rm /usr/local/sbin/hostwright-maintain",
    "gunicorn": "rm /etc/systemd/system/shop-web@.socket; systemctl daemon-reload",
    "celery": "systemctl stop shop-timer-clear-sessions.timer",
    "nginx": "systemctl stop nginx",
}
"""Role -> what takes away its work."""

MENDED = {
    "firewall": "systemctl restart hostwright-firewall",
    "journald": "rm /etc/systemd/journald.conf.d/zz.conf; systemctl restart systemd-journald",
    "logrotate": "rm /etc/logrotate.d/twice",
    # The maintenance of partitions asks it.
    "postgresql": "systemctl start postgresql",
    "virtualenv": "mv /mnt/ensurepip /usr/lib/python3.11",
}
"""Role -> what undoes that, where site.yml does not, or another role's check needs it."""


UNREAD = {
    "firewall": ("/etc/hostwright-firewall.nft", "Load the rules"),
    "journald": ("/etc/systemd/journald.conf.d/hostwright.conf", "Restart journald"),
    "postgresql": ("/etc/postgresql/*/main/conf.d/hostwright.conf", "Restart PostgreSQL"),
    "redis": ("/etc/redis/redis.conf", "Restart Redis"),
    "nginx": ("/etc/nginx/conf.d/hostwright-*.conf", "Reload nginx"),
}
"""Role -> a file of its service's, and the handler that has it read."""


@pytest.fixture(scope="module")
def host() -> Iterator[Fleet]:
    with fleet("roles", "one") as made:
        made.run("ansible-playbook", "playbooks/bootstrap.yml")
        made.provision()
        yield made


def verify(host: Fleet, directory: Path, roles: dict[str, dict[str, Any]], status: int = 0) -> str:
    tasks = [
        {"ansible.builtin.include_role": {"name": role, "tasks_from": "verify.yml"}, "vars": variables}
        for role, variables in roles.items()
    ]
    playbook = directory / "verify.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "become": True, "tasks": tasks}]))
    return host.run("ansible-playbook", str(playbook), status=status)


def test_every_role_is_here() -> None:
    there = {path.parents[1].name for path in Path("roles").glob("*/tasks/verify.yml")}
    assert there - {"rabbitmq"} == set(ROLES) == set(BROKEN)


def test_a_finished_host_passes(host: Fleet, tmp_path: Path) -> None:
    verify(host, tmp_path, ROLES)


@pytest.mark.parametrize("role", BROKEN)
def test_a_broken_service_fails(host: Fleet, tmp_path: Path, role: str) -> None:
    checked = {role: ROLES[role]}
    # What was broken before has not taken away its work too.
    verify(host, tmp_path, checked)
    host.on_host("sh", "-ec", BROKEN[role])
    try:
        assert f"TASK [{role} : " in verify(host, tmp_path, checked, status=2)
    finally:
        host.on_host("sh", "-ec", MENDED.get(role, "true"))


def test_the_next_run_repairs_all(host: Fleet, tmp_path: Path) -> None:
    host.provision()
    verify(host, tmp_path, ROLES)


def test_what_a_run_has_left_unread_is_put_in_force_by_the_next(host: Fleet) -> None:
    """As where it was broken off between the file and its handler; the access rules alone need no restart."""
    host.on_host("sh", "-ec", f"touch {' '.join(path for path, _ in UNREAD.values())}")
    printed = host.run("ansible-playbook", "playbooks/site.yml")
    for role, (_, handler) in UNREAD.items():
        assert f"RUNNING HANDLER [{role} : {handler}]" in printed
    host.changes_nothing("playbooks/site.yml")
    host.on_host("sh", "-ec", "touch /etc/postgresql/*/main/pg_hba.conf")
    printed = host.run("ansible-playbook", "playbooks/site.yml")
    assert "RUNNING HANDLER [postgresql : Reload PostgreSQL]" in printed
    assert "Restart PostgreSQL" not in printed
    host.changes_nothing("playbooks/site.yml")
