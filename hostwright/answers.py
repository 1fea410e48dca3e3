"""What an engine answers, checked: a host that is broken, or hostile, can't break what reads it."""

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


class Transaction(Answer):
    owner: str | None = None
    release: str | None = None
    since: Seconds | None = None


class Status(Answer):
    current: Current | None
    previous: str | None
    transaction: Transaction | None
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


class Attached(Answer):
    got: int
    """The number of the last command that came through."""


class Done(Answer):
    do: str
    n: int | None = None
    """The command's number; none where the engine did it by itself."""
    ok: bool


class Prepared(Answer):
    release: str
    venv: str
    venv_ready: bool


class Built(Answer):
    plan: list[Migration]
    reversible: bool
    heads: dict[str, list[str]] | None
    """App -> names; none where another host's are to be taken."""


class Migrated(Answer):
    applied: list[Migration]


class Unmigrated(Answer):
    undone: list[Migration]


class Finished(Answer):
    stopping: list[str]


KINDS: Mapping[str, type[Answer]] = {
    "status": Status,
    "releases": Releases,
    "maintenance": Maintenance,
    "attached": Attached,
    "done": Done,
    "prepare": Prepared,
    "build": Built,
    "migrate": Migrated,
    "unmigrate": Unmigrated,
    "finish": Finished,
}
"""The verb of a request, the event or the command of a transaction -> what is read of it; of others nothing is."""


def problem(name: str, answer: dict[str, Any]) -> str:
    """The first field that is wrong in an answer to `name`, of KINDS, and what it must be; empty if none is."""
    kind = KINDS.get(name)
    if kind is None:
        return ""
    try:
        kind.model_validate(answer)
    except pydantic.ValidationError as error:
        return refusal.lines(kind, error, name)[0]
    return ""
