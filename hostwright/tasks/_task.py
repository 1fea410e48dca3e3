"""The `@task` of every module here: Fabric's, with errors shown as one message and an exit status."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import fabric
from invoke.exceptions import Exit

from hostwright.errors import HostwrightError
from hostwright.tasks._arguments import Task

F = TypeVar("F", bound=Callable[..., Any])


def task(*, help: Mapping[str, str] | None = None, **options: Any) -> Callable[[F], F]:
    """Declare a Fabric task. `help` describes its options; the other arguments are Fabric's.

    A `HostwrightError` ends the run with its message on standard error and its exit status; Ctrl-C ends it
    with 130.
    """

    def declare(function: F) -> F:
        return cast("F", _declared(function, help or {}, options))

    return declare


def _declared(function: Callable[..., Any], help: Mapping[str, str], options: Mapping[str, Any]) -> Any:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except HostwrightError as error:
            raise Exit(f"error: {error}", code=error.exit_status) from None
        except KeyboardInterrupt:
            raise Exit("interrupted", code=130) from None

    taken = inspect.signature(function).parameters
    known = {name: text for name, text in COMMON_HELP.items() if name in taken}
    return fabric.task(help={**known, **help}, klass=Task, **options)(run)


COMMON_HELP: Mapping[str, str] = {
    "inventory": "inventory, as for ansible-playbook (default: ANSIBLE_INVENTORY, then ansible.cfg)",
    "limit": "only these hosts or groups, as for ansible-playbook",
    "json": "print events as JSON lines, for pipelines",
    "yes": "do it without asking",
}
