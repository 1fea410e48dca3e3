"""Throwaway hosts on this machine, for trying things out and for the tests."""

from __future__ import annotations

import os
from typing import Any

from hostwright import console
from hostwright.errors import BadInput, HostwrightError
from hostwright.lab import machine, plan
from hostwright.tasks._task import task


def _host(name: str, wanted: str) -> plan.Host:
    hosts = machine.hosts(name)
    found = [host for host in hosts if host.name == wanted] if wanted else hosts[:1]
    if not found:
        raise BadInput(f"the lab {name} has no host {wanted}", f"It has: {', '.join(h.name for h in hosts)}")
    return found[0]


@task(
    help={
        "layout": f"which hosts: {', '.join(plan.LAYOUTS)}",
        "image": f"{', '.join(plan.SUITES)}, or an image to pull such as ubuntu:16.04",
        "name": "name of the lab, and of its inventory",
    }
)
def up(c: Any, layout: str = "one", image: str = "debian:12", name: str = "lab") -> None:
    """Boot throwaway hosts and write inventory/NAME."""
    for host in machine.up(name, layout, image):
        print(f"{host.name:<10} {host.address:<16} {', '.join(host.groups)}")


@task(help={"name": "name of the lab", "images": "remove the images too"})
def down(c: Any, name: str = "lab", images: bool = False, yes: bool = False) -> None:
    """Remove all that a lab made, and nothing else."""
    console.confirm(f"Remove the lab {name}, its hosts and inventory/{name}?", yes)
    print("removed: " + (", ".join(machine.down(name, images)) or "nothing was there"))


@task(help={"name": "name of the lab"})
def status(c: Any, name: str = "lab") -> None:
    """Show the hosts of a lab."""
    for host, state in machine.states(name):
        print(f"{host.name:<10} {host.address:<16} {state:<10} {', '.join(host.groups)}")


@task(
    help={"host": "default: the first", "name": "name of the lab", "user": "root or deploy"},
)
def ssh(c: Any, host: str = "", name: str = "lab", user: str = "root") -> None:
    """Open a shell on a host of a lab."""
    directory = machine.CACHE / name
    address = _host(name, host).address
    options = ["-i", str(directory / "key"), "-o", f"UserKnownHostsFile={directory / 'known_hosts'}"]
    try:
        os.execvp("ssh", ["ssh", *options, f"{user}@{address}"])
    except FileNotFoundError:
        raise HostwrightError("ssh is not installed", "Install it: apt-get install openssh-client") from None


@task(help={"host": "default: the first", "name": "name of the lab"})
def kill(c: Any, host: str = "", name: str = "lab") -> None:
    """Take away a host's power."""
    machine.kill(_host(name, host))


@task(help={"host": "default: the first", "name": "name of the lab"})
def boot(c: Any, host: str = "", name: str = "lab") -> None:
    """Boot a host that was killed."""
    machine.start(_host(name, host))
