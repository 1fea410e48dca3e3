"""A host that already runs something, and is awkward besides: nothing of others is changed, each obstacle is named.

`web1` is somebody else's: nginx, PostgreSQL and Redis with his sites, databases, keys and settings, a locale that isn't
UTF-8, umask 077, a /tmp that nothing may run from. One gets in through `db1`, as `admin`, who gives sudo a password.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.hosts.conftest import IMAGE, ROOT, eventually
from tests.hosts.labs import Fleet, all_hosts, fleet

pytestmark = [pytest.mark.hosts, all_hosts]

DOMAIN = "shop.example.com"
PASSWORD = "Correct-Horse 7"
"""What `admin` gives sudo."""

SETTLE = r"""
set -e
export DEBIAN_FRONTEND=noninteractive
mount -t tmpfs -o noexec,nosuid,mode=1777 tmpfs /tmp
apt-get update -q
apt-get install -q -y --no-install-recommends locales nftables python3 sudo
localedef -i de_DE -f ISO-8859-1 de_DE
echo LANG=de_DE > /etc/default/locale
export LANG=de_DE
apt-get install -q -y --no-install-recommends nginx postgresql redis-server
for file in /etc/pam.d/common-session /etc/pam.d/common-session-noninteractive; do
    echo 'session optional pam_umask.so umask=0077' >> $file
done

useradd --create-home --shell /bin/bash --groups sudo admin
echo "admin:$1" | chpasswd
install -d -o admin -g admin -m 700 /home/admin/.ssh
install -o admin -g admin -m 600 /root/.ssh/authorized_keys /home/admin/.ssh/authorized_keys
nft add table inet theirs
nft add chain inet theirs input '{ type filter hook input priority 0; policy accept; }'
nft add rule inet theirs input ip saddr "$2" tcp dport 22 drop

echo 'server { listen 80 default_server; return 200 "their default"; }' > /etc/nginx/sites-available/default
echo 'server { listen 8080; return 200 "their blog"; }' > /etc/nginx/sites-enabled/blog
systemctl restart nginx

