"""Roles without the rest, from the installed collection by full names: as they come, with everything changed, and back.

A host that is bare but for Python and sudo. What a role makes for a variable is taken away when the variable has its
default again; accounts, databases and their roles are nobody's to remove.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml

from tests.collection import ROOT, ansible, build, install
from tests.hosts.labs import Fleet, all_hosts, certificate, fleet
from tests.roles import defaults

pytestmark = [pytest.mark.hosts, all_hosts]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ann@example.com"
RESTART = "/usr/bin/systemctl restart nginx --no-block --quiet --no-ask-password --job-mode=replace-irreversibly"
SITE = {
    "name": "blog",
    "upstream": "127.0.0.1:8000",
    "server_names": ["blog.example.com"],
    "port": 8081,
    "tls": "self_signed",
    "tls_port": 8443,
    "redirect_to_tls": False,
    "hsts_seconds": 60,
    "static_url": "/static/",
    "static_paths": ["/srv/a", "/srv/b"],
    "locations": {"/docs/": "/usr/share/doc/"},
    "upload_limit": "2m",
    "rate_limit": "9r/s",
    "rate_burst": 4,
    "timeout": 12,
    "maintenance_file": "/srv/maintenance",
}

BLOG = {
    "name": "blog",
    "source": {"git": "https://git.example.com/blog.git", "ref": "main"},
    "dependencies": {"packages": ["gunicorn==23.0.0"]},
    "web": {"wsgi": "blog.wsgi:application", "domains": ["blog.example.com"]},
    "health": {"path": "/"},
}
RELEASE = {
    "release_site": "blog",
    "blog": BLOG,
    "release_contract": "{{ blog | hostwright.hostwright.hostwright_contract({'web': ['host1']}, 'host1') }}",
}
ACCOUNTS = ("deploy", "blog", "blog-build")
"""What `release` can't do without, and does not make."""

AS_THEY_COME: dict[str, dict[str, Any]] = {
    "apt": {},
    "users": {},
    "firewall": {},
    "journald": {},
    "logrotate": {},
    "postgresql": {},
    "redis": {},
    "rabbitmq": {},
    "virtualenv": {},
    "gunicorn": {"gunicorn_site": "blog", "gunicorn_application": "blog.wsgi"},
    "celery": {"celery_site": "blog"},
    "nginx": {},
    "release": RELEASE,
    "partition": {"partition_site": "blog"},
}
"""Role -> the variables that it can't do without."""

