"""What the tasks of a site share: the inventory they were given, and the connections to its hosts."""

from __future__ import annotations

import functools
import getpass
import os
import socket
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hostwright import interrupts
from hostwright.errors import BadInput, HostwrightError
from hostwright.inventory import Inventory, listing
from hostwright.remote import Remote


def operation() -> str:
    """A name for one run of a task that changes something."""
    return uuid.uuid4().hex[:16]


def owner() -> str:
    """Who runs this, for the lock and the list of releases."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def name_user() -> None:
    """Let a user without a name, as in a pipeline's container, have its number for one: paramiko too asks for it."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = str(os.getuid())


def inventory(name: str, whole: bool = False) -> Inventory:
    """Read the inventory; `whole`: with every expression evaluated, also those that only the playbooks use.

    Ansible lists it in another process, and what understands the list is loaded meanwhile.
    """
    with ThreadPoolExecutor(1) as pool:
        listed = pool.submit(listing.read, name)
        from hostwright.inventory.parse import parse

        evaluate = functools.partial(listing.evaluate, inventory=name)
        return parse(listed.result(), name or "the inventory", evaluate, whole)


def read(name: str, limit: str = "") -> tuple[Inventory, list[str]]:
    """The inventory, and those of its hosts that run the site and that `limit` names."""
    read_in = inventory(name)
    from hostwright.release import plan

    selected = read_in.select(list(read_in.variables), limit)
    return read_in, plan.hosts_of(read_in.site, read_in.groups, selected)


def remotes(found: Inventory, hosts: Sequence[str]) -> list[Remote]:
    return [Remote(host, found.variables[host], found.site.name) for host in hosts]


def ask_all(
    found: Inventory, hosts: Sequence[str], request: dict[str, Any]
) -> dict[str, dict[str, Any] | HostwrightError]:
    """One request to every host side by side; a host that fails has its error for an answer."""

    def ask(remote: Remote) -> dict[str, Any] | HostwrightError:
        try:
            return remote.ask(request)
        except HostwrightError as error:
            return error
        finally:
            remote.close()

    pool = ThreadPoolExecutor(max_workers=max(len(hosts), 1))
    try:
        with interrupts.noted():
            futures = [pool.submit(ask, remote) for remote in remotes(found, hosts)]
            interrupts.wait(futures)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return {host: future.result() for host, future in zip(hosts, futures, strict=True)}


def database_host(found: Inventory) -> str:
    """The host of the site's databases."""
    hosts = list(found.groups.get("db", ()))
    if not hosts or not found.site.services.databases:
        raise BadInput("the site has no database of its own", "services.databases and the group db describe it.")
    return hosts[0]