etc=$(ls -d /etc/postgresql/*/main)
version=$(basename "$(dirname "$etc")")
printf "max_connections = 222\nwork_mem = '7MB'  # tuned\nlisten_addresses = '*'\n" >> "$etc/postgresql.conf"
cd /
runuser -u postgres -- psql -qc "CREATE ROLE legacy LOGIN PASSWORD 'theirs'" -c 'CREATE DATABASE legacy OWNER legacy' \
    -c 'CREATE DATABASE shop OWNER legacy'
PGPASSWORD=theirs psql -qh 127.0.0.1 -U legacy legacy -c "CREATE TABLE kept AS SELECT 'their row' AS what"
sed -i 's/^local .*/local all all md5/; $a host legacy legacy 0.0.0.0/0 md5' "$etc/pg_hba.conf"
systemctl restart postgresql
pg_createcluster "$version" theirs --start > /dev/null

systemd-run -q --unit theirs-log python3 -c '
import socket
log = socket.socket(type=socket.SOCK_DGRAM)
log.bind(("", 5140))
log.recv(1)'

printf 'maxmemory-policy allkeys-lru\ndatabases 64\n' >> /etc/redis/redis.conf
systemctl restart redis-server
redis-cli -n 40 set kept 'their key' > /dev/null
"""

HELD = r"""
use Fcntl;
for my $path ("/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock") {
    open(my $file, ">", $path) or die;
    my $whole = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
    fcntl($file, F_SETLKW, $whole) or die;
    push @held, $file;
}
sleep $ARGV[0];
"""
"""Holds apt's locks as apt does, for the seconds that it is given; in Perl, which a bare host has."""

INTERRUPTED = """\
dpkg-query -s ca-certificates | sed 's/^Status: .*/Status: install ok half-configured/' > /var/lib/dpkg/updates/0000
apt-get check"""
"""Leaves dpkg as a power cut does, and asks apt what it says to that."""


class Host(Fleet):
    """The lab's web1, and the two others that are no hosts of the site."""

    def site(self, *arguments: str, status: int = 0) -> str:
        """Run site.yml; returns what was said, on one line."""
        said = self.run("ansible-playbook", "playbooks/site.yml", *arguments, status=status)
        return " ".join(said.split())

    def variables(self, **values: Any) -> None:
        """Set variables in the inventory, beside those that are there."""
        path = ROOT / "inventory" / self.host.lab / "group_vars" / "all" / "brownfield.yml"
        known = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(yaml.safe_dump({**known, **values}), encoding="utf-8")

    def others(self) -> dict[str, str]:
        """What somebody else has on the host: answers of his services, and his files without what is marked as ours."""
        query = "cd /; PGPASSWORD=theirs psql -XAth {} -U legacy legacy -c {}"
        unmarked = "sed '/BEGIN hostwright/,/END hostwright/d'"
        asked = {
            "database": query.format("127.0.0.1", "'SELECT what FROM kept'"),
            "from elsewhere": query.format(self.address("web1"), "'SELECT what FROM kept'"),
            "connections": query.format("127.0.0.1", "'SHOW max_connections'"),
            "work_mem": query.format("127.0.0.1", "'SHOW work_mem'"),
            "owners": query.format(
                "127.0.0.1", "\"SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'legacy'\""
            ),
            "other cluster": "pgrep -f 'main/\\.\\./theirs|/theirs' -u postgres -o",
            "key": "redis-cli -n 40 get kept",
            "policy": "redis-cli config get maxmemory-policy",
            "packet filter": "nft list table inet theirs",
            "nginx": "cat /etc/nginx/nginx.conf /etc/nginx/sites-enabled/*",
            "hba": f"{unmarked} /etc/postgresql/*/main/pg_hba.conf",
            "settings": "cat /etc/postgresql/*/main/postgresql.conf",
            "redis": f"{unmarked} /etc/redis/redis.conf",
            "accounts": "getent passwd admin; getent shadow admin; cat /home/admin/.ssh/authorized_keys",
        }
        found = {name: self.says("web1", script) for name, script in asked.items()}
        found["default"], found["blog"] = (ask(self.address("web1"), port)[1] for port in (80, 8080))
        return found


def ask(address: str, port: int = 80, host: str = "") -> tuple[int, str]:
    """(status, body) that a web server answers with, asked from this machine."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", "/", headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def web() -> Iterator[Host]:
    with fleet("brownfield", "two") as made:
        host = Host(made.hosts, made.repository)
        gateway = f"{host.address('web1').rpartition('.')[0]}.1"
        host.on("web1", "bash", "-c", SETTLE, "settle", PASSWORD, gateway)
        path = ROOT / "inventory" / host.host.lab / "hosts.yml"
        hosts = json.loads(path.read_text(encoding="utf-8"))["all"]
        key, options = hosts["vars"]["ansible_ssh_private_key_file"], hosts["vars"]["ansible_ssh_common_args"]
        through = f"ssh -i {key} {options} -W %h:%p root@{host.address('db1')}"
        mine = {
            "ansible_host": host.address("web1"),
            "ansible_user": "admin",
            "ansible_become_password": PASSWORD,
            "ansible_ssh_common_args": f'{options} -o ProxyCommand="{through}"',
        }
        groups = {name: {"hosts": {"web1": {}}} for name in ("web", "worker", "beat", "db", "broker")}
        bare = {"bare": {"hosts": {"web2": {"ansible_host": host.address("web2")}}}}
        inventory = {"hosts": {"web1": mine}, "vars": hosts["vars"], "children": {**groups, **bare}}
        path.write_text(json.dumps({"all": inventory}), encoding="utf-8")
        yield host


@pytest.fixture(scope="module")
def before(web: Host) -> dict[str, str]:
    """What somebody else had, before anything was done."""
    found = web.others()
    assert found["default"] == "their default"
    assert found["database"] == found["from elsewhere"] == "their row"
    assert found["key"] == "their key"
    assert found["connections"] == "222"
    return found


def hold_locks(web: Host, name: str, seconds: int) -> float:
    """Hold apt's locks on a host for a while; returns when they are let go."""
    web.on(name, "systemd-run", "--quiet", "perl", "-e", HELD, str(seconds))
    deadline = time.monotonic() + seconds
    eventually("the lock", lambda: "Could not get lock" in web.says(name, "apt-get check"), 10)
    return deadline


def test_a_bare_host_that_installs_its_updates(web: Host) -> None:
    """Its first boot is not over: apt is busy, and dpkg was cut off."""
    assert "dpkg was interrupted" in web.says("web2", INTERRUPTED)
    deadline = hold_locks(web, "web2", 25)
    web.run("ansible-playbook", "playbooks/bootstrap.yml", "--limit", "web2")
    assert time.monotonic() > deadline
    assert web.says("web2", "python3 -c 'print(42)'; dpkg --audit") == "42"


def test_bootstrap_through_a_jump_host_with_a_password(web: Host, before: dict[str, str]) -> None:
    web.run("ansible-playbook", "playbooks/bootstrap.yml", "--limit", "web1")
    web.changes_nothing("playbooks/bootstrap.yml", "--limit", "web1")
    assert web.others() == before


def test_an_account_of_somebody_else_is_named(web: Host, before: dict[str, str]) -> None:
    web.on("web1", "useradd", "--create-home", "shop")
    said = web.site("--tags", "users", status=2)
    assert "The account shop is there, with the home /home/shop and not /srv/shop. Choose another name" in said
    web.on("web1", "userdel", "--remove", "shop")
    assert web.others() == before


def test_ports_that_would_be_closed_are_named(web: Host, before: dict[str, str]) -> None:
    said = web.site(status=2)
    closed = "port 5432 (postgres), 8080 (nginx), 5140/udp (python3)."
    assert f"others connect to this host, and would be shut out: {closed}" in said
    assert "firewall_further_rules, such as [{port: 5432}]" in said
    assert web.others() == before
    assert web.says("web1", "nft list tables") == "table inet theirs"
    web.site("--tags", "firewall", "--extra-vars", "firewall_enabled=false")
    assert web.says("web1", "nft list tables; ls /etc | grep hostwright-firewall") == "table inet theirs"


def test_clients_of_a_port_for_others_are_named(web: Host, before: dict[str, str]) -> None:
    """PostgreSQL waits for a minute for who says nothing."""
    rest = [{"port": 8080}, {"port": 5140, "protocol": "udp"}]
    web.variables(firewall_further_rules=[*rest, {"port": 5432, "from": [web.address("db1")]}])
    client = f"exec 3<>/dev/tcp/{web.address('web1')}/5432; sleep 300"
    web.on("web2", "systemd-run", "--quiet", "bash", "-c", client)
    said = web.site("--tags", "firewall", status=2)
    assert f"would be shut out: port 5432 (postgres) from {web.address('web2')}." in said
    assert web.says("web1", "nft list tables") == "table inet theirs"
    assert web.others() == before
    web.variables(firewall_further_rules=[*rest, {"port": 5432}])


def test_a_database_of_somebody_else_is_named(web: Host, before: dict[str, str]) -> None:
    said = web.site(status=2)
    assert (
        "The database shop belongs to legacy, not to shop. Name its role as the owner, or choose another name" in said
    )
    assert web.others() == before
    web.says("web1", "cd /; runuser -u postgres -- psql -c 'DROP DATABASE shop'")


def test_what_would_change_a_redis_is_named(web: Host, before: dict[str, str]) -> None:
    said = web.site("--tags", "redis", status=2)
    assert (
        "would be overridden: databases 64, maxmemory-policy allkeys-lru. Leave it: list these names in redis_keep"
        in said
    )
    web.variables(redis_keep=["databases", "maxmemory-policy"])
    said = web.site("--tags", "redis", status=2)
    assert "holds keys of somebody else, who gives no password and would be shut out" in said
    assert web.others() == before

    def without_password(site: dict[str, Any]) -> None:
        site["services"]["redis"] = {}
        site["secrets"]["BROKER_URL"] = "redis://127.0.0.1:6379/0"

    web.change_site(without_password)


def test_a_default_server_of_somebody_else_is_named(web: Host, before: dict[str, str]) -> None:
    said = web.site(status=2)
    assert "a duplicate default server for 0.0.0.0:80 in /etc/nginx/" in said
    assert "give each site its names, and set nginx_default_server to false" in said
    assert web.others() == before
    web.on("web1", "nginx", "-t")
    web.variables(nginx_default_server=False)
    web.change_site(lambda site: site["web"].update(domains=[DOMAIN]))


def test_nothing_of_others_is_changed(web: Host, before: dict[str, str]) -> None:
    web.site("--check", "--diff")
    assert web.others() == before
    web.provision()
    assert web.others() == before


def test_the_database_is_one_for_every_letter(web: Host) -> None:
    asked = (
        "SELECT datname, pg_encoding_to_char(encoding), datctype FROM pg_database WHERE datname IN ('shop', 'legacy')"
    )
    said = web.says("web1", f'cd /; runuser -u postgres -- psql -XAtc "{asked} ORDER BY 1"')
    assert said == "legacy|LATIN1|de_DE\nshop|UTF8|C.UTF-8"


def test_a_site_beside_them(web: Host, before: dict[str, str]) -> None:
    web.deploy_text("beside others")
    status, page = ask(web.address("web1"), host=DOMAIN)
    assert (status, "beside others" in page) == (200, True)
    assert ask(web.address("web1")) == (200, "their default")
    web.deploy_text("beside others still")
    assert web.others() == before
    web.changes_nothing("playbooks/site.yml")


def test_all_is_there_after_a_restart_of_the_services(web: Host, before: dict[str, str]) -> None:
    web.on("web1", "systemctl", "restart", "nginx", "redis-server")
    assert web.others() == before
    assert "beside others still" in ask(web.address("web1"), host=DOMAIN)[1]


def test_apt_is_waited_for_and_dpkg_finished(web: Host) -> None:
    web.on("web1", "apt-get", "remove", "-q", "-y", "acl")
    assert "dpkg was interrupted" in web.says("web1", INTERRUPTED)
    web.site("--tags", "apt")
    web.on("web1", "apt-get", "remove", "-q", "-y", "acl")
    deadline = hold_locks(web, "web1", 25)
    web.site("--tags", "apt")
    assert time.monotonic() > deadline
    assert web.says("web1", "dpkg-query -Wf '${Status}' acl; dpkg --audit") == "install ok installed"


def test_a_full_disk_is_named(web: Host) -> None:
    web.on("web1", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/srv")
    try:
        for playbook in ("site", "bootstrap", "upgrade"):
            said = web.run("ansible-playbook", f"playbooks/{playbook}.yml", "--limit", "web1", status=2)
            assert "web1: /srv has 1 MiB left, and 64 are needed. Make room" in " ".join(said.split())
    finally:
        web.on("web1", "umount", "/srv")


def test_a_wrong_clock_is_named(web: Host) -> None:
    """The clock is this machine's too, so that the program that says the time is made to lie."""
    lie = """printf '#!/bin/sh\\nexec /bin/date -d "3 days ago" "$@"\\n' > /usr/local/bin/date"""
    web.says("web1", f"{lie}; chmod 755 /usr/local/bin/date")
    try:
        said = web.site(status=2)
    finally:
        web.on("web1", "rm", "/usr/local/bin/date")
    assert "web1: its clock is 3 days behind this machine" in said
    assert "Set it: timedatectl set-ntp true" in said


def test_no_way_to_an_index(web: Host, before: dict[str, str]) -> None:
    """The project brings its wheels, and the host reaches nobody."""
    assert IMAGE.startswith("debian:") or pytest.skip("wheels are fetched for a Debian's Python")
    version = web.says("web1", "python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'")
    wheels = web.repository / "wheels"
    wanted = ["--only-binary", ":all:", "--python-version", version, "-r", str(web.repository / "requirements.txt")]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels), *wanted]
    subprocess.run(pip, check=True, capture_output=True)
    requirements = (web.repository / "requirements.txt").read_text(encoding="utf-8")
    web.commit({"requirements.txt": "--no-index\n--find-links=wheels\n" + requirements})
    gateway = web.says("web1", "ip route show default | awk '{print $3}'")
    web.on("web1", "ip", "route", "del", "default")
    try:
        web.changes_nothing("playbooks/site.yml")
        web.deploy_text("from a wheelhouse")
    finally:
        web.on("web1", "ip", "route", "add", "default", "via", gateway)
    assert "from a wheelhouse" in ask(web.address("web1"), host=DOMAIN)[1]
    assert web.others() == before
