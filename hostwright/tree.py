"""Where playbooks, roles, plugins, templates and inventories are: at the top of a checkout or, once installed, in the
Ansible collection beside this package."""

from __future__ import annotations

from pathlib import Path

_BESIDE = Path(__file__).resolve().parent.parent
_COLLECTION = _BESIDE / "ansible_collections" / "hostwright" / "hostwright"

INSTALLED = _COLLECTION.is_dir()
TREE = _COLLECTION if INSTALLED else _BESIDE
TEMPLATES = TREE / "templates"
INVENTORIES = TREE / "inventory"

EVERY_KEY = (
    "`hostwright example` shows every key."
    if INSTALLED
    else "inventory/example/group_vars/all/site.yml shows every key."
)
"""Tells a reader where all keys of the site model are."""
AN_INVENTORY = "`hostwright example hosts` shows one." if INSTALLED else "inventory/example shows one."
"""Tells a reader where an example of an inventory is."""
NEW_INVENTORY = (
    "`hostwright init` writes inventory/production; fab lab.up makes throwaway hosts."
    if INSTALLED
    else "Copy inventory/minimal or inventory/example and fill it in; fab lab.up makes throwaway hosts."
)
"""Tells a reader how to get an inventory."""
