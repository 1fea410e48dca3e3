"""What stands in the way on a host, by what it printed, before a playbook changes anything there. Pure."""

from __future__ import annotations

import re

ROOM = 64
"""MiB on each file system below which apt, databases and Ansible itself end with errors that nobody understands."""

SKEW = 600
"""Seconds that a host's clock may differ: certificates and package lists are refused by one that is far off."""


def objection(host: str, text: str, now: float) -> str:
    """Why a playbook would not get through on `host`, and what mends it; empty where nothing is in its way.

    `text` has lines such as `room=FREE-KIB DIRECTORY` and `clock=SECONDS`, as see_host.yml has hosts print; `now` is
    this machine's time.
    """
    said = [*_full(text), *_wrong_clock(text, now)]
    return f"{host}: {'; '.join(said)}" if said else ""


def _full(text: str) -> list[str]:
    rooms = {where: int(free) // 1024 for free, where in re.findall(r"^room=(\d+) (\S+)", text, re.MULTILINE)}
    full = {where: free for where, free in rooms.items() if free < ROOM}
    if not full:
        return []
    shown = ", ".join(f"{where} has {free} MiB left" for where, free in full.items())
    return [
        f"{shown}, and {ROOM} are needed. Make room, such as: apt-get clean; journalctl --vacuum-size=100M; "
        f"du -xh {next(iter(full))} | sort -h | tail"
    ]


def _wrong_clock(text: str, now: float) -> list[str]:
    found = re.search(r"^clock=(\d+)", text, re.MULTILINE)
    ahead = int(found[1]) - int(now) if found else 0
    if abs(ahead) <= SKEW:
        return []
    return [
        f"its clock is {_span(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} this machine's. "
        "Set it: timedatectl set-ntp true, or date --set"
    ]


def _span(seconds: int) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"
