"""Several sites on one host: what each of them wants of the services that they share, and all of it together. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hostwright.errors import BadInput

LISTS = ("firewall", "nginx", "hba", "ident")
"""What is put together: rules of the firewall, sites of nginx, access rules and maps of PostgreSQL."""

SECRETS = ("tls_certificate_pem", "tls_key_pem")
"""Of a site of nginx: what the host has in files of its own, and another site's run must not know."""


def remembered(own: Mapping[str, Any]) -> dict[str, Any]:
    """What the host remembers of a site: `own`, without its secrets."""
    nginx = [{key: value for key, value in site.items() if key not in SECRETS} for site in own["nginx"]]
    return {**_typed(own), "nginx": nginx}


def fingerprint(password: str | None) -> str:
    """What tells one password from another, and is slow to guess the password from: with -v Ansible prints it."""
    return hashlib.scrypt((password or "").encode(), salt=b"hostwright", n=2**14, r=8, p=1, dklen=32).hex()


def together(host: str, text: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """What `host` needs for all of its sites: `own`, and those that it remembers, ordered by their names.

    `text` has a line `beside=JSON` for each of them, as see_host.yml has hosts print. `left_web`: the site itself was
    served there, and is no more. Where two sites can't be on one host, `objection` says why, and nothing else is there.
    """
    mine = _typed(own)
    try:
        records = {str(found["site"]): found for found in (_read(host, line) for line in _lines(text))}
        ordered = [(records | {mine["site"]: mine})[name] for name in sorted({*records, mine["site"]})]
        _check(host, mine, ordered)
    except BadInput as error:
        return {"objection": str(error)}
    merged: dict[str, Any] = {
        name: [entry for n, entry in enumerate(entries) if entry not in entries[:n]]
        for name in LISTS
        for entries in [[entry for found in ordered for entry in found[name]]]
    }
    return {
        **merged,
        "elsewhere": any(found["elsewhere"] for found in ordered),
        "connections": _room(sum(found["connections"] for found in ordered)),
        "left_web": not mine["nginx"] and bool(records.get(mine["site"], mine)["nginx"]),
        "objection": "",
    }


def _room(connections: int) -> int:
    """What `max_connections` is set to, with some to spare: another number restarts PostgreSQL below other sites."""
    return max(200, -(-connections // 100) * 100)


def _check(host: str, mine: Mapping[str, Any], ordered: Sequence[Mapping[str, Any]]) -> None:
    for other in ordered:
        if mine["redis"] and other["redis"] not in ("", mine["redis"]):
            raise BadInput(
                f"{host}: {other['site']} is there, and its Redis has another password",
                "services.redis.password is the same for all sites of a host.",
            )


def _typed(own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` with the types that expressions of ansible-core 2.16 lose."""
    return {**own, "connections": int(own["connections"]), "elsewhere": str(own["elsewhere"]) == "True"}


def _lines(text: str) -> list[str]:
    return re.findall(r"^beside=(.*?)\r?$", text, re.MULTILINE)


def _read(host: str, line: str) -> dict[str, Any]:
    wrong = BadInput(
        f"{host}: one of /etc/hostwright/*/beside.json is not what site.yml wrote",
        "Remove it, and run site.yml for that site again.",
    )
    # Ansible would run what looks like a template.
    if re.search(r"\{[{%#]", line):
        raise wrong
    try:
        found = json.loads(line)
    except ValueError:
        raise wrong from None
    kinds = {"site": str, "redis": str, "elsewhere": bool, "connections": int, **dict.fromkeys(LISTS, list)}
    if not isinstance(found, dict) or not all(isinstance(found.get(name), kind) for name, kind in kinds.items()):
        raise wrong
    return found
