"""What a site needs of its inventory: hosts in the groups that it uses, and addresses that let them into each other."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hostwright import config, contract
from hostwright.errors import BadInput


def check_groups(site: config.Site, groups: Mapping[str, Sequence[str]], origin: str) -> None:
    """Each group that the site uses has a host, and db has one. Raises BadInput, which names `origin`."""
    empty = [f"the group {group} has no hosts: {need}" for group, need in _needs(site) if not groups.get(group)]
    if empty:
        raise BadInput("\n".join(dict.fromkeys(empty)), f"Name them below `children` in hosts.yml of {origin}.")
    databases = groups.get("db", []) if site.services.databases else []
    if len(databases) > 1:
        raise BadInput(
            f"the group db has {len(databases)} hosts, and site.services.databases is on one: {', '.join(databases)}",
            "Another host needs another inventory.",
        )


def check_addresses(
    site: config.Site, groups: Mapping[str, Sequence[str]], variables: Mapping[str, Mapping[str, Any]]
) -> None:
    """The hosts of databases and brokers let those of the application in by their IPv4 addresses. Raises BadInput."""
    services = site.services
    used = {"db": services.databases, "broker": services.redis or services.amqp}
    hosts = contract.app_hosts(groups)
    for server in (host for group, use in used.items() if use for host in groups.get(group, ())):
        for host in hosts if set(hosts) - {server} else ():
            address = str(variables[host].get("ansible_host", host))
            if not _is_ipv4(address):
                raise BadInput(
                    f"{host}: ansible_host must be an IPv4 address, as {server} lets it in by that; it is {address}",
                    "Where all groups have the same one host, a name does.",
                )


def check_passwords(site: config.Site, groups: Mapping[str, Sequence[str]]) -> None:
    """What hosts of the application reach on another host has a password. Raises BadInput."""
    services = site.services
    without = [("db", f"databases.{number}") for number, one in enumerate(services.databases) if not one.password]
    without += [("broker", "redis")] if services.redis and not services.redis.password else []
    for group, service in without:
        for server in groups.get(group, ()):
            other = next((host for host in contract.app_hosts(groups) if host != server), None)
            if other:
                raise BadInput(
                    f"site.services.{service}.password: is needed, as {other} reaches {server} over the network",
                    "Keep it in the vault: docs/howto/second-host.md has the steps.",
                )


def _needs(site: config.Site) -> Iterator[tuple[str, str]]:
    """(group, what needs a host in it)."""
    if site.web:
        yield "web", "site.web needs one"
    for process in contract.processes(site):
        key = "site.celery" if process not in site.processes else f"site.processes: {process.name}"
        yield process.group, f"{key} needs one"
    for timer in site.timers:
        yield timer.group, f"site.timers: {timer.name} needs one"
    if site.services.databases:
        yield "db", "site.services.databases needs one"
    if site.services.redis:
        yield "broker", "site.services.redis needs one"
    if site.services.amqp:
        yield "broker", "site.services.amqp needs one"


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
