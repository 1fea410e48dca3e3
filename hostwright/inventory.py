"""The inventory, read as Ansible reads it: hosts, groups, and the site model in their variables."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostwright import config
from hostwright.errors import BadInput


@dataclass(frozen=True)
class Inventory:
    """One environment: the site, its groups (name -> hosts, in order), and each host's variables."""

    site: config.Site
    groups: Mapping[str, Sequence[str]]
    variables: Mapping[str, Mapping[str, Any]]

    def select(self, hosts: Sequence[str], limit: str) -> list[str]:
        """Those of `hosts` that `limit` names: hosts, groups and patterns, `!` to leave out, by commas or colons."""
        if not limit:
            return list(hosts)
        wanted: set[str] = set()
        for part in filter(None, re.split(r"[,:]", limit)):
            pattern = part.lstrip("!&")
            found = {h for h in self.variables if fnmatch.fnmatchcase(h, pattern)}
            for group, members in self.groups.items():
                if fnmatch.fnmatchcase(group, pattern):
                    found |= set(members)
            if not found:
                raise BadInput(f"--limit: no host or group matches {pattern!r}", f"Hosts: {', '.join(self.variables)}")
            wanted = wanted - found if part.startswith("!") else wanted | found
        return [host for host in hosts if host in wanted]


def load(inventory: str = "") -> Inventory:
    """Read the inventory that `-i`, ANSIBLE_INVENTORY or ansible.cfg names. Raises BadInput."""
    return parse(_ansible_inventory(inventory), origin=inventory or "the inventory")


def _ansible_inventory(inventory: str) -> dict[str, Any]:
    program = Path(sys.executable).with_name("ansible-inventory")
    argv = [
        str(program) if program.exists() else shutil.which("ansible-inventory") or "ansible-inventory",
        "--list",
    ]
    if inventory:
        if not Path(inventory).exists() and "," not in inventory:
            raise BadInput(f"-i: there is no inventory {inventory}", "Copy inventory/example and fill it in.")
        argv += ["-i", inventory]
    environment = {**os.environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1", "ANSIBLE_NOCOLOR": "1"}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError:
        raise BadInput("ansible-inventory is not installed", "Install the requirements of this project.") from None
    if done.returncode:
        text = " ".join(done.stderr.replace("[WARNING]:", " ").split())
        if "Decryption failed" in text:
            raise BadInput("the vault password is wrong", "ANSIBLE_VAULT_PASSWORD_FILE names the file that holds it.")
        if "no vault secrets" in text:
            raise BadInput(
                "the inventory has an encrypted file, and no vault password was given",
                "Set ANSIBLE_VAULT_PASSWORD_FILE to the file that holds it.",
            )
        raise BadInput(f"the inventory can't be read: {text[-400:]}", "ansible-inventory --list shows the same.")
    return json.loads(done.stdout)  # type: ignore[no-any-return]  # what json gives


def parse(listed: Mapping[str, Any], origin: str = "the inventory") -> Inventory:
    """The inventory of what `ansible-inventory --list` printed."""
    groups = {name: _members(listed, name, set()) for name in listed if name != "_meta"}
    variables = listed.get("_meta", {}).get("hostvars", {})
    if not variables:
        raise BadInput(
            f"{origin} has no hosts",
            "Name one with -i, ANSIBLE_INVENTORY or ansible.cfg; fab lab.up makes one to try.",
        )
    described = next((values for values in variables.values() if "site" in values), None)
    if described is None:
        raise BadInput(f"{origin} has no variable `site`", "inventory/example/group_vars/all/site.yml shows it.")
    return Inventory(config.load(resolve(described["site"], described)), groups, variables)


def _members(listed: Mapping[str, Any], name: str, seen: set[str]) -> list[str]:
    if name in seen:
        return []
    group = listed.get(name, {})
    found = list(group.get("hosts", []))
    for child in group.get("children", []):
        found += _members(listed, child, seen | {name})
    return list(dict.fromkeys(found))


def resolve(value: Any, variables: Mapping[str, Any]) -> Any:
    """`value` with its Jinja expressions replaced, as far as they need nothing but `variables`.

    Ansible resolves all of them; what only it can (other hosts' variables, lookups) is left as it is, which does
    for texts that the controller never uses, and fails the validation of a key with a type.
    """
    if isinstance(value, dict):
        return {key: resolve(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, variables) for item in value]
    if isinstance(value, str) and ("{{" in value or "{%" in value):
        return _rendered(value, variables)
    return value


def _rendered(text: str, variables: Mapping[str, Any], depth: int = 0) -> Any:
    import jinja2
    from jinja2.nativetypes import NativeEnvironment
    from jinja2.sandbox import SandboxedEnvironment

    class Environment(SandboxedEnvironment, NativeEnvironment):
        pass

    try:
        result = Environment(undefined=jinja2.StrictUndefined).from_string(text).render(variables)
    except jinja2.TemplateError:
        return text
    if isinstance(result, str) and "{{" in result and depth < 10:
        return _rendered(result, variables, depth + 1)
    return result