CHANGED: dict[str, dict[str, Any]] = {
    "apt": {
        "apt_update": False,
        "apt_cache_valid_time": 60,
        "apt_packages": ["tree"],
        "apt_upgrade_policy": "full",
        "apt_held_packages": ["tzdata"],
        "apt_reboot": "when_required",
        "apt_reboot_timeout": 60,
        "apt_unattended_upgrades": False,
        "apt_lock_timeout": 60,
    },
    "users": {
        "users_accounts": [
            {"name": "ann", "shell": "/bin/sh", "groups": ["adm"], "authorized_keys": [KEY]},
            {"name": "builder", "system": True, "home": "/var/lib/builder"},
            {"name": "maker", "system": True},
        ],
        "users_sudo_rules": [{"name": "ann-nginx", "user": "ann", "command": RESTART}],
    },
    "firewall": {
        "firewall_enabled": True,
        "firewall_ssh_ports": ["22", "2222"],
        "firewall_rules": [{"port": 8081}, {"port": 8443}],
        "firewall_further_rules": [{"port": 5353, "protocol": "udp", "from": ["198.18.0.0/15"]}],
        "firewall_closes": [9],
    },
    "journald": {"journald_max_use": "300M", "journald_max_retention": "5day"},
    "logrotate": {"logrotate_paths": ["/var/log/blog/*.log"], "logrotate_keep": 3, "logrotate_name": "hostwright"},
    "postgresql": {
        "postgresql_version": "",
        "postgresql_port": 5434,
        "postgresql_listen_addresses": "localhost, 127.0.0.2",
        "postgresql_roles": [{"name": "blog", "password": "it's a 'secret'"}],
        "postgresql_databases": [{"name": "blog", "owner": "blog", "extensions": ["pg_trgm", "postgres_fdw"]}],
        "postgresql_hba": [
            {"type": "host", "database": "blog", "user": "blog", "address": "127.0.0.0/8", "method": "password"},
            {"type": "local", "database": "blog", "user": "blog", "method": "peer", "options": "map=blog"},
        ],
        "postgresql_ident": [{"map": "blog", "system_user": "ann", "role": "blog"}],
        "postgresql_settings": {"log_line_prefix": "it's %m "},
        "postgresql_max_connections": 150,
        "postgresql_memory_mb": 512,
    },
    "redis": {
        "redis_bind": "127.0.0.1 127.0.0.2",
        "redis_port": 6380,
        "redis_databases": 32,
        "redis_password": 'a "b" \\c',
        "redis_maxmemory": "64mb",
        "redis_maxmemory_policy": "allkeys-lru",
        "redis_keep": ["appendfsync"],
    },
    "rabbitmq": {
        "rabbitmq_listen": "127.0.0.2",
        "rabbitmq_port": 5673,
        "rabbitmq_users": [{"name": "blog", "password": "it's secret", "vhost": "blog"}],
        "rabbitmq_guest": True,
        "rabbitmq_keep_listeners": False,
    },
    "virtualenv": {
        "virtualenv_python": "3",
        "virtualenv_interpreter": "/usr/bin/python3",
        "virtualenv_build_packages": ["make"],
        "virtualenv_index_url": "https://pypi.example.com/simple",
        "virtualenv_certificate": "/etc/ssl/certs/ca-certificates.crt",
    },
    "gunicorn": {
        "gunicorn_site": "blog",
        "gunicorn_application": "blog.asgi:application",
        "gunicorn_enabled": True,
        "gunicorn_asgi": True,
        "gunicorn_workers": 3,
        "gunicorn_threads": 1,
        "gunicorn_timeout": 9,
        "gunicorn_args": ["--max-requests=5", "--name=a b"],
        "gunicorn_user": "builder",
        "gunicorn_socket_group": "adm",
        "gunicorn_memory_deny_write_execute": False,
        "gunicorn_allowed_addresses": ["localhost", "192.0.2.0/24"],
        "gunicorn_systemd_version": 240,
        "gunicorn_writable": ["/srv/blog"],
    },
    "celery": {
        "celery_site": "blog",
        "celery_processes": [{"name": "relay", "exec_start": '"/bin/true"', "stop_signal": "INT", "stop_timeout": 5}],
        "celery_timers": [{"name": "sweep", "exec_start": '"/bin/true"', "calendar": "hourly", "timeout": 60}],
        "celery_user": "builder",
        "celery_writable": ["/srv/blog"],
        "celery_memory_deny_write_execute": False,
        "celery_allowed_addresses": ["192.0.2.1"],
        "celery_systemd_version": 240,
    },
    "nginx": {
        "nginx_sites": [SITE, {"name": "plain", "upstream": "/run/plain.sock", "port": 8082}],
        "nginx_default_server": False,
        "nginx_ipv6": False,
        "nginx_tls_protocols": ["TLSv1.2"],
    },
    "release": {
        **RELEASE,
        "release_environment_file": "GREETING='it'\\''s 50% off'\n",
        "release_files": [{"path": "conf/blog.ini", "content": "it's {a} secret\n", "mode": "0640"}],
        "release_shared": ["media", "uploads"],
        "release_deploy_user": "ann",
        "release_app_user": "builder",
        "release_build_user": "maker",
        "release_python": "/bin/python3",
        "release_systemd_version": 240,
    },
    "partition": {
        "partition_site": "blog",
        "partition_enabled": True,
        "partition_databases": [{"name": "blog", "owner": "blog"}],
        "partition_user": "ann",
        "partition_calendar": "hourly",
        "partition_systemd_version": 240,
    },
}
"""Role -> a value for each of its variables but the packages."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory with the collection installed."""
    made = tmp_path_factory.mktemp("home")
    install(build(made), made)
    return made


