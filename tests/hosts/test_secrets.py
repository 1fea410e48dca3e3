"""Canaries in every secret of the site, and who finds them: nobody, but in the few files that are there to hold them.

And who may do what: what the deploy user, the builder and the application try in order to be somebody else.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostwright.lab import machine
from tests.hosts.labs import Fleet, all_hosts, certificate, fleet

pytestmark = [pytest.mark.hosts, all_hosts]

HOSTS = ("web1", "web2", "db1")
KINDS = ("database", "redis", "amqp", "newamqp", "key", "variable", "url", "file")
CANARIES = {kind: f"canary{kind}{secrets.token_hex(12)}" for kind in KINDS}
CONTROL = f"control{secrets.token_hex(12)}"
"""No secret: where it is put on purpose, it has to be found."""

HOLDERS = {
    "/etc/hostwright/shop/contract.json": "root:root 600",
    "/etc/hostwright/shop/env": "root:root 600",
    "/etc/hostwright/shop/files/payment.ini": "root:shop 640",
    "/etc/redis/redis.conf": "redis:redis 640",
    "/etc/ssl/private/given.key": "root:root 600",
}
"""Where secrets belong on a host, whose each is, and its mode."""

PLACES = "/etc /home /opt /root /run /srv /tmp /usr/local /var /dev/shm"

SAMPLE = """
import os, sys, time
wanted = [canary.encode() for canary in os.environ["CANARIES"].split()]
seen = {}
print("ready", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.002)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/" + entry + "/cmdline", "rb") as source:
                    line = source.read()
            except OSError:
                continue
            if any(canary in line for canary in wanted):
                seen[line] = seen.get(line, 0) + 1
for line in seen:
    print(line.replace(b"\\0", b" ").decode("utf-8", "replace"))
"""


class Watched:
    """What was printed here, and the arguments of every process of this machine, the hosts' among them, meanwhile."""

    def __init__(self, made: Fleet, directory: Path, wanted: list[str]) -> None:
        self.made = made
        self.directory = directory
        self.wanted = wanted
        self.printed: dict[str, str] = {}
        self.arguments: list[str] = []

    @contextlib.contextmanager
    def sampled(self) -> Iterator[None]:
        end = self.directory / "end"
        env = {**os.environ, "CANARIES": " ".join(self.wanted)}
        with subprocess.Popen(
            [sys.executable, "-c", SAMPLE, end], env=env, stdout=subprocess.PIPE, text=True
        ) as sampler:
            assert sampler.stdout is not None
            assert sampler.stdout.readline() == "ready\n"
            try:
                yield
            finally:
                end.touch()
                self.arguments += sampler.stdout.read().splitlines()
        end.unlink()

    def run(self, name: str, *argv: str, status: int = 0) -> str:
        self.printed[name] = self.made.run(*argv, status=status)
        return self.printed[name]


@functools.cache
def pair() -> tuple[str, str]:
    """A certificate and its key; a line of the key is a canary."""
    pem, key = certificate("DNS:shop.example.com")
    CANARIES["tls"] = key.splitlines()[5]
    return pem, key


def model(site: dict[str, Any]) -> None:
    """A canary in each secret, and services that need all of them."""
    pem, key = pair()
    broker = "{{ hostvars[groups.broker[0]].ansible_host }}"
    site["services"].update(
        databases=[{"name": "shop", "password": CANARIES["database"]}],
        redis={"password": CANARIES["redis"]},
        amqp={"vhost": "shop", "user": "shop", "password": CANARIES["amqp"]},
        postgresql_settings={"log_statement": "all", "log_min_duration_statement": 0},
    )
    site["secrets"] = {
        "SECRET_KEY": CANARIES["key"],
        "DB_PASSWORD": CANARIES["database"],
        "BROKER_URL": f"redis://:{CANARIES['redis']}@{broker}:6379/0",
        "TOKEN": CANARIES["url"],
        "VARIABLE": f" {CANARIES['variable']} \"'$(id)`id`\\ ",
    }
    # What config.check shows: a secret within what is none.
    site["env"]["URL"] = f"https://{CANARIES['url']}@example.com"
    site["files"] = [{"path": "payment.ini", "content": CANARIES["file"] + "\n", "link": "payment.ini"}]
    site["web"].update(
        tls="files",
        tls_certificate="/etc/ssl/certs/given.pem",
        tls_key="/etc/ssl/private/given.key",
        tls_certificate_pem=pem,
        tls_key_pem=key,
        redirect_to_tls=False,
    )
    site["allowed_addresses"] = ["{{ hostvars[groups.db[0]].ansible_host }}"]
    site["releases"] = {"dump_before_migrate": True}


