"""What a person reads where pydantic refuses a value: the key's path, and what the value must be, never the value."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import pydantic
from pydantic import BaseModel

MUST_BE = {
    "missing": "is needed",
    "string_type": "must be text",
    "invalid_key": "the key must be text: put it in quotes",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "model_attributes_type": "must be a mapping of keys",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}
"""Kind of problem -> what is said of it."""


def lines(model: type[BaseModel], error: pydantic.ValidationError, origin: str) -> list[str]:
    """A line for each wrong key, with its path below `origin`."""
    schema = model.model_json_schema()
    said: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False):
        location, known = _without_choices(schema, problem["loc"])
        path = ".".join([origin, *map(str, location)])
        text = _unknown(known, location) if problem["type"] == "extra_forbidden" else _text(problem)
        said.setdefault(path, []).append(text)
    return [f"{path}: {_either(texts)}" for path, texts in said.items()]


def _text(problem: Any) -> str:
    kind, given = problem["type"], problem["input"]
    if kind == "string_type" and isinstance(given, bool | int | float):
        return "must be text: put it in quotes"
    if kind not in MUST_BE:
        return f"{problem['msg'][0].lower()}{problem['msg'][1:]}".replace("input should be", "must be")
    text = MUST_BE[kind].format(**problem.get("ctx", {}))
    return f"the name {text}" if problem["loc"] and problem["loc"][-1] == "[key]" else text


def _either(texts: Sequence[str]) -> str:
    """What a value must be, where it may be one of several things."""
    several = list(dict.fromkeys(texts))
    return " or ".join([several[0], *(text.removeprefix("must be ") for text in several[1:])])


def _unknown(known: Sequence[str], location: Sequence[Any]) -> str:
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    return "unknown key" + (f" (did you mean {near[0]}?)" if near else "")


def _without_choices(schema: Any, location: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """`location` without pydantic's names for the choices of a union, and for the key of a mapping; and the keys that
    are known where its last part is."""
    node, path, known = schema, [], list[str]()
    for part in location:
        node = _deref(schema, node)
        if "oneOf" in node:  # Each choice is named by its model.
            node = next(choice for choice in node["oneOf"] if choice["$ref"].endswith(f"/{part}"))
            continue
        below = _below(node, part)
        if below is None:
            break
        known = list(node.get("properties", {}))
        node = below
        path.append(part)
    return path, known


def _below(node: Any, part: Any) -> Any:
    """The schema of `part` of a mapping or list, None where `node` describes neither."""
    if "items" in node:
        return node["items"]
    if "properties" in node:
        return node["properties"].get(part, {})
    return node.get("additionalProperties")


def _deref(schema: Any, node: Any) -> Any:
    for option in node.get("anyOf", []):
        if "$ref" in option or "properties" in option or "items" in option or "additionalProperties" in option:
            node = option
            break
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node
