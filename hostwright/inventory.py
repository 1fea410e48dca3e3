"""The inventory, read as Ansible reads it: hosts, groups, and the site model in their variables."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2.nativetypes import NativeEnvironment, NativeTemplate
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

from hostwright import config, listing
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


def load(inventory: str = "") -> Inventory:
    """Read the inventory that `-i`, ANSIBLE_INVENTORY or ansible.cfg names. Raises BadInput."""
    return parse(listing.read(inventory), origin=inventory or "the inventory")


def parse(listed: Mapping[str, Any], origin: str = "the inventory") -> Inventory:
    """The inventory of what `ansible-inventory --list` printed."""
    groups = {name: _members(listed, name, set()) for name in listed if name != "_meta"}
    variables: Mapping[str, Mapping[str, Any]] = listed.get("_meta", {}).get("hostvars", {})
    if not variables:
        raise BadInput(
            f"{origin} has no hosts",
            "Name one with -i, ANSIBLE_INVENTORY or ansible.cfg; fab lab.up makes one to try.",
        )
    host = next((host for host, values in variables.items() if "site" in values), None)
    if host is None:
        raise BadInput(f"{origin} has no variable `site`", "inventory/example/group_vars/all/site.yml shows it.")
    known = {**variables[host], "groups": groups, "hostvars": variables, "inventory_hostname": host}
    return Inventory(config.load(resolve(variables[host]["site"], known)), groups, variables)


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


def resolve(value: Any, variables: Mapping[str, Any], path: str = "site") -> Any:
    """`value` with its Jinja expressions replaced, but for those that need Ansible's own filters and lookups.

    These are left as they are, which does for texts that the controller never uses, and fails the validation of a
    key with a type. Raises BadInput, with the key's path below `path`, where a variable is missing.
    """
    if isinstance(value, dict):
        return {key: resolve(item, variables, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, variables, f"{path}.{number}") for number, item in enumerate(value)]
    if not _is_expression(value):
        return value
    try:
        return _rendered(value, variables)
    except RecursionError:
        raise BadInput(f"{path}: a variable refers to itself") from None
    except jinja2.UndefinedError as error:
        if re.search(r"\b(lookup|query|q)\(", value):
            return value
        raise BadInput(
            f"{path}: {error}", "Set it in the inventory's group_vars, a secret in a file that ansible-vault encrypts."
        ) from None
    except jinja2.TemplateAssertionError:
        return value  # A filter or test of Ansible's.
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise BadInput(f"{path}: {error}", "It is no Jinja expression; {% raw %} keeps braces as they are.") from None


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _rendered(text: str, variables: Mapping[str, Any]) -> Any:
    result = _Environment(undefined=jinja2.StrictUndefined).from_string(text).render(variables)
    if isinstance(result, jinja2.Undefined):
        str(result)  # Raises, with the name.
    return _rendered(result, variables) if _is_expression(result) and result != text else result
