"""The inventory, read as Ansible reads it: listing -> parse -> Inventory.

Importing this loads little, so that a task starts Ansible before everything else it needs.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hostwright.errors import BadInput

if TYPE_CHECKING:
    from hostwright import config


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
        parts = [part.strip() for part in re.split(r"[,:]", limit) if part.strip()]
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
