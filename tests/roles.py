"""The roles, read and rendered as Ansible does it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

try:
    from ansible.template import trust_as_template
except ImportError:

    def trust_as_template(value: str) -> str:
        return value


ROLES = Path(__file__).resolve().parents[1] / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())
ELSEWHERE = {"ansible_managed": "Ansible managed", "ansible_check_mode": False, "ansible_facts": {}}
"""Variables that a role gets from Ansible."""


def loaded(role: str, path: str) -> Any:
    """The YAML of a role's file, or nothing."""
    file = ROLES / role / path
    return yaml.safe_load(file.read_text()) if file.exists() else None


def defaults(role: str) -> dict[str, Any]:
    return loaded(role, "defaults/main.yml") or {}


def tasks(role: str) -> list[tuple[str, dict[str, Any]]]:
    """(file, task) for all tasks and handlers of a role, those in blocks among them."""
    found = []
    for file in sorted([*(ROLES / role).glob("tasks/*.yml"), *(ROLES / role).glob("handlers/*.yml")]):
        waiting = list(yaml.safe_load(file.read_text()))
        while waiting:
            task = waiting.pop(0)
            found.append((f"{file.parent.name}/{file.name}", task))
            waiting[:0] = [inner for kind in ("block", "rescue", "always") for inner in task.get(kind, [])]
    return found


@functools.cache
def load_plugins() -> None:
    """Ansible's plugins; it takes the call once for a process."""
    init_plugin_loader()


def evaluate(expression: str, variables: dict[str, Any]) -> Any:
    """What Ansible makes of an expression; an undefined variable is an error."""
    return Templar(loader=DataLoader(), variables=trusted(variables)).template(trusted(expression))


def trusted(value: Any) -> Any:
    """The same, as variables of ours: from core 2.19 on, Ansible takes no template from any other string."""
    if isinstance(value, dict):
        return {key: trusted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [trusted(inner) for inner in value]
    return trust_as_template(value) if isinstance(value, str) else value


def render(role: str, template: str, **variables: Any) -> str:
    """A template of a role with the role's own variables and `variables`, as a role's tasks look it up."""
    known = {
        **ELSEWHERE,
        **defaults(role),
        **(loaded(role, "vars/main.yml") or {}),
        "role_path": str(ROLES / role),
        **variables,
    }
    path = ROLES / role / "templates" / template
    text = evaluate(f"{{{{ lookup('ansible.builtin.template', '{path}') }}}}", known)
    # Nothing at all is None to core 2.19.
    return "" if text is None else str(text)
