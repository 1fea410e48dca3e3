"""The maintenance page."""

from __future__ import annotations

from typing import Any

from hostwright.errors import Failures, HostwrightError
from hostwright.tasks import _fleet
from hostwright.tasks._task import task


def _set(inventory: str, limit: str, on: bool) -> None:
    found, hosts = _fleet.read(inventory, limit)
    answers = _fleet.ask_all(found, hosts, {"verb": "maintenance", "on": on})
    failed = {host: answer for host, answer in answers.items() if isinstance(answer, HostwrightError)}
    changed = [host for host in hosts if host not in failed]
    if changed:
        print(f"maintenance is {'on' if on else 'off'} on {', '.join(changed)}")
    if failed:
        raise Failures(failed)


@task()
def on(c: Any, inventory: str = "", limit: str = "") -> None:
    """Answer every request with the maintenance page."""
    _set(inventory, limit, True)


@task()
def off(c: Any, inventory: str = "", limit: str = "") -> None:
    """Let requests through again."""
    _set(inventory, limit, False)
