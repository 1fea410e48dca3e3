"""Every template of every role, rendered with the role's defaults and what a real site gives it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hostwright import contract
from tests.conftest import need
from tests.roles import NAMES, ROLES, render

COMMAND = ["python", "manage.py", "send", "100%", 'a "quoted" $word']
PROCESS = {"name": "relay", "exec_start": contract.exec_start(COMMAND), "stop_signal": "INT", "stop_timeout": 90}
TIMER = {"name": "sweep", "exec_start": contract.exec_start(COMMAND), "calendar": "daily", "timeout": 600}
CELERY = {"celery_site": "shop", "celery_writable": ["/srv/shop/shared"]}
GUNICORN = {
    "gunicorn_site": "shop",
    "gunicorn_application": "shop.wsgi:application",
    "gunicorn_writable": ["/srv/shop/shared"],
    "gunicorn_args": ["--max-requests=1000", '--x="a b"', "50%", "$HOME", "back\\slash"],
}
RELEASE = {"release_site": "shop", "release_contract": {"version": 1}, "release_shared": ["media", "beat"]}
PARTITION = {"partition_site": "shop", "partition_databases": [{"name": "shop", "owner": "shop"}]}
POSTGRESQL = {
    "_postgresql_etc": "/etc/postgresql/15/main",
    "_postgresql_found": {"memory_mb": "4096"},
    "postgresql_settings": {"log_line_prefix": "it's %m", "max_connections": 50},
}
SITE = {
    "name": "my-shop",
    "upstream": "/run/my-shop/web.sock",
    "server_names": [],
    "port": 80,
}
FULL_SITE = {
    **SITE,
    "server_names": ["shop.example.com", "*.shop.example.com"],
    "tls": "files",
    "tls_port": 443,
    "tls_certificate": "/etc/ssl/certs/x.pem",
    "tls_key": "/etc/ssl/private/x.key",
    "redirect_to_tls": True,
    "hsts_seconds": 3600,
    "static_url": "/static/",
    "static_paths": ["/srv/shop/current/static", "/srv/shop/previous/static"],
    "locations": {"/media/": "/srv/shop/shared/media/", "/docs/": "/srv/docs"},
    "upload_limit": "5m",
    "rate_limit": "20r/s",
    "rate_burst": 30,
    "timeout": 45,
    "maintenance_file": "/srv/shop/maintenance",
}

RENDERED: dict[tuple[str, str], dict[str, Any]] = {
    ("apt", "apt.conf.j2"): {},
    ("apt", "held.j2"): {"apt_held_packages": ["nginx", "redis-server"]},
    ("celery", "process.service.j2"): {**CELERY, "item": PROCESS},
    ("celery", "timer.service.j2"): {**CELERY, "item": TIMER},
    ("celery", "timer.timer.j2"): {**CELERY, "item": TIMER},
    ("celery", "sandbox.j2"): CELERY,
    ("celery", "units.yml.j2"): {**CELERY, "celery_processes": [PROCESS], "celery_timers": [TIMER]},
    ("firewall", "firewall.nft.j2"): {
        "firewall_rules": [{"port": 80}, {"port": 5432, "from": ["10.0.0.1", "10.0.0.2"]}]
    },
    ("firewall", "firewall.service.j2"): {},
    ("gunicorn", "gunicorn.conf.py.j2"): GUNICORN,
    ("gunicorn", "sandbox.j2"): GUNICORN,
    ("gunicorn", "tmpfiles.conf.j2"): GUNICORN,
    ("gunicorn", "web.service.j2"): GUNICORN,
    ("gunicorn", "web.socket.j2"): GUNICORN,
    ("journald", "journald.conf.j2"): {},
    ("logrotate", "logrotate.j2"): {"logrotate_paths": ["/var/log/hostwright/*/*.log"]},
    ("nginx", "site.conf.j2"): {"item": FULL_SITE},
    ("nginx", "default.conf.j2"): {"nginx_sites": [FULL_SITE]},
    ("nginx", "certificate.j2"): {"item": FULL_SITE},
    ("nginx", "sites.yml.j2"): {"nginx_sites": [FULL_SITE, {**SITE, "name": "other"}]},
    ("partition", "partitions.service.j2"): PARTITION,
    ("partition", "partitions.timer.j2"): PARTITION,
    ("postgresql", "hostwright.conf.j2"): POSTGRESQL,
    ("postgresql", "online.conf.j2"): {},
    ("rabbitmq", "rabbitmq-env.conf.j2"): {},
    ("rabbitmq", "restart.conf.j2"): {},
    ("redis", "hostwright.conf.j2"): {"redis_password": 'a"b\\c', "redis_maxmemory": "100mb"},
    ("redis", "online.conf.j2"): {},
    ("release", "boot.service.j2"): RELEASE,
    ("release", "hostwright-engine.j2"): RELEASE,
    ("release", "tmpfiles.conf.j2"): RELEASE,
    ("release", "transaction.service.j2"): RELEASE,
}


def shown(role: str, template: str, **more: Any) -> str:
    return render(role, template, **{**RENDERED[role, template], **more})


def test_every_template_is_rendered_here() -> None:
    there = {(role, path.name) for role in NAMES for path in (ROLES / role / "templates").glob("*")}
    assert there == set(RENDERED)


@pytest.mark.parametrize(("role", "template"), sorted(RENDERED))
def test_a_template_has_all_that_it_names(role: str, template: str) -> None:
    text = shown(role, template)
    assert text.endswith("\n")
    assert "{{" not in text
    assert "{%" not in text
    if template not in ("sandbox.j2", "certificate.j2", "hostwright-engine.j2") and not template.endswith(".yml.j2"):
        assert text.startswith(("# Ansible managed\n", "// Ansible managed\n"))


@pytest.mark.parametrize(
    ("role", "template", "files"),
    [
        (
            "celery",
            "units.yml.j2",
            {
                "shop-relay@.service": ("celery", "process.service.j2"),
                "shop-timer-sweep.service": ("celery", "timer.service.j2"),
                "shop-timer-sweep.timer": ("celery", "timer.timer.j2"),
            },
        ),
        ("nginx", "sites.yml.j2", {"hostwright-my-shop.conf": ("nginx", "site.conf.j2")}),
    ],
)
def test_a_list_of_files_holds_what_their_templates_say(
    role: str, template: str, files: dict[str, tuple[str, str]]
) -> None:
    listed = {file["path"]: file["content"] for file in yaml.safe_load(shown(role, template))}
    for path, (of_role, of_template) in files.items():
        assert listed.pop(path).rstrip("\n") == shown(of_role, of_template).rstrip("\n")
    assert list(listed) == (["hostwright-other.conf", "hostwright-_default.conf"] if role == "nginx" else [])


@pytest.mark.parametrize("role", ["celery", "nginx"])
def test_a_list_of_no_files(role: str) -> None:
    template = {"celery": "units.yml.j2", "nginx": "sites.yml.j2"}[role]
    empty = {"celery_processes": [], "celery_timers": [], "nginx_sites": []}
    assert yaml.safe_load(shown(role, template, **empty)) is None


@pytest.mark.parametrize("asgi", [False, True])
def test_gunicorns_configuration_is_python(asgi: bool) -> None:
    text = shown("gunicorn", "gunicorn.conf.py.j2", gunicorn_asgi=asgi)
    names = {
        target.id
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert {"workers", "timeout", "keepalive", "worker_class", "RELEASE"} <= names


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("addresses", [[], ["localhost", "10.0.0.0/8"]])
def test_both_sandboxes_are_the_same(memory: bool, addresses: list[str]) -> None:
    def lines(role: str) -> str:
        settings = {
            "memory_deny_write_execute": memory,
            "allowed_addresses": addresses,
            "writable": ["/srv/a", "/srv/b"],
        }
        return render(role, "sandbox.j2", **{f"{role}_{name}": value for name, value in settings.items()})

    assert lines("celery") == lines("gunicorn")
    assert ("MemoryDenyWriteExecute=yes" in lines("celery")) is memory
    limit = "IPAddressDeny=any\nIPAddressAllow=localhost 10.0.0.0/8\n"
    assert ("IPAddress" in lines("celery"), limit in lines("celery")) == (bool(addresses), bool(addresses))


def test_a_sandbox_protects_on_old_systemd_too() -> None:
    """A value that is unknown drops its line: the weaker one stands before it."""
    text = shown("gunicorn", "sandbox.j2")
    assert text.index("ProtectSystem=full\n") < text.index("ProtectSystem=strict\n")
    assert "ReadWriteDirectories=-/srv/shop/shared\n" in text


def test_arguments_of_a_unit_stay_one_each() -> None:
    line = re.search(r"^ExecStart=.*$", shown("gunicorn", "web.service.j2"), re.MULTILINE)
    assert line
    assert line[0] == (
        "ExecStart=/usr/local/lib/hostwright/in-release python -m gunicorn"
        " --config /usr/local/lib/hostwright/gunicorn-shop.conf.py"
        r' "--max-requests=1000" "--x=\"a b\"" "50%%" "$$HOME" "back\\slash" shop.wsgi:application'
    )
    for template in ("process.service.j2", "timer.service.j2"):
        assert (
            r'ExecStart=/usr/local/lib/hostwright/in-release "python" "manage.py" "send" "100%%" "a \"quoted\" $$word"'
            "\n"
        ) in shown("celery", template)


@pytest.mark.parametrize(
    ("role", "template", "name"),
    [
        ("gunicorn", "web.service.j2", "shop-web@%i"),
        ("celery", "process.service.j2", "shop-relay"),
        ("celery", "timer.service.j2", "shop-timer-sweep"),
    ],
)
def test_the_journal_has_the_name_of_each_process(role: str, template: str, name: str) -> None:
    assert f"\nSyslogIdentifier={name}\n" in shown(role, template)


def test_a_process_stops_as_it_was_told_to() -> None:
    text = shown("celery", "process.service.j2")
    assert "Type=simple\n" in text
    assert "KillMode=mixed\nKillSignal=SIGINT\n" in text
    assert "TimeoutStopSec=95\n" in text
    assert "Type=notify\nNotifyAccess=main\n" in shown("celery", "process.service.j2", item={**PROCESS, "notify": True})


UNITS = [
    ("celery", "process.service.j2", "shop-relay@.service"),
    ("celery", "timer.service.j2", "shop-timer-sweep.service"),
    ("celery", "timer.timer.j2", "shop-timer-sweep.timer"),
    ("gunicorn", "web.service.j2", "shop-web@.service"),
    ("gunicorn", "web.socket.j2", "shop-web@.socket"),
    ("firewall", "firewall.service.j2", "hostwright-firewall.service"),
    ("release", "boot.service.j2", "hostwright-shop-boot.service"),
    ("release", "transaction.service.j2", "hostwright-shop-transaction.service"),
]


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        need("units read by systemd", "systemd-analyze is not installed", "Install it: apt-get install systemd")
    for role, template, name in UNITS:
        # The programs are on hosts only.
        text = re.sub(r"^(Exec\w+=)\S+", r"\1/bin/true", shown(role, template), flags=re.MULTILINE)
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for _, _, name in UNITS)],
        capture_output=True,
        text=True,
        check=False,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if str(tmp_path) in line or "shop-" in line]
    assert ours == []


def test_directories_have_the_owners_that_keep_the_application_out_of_its_code() -> None:
    lines = [line for line in shown("release", "tmpfiles.conf.j2").splitlines() if not line.startswith("#")]
    found = {path: (mode, owner, group) for _, path, mode, owner, group in map(str.split, lines)}
    assert found["/srv/shop/releases"] == ("0755", "root", "root")
    assert found["/srv/shop/incoming"] == ("0700", "deploy", "root")
    assert found["/srv/shop/shared/media"] == ("2750", "shop", "www-data")
    assert found["/srv/shop/shared/beat"] == ("0750", "shop", "shop")
    assert found["/etc/hostwright/shop"] == ("0750", "root", "shop")
    assert found["/var/lib/hostwright/shop/instances"] == ("0700", "root", "root")
    writable = {path for path, (_, owner, _) in found.items() if owner == "shop"}
    assert all(path.startswith("/srv/shop/shared/") for path in writable)


def test_the_firewall_lets_in_what_is_listed() -> None:
    lines = [line.strip() for line in shown("firewall", "firewall.nft.j2").splitlines()]
    assert [line for line in lines if "dport" in line] == [
        "ip6 saddr fe80::/10 udp dport 546 accept",
        "tcp dport 22 accept",
        "tcp dport 80 accept",
        "ip saddr { 10.0.0.1, 10.0.0.2 } tcp dport 5432 accept",
    ]


@pytest.mark.parametrize(("server", "method"), [("9.5", False), ("9.6", False), ("10", True), ("15", True)])
def test_settings_of_postgresql(server: str, method: bool) -> None:
    text = shown("postgresql", "hostwright.conf.j2", _postgresql_etc=f"/etc/postgresql/{server}/main")
    assert "log_line_prefix = 'it''s %m'\n" in text
    assert "shared_buffers = '1024MB'\n" in text
    assert "max_connections = '50'\n" in text
    assert ("password_encryption = 'scram-sha-256'\n" in text) is method


def test_settings_of_redis() -> None:
    text = shown("redis", "hostwright.conf.j2")
    assert r'requirepass "a\"b\\c"' + "\n" in text
    assert "maxmemory 100mb\n" in text
    assert "requirepass" not in shown("redis", "hostwright.conf.j2", redis_password="")


def test_the_engine_is_called_without_the_callers_environment() -> None:
    text = shown("release", "hostwright-engine.j2")
    assert text.startswith("#!/bin/sh\n")
    assert "\nLC_ALL=C.UTF-8\nexport LC_ALL\nexec /usr/bin/python3 -I -c " in text
    assert text.rstrip().endswith('"$@"')