@pytest.fixture(scope="module")
def host() -> Iterator[Fleet]:
    with fleet("alone", "one") as made:
        packages = ["python3", "python3-apt", "sudo"]
        made.on_host("apt-get", "update", "-q")
        made.on_host("apt-get", "install", "-q", "-y", "--no-install-recommends", *packages)
        for account in ACCOUNTS:
            made.on_host("useradd", "--system", account)
        yield made


def play(host: Fleet, home: Path, playbook: Path, *arguments: object) -> list[str]:
    """Run a playbook as somebody who has nothing but the collection; returns the tasks that changed something."""
    inventory = ROOT / "inventory" / host.host.lab / "hosts.yml"
    said = ansible("ansible-playbook", "-i", inventory, playbook, *arguments, home=home)
    return [task.split("]")[0] for task in said.split("\nTASK [") if "\nchanged: [" in task]


def roles(host: Fleet, home: Path, given: dict[str, dict[str, Any]], *arguments: object) -> list[str]:
    """Run roles by their full names, each with its variables; returns the tasks that changed something."""
    listed = [{"role": f"hostwright.hostwright.{role}", "vars": variables} for role, variables in given.items()]
    playbook = home / "roles.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "become": True, "gather_facts": False, "roles": listed}]))
    return play(host, home, playbook, *arguments)


def looked_at(host: Fleet) -> Any:
    """The host, for testinfra."""
    return testinfra.get_host(f"podman://{host.host.container}")


def test_everything_is_changed() -> None:
    for role, given in CHANGED.items():
        assert set(defaults(role)) - set(given) <= {f"{role}_packages"}, role
    assert set(CHANGED) == set(AS_THEY_COME) == {path.name for path in (ROOT / "roles").iterdir()}


def test_two_roles_alone_as_the_example_shows(host: Fleet, home: Path) -> None:
    example = ROOT / "examples" / "roles" / "blog.yml"
    password = ("--extra-vars", "blog_password=it-is-secret")
    play(host, home, example, *password, "--check", "--diff")
    assert play(host, home, example, *password)
    assert play(host, home, example, *password) == []
    look = looked_at(host)
    assert look.service("nginx").is_running
    assert look.service("nginx").is_enabled
    asked = "PGPASSWORD=it-is-secret psql -XAth 127.0.0.1 -U blog blog -c 'SELECT extname FROM pg_extension ORDER BY 1'"
    assert look.check_output(asked).split() == ["pg_trgm", "plpgsql"]
    request = urllib.request.Request(f"http://{host.host.address}/", headers={"Host": "blog.example.com"})
    with pytest.raises(urllib.error.URLError):  # sent on to TLS, whose certificate is the host's own
        urllib.request.urlopen(request, timeout=10)
    assert look.file("/etc/ssl/private/hostwright-blog.self-signed.key").mode == 0o600
    play(host, home, example, *password, "--extra-vars", '{"nginx_sites": []}')
    assert not look.file("/etc/ssl/private/hostwright-blog.self-signed.key").exists
    assert not look.file("/etc/nginx/conf.d/hostwright-blog.conf").exists


def test_a_certificate_that_does_not_fit_its_key_is_put_back(host: Fleet, home: Path) -> None:
    def site(certificate: str, key: str) -> dict[str, dict[str, Any]]:
        given = {**SITE, "tls": "files", "tls_certificate_pem": certificate, "tls_key_pem": key}
        return {"nginx": {"nginx_sites": [given]}}

    pair, other = certificate("DNS:blog.example.com"), certificate("DNS:blog.example.com")
    roles(host, home, site(*pair))
    assert roles(host, home, site(*pair)) == []
    look = looked_at(host)
    for _ in range(2):
        with pytest.raises(AssertionError, match="key values mismatch") as refused:
            roles(host, home, site(other[0], pair[1]))
        said = " ".join(str(refused.value).split())
        assert "host1: tls_certificate_pem and tls_key_pem of blog must be a pair" in said
        assert "not accepted, and put back as it was" in said
        assert "PRIVATE KEY" not in said
        assert look.file("/etc/ssl/certs/hostwright-blog.pem").content_string == pair[0]
    look.check_output("nginx -t")
    roles(host, home, {"nginx": {"nginx_sites": [SITE]}})
    own = "/etc/ssl/certs/hostwright-blog.self-signed.pem"
    served = f"openssl s_client -connect 127.0.0.1:8443 -CAfile {own} -verify_return_error </dev/null -verify_hostname"
    assert look.run(f"{served} blog.example.com").rc == 0
    assert look.run(f"{served} another.example.com").rc != 0
    assert not look.file("/etc/ssl/private/hostwright-blog.key").exists
    # Nobody needs its ports any more, which the firewall would name.
    roles(host, home, {"nginx": {}})


