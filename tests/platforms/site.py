"""What playbooks/site.yml gives its roles on a release, evaluated as Ansible does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hostwright.hosts.platforms import Platform
from tests.roles import evaluate

ROOT = Path(__file__).resolve().parents[2]
PLAY: dict[str, Any] = yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text(encoding="utf-8"))[0]


def host(release: str, about: dict[str, Any]) -> Platform:
    """What a host of this release says of itself."""
    python = "2.7" if "2.7" in about["interpreter"] else about["python"]
    return Platform(release, int(about["versions"]["systemd"]), tuple(map(int, python.split("."))))


def given(role: str) -> dict[str, Any]:
    """The variables that the play gives `role`, as expressions."""
    listed = {entry["role"]: entry.get("vars", {}) for entry in PLAY["roles"]}
    for task in PLAY["tasks"]:
        # A role that comes once more takes away what it made before.
        listed.setdefault(task["ansible.builtin.include_role"]["name"], task.get("vars", {}))
    return dict(listed[role])


def by_release(role: str, platform: Platform) -> dict[str, Any]:
    """Those of them that follow from the host's release."""
    expressions = {
        name: text for name, text in given(role).items() if "_host." in str(text) and "_site." not in str(text)
    }
    return {name: evaluate(text, {"_host": platform.facts()}) for name, text in expressions.items()}


def packages(platform: Platform) -> list[str]:
    """The packages that the play installs on a host that does everything."""
    site = {
        "packages": {"run": [], "build": []},
        "python": {"version": "3", "interpreter": None},
        "services": {"postgresql_version": None, "redis": {}, "amqp": {}},
        "releases": {"dump_before_migrate": True},
    }
    variables = {"_site": site, "_host": platform.facts()}
    variables |= dict.fromkeys(["_is_web", "_is_app", "_is_db", "_is_broker"], True)
    found: list[str] = evaluate(given("apt")["apt_packages"], variables)
    return found