BROKEN = {"orders/views.py": "\ndef health(request):\n    raise RuntimeError('health is broken')\n"}


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Hosts that were provisioned, deployed to, failed, rolled back and dumped, all of it watched."""
    directory = tmp_path_factory.mktemp("watched")
    with fleet("secrets", "two") as made, pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_STATE_HOME", str(directory / "state"))
        made.change_site(model)
        watched = Watched(made, directory, [*CANARIES.values(), CONTROL])
        with watched.sampled():
            live(watched)
        yield watched


def live(watched: Watched) -> None:
    made = watched.made
    made.says("web1", f"sh -c 'sleep 1; true' {CONTROL}")
    watched.run("bootstrap", "ansible-playbook", "playbooks/bootstrap.yml", "-vvv")
    watched.run("provision", "ansible-playbook", "playbooks/site.yml", "-vvv", "--diff")
    watched.run("config", "fab", "config.check")
    watched.run("config as JSON", "fab", "config.check", "--json")
    watched.run("deploy", "fab", "deploy", "--json")
    made.commit({"shop/templates/banner.txt": "second\n", "orders/migrations/0099_more.py": MIGRATION})
    watched.run("second deploy", "fab", "deploy")
    made.commit(BROKEN)
    watched.run("failing deploy", "fab", "deploy", "--json", status=1)
    made.commit({"shop/wsgi.py": "import os\nraise RuntimeError('broken')\n"})
    watched.run("deploy with a traceback", "fab", "deploy", status=1)
    watched.run("rollback", "fab", "rollback", "--yes", "--json")
    watched.run("restart", "fab", "restart", "--json")
    watched.run("dump", "fab", "db.dump", "--to", str(watched.directory / "shop.dump"))
    for look in ("status", "releases"):
        watched.run(look, "fab", look, "--json")
    watched.run("logs", "fab", "logs", "--lines", "1000")
    made.change_site(lambda site: site["services"]["amqp"].update(password=CANARIES["newamqp"]))
    watched.run("check", "ansible-playbook", "playbooks/site.yml", "-vvv", "--check", "--diff")
    broker = ("ansible-playbook", "playbooks/site.yml", "--limit", "db1", "--tags", "rabbitmq")
    watched.run("another password", *broker, "-vvv", "--diff")
    made.changes_nothing(*broker[1:])
    made.change_site(lambda site: site["web"].update(tls_key_pem=f"no key\n{CANARIES['tls']}\n"))
    web = ("ansible-playbook", "playbooks/site.yml", "--limit", "web1", "--tags", "nginx")
    watched.run("a key that is none", *web, "-vvv", "--diff", status=2)
    made.change_site(model_again)
    watched.run("mended", *web)


def model_again(site: dict[str, Any]) -> None:
    model(site)
    site["services"]["amqp"]["password"] = CANARIES["newamqp"]


MIGRATION = """\
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]
    operations = [migrations.RunSQL("SELECT 1", "SELECT 1")]