def test_the_recovery_runs_at_boot_though_the_first_run_failed(host: Fleet, home: Path) -> None:
    host.on_host("userdel", "blog")
    with pytest.raises(AssertionError, match="Failed to resolve group 'blog'"):
        roles(host, home, {"release": RELEASE})
    host.on_host("useradd", "--system", "blog")
    roles(host, home, {"release": RELEASE})
    assert roles(host, home, {"release": RELEASE}) == []
    look = looked_at(host)
    assert look.service("hostwright-blog-boot").is_enabled
    assert look.file("/etc/hostwright/blog").mode == 0o750


def test_a_rabbitmq_of_somebody_else_is_left_to_him(host: Fleet, home: Path) -> None:
    look = looked_at(host)
    host.on_host("apt-get", "install", "-q", "-y", "--no-install-recommends", "rabbitmq-server")
    host.says("host1", "rabbitmqctl add_user theirs secret; rabbitmqctl add_vhost theirs")

    def state() -> list[str]:
        asked = ("list_users", "list_vhosts", "eval '[element(5, L) || L <- rabbit_networking:active_listeners()].'")
        return [look.check_output(f"rabbitmqctl -q {command}") for command in asked]

    before = state()
    with pytest.raises(AssertionError, match="somebody else uses the RabbitMQ of this host") as refused:
        roles(host, home, {"rabbitmq": {}})
    said = " ".join(str(refused.value).split())
    assert "(theirs theirs); its user guest would be removed: set rabbitmq_guest to true" in said
    assert "it would listen on 127.0.0.1:5672 alone, and does on *:5672: set rabbitmq_keep_listeners to true" in said
    assert state() == before
    users = [{"name": "blog", "password": "its-own", "vhost": "blog"}]
    kept = {"rabbitmq": {"rabbitmq_guest": True, "rabbitmq_keep_listeners": True, "rabbitmq_users": users}}
    roles(host, home, kept)
    assert roles(host, home, kept) == []
    host.says("host1", "rabbitmqctl delete_user blog; rabbitmqctl delete_vhost blog")
    assert state() == before
    host.says("host1", "rabbitmqctl delete_user theirs; rabbitmqctl delete_vhost theirs")
    # Nobody else needs its port any more, which the firewall would name.
    roles(host, home, {"rabbitmq": {}})


def test_as_they_come(host: Fleet, home: Path) -> None:
    roles(host, home, AS_THEY_COME, "--check", "--diff")
    roles(host, home, AS_THEY_COME)
    assert roles(host, home, AS_THEY_COME) == []
    look = looked_at(host)
    for service in ("nginx", "postgresql", "redis-server", "rabbitmq-server", "hostwright-firewall"):
        assert look.service(service).is_running, service
        assert look.service(service).is_enabled, service
    assert look.check_output("redis-cli ping") == "PONG"
    assert "guest" not in look.check_output("rabbitmqctl -q list_users")


ATTACK = """\
CREATE SCHEMA theirs;
CREATE FUNCTION theirs.same(a name, b name) RETURNS boolean LANGUAGE plpgsql AS \\$\\$
BEGIN
    CREATE ROLE taken;
    RETURN true;
EXCEPTION WHEN insufficient_privilege OR duplicate_object THEN
    RETURN true;
END \\$\\$;
CREATE OPERATOR theirs.= (PROCEDURE = theirs.same, LEFTARG = name, RIGHTARG = name);
ALTER DATABASE blog SET search_path = theirs, pg_catalog;
"""
"""The owner of a database has a function of his own called by whoever compares names in it."""


