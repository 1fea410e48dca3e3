"""Writes docs/site-model.md from the site model."""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from annotated_types import Ge, Le
from generated import ROOT, publish, table
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from hostwright import config

PAGE = ROOT / "docs" / "site-model.md"

HEAD = """\
# The site model

One variable, `site`, describes an application and how it runs on its hosts.
[The example](../inventory/example/group_vars/all/site.yml) shows every key in the order in which you would think of
them; this page lists them all, with their types and defaults. An unknown key is refused with its path and the nearest
known one. `fab config.check` validates it, and shows what was understood.
"""

WORDS = [
    (config.Name, "name (small letters, digits, `-`; at most 24)"),
    (config.Identifier, "name"),
    (config.EnvName, "variable's name"),
    (config.Mode, "file mode"),
    (config.Size, "size, such as `10m`"),
    (config.Port, "port"),
    (config.Seconds, "seconds, up to 86400"),
    (config.Count, "number, 1 to 256"),
    (config.Module, "module, or `module:object`"),
    (config.Package, "package"),
    (config.RelativePath, "path inside the release"),
    (config.InnerPath, "path inside of the directory"),
    (config.PlainPath, "path inside of the directory, without spaces and quotes"),
    (config.Header, "text in ASCII"),
    (config.ServerName, "host name"),
    (config.Calendar, "calendar expression of systemd"),
    (config.Url, "URL path"),
    (config.Setting, "text, number, true or false"),
    (config.AbsolutePath, "absolute path on the host"),
    (config.Line, "line of text"),
    (config.Command, "program and its arguments"),
    (SecretStr, "secret"),
    (str, "text"),
    (int, "number"),
    (bool, "true or false"),
]
"""A type of the model, and how a person calls it."""


def words(kind: Any) -> str:
    """A type in plain words."""
    for known, text in WORDS:
        if kind is known:
            return text
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " or ".join(f"`{choice}`" if choice else "`''`" for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(words(argument) for argument in arguments if argument is not type(None)))
    if origin is list:
        return f"list: {words(arguments[0])}"
    if origin is dict:
        return f"mapping: {words(arguments[0])} to {words(arguments[1])}"
    if origin is typing.Annotated:
        return words(arguments[0]) + limits(arguments[1:])
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "mapping"
    raise SystemExit(f"tools/site_reference.py has no words for the type {kind}: add them to WORDS")


def limits(constraints: tuple[Any, ...]) -> str:
    """`, 1 to 120` for a number's bounds."""
    found = [c for item in constraints for c in (item.metadata if isinstance(item, FieldInfo) else [item])]
    low = next((c.ge for c in found if isinstance(c, Ge)), None)
    high = next((c.le for c in found if isinstance(c, Le)), None)
    return f", {low} to {high}" if high is not None else f", {low} or more" if low is not None else ""


def docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The text below each attribute in the source of `model`, and of what it is based on."""
    above = [docstrings(base) for base in model.__bases__ if issubclass(base, BaseModel) and base is not BaseModel]
    source = Path(inspect.getfile(model)).read_text(encoding="utf-8")
    body = next(n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ClassDef) and n.name == model.__name__).body
    return dict(itertools.chain(*(texts.items() for texts in above))) | {
        attribute.target.id: " ".join(text.value.value.split())
        for attribute, text in itertools.pairwise(body)
        if isinstance(attribute, ast.AnnAssign)
        and isinstance(attribute.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def default(field: FieldInfo) -> str:
    """A default as YAML on one line."""
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, list):
        value = [item.model_dump(exclude_defaults=True) if isinstance(item, BaseModel) else item for item in value]
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
    return f"`{text}`"


def inner(kind: Any) -> Iterator[type[BaseModel]]:
    """The models in a type, such as Web in `Web | None`."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for argument in typing.get_args(kind):
        yield from inner(argument)


def sections(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The section of `model`, then those of the models in it."""
    hints = typing.get_type_hints(model, include_extras=True)
    meaning = docstrings(model)
    rows = [
        [f"`{path}{name}`", words(hints[name]), default(field), meaning.get(name, "")]
        for name, field in model.model_fields.items()
    ]
    yield "\n\n".join(
        [
            f"## `{path.removesuffix('.') or 'site'}`",
            *([" ".join(model.__doc__.split())] if model.__doc__ else []),
            table(["Key", "Type", "Default", ""], rows),
        ]
    )
    for name, kind in hints.items():
        for below in inner(kind) if name in model.model_fields else ():
            yield from sections(below, f"{path}{name}{'[]' if 'list' in words(kind) else ''}.")


if __name__ == "__main__":
    page = "\n\n".join([HEAD.strip(), *sections(config.Site), "<!-- Made by tools/site_reference.py. -->\n"])
    sys.exit(publish({PAGE: page}, __doc__))
