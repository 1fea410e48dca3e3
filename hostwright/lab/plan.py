"""What a lab is, and the commands that make it: pure functions of values."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hostwright.errors import BadInput

NETWORK = ipaddress.ip_network("198.18.0.0/15")
"""Set aside for tests of network devices (RFC 2544), so it is nobody's."""

LABEL = "hostwright.lab"
CHECKOUT = "hostwright.checkout"
"""The label that says whose a lab is: the path of the checkout that made it."""

SUITES = {"debian:11": "bullseye", "debian:12": "bookworm", "debian:13": "trixie"}
INTERPRETERS = {"ubuntu:16.04": "/usr/bin/python2.7"}
"""Where Ansible's Python is another than /usr/bin/python3."""
BASE_PACKAGES = ("systemd-sysv", "openssh-server", "ca-certificates", "iproute2", "dbus", "procps")
"""A bare host: no Python and no sudo, as a provider's smallest image."""

LAYOUTS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "one": {"host1": ("web", "worker", "beat", "db", "broker")},
    "two": {"web1": ("web", "worker", "beat"), "web2": ("web",), "db1": ("db", "broker")},
    "four": {
        "web1": ("web",),
        "web2": ("web",),
        "jobs1": ("worker", "beat"),
        "db1": ("db", "broker"),
    },
    "eight": {
        "app1": ("web", "worker", "beat", "db", "broker"),
        **{f"app{number}": ("web", "worker") for number in range(2, 9)},
    },
}
"""Name -> host -> its groups."""


@dataclass(frozen=True)
class Host:
    """A throwaway host of the lab `lab` of the checkout at `checkout`."""

    checkout: str
    lab: str
    name: str
    address: str
    groups: tuple[str, ...]

    @property
    def network(self) -> str:
        return network(self.checkout, self.lab)

    @property
    def container(self) -> str:
        return f"{self.network}-{self.name}"


@dataclass(frozen=True)
class Engine:
    """A container engine: its program, and the options that it needs to run systemd."""

    program: str
    options: tuple[str, ...] = ()


def lab_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]{0,15}", name):
        raise BadInput(f"{name!r} can't name a lab", "Use small letters and digits, at most 16.")
    return name


def network(checkout: str, lab: str) -> str:
    """What names a lab's network, and starts its containers' names: labs of two checkouts have nothing in common."""
    return f"hostwright-{lab}-{hashlib.sha256(checkout.encode()).hexdigest()[:8]}"


def tag(image: str) -> str:
    """What names an image of labs, and the container that makes it, by the `image` that was asked for."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", image).strip("-.")


def layout_name(name: str) -> str:
    if name not in LAYOUTS:
        raise BadInput(f"there is no layout {name!r}", f"Layouts: {', '.join(LAYOUTS)}")
    return name


def check_same(lab: str, there: Mapping[str, str], known: Sequence[Host], wanted: Sequence[Host], image: str) -> None:
    """Raises BadInput where the lab that is there (container -> image) is not the one that is wanted now."""
    remove = f"Choose another --name, or remove it first: fab lab.down --name {lab}"
    if there and list(known) != list(wanted):
        raise BadInput(f"the lab {lab} has other hosts than this layout's: {', '.join(sorted(there))}", remove)
    for container, other in there.items():
        if other != image:
            raise BadInput(f"the lab {lab} has hosts of another image: {container} is of {other}", remove)


def hosts(checkout: str, lab: str, layout: str, subnet: str) -> list[Host]:
    """The hosts of `layout`, with addresses from .11 on."""
    layout_name(layout)
    addresses = ipaddress.ip_network(subnet)
    return [
        Host(checkout, lab, name, str(addresses[11 + number]), tuple(groups))
        for number, (name, groups) in enumerate(LAYOUTS[layout].items())
    ]


def free_subnet(used: Sequence[str]) -> str:
    """The first /24 of the test network that overlaps none of `used`."""
    taken = [ipaddress.ip_network(text, strict=False) for text in used]
    for candidate in NETWORK.subnets(new_prefix=24):
        if not any(candidate.overlaps(other) for other in taken if other.version == 4):
            return str(candidate)
    raise BadInput("every test network is taken", "Remove a lab: fab lab.down")


def make_network(engine: Engine, checkout: str, lab: str, subnet: str) -> list[str]:
    return [
        engine.program,
        "network",
        "create",
        "--label",
        f"{LABEL}={lab}",
        "--label",
        f"{CHECKOUT}={checkout}",
        "--subnet",
        subnet,
        network(checkout, lab),
    ]


def start_host(engine: Engine, host: Host, image: str, nofile: int, nproc: int) -> list[str]:
    """The command that boots a new host. The limits are those that this machine may give."""
    return [
        engine.program,
        *engine.options,
        "run",
        "--detach",
        f"--label={LABEL}={host.lab}",
        f"--label={CHECKOUT}={host.checkout}",
        f"--name={host.container}",
        f"--hostname={host.name}",
        "--privileged",
        *(("--systemd=always",) if engine.program == "podman" else ("--cgroupns=host", "--tmpfs=/run")),
        f"--ulimit=nofile={nofile}:{nofile}",
        f"--ulimit=nproc={nproc}:{nproc}",
        f"--network={host.network}",
        f"--ip={host.address}",
        image,
        "/sbin/init",
    ]


def bootstrap_image(suite: str, target: str) -> list[str]:
    """The command that makes a distribution's smallest bootable tree, as a tar file."""
    return ["mmdebstrap", "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}", suite, target]


def inventory(lab_hosts: Sequence[Host], key: str, known_hosts: str, image: str) -> dict[str, Any]:
    """The hosts.yml of a lab whose hosts run `image`."""
    groups: dict[str, Any] = {}
    for host in lab_hosts:
        for group in host.groups:
            groups.setdefault(group, {"hosts": {}})["hosts"][host.name] = {}
    return {
        "all": {
            "hosts": {host.name: {"ansible_host": host.address} for host in lab_hosts},
            "vars": {
                "ansible_user": "root",
                "ansible_ssh_private_key_file": key,
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes",
                "hostwright_authorized_keys": [f"{key}.pub"],
                **({"ansible_python_interpreter": INTERPRETERS[image]} if image in INTERPRETERS else {}),
            },
            "children": groups,
        }
    }
