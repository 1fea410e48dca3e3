"""SQL from the templates in templates/partition. Names and values are quoted by its filters, whatever they hold."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jinja2

from hostwright import tree
from hostwright.errors import BadInput

if TYPE_CHECKING:
    from hostwright.partition.plan import Step

TEMPLATES = tree.TEMPLATES / "partition"
ADVISORY_LOCK = 0x70617274
"""Held while somebody changes the partitions of a database."""


def identifier(name: str) -> str:
    """`name` as an SQL identifier."""
    if "\0" in name:
        raise BadInput(f"{name!r} holds a NUL character, which no name can")
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """The relation `name` of `schema`, as SQL names it."""
    return f"{identifier(schema)}.{identifier(name)}"


def literal(value: str | int | dt.datetime | Mapping[str, Any] | None) -> str:
    """`value` as an SQL literal: a moment with its offset, which no session's time zone changes; a mapping as JSON."""
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        value = json.dumps(value)
    text = value if isinstance(value, str) else bound(value)
    if "\0" in text:
        raise BadInput(f"{text!r} holds a NUL character, which no text can")
    quoted = "'" + text.replace("'", "''") + "'"
    # An escape string means the same whatever standard_conforming_strings is.
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def bound(value: int | dt.datetime) -> str:
    """A bound as hostwright's functions in the database write it."""
    if isinstance(value, int):
        return str(value)
    if value.tzinfo:
        return value.astimezone(dt.timezone.utc).replace(tzinfo=None).isoformat(" ", "seconds") + "+00"
    return value.isoformat(" ", "seconds")


def identifiers(names: Iterable[str]) -> str:
    return ", ".join(identifier(name) for name in names)


def literals(values: Iterable[str]) -> str:
    return ", ".join(literal(value) for value in values)


def text(value: int | dt.datetime | None) -> str:
    """A bound as a literal of type text."""
    return literal(None if value is None else bound(value))


_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,
)
_environment.filters |= {"i": identifier, "ii": identifiers, "l": literal, "ll": literals, "t": text}


def sql(step: Step) -> str:
    """The statements of `step`."""
    return _environment.get_template(step.template + ".sql.j2").render(step.values)


def query(name: str, **values: Any) -> str:
    """The query `name`."""
    return _environment.get_template(name + ".sql.j2").render(values)


@functools.cache
def stamp(version: float) -> str:
    """What names the functions in the database, for a server of that version."""
    return hashlib.md5(library(version, "").encode(), usedforsecurity=False).hexdigest()[:12]


def library(version: float, stamp: str) -> str:
    """The functions in the database."""
    return query("library", version=version, stamp=stamp, advisory_lock=ADVISORY_LOCK)
