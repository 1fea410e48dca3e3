"""What is typed after `fab`: where it can't be right, one message and status 2."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import Any

import fabric.tasks
from invoke.exceptions import Exit, ParseError
from invoke.parser.argument import Argument

AT_LEAST = {"batch": 1, "lines": 1}
"""The least number that an option takes, where that is not 0."""


class Task(fabric.tasks.Task):  # type: ignore[misc]  # fabric ships no types
    """A task whose numbers are checked."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        found = super().get_arguments(ignore_unknown_help)
        return [_Number(argument) if argument.kind is int else argument for argument in found]


class _Number(Argument):
    """An option that takes a whole number."""

    def __init__(self, plain: Argument) -> None:
        super().__init__(plain.names[0], kind=int, default=plain.default, help=plain.help, attr_name=plain.attr_name)
        self.names = plain.names

    def set_value(self, value: Any, cast: bool = True) -> None:
        option = self.names[0].replace("_", "-")
        least = AT_LEAST.get(option, 0)
        if not re.fullmatch(r"-?[0-9]{1,9}", str(value)) or int(value) < least:
            raise Exit(f"error: --{option}: must be a whole number, {least} or more, not {value!r}", code=2)
        super().set_value(value, cast)


def strict(program: Any) -> None:
    """Have Fabric's `program` end with status 2, not 1, where it can't understand its arguments."""
    parse = program.parse_tasks

    def parse_tasks() -> None:
        try:
            parse()
        except ParseError as error:
            flags = error.context.flags if error.context else {}
            raise Exit(f"error: {_explained(str(error), program.collection.task_names, flags)}", code=2) from None

    program.parse_tasks = parse_tasks


def _explained(said: str, tasks: Collection[str], flags: Collection[str]) -> str:
    """What invoke says of arguments, in our words."""
    unknown = re.fullmatch(r"No idea what '(.*)' is!", said)
    if unknown and not unknown[1].startswith("-"):
        return f"there is no task {_meant(unknown[1], tasks)}\n  fab --list shows them; what has spaces needs quotes."
    if unknown:
        text = f"there is no option {_meant(unknown[1], flags)}"
    else:
        text = re.sub(r"Flag <Argument: ([\w-]+).*> needed value.*", r"--\1: needs a value", said)
        text = re.sub(r"'(.+)' did not receive required positional arguments: (.+)", r"fab \1 needs \2", text)
    return f"{text}\n  fab --help TASK shows the options of a task."


def _meant(word: str, known: Collection[str]) -> str:
    """`word`, and the known one that is nearest to it; the hyphens before an option don't count."""
    names = {name.lstrip("-"): name for name in known}
    near = difflib.get_close_matches(word.lstrip("-"), names, n=1)
    return f"{word} (did you mean {names[near[0]]}?)" if near else word
