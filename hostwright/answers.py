"""What an engine answers to a question, checked: a host that is broken, or hostile, can't break what reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from hostwright import refusal

Seconds = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
"""Since 1970."""

Migration = Annotated[list[str], Field(min_length=2, max_length=2)]
"""App and name."""


class Answer(BaseModel):
    """Fields that are not named here are a newer engine's."""

    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


class Current(Answer):
    release: str
    slot: str | None
    since: Seconds | None


class Unit(Answer):
    unit: str
    state: str
    since: Seconds | None


class Lock(Answer):
    owner: str | None = None
    release: str | None = None
    since: str | None = None


class Status(Answer):
    current: Current | None
    previous: str | None
    transaction: dict[str, Any] | None
    lock: Lock | None
    units: list[Unit]
    maintenance: bool


class Release(Answer):
    release: str
    current: bool
    previous: bool
    created: Seconds
    status: str | None
    ref: str | None
    commit: str | None
    owner: str | None
    applied: list[Migration] | None


class Releases(Answer):
    releases: list[Release]


class Maintenance(Answer):
    maintenance: bool


KINDS: Mapping[str, type[Answer]] = {"status": Status, "releases": Releases, "maintenance": Maintenance}
"""The verb of a request -> its answer; of others nothing is read."""


def problem(verb: str, answer: dict[str, Any]) -> str:
    """The first field of an answer that is wrong, and what it must be; empty if none is."""
    kind = KINDS.get(verb)
    try:
        if kind:
            kind.model_validate(answer)
    except pydantic.ValidationError as error:
        return refusal.lines(kind, error, verb)[0] if kind else ""
    return ""
