"""Hosts, groups, and the site model in their variables: what a task uses of what Ansible listed."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from hostwright import config, tree
from hostwright.errors import BadInput
from hostwright.inventory import Inventory, needs
from hostwright.inventory.expressions import Evaluate, Expressions

OF_FAB = ("site.source.", "site.partitions.")
"""What of the site model fab itself uses as it is, even where any text is a valid value."""
CONNECTION = (
    "ansible_host",
    "ansible_port",
    "ansible_ssh_private_key_file",
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
    "hostwright_deploy_user",
)
"""The variables of a host that fab connects with."""


def parse(
    listed: Mapping[str, Any],
    origin: str = "the inventory",
    evaluate: Evaluate = lambda host, expression: expression,
    whole: bool = False,
) -> Inventory:
    """The inventory of what `ansible-inventory --list` printed.

    Of the expressions that only Ansible understands, with its filters and lookups, `evaluate` gets those that fab
    uses, and all of them if `whole`, or if a key needs another type; the others are left as they are.
    """
    groups = {name: _members(listed, name, set()) for name in listed if name != "_meta"}
    variables: Mapping[str, Mapping[str, Any]] = listed.get("_meta", {}).get("hostvars", {})
    if not variables:
        raise BadInput(
            f"{origin} has no hosts",
            "Name one with -i, ANSIBLE_INVENTORY or ansible.cfg; fab lab.up makes one to try.",
        )
    host = next((host for host, values in variables.items() if "site" in values), None)
    if host is None:
        raise BadInput(f"{origin} has no variable `site`", tree.EVERY_KEY)
    expressions = Expressions(groups, variables, functools.cache(evaluate))
    site = _site(expressions, host, whole)
    needs.check_groups(site, groups, origin)
    needs.check_passwords(site, groups)
    reached = {**variables, **dict(_reached(expressions))}
    needs.check_addresses(site, groups, reached)
    return Inventory(site, groups, reached)


def _site(expressions: Expressions, host: str, whole: bool) -> config.Site:
    """The site model, with those expressions evaluated that it needs."""
    wanted, left = set[str](), set[str]()

    def leave(path: str) -> bool:
        if whole or path in wanted or path.startswith(OF_FAB):
            return False
        left.add(path)
        return True

    while True:
        try:
            return config.load(expressions.resolved(host, expressions.variables[host]["site"], "site", leave))
        except BadInput as error:
            # An expression that was left as it is may be what does not fit its key.
            refused = [line.partition(": ")[0] for line in error.message.splitlines()]
            unfit = {path for path in left - wanted if any(f"{path}.".startswith(f"{one}.") for one in refused)}
            if not unfit:
                raise
            wanted |= unfit


def _reached(expressions: Expressions) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The variables of each host that the site uses, those that it is reached with evaluated. Raises BadInput."""
    for host in dict.fromkeys(host for group in config.GROUPS for host in expressions.groups.get(group, ())):
        given = expressions.variables.get(host, {})
        own = {key: expressions.resolved(host, given[key], f"{host}: {key}") for key in CONNECTION if key in given}
        nothing = [key for key, value in own.items() if value is None]
        if nothing:
            raise BadInput(f"{host}: {nothing[0]} is null", "Give it a value, or leave it out.")
        yield host, {**given, **own}


def _members(listed: Mapping[str, Any], name: str, seen: set[str]) -> list[str]:
    """The hosts of a group and of those below it; the groups in `seen` are above it, and may hold each other."""
    if name in seen:
        return []
    group = listed.get(name, {})
    found = list(group.get("hosts", []))
    for child in group.get("children", []):
        found += _members(listed, child, seen | {name})
    return list(dict.fromkeys(found))
