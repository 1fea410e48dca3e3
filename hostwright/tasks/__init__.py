"""What `fab --list` shows: each module here is a namespace of tasks, and those of `site` stand at the top."""

from __future__ import annotations

import importlib
import pkgutil

from fabric.main import program
from invoke.collection import Collection

from hostwright.tasks import _arguments, _fleet, _streams

_fleet.name_user()
_streams.guard(program)
_arguments.strict(program)
namespace = Collection()
for module in pkgutil.iter_modules(__path__):
    if module.name.startswith("_"):
        continue
    tasks = Collection.from_module(importlib.import_module(f"{__name__}.{module.name}"), name=module.name)
    if module.name == "site":
        for site_task in tasks.tasks.values():
            namespace.add_task(site_task)
    else:
        namespace.add_collection(tasks)