def test_with_everything_changed(host: Fleet, home: Path) -> None:
    roles(host, home, CHANGED)
    look = looked_at(host)
    look.check_output(f'echo "{ATTACK}" | runuser -u ann -- psql -XqAt -v ON_ERROR_STOP=1 -p 5434 -U blog blog')
    assert roles(host, home, CHANGED) == []
    there = "runuser -u postgres -- psql -XAt -p 5434 -c 'SELECT rolname FROM pg_roles'"
    assert "taken" not in look.check_output(there)
    assert look.user("ann").shell == "/bin/sh"
    assert look.file("/home/ann/.ssh/authorized_keys").content_string.strip() == KEY
    assert look.user("builder").home == "/var/lib/builder"
    assert "systemctl restart nginx" in look.check_output("sudo -l -U ann")
    assert "udp dport 5353" in look.check_output("nft -n list table inet hostwright")
    assert look.package("tree").is_installed
    assert look.check_output("apt-config dump APT::Periodic::Unattended-Upgrade").endswith('"0";')
    asked = 'PGPASSWORD="it\'s a \'secret\'" psql -XAt -p 5434 -h 127.0.0.2 -U blog blog -c "SHOW max_connections"'
    assert look.check_output(asked) == "150"
    assert look.check_output("runuser -u ann -- psql -XAt -p 5434 -U blog blog -c 'SELECT 42'") == "42"
    assert look.socket("tcp://127.0.0.2:6380").is_listening
    assert look.socket("tcp://127.0.0.2:5673").is_listening
    assert look.service("blog-timer-sweep.timer").is_running
    assert look.file("/etc/nginx/conf.d/hostwright-plain.conf").exists
    assert "TLSv1.3" not in look.file("/etc/nginx/conf.d/hostwright-blog.conf").content_string
    assert look.file("/etc/logrotate.d/hostwright").contains("rotate 3")
    assert look.file("/etc/pip.conf").contains("pypi.example.com")
    given = look.file("/etc/hostwright/blog/files/conf/blog.ini")
    assert (given.content_string, given.group, given.mode) == ("it's {a} secret\n", "builder", 0o640)
    assert look.file("/etc/hostwright/blog/env").content_string == "GREETING='it'\\''s 50% off'\n"
    contract = json.loads(look.file("/etc/hostwright/blog/contract.json").content_string)
    assert (contract["user"], contract["build_user"], contract["site"]) == ("builder", "maker", "blog")
    owners = [
        look.file(f"/srv/blog/{path}").user for path in ("incoming", "releases", "shared/media", "shared/uploads")
    ]
    assert owners == ["ann", "root", "builder", "builder"]
    assert look.service("blog-partitions.timer").is_running
    assert look.file("/etc/systemd/system/blog-partitions.timer").contains("OnCalendar=hourly")
    for unit in ("postgresql@15-main", "redis-server"):  # other addresses than the host's own are there late
        assert "network-online.target" in look.check_output(f"systemctl show --value -p After -p Wants {unit}").split()


def test_rules_that_another_packet_filter_flushes_are_loaded_again(host: Fleet, home: Path) -> None:
    look = looked_at(host)
    rules = "nft list table inet hostwright"
    look.check_output("systemctl start nftables")  # its rules begin with `flush ruleset`
    assert look.run(rules).rc != 0
    assert roles(host, home, {"firewall": CHANGED["firewall"]})
    assert "udp dport 5353" in look.check_output(rules)
    look.check_output("systemctl restart nftables")
    assert "udp dport 5353" in look.check_output(rules)
    look.check_output("systemctl reload nftables")
    assert "udp dport 5353" in look.check_output(rules)


def test_what_a_broker_user_has_elsewhere_stays(host: Fleet, home: Path) -> None:
    look = looked_at(host)
    look.check_output("rabbitmqctl -q set_permissions -p / blog '' '' '.*'")
    assert roles(host, home, {"rabbitmq": CHANGED["rabbitmq"]}) == []
    given = look.check_output("rabbitmqctl -q list_user_permissions blog")
    assert {line.split()[0] for line in given.splitlines()} >= {"/", "blog"}


