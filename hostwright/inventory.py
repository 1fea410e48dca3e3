"""The inventory, read as Ansible reads it: hosts, groups, and the site model in their variables."""

from __future__ import annotations

import fnmatch
import functools
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2.nativetypes import NativeEnvironment, NativeTemplate
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

from hostwright import config, contract, listing, tree
from hostwright.errors import BadInput


@dataclass(frozen=True)
class Inventory:
    """One environment: the site, its groups (name -> hosts, in order), and each host's variables."""

    site: config.Site
    groups: Mapping[str, Sequence[str]]
    variables: Mapping[str, Mapping[str, Any]]

    def select(self, hosts: Sequence[str], limit: str) -> list[str]:
        """Those of `hosts` that `limit` names, as Ansible does it: hosts, groups and patterns, by commas or colons.

        `!` leaves out, `&` keeps only what is in both, wherever they stand.
        """
        parts = [part for part in re.split(r"[,:]", limit) if part]
        named = [self._matching(part) for part in parts if part[0] not in "!&"]
        wanted = set().union(*named) if named else set(hosts)
        for part in parts:
            if part[0] in "!&":
                found = self._matching(part[1:])
                wanted = wanted - found if part[0] == "!" else wanted & found
        return [host for host in hosts if host in wanted]

    def _matching(self, pattern: str) -> set[str]:
        found = {host for host in self.variables if fnmatch.fnmatchcase(host, pattern)}
        for group, members in self.groups.items():
            if fnmatch.fnmatchcase(group, pattern):
                found |= set(members)
        if not found:
            raise BadInput(f"--limit: no host or group matches {pattern!r}", f"Hosts: {', '.join(self.variables)}")
        return found


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

Evaluate = Callable[[str, str], Any]
"""(host, expression) -> what Ansible itself makes of the expression; raises BadInput where it can't."""


def of(listed: Mapping[str, Any], inventory: str = "", whole: bool = False) -> Inventory:
    """The inventory of what was listed of the one that `inventory` names, as `parse` has it."""
    evaluate = functools.partial(listing.evaluate, inventory=inventory)
    return parse(listed, inventory or "the inventory", evaluate, whole)


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
    expressions = _Expressions(groups, variables, functools.cache(evaluate))
    site = _site(expressions, host, whole)
    empty = [f"the group {group} has no hosts: {need}" for group, need in _needs(site) if not groups.get(group)]
    if empty:
        raise BadInput("\n".join(dict.fromkeys(empty)), f"Name them below `children` in hosts.yml of {origin}.")
    databases = groups.get("db", []) if site.services.databases else []
    if len(databases) > 1:
        raise BadInput(
            f"the group db has {len(databases)} hosts, and site.services.databases is on one: {', '.join(databases)}",
            "Another host needs another inventory.",
        )
    reached = {**variables, **dict(_reached(expressions))}
    _check_addresses(site, groups, reached)
    return Inventory(site, groups, reached)


@dataclass(frozen=True)
class _Expressions:
    """What the variables of hosts are evaluated with."""

    groups: Mapping[str, Sequence[str]]
    variables: Mapping[str, Mapping[str, Any]]
    evaluate: Evaluate

    def resolved(self, host: str, value: Any, path: str, leave: Callable[[str], bool] = lambda path: False) -> Any:
        """`value`, found at `path` in the variables of `host`; Ansible is not asked where `leave` says so."""

        def ansible(path: str, expression: str) -> Any:
            if leave(path):
                return expression
            try:
                return self.evaluate(host, expression)
            except BadInput as error:
                raise BadInput(f"{path}: {error.message}", error.hint) from None

        magic = {"groups": self.groups, "hostvars": self.variables, "inventory_hostname": host}
        return resolve(value, {**self.variables[host], **magic}, ansible, path)


def _site(expressions: _Expressions, host: str, whole: bool) -> config.Site:
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


def _reached(expressions: _Expressions) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The variables of each host that the site uses, those that it is reached with evaluated. Raises BadInput."""
    for host in dict.fromkeys(host for group in config.GROUPS for host in expressions.groups.get(group, ())):
        given = expressions.variables.get(host, {})
        own = {key: expressions.resolved(host, given[key], f"{host}: {key}") for key in CONNECTION if key in given}
        nothing = [key for key, value in own.items() if value is None]
        if nothing:
            raise BadInput(f"{host}: {nothing[0]} is null", "Give it a value, or leave it out.")
        yield host, {**given, **own}


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


def _check_addresses(
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


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _members(listed: Mapping[str, Any], name: str, seen: set[str]) -> list[str]:
    if name in seen:
        return []
    group = listed.get(name, {})
    found = list(group.get("hosts", []))
    for child in group.get("children", []):
        found += _members(listed, child, seen | {name})
    return list(dict.fromkeys(found))


class _Context(Context):
    """Variables that are expressions themselves are resolved when they are used, as Ansible does it."""

    def resolve_or_missing(self, key: str) -> Any:
        value = super().resolve_or_missing(key)
        return _rendered(value, self.parent) if _is_expression(value) else value


def _concatenated(values: Iterable[Any]) -> Any:
    """One expression keeps its type; a text stays a text, even one that looks like a number."""
    found = list(values)
    return found[0] if len(found) == 1 else "".join(str(part) for part in found)


class _Environment(SandboxedEnvironment, NativeEnvironment):
    """Ansible's kind of Jinja: expressions keep their types, and can't reach Python."""

    context_class = _Context
    concat = staticmethod(_concatenated)


class _Template(NativeTemplate):
    environment_class = _Environment


_Environment.template_class = _Template


def resolve(
    value: Any,
    variables: Mapping[str, Any],
    ansible: Callable[[str, str], Any] = lambda path, expression: expression,
    path: str = "site",
) -> Any:
    """`value` with its Jinja expressions replaced; `ansible` gets those that need Ansible's own filters and lookups.

    Left as they are, these do for texts that the controller never uses, and fail the validation of a key with a type.
    Raises BadInput, with the key's path below `path`, where a variable is missing.
    """
    if isinstance(value, dict):
        return {key: resolve(item, variables, ansible, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, variables, ansible, f"{path}.{number}") for number, item in enumerate(value)]
    if not _is_expression(value):
        return value
    try:
        return _rendered(value, variables)
    except RecursionError:
        raise BadInput(f"{path}: a variable refers to itself") from None
    except jinja2.UndefinedError as error:
        if re.search(r"\b(lookup|query|q)\(", value) or _OF_ANSIBLE.match(str(error)):
            return ansible(path, value)
        raise BadInput(
            f"{path}: {error}", "Set it in the inventory's group_vars, a secret in a file that ansible-vault encrypts."
        ) from None
    except jinja2.TemplateAssertionError:
        return ansible(path, value)  # A filter or test of Ansible's.
    except (jinja2.TemplateError, *_RAISED) as error:
        said = str(error) or type(error).__name__
        raise BadInput(f"{path}: {said}", "It is no Jinja expression; {% raw %} keeps braces as they are.") from None


_RAISED = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError, MemoryError)
"""What the methods and filters of an expression raise."""
_OF_ANSIBLE = re.compile(
    "'(lookup|query|q|now|omit|inventory_dir|inventory_file|group_names|playbook_dir|ansible_version)' is undefined"
)


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _rendered(text: str, variables: Mapping[str, Any]) -> Any:
    result = _Environment(undefined=jinja2.StrictUndefined).from_string(text).render(variables)
    if isinstance(result, jinja2.Undefined):
        str(result)  # Raises, with the name.
    return _rendered(result, variables) if _is_expression(result) and result != text else result
