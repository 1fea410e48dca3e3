"""What the firewall asks a host before its first rules: who would be shut out, by stand-ins for the host's programs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.roles import ROLES, loaded, render

HEAD = "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n"
SSH = 'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=59,fd=3))\n'
POSTGRESQL = 'LISTEN 0 128 0.0.0.0:5432 0.0.0.0:* users:(("postgres",pid=60,fd=5))\n'
APP = [{"port": 5432, "from": ["10.0.0.1", "10.0.7.128/25"]}]
ADDRESSES = """\
1: lo    inet 127.0.0.1/8 scope host lo
1: lo    inet6 ::1/128 scope host
2: eth0    inet 10.0.0.5/24 brd 10.0.0.255 scope global eth0
2: eth0    inet6 fe80::c0/64 scope link
"""


class Host:
    """A host without rules of ours, as its programs describe it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.program("unshare", "exit 0")
        self.program("nft", "exit 1")
        self.program("ip", f"cat <<'END'\n{ADDRESSES}END")

    def program(self, name: str, script: str) -> None:
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def check(self, *, tcp: str = "", udp: str = "", connected: str = "", **variables: Any) -> str:
        """What the check says to the rules of these variables; nothing where it accepts them."""
        answers = "\n".join(
            f"{option}) cat <<'END'\n{HEAD}{sockets}END\n;;"
            for option, sockets in (("-ltnp", SSH + tcp), ("-lunp", udp), ("-tanp", SSH + connected))
        )
        self.program("ss", f"case $1 in\n{answers}\nesac")
        rules = self.directory / "rules.nft"
        rules.write_text(render("firewall", "firewall.nft.j2", **variables))
        script = (ROLES / "firewall/files/check.sh").read_text().replace("/usr/sbin/nft", "nft")
        done = subprocess.run(
            ["sh", "-c", script, "check", str(rules), *map(str, variables.get("firewall_closes", []))],
            env={"PATH": f"{self.directory}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == ""
        assert (done.returncode == 0) is (done.stderr == "")
        return done.stderr.strip()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def peers(*addresses: str, local: str = "10.0.0.5:5432", state: str = "ESTAB") -> str:
    return "".join(f"{state} 0 0 {local} {address}:40000\n" for address in addresses)


def test_a_port_that_no_rule_opens_is_named(host: Host) -> None:
    udp = 'UNCONN 0 0 *:5140 *:* users:(("rsyslogd",pid=9,fd=3))\nUNCONN 0 0 *:51820 *:*\n'
    said = host.check(tcp=POSTGRESQL, udp=udp)
    assert "would be shut out: port 5432 (postgres), 5140/udp (rsyslogd), 51820/udp (?)." in said
    assert "Open these with firewall_further_rules, such as [{port: 5432}], or list them in firewall_closes" in said
    assert "such as [{port: 5140, protocol: udp}]" in host.check(udp=udp)
    assert host.check(tcp=POSTGRESQL, firewall_rules=[{"port": 5432}]) == ""


def test_a_database_for_the_application_alone_passes(host: Host) -> None:
    assert host.check(tcp=POSTGRESQL, firewall_rules=APP) == ""
    own = peers("10.0.0.5", "127.0.0.2") + peers("::1", "fe80::c0", local="[::1]:5432")
    mapped = peers("[::ffff:10.0.0.1]", "[::ffff:10.0.7.200]", local="[::ffff:10.0.0.5]:5432")
    elsewhere = peers("10.0.0.9", local="10.0.0.5:54321") + peers("10.0.0.9", local="10.0.0.5:40001")
    half = peers("10.0.0.9", state="SYN-RECV")
    assert host.check(tcp=POSTGRESQL, connected=own + mapped + elsewhere + half, firewall_rules=APP) == ""


def test_clients_of_a_port_that_is_open_to_others_are_named(host: Host) -> None:
    connected = peers("10.0.0.1", "10.0.7.127", "10.0.0.9", "10.0.0.9") + peers("10.0.0.8", state="TIME-WAIT")
    said = host.check(tcp=POSTGRESQL, connected=connected, firewall_rules=APP)
    assert "would be shut out: port 5432 (postgres) from 10.0.0.8 and 10.0.0.9 and 10.0.7.127." in said
    assert "firewall_further_rules, such as [{port: 5432, from: [10.0.0.8, 10.0.0.9, 10.0.7.127]}]" in said
    further = [{"port": 5432, "from": ["10.0.0.8/31", "10.0.7.127"]}]
    given = {"tcp": POSTGRESQL, "connected": connected, "firewall_rules": APP}
    assert host.check(**given, firewall_further_rules=further) == ""
    assert host.check(**given, firewall_further_rules=[{"port": 5432}]) == ""
    assert host.check(**given, firewall_closes=[5432]) == ""


@pytest.mark.parametrize(
    ("peer", "local"), [("[2001:db8::9]", "[2001:db8::5]:5432"), ("2001:db8::9", "2001:db8::5:5432")]
)
def test_a_client_by_ipv6_is_let_in_by_a_rule_for_all(host: Host, peer: str, local: str) -> None:
    everybody = [{"port": 5432, "from": ["0.0.0.0/0"]}]
    said = host.check(tcp=POSTGRESQL, connected=peers(peer, local=local), firewall_rules=everybody)
    assert "port 5432 (postgres) from 2001:db8::9." in said
    assert "firewall_further_rules, such as [{port: 5432}]" in said


def test_a_loopback_without_brackets_is_one(host: Host) -> None:
    listening = "".join(
        f'LISTEN 0 128 {local} :::* users:(("redis-server",pid=60,fd=5))\n' for local in ("::1:6379", "127.0.0.1:6379")
    )
    assert host.check(tcp=listening) == ""
    assert "port 6379 (redis-server)" in host.check(tcp=listening.replace("::1:", ":::"))


def test_ports_of_ones_own_are_added_to_those_that_serve_nobody(host: Host) -> None:
    udp = 'UNCONN 0 0 10.0.0.5%eth0:68 *:* users:(("dhclient",pid=9,fd=3))\n'
    epmd = 'LISTEN 0 128 *:4369 *:* users:(("epmd",pid=8,fd=3))\n'
    blog = 'LISTEN 0 128 *:8080 *:* users:(("nginx",pid=7,fd=3))\n'
    assert host.check(tcp=epmd + blog, udp=udp, firewall_closes=[8080]) == ""
    said = host.check(tcp=epmd, udp=udp, connected=peers("10.0.0.6", local="10.0.0.5:4369"))
    assert "would be shut out: port 4369 (epmd) from 10.0.0.6." in said


def test_udp_for_some_is_taken_at_its_word(host: Host) -> None:
    udp = 'UNCONN 0 0 *:5140 *:* users:(("rsyslogd",pid=9,fd=3))\n'
    assert host.check(udp=udp, firewall_rules=[{"port": 5140, "protocol": "udp", "from": ["10.0.0.1"]}]) == ""


def test_a_host_with_rules_of_ours_is_not_asked(host: Host) -> None:
    host.program("nft", "exit 0")
    assert host.check(tcp=POSTGRESQL) == ""


@pytest.mark.parametrize("loaded_before", [False, True])
@pytest.mark.parametrize("process", ["sshd", "sshd-session"])
def test_who_is_connected_by_ssh_gets_in_again(host: Host, process: str, loaded_before: bool) -> None:
    host.program("nft", f"exit {0 if loaded_before else 1}")
    user = f'users:(("{process}",pid=77,fd=4))\n'
    connected = f"ESTAB 0 0 10.0.0.5:22 10.0.0.9:40000 {user}ESTAB 0 0 10.0.0.5:40123 10.0.0.7:5432 {user}"
    assert host.check(connected=connected) == ""
    said = host.check(connected=connected, firewall_ssh_ports=["2222"], firewall_closes=[22])
    assert said.startswith("you are connected by ssh to port 22 of this host, and would get in no more")
    assert said.endswith("set firewall_ssh_ports to [22]")


def test_switched_off_nothing_is_installed_or_asked() -> None:
    """Neither the rules, whose check looks at kernel and sockets, nor the package."""
    gates = {}
    for task in loaded("firewall", "tasks/main.yml"):
        arguments = task.get("ansible.builtin.import_tasks") or task["ansible.builtin.include_tasks"]["file"]
        gates[arguments] = task.get("when")
    assert gates == {
        "preflight.yml": None,
        "configure.yml": "firewall_enabled | bool",
        "remove.yml": "not firewall_enabled | bool",
        "verify.yml": None,
    }