def test_a_setting_that_is_overridden_is_named(host: Fleet, home: Path) -> None:
    look = looked_at(host)
    sql = "runuser -u postgres -- psql -XAt -p 5434 -c"
    look.check_output(f"{sql} \"ALTER SYSTEM SET log_line_prefix = 'theirs '\" -c 'SELECT pg_reload_conf()'")
    with pytest.raises(AssertionError, match=r"log_line_prefix is set in .*/postgresql\.auto\.conf, line \d+"):
        roles(host, home, {"postgresql": CHANGED["postgresql"]})
    look.check_output(f"{sql} 'ALTER SYSTEM RESET log_line_prefix' -c 'SELECT pg_reload_conf()'")
    assert roles(host, home, {"postgresql": CHANGED["postgresql"]}) == []


def test_what_was_made_is_taken_away(host: Fleet, home: Path) -> None:
    redis = "REDISCLI_AUTH='a \"b\" \\c' redis-cli -p 6380 -n 20"
    host.says("host1", f"{redis} SET key value")
    with pytest.raises(AssertionError, match="holds keys in its database 20, and would not start again with 16 data"):
        roles(host, home, {"redis": AS_THEY_COME["redis"]})
    assert host.says("host1", f"{redis} FLUSHDB") == "OK"
    roles(host, home, AS_THEY_COME)
    assert roles(host, home, AS_THEY_COME) == []
    look = looked_at(host)
    gone = [
        "/etc/nginx/conf.d/hostwright-blog.conf",
        "/etc/nginx/conf.d/hostwright-plain.conf",
        "/etc/ssl/private/hostwright-blog.self-signed.key",
        "/etc/ssl/certs/hostwright-blog.self-signed.pem",
        "/etc/systemd/system/blog-relay@.service",
        "/etc/systemd/system/blog-timer-sweep.timer",
    ]
    assert [path for path in gone if look.file(path).exists] == []
    assert "dport 8081" not in look.check_output("nft -n list table inet hostwright")
    assert "blog" not in look.check_output(
        "cat /etc/postgresql/*/main/pg_hba.conf /etc/postgresql/*/main/pg_ident.conf"
    )
    assert look.check_output("redis-cli -p 6379 ping") == "PONG"
    assert look.socket("tcp://127.0.0.1:5672").is_listening
    assert not look.file("/etc/apt/preferences.d/hostwright-held").contains("tzdata")
    assert not look.file("/etc/logrotate.d/hostwright").contains("blog")
    assert look.check_output("find /etc/hostwright/blog/files -type f") == ""
    assert look.file("/etc/hostwright/blog/env").content_string == ""
    assert json.loads(look.file("/etc/hostwright/blog/contract.json").content_string)["user"] == "blog"
    assert look.file("/srv/blog/incoming").user == "deploy"
    assert look.file("/etc/systemd/system/blog-partitions.timer").contains("OnCalendar=.*15")
    (rule,) = CHANGED["users"]["users_sudo_rules"]
    off = {
        "users": {"users_sudo_rules": [{**rule, "state": "absent"}]},
        "firewall": {"firewall_enabled": False},
        "gunicorn": {"gunicorn_site": "blog", "gunicorn_enabled": False},
        "partition": {"partition_site": "blog", "partition_enabled": False},
    }
    roles(host, home, off)
    assert roles(host, home, off) == []
    assert "not allowed" in look.run("sudo -l -U ann").stdout
    assert "hostwright" not in look.check_output("nft list tables")
    patterns = ("*blog-web*", "gunicorn-blog*", "hostwright-firewall*", "blog-partitions*")
    made = " -o ".join(f"-name '{pattern}'" for pattern in patterns)
    assert look.check_output(f"find /etc /usr/local/lib/hostwright {made}") == ""
    # Data is nobody's to remove.
    assert "blog" in look.check_output("runuser -u postgres -- psql -XAtc 'SELECT datname FROM pg_database'")
