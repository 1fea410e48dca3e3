"""SQL from the templates in templates/partition. Names and values are quoted by its filters, whatever they hold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

import jinja2

from hostwright.errors import BadInput
from hostwright.partition.plan import Step

TEMPLATES = Path(__file__).resolve().parent.parent.parent / "templates" / "partition"


def identifier(name: str) -> str:
    """`name` as an SQL identifier."""
    if "\0" in name:
        raise BadInput(f"{name!r} holds a NUL character, which no name can")
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | dt.datetime) -> str:
    """`value` as an SQL literal; a moment with its offset, so that no session's time zone changes it."""
    text = value.strftime("%Y-%m-%d %H:%M:%S+00") if isinstance(value, dt.datetime) else value
    if "\0" in text:
        raise BadInput(f"{text!r} holds a NUL character, which no text can")
    quoted = "'" + text.replace("'", "''") + "'"
    # An escape string means the same whatever standard_conforming_strings is.
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def identifiers(names: Iterable[str]) -> str:
    return ", ".join(identifier(name) for name in names)


_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,
)
_environment.filters |= {"i": identifier, "ii": identifiers, "l": literal}


def sql(step: Step) -> str:
    """The statements of `step`."""
    tag = "$hostwright$"
    while any(tag in str(value) for value in step.values.values()):
        tag = tag[:-1] + "_$"
    return _environment.get_template(step.template).render(step.values, body_quote=tag)
