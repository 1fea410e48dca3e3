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

NUMBERS = ("port", "tls_port", "hsts_seconds", "rate_burst", "timeout")
"""Of a site of nginx."""

SERVICES = {"firewall", "nginx", "postgresql", "redis", "rabbitmq"}
DONE_BY: Mapping[str, set[str]] = {
    "firewall": SERVICES,
    "elsewhere": {"postgresql", "rabbitmq"},
    "nginx": {"nginx"},
    "hba": {"postgresql"},
    "ident": {"postgresql"},
    "connections": {"postgresql"},
    "redis": {"redis"},
    "redis_databases": {"redis"},
    "partitions": {"partition"},
    "processes": {"celery"},
}
"""The tags of site.yml that do on the host what is remembered."""

NOTHING: Mapping[str, Any] = {
    **{name: [] for name in (*LISTS, "processes")},
    "elsewhere": False,
    "connections": 0,
    "redis": "",
    "redis_databases": 0,
    "partitions": False,
}
"""What a site wants before it is there."""


def fingerprint(password: str | None) -> str:
    """What tells one password from another, and is slow to guess the password from: with -v Ansible prints it."""
    return hashlib.scrypt((password or "").encode(), salt=b"hostwright", n=2**14, r=8, p=1, dklen=32).hex()


def together(
    host: str, text: str, own: Mapping[str, Any], tags: Sequence[str] = ("all",), skipped: Sequence[str] = ()
) -> dict[str, Any]:
    """What `host` needs for all of its sites: `own`, and those that it remembers, ordered by their names.

    `text` has a line `beside=JSON` for each of them, as see_host.yml has hosts print. `left` names what the site itself
    had there and has no more; `remembered` is what the host is to remember of it after a run with these `tags` and
    without those `skipped`. Where two sites can't be on one host, `objection` says why, and nothing else is there.
    """
    mine = _typed(own)
    try:
        records = {str(found["site"]): found for found in (_read(host, line) for line in _lines(text))}
        ordered = [(records | {mine["site"]: mine})[name] for name in sorted({*records, mine["site"]})]
        _check(host, mine, ordered)
    except BadInput as error:
        return {"objection": str(error)}
    before = records.get(mine["site"], NOTHING)
    merged: dict[str, Any] = {
        name: [entry for n, entry in enumerate(entries) if entry not in entries[:n]]
        for name in LISTS
        for entries in [[entry for found in ordered for entry in found[name]]]
    }
    return {
        **merged,
        "elsewhere": any(found["elsewhere"] for found in ordered),
        "connections": _room(sum(found["connections"] for found in ordered)),
        "redis_databases": max(found["redis_databases"] for found in ordered),
        "left": [name for name in ("nginx", "hba", "partitions", "processes") if before[name] and not mine[name]],
        "remembered": {
            name: value if name not in DONE_BY or _ran(DONE_BY[name], tags, skipped) else before[name]
            for name, value in _without_secrets(mine).items()
        },
        "objection": "",
    }


def _ran(roles: set[str], tags: Sequence[str], skipped: Sequence[str]) -> bool:
    return ("all" in tags or "tagged" in tags or not roles.isdisjoint(tags)) and not roles <= set(skipped)


def _without_secrets(own: Mapping[str, Any]) -> dict[str, Any]:
    """`own`, with the word that a certificate was given in place of the certificate."""
    nginx = [
        {
            **{key: value for key, value in site.items() if key not in SECRETS},
            **({"tls_given": True} if site.get("tls_key_pem") else {}),
        }
        for site in own["nginx"]
    ]
    return {**own, "nginx": nginx}


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
        both = sorted(_units(mine) & _units(other)) if other["site"] != mine["site"] else []
        if both:
            raise BadInput(
                f"{host}: {other['site']} is there, and has a unit of the same name: {both[0]}",
                "Give the process or timer another name.",
            )


def _units(site: Mapping[str, Any]) -> set[str]:
    return {f"{site['site']}-{name}" for name in (*site["processes"], *(["web"] if site["nginx"] else []))}


def _typed(own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` with the types that expressions of ansible-core 2.16 lose."""
    return {
        **own,
        "nginx": [{k: int(v) if k in NUMBERS and v is not None else v for k, v in one.items()} for one in own["nginx"]],
        "connections": int(own["connections"]),
        "redis_databases": int(own["redis_databases"]),
        "elsewhere": str(own["elsewhere"]) == "True",
        "partitions": str(own["partitions"]) == "True",
    }


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
        found = {**NOTHING, **json.loads(line)}
        kinds: dict[str, type] = {"site": str, **{name: type(value) for name, value in NOTHING.items()}}
        if not all(isinstance(found.get(name), kind) for name, kind in kinds.items()):
            raise wrong
        return _typed(found)
    except (ValueError, TypeError, AttributeError):
        raise wrong from None
