"""The site model, as it was understood."""

from __future__ import annotations

import json as json_
from typing import Any

from hostwright.tasks import _fleet
from hostwright.tasks._task import task


@task()
def check(c: Any, inventory: str = "", json: bool = False) -> None:
    """Validate the site model, and show it with every default and no secret."""
    found = _fleet.inventory(inventory, whole=True)
    import yaml

    from hostwright import config
    from hostwright.release import source

    source.check(found.site.source)

    shown = {"site": config.shown(found.site), "groups": {g: list(found.groups.get(g, ())) for g in config.GROUPS}}
    print(json_.dumps(shown, indent=2) if json else yaml.safe_dump(shown, sort_keys=False), end="\n" if json else "")
