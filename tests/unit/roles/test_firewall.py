"""What the firewall does with a host, and what it asks it before its first rules."""

from __future__ import annotations

from tests.unit.roles.conftest import loaded


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
