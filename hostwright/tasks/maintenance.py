"""The maintenance page."""

from __future__ import annotations

from typing import Any

from hostwright.errors import HostwrightError
from hostwright.tasks import _fleet
from hostwright.tasks._task import task


def _set(inventory: str, limit: str, on: bool) -> None:
    found, hosts = _fleet.read(inventory, limit)
    answers = _fleet.ask_all(found, hosts, {"verb": "maintenance", "on": on})
    failed = [str(answer) for answer in answers.values() if isinstance(answer, HostwrightError)]
    if failed:
        raise HostwrightError("\n".join(failed))
    print(f"maintenance is {'on' if on else 'off'} on {', '.join(hosts)}")


@task()
def on(c: Any, inventory: str = "", limit: str = "") -> None:
    """Answer every request with the maintenance page."""
    _set(inventory, limit, True)


@task()
def off(c: Any, inventory: str = "", limit: str = "") -> None:
    """Let requests through again."""
    _set(inventory, limit, False)