"""


def found(text: str) -> list[str]:
    """The kinds of secrets in `text`."""
    return sorted(kind for kind, canary in CANARIES.items() if canary in text)


def test_nothing_that_is_printed_holds_a_secret(life: Watched) -> None:
    assert {name: found(text) for name, text in life.printed.items() if found(text)} == {}
    assert len(life.printed) == 18


def test_no_argument_holds_a_secret(life: Watched) -> None:
    assert any(line.startswith("sh -c sleep 1") for line in life.arguments), "the sampler sees nothing of the hosts"
    assert [line for line in life.arguments if found(line)] == []


def test_no_log_of_this_machine_holds_a_secret(life: Watched) -> None:
    logs = [path for path in (life.directory / "state").rglob("*") if path.is_file()]
    assert len(logs) >= 6
    assert [path.name for path in logs if found(path.read_text(errors="replace"))] == []


def grep(life: Watched, host: str, become: str = "", places: str = PLACES, control: str = CONTROL) -> set[str]:
    """The files on a host that hold a canary or the control, as somebody finds them."""
    patterns = "\n".join(filter(None, [*CANARIES.values(), control]))
    # What is looked for comes by standard input, and is in no file and no argument of whoever looks.
    script = f"(umask 022; echo {CONTROL} > /var/tmp/control); {become} grep -rlsF -D skip -f - {places}"
    there = next(one for one in life.made.hosts if one.name == host)
    return set(machine.execute(there, ["sh", "-c", f"{script} || true"], patterns.encode()).split("\n")) - {""}


ANYBODY = "setpriv --reuid=nobody --regid=nogroup --clear-groups"
DEPLOY = "setpriv --reuid=deploy --regid=deploy --init-groups"
BUILDER = "setpriv --reuid=shop-build --regid=shop-build --init-groups"
APPLICATION = "setpriv --reuid=shop --regid=shop --init-groups"


@pytest.mark.parametrize("host", HOSTS)
def test_secrets_are_in_their_files_and_nowhere_else(life: Watched, host: str) -> None:
    life.made.says(host, f"echo {CONTROL} > /root/control")
    wanted = set(HOLDERS) - ({"/etc/redis/redis.conf"} if host != "db1" else {"/etc/ssl/private/given.key"})
    holders = {f"{path} {about}" for path, about in HOLDERS.items() if path in wanted}
    listed = life.made.says(host, f"stat -c '%n %U:%G %a' {' '.join(wanted)}").split("\n")
    assert set(listed) == holders
    assert grep(life, host) == wanted | {"/var/tmp/control", "/root/control"}


@pytest.mark.parametrize("who", [ANYBODY, DEPLOY, BUILDER], ids=["anybody", "deploy", "builder"])
@pytest.mark.parametrize("host", HOSTS)
def test_others_find_no_secret(life: Watched, host: str, who: str) -> None:
    assert grep(life, host, who) == {"/var/tmp/control"}


@pytest.mark.parametrize("host", HOSTS)
def test_the_application_finds_its_file_alone(life: Watched, host: str) -> None:
    assert grep(life, host, APPLICATION) == {"/var/tmp/control", "/etc/hostwright/shop/files/payment.ini"}


@pytest.mark.parametrize("host", HOSTS)
def test_no_journal_holds_a_secret(life: Watched, host: str) -> None:
    life.made.says(host, f"logger {CONTROL}; sleep 1; journalctl --sync")
    for options in ("", "-o json --all", "-o export"):
        journal = life.made.says(host, f"journalctl --no-pager {options}")
        assert CONTROL in journal
        assert found(journal) == []
    assert found(life.made.says(host, "systemctl show '*' --no-pager")) == []


@pytest.mark.parametrize("host", HOSTS)
def test_no_release_holds_a_secret(life: Watched, host: str) -> None:
    assert grep(life, host, places="/srv /var/lib/hostwright /var/log /var/cache", control="") == set()


def test_the_passwords_are_those_that_were_given(life: Watched) -> None:
    """The canaries were where they should be: each opens its door."""
    script = f"printf '%s\\n' {CANARIES['newamqp']} | rabbitmqctl authenticate_user shop"
    assert "Success" in life.made.says("db1", script)
    assert "Success" not in life.made.says("db1", script.replace(CANARIES["newamqp"], CANARIES["amqp"]))
    told = "import os; print(repr(os.environ['VARIABLE']))"
    printed = life.made.run("fab", "run", f"python -c {shlex.quote(told)}")
    assert repr(f" {CANARIES['variable']} \"'$(id)`id`\\ ") in printed


# --- who may do what


def as_user(life: Watched, who: str, script: str) -> str:
    return life.made.says("web1", f"{who} sh -c {shlex.quote(script)}")


def test_the_deploy_user_may_run_one_command(life: Watched) -> None:
    listed = as_user(life, DEPLOY, "sudo -n -l")
    assert re.findall(r"^ +(\(.*)$", listed, re.MULTILINE) == [
        "(root) NOPASSWD: /usr/local/sbin/hostwright-engine shop"
    ]
    for more in ("", "shop --boot", "shop --transaction", "--check-contract /etc/shadow", "shop ''", "other"):
        assert "password is required" in as_user(life, DEPLOY, f"sudo -n /usr/local/sbin/hostwright-engine {more}")
    assert "password is required" in as_user(life, DEPLOY, "sudo -n id")


WRITABLE = "find / -xdev -not -path '/proc/*' -not -path '/sys/*' -not -type l -writable 2>/dev/null"


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (DEPLOY, r"/home/deploy(/.*)?|/srv/shop/incoming(/.*)?"),
        (APPLICATION, r"/srv/shop/shared/(media|beat|tasks)(/.*)?"),
        (BUILDER, r""),
    ],
    ids=["deploy", "application", "builder"],
)
def test_what_each_may_write(life: Watched, who: str, may: str) -> None:
    anybody = set(as_user(life, ANYBODY, WRITABLE).split("\n"))
    more = set(as_user(life, who, WRITABLE).split("\n")) - anybody
    assert [path for path in sorted(more) if not re.fullmatch(may, path)] == []
    assert [path for path in anybody if path.startswith(("/srv", "/etc", "/usr", "/var/lib", "/var/log"))] == []


def test_links_of_the_deploy_user_lead_root_nowhere(life: Watched) -> None:
    """Who provisions writes the keys again: not through a link, and never as root."""
    before = life.made.says("web1", "stat -c '%U %a' /etc/cron.d; ls -A /etc/cron.d")
    assert as_user(life, DEPLOY, "cd /home/deploy && mv .ssh kept && ln -s /etc/cron.d .ssh && echo done") == "done"
    try:
        life.made.run("ansible-playbook", "playbooks/bootstrap.yml", "--limit", "web1", status=2)
    finally:
        as_user(life, DEPLOY, "cd /home/deploy && rm .ssh && mv kept .ssh")
    assert life.made.says("web1", "stat -c '%U %a' /etc/cron.d; ls -A /etc/cron.d") == before
    life.made.run("ansible-playbook", "playbooks/bootstrap.yml", "--limit", "web1")


def test_links_of_the_application_lead_root_nowhere(life: Watched) -> None:
    tasks = "/srv/shop/shared/tasks"
    assert as_user(life, APPLICATION, f"rm -rf {tasks}/* && ln -s /etc {tasks}/etc && echo done") == "done"
    before = life.made.says("web1", "stat -c '%U %a' /etc /etc/shadow")
    life.made.run("ansible-playbook", "playbooks/site.yml", "--limit", "web1")
    life.made.says("web1", "systemd-tmpfiles --create")
    assert life.made.says("web1", "stat -c '%U %a' /etc /etc/shadow") == before


def test_nginx_shows_uploads_and_not_what_they_link_to(life: Watched) -> None:
    media = "/srv/shop/shared/media"
    upload = f"umask 027 && mkdir -p {media}/a && echo upload > {media}/a/f && ln -s f {media}/a/same && echo done"
    assert as_user(life, APPLICATION, upload) == "done"
    links = f"ln -s /var/log/nginx {media}/logs && ln -s /etc/hostname {media}/name && echo done"
    assert as_user(life, APPLICATION, links) == "done"
    get = (
        "import http.client, sys; server = http.client.HTTPConnection('localhost'); "
        "server.request('GET', '/media/' + sys.argv[1]); print(server.getresponse().status)"
    )
    answers = {"a/f": 200, "a/same": 200, "logs/access.log": 403, "name": 403, "..%2f..%2fcurrent/manage.py": 400}
    said = {path: life.made.says("web1", f"python3 -c {shlex.quote(get)} {path}") for path in answers}
    assert said == {path: str(status) for path, status in answers.items()}


def test_a_build_leaves_nobody_behind(life: Watched) -> None:
    deadline = time.monotonic() + 5
    while (left := life.made.says("web1", "ps -o pid,args -u shop-build --no-headers")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == ""


@pytest.mark.parametrize(
    "unit", ["shop-web@a.service", "shop-worker-default@x.service", "shop-timer-clear-sessions.service"]
)
def test_units_are_as_closed_as_the_docs_say(life: Watched, unit: str) -> None:
    said = life.made.says("web1", f"systemd-analyze security --no-pager {unit}")
    exposure = re.search(r"Overall exposure level for \S+: (\d+\.\d)", said)
    assert exposure
    assert float(exposure[1]) <= 1.0


def test_the_application_reaches_its_allowed_addresses_alone(life: Watched) -> None:
    show = "systemctl show --property=IPAddressDeny,IPAddressAllow shop-web@a.service"
    limits = " ".join(f"-p {shlex.quote(line)}" for line in life.made.says("web1", show).splitlines())
    reach = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3); print('reached')"

    def reached(host: str, port: int, limits: str) -> bool:
        command = f"python3 -c {shlex.quote(reach)} {life.made.address(host)} {port}"
        return life.made.says("web1", f"systemd-run --quiet --wait --pipe {limits} {command}").endswith("reached")

    assert reached("web2", 22, limits="")
    assert not reached("web2", 22, limits)
    assert reached("db1", 5432, limits)
