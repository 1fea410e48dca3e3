"""What is typed after `fab`: where it can't be right, one message and status 2."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import Any

import fabric.tasks
from invoke.exceptions import Exit, ParseError
from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext

OPTIONS = "fab --help TASK shows the options of a task."

AT_LEAST = {"batch": 1, "lines": 1}
"""The least number that an option takes, where that is not 0."""


FABS_OWN = {
    "collection",
    "complete",
    "config",
    "debug",
    "help",
    "list-depth",
    "list-format",
    "no-dedupe",
    "search-root",
}
"""Those of Fabric's options that mean something to our tasks; the others would be taken, and then do nothing."""

MEANT = {"dry": "dry-run", "hosts": "limit"}
"""What is asked of our tasks with another option than Fabric's."""


class Task(fabric.tasks.Task):  # type: ignore[misc]  # fabric ships no types
    """A task whose numbers and texts are checked."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        found = super().get_arguments(ignore_unknown_help)
        kinds = {int: _Number, str: _Text}
        return [kinds[argument.kind](argument) if argument.kind in kinds else argument for argument in found]


class _Checked(Argument):
    """An option that takes no value which can't be right."""

    def __init__(self, plain: Argument) -> None:
        about = {name: getattr(plain, name) for name in ("names", "kind", "default", "help", "positional", "attr_name")}
        super().__init__(**about)

    @property
    def option(self) -> str:
        name = self.names[0].replace("_", "-")
        return name if self.positional else f"--{name}"

    def set_value(self, value: Any, cast: bool = True) -> None:
        wrong = self.wrong(str(value))
        if wrong:
            raise Exit(f"error: {self.option}: {wrong}", code=2)
        super().set_value(value, cast)

    def wrong(self, value: str) -> str:
        """What is wrong with `value`, or nothing."""
        raise NotImplementedError


class _Number(_Checked):
    """An option that takes a whole number."""

    def wrong(self, value: str) -> str:
        least = AT_LEAST.get(self.option.lstrip("-"), 0)
        right = re.fullmatch(r"-?[0-9]{1,9}", value) and int(value) >= least
        return "" if right else f"must be a whole number, {least} or more, not {value!r}"


class _Text(_Checked):
    """An option that takes a text. An empty one, as of a variable that is not set, would pass for the default."""

    def wrong(self, value: str) -> str:
        if self.option == "--limit" and not value.strip(" ,:"):
            return f"{value!r} names no host\n  Leave it out for all of them."
        if self.positional and value.startswith("-"):
            return f"{value} is an option\n  {OPTIONS}"
        if value.strip():
            return ""
        return "is empty" if self.default is None else "is empty\n  Leave it out for the default."


def strict(program: Any) -> None:
    """Have Fabric's `program` end with status 2, not 1, where it can't understand its arguments."""
    parse = program.parse_tasks

    def parse_tasks() -> None:
        try:
            parse()
        except ParseError as error:
            flags = error.context.flags if error.context else {}
            raise Exit(f"error: {_explained(str(error), program.collection.task_names, flags)}", code=2) from None
        ours = [task for task in program.tasks if isinstance(program.collection[task.name], Task)]
        wrong = _fabrics(program, ours[0]) if ours else ""
        if wrong:
            raise Exit(f"error: {wrong}", code=2)

    program.parse_tasks = parse_tasks


def _fabrics(program: Any, task: ParserContext) -> str:
    """What is wrong with Fabric's own options where `task` is called."""
    given = {_long(option): option for option in program.args.values() if option.got_value}
    if "help" in given or "complete" in given:
        return ""
    among = next((option for option in program.core_via_tasks.args.values() if option.got_value), None)
    if task.positional_args and among:
        return f"{_flags(among)} is no option of fab {task.name}\n  A command of several words needs quotes."
    name = next((name for name in given if name not in FABS_OWN), "")
    if not name:
        return ""
    if name == "identity" and "inventory" in task.args:
        put = f"Put it after: fab {task.name} -i {given[name].value[0]}"
        return f"-i before the task is a key of Fabric's, not the inventory\n  {put}"
    meant = f" (did you mean --{MEANT[name]}?)" if MEANT.get(name) in task.args else ""
    return f"there is no option {_flags(given[name])}{meant}\n  {OPTIONS}"


def _long(option: Argument) -> str:
    return max(option.names, key=len)


def _flags(option: Argument) -> str:
    return " or ".join(sorted((f"--{name}" if len(name) > 1 else f"-{name}" for name in option.names), key=len))


def _explained(said: str, tasks: Collection[str], flags: Collection[str]) -> str:
    """What invoke says of arguments, in our words."""
    unknown = re.fullmatch(r"No idea what '(.*)' is!", said)
    if unknown and not unknown[1].startswith("-"):
        return f"there is no task {_meant(unknown[1], tasks)}\n  fab --list shows them; what has spaces needs quotes."
    if unknown:
        text = f"there is no option {_meant(unknown[1], flags)}"
    else:
        needy = re.match(r"Flag <\w+: ([\w-]+).*> needed value", said)
        text = f"--{needy[1].replace('_', '-')}: needs a value" if needy else said
        text = re.sub(r"'(.+)' did not receive required positional arguments: (.+)", r"fab \1 needs \2", text)
    return f"{text}\n  {OPTIONS}"


def _meant(word: str, known: Collection[str]) -> str:
    """`word`, and the known one that is nearest to it; the hyphens before an option don't count."""
    names = {name.lstrip("-"): name for name in known}
    near = difflib.get_close_matches(word.lstrip("-"), names, n=1)
    return f"{word} (did you mean {names[near[0]]}?)" if near else word
