"""The facts that a probe prints, and what each must look like."""

import json

from . import commands
from .errors import Failed

MARK = "\x1eHOSTWRIGHT "


def is_bool(value):
    return isinstance(value, bool)


def is_migrations(value):
    """Whether `value` is a list of [app, name]."""
    return isinstance(value, list) and all(_is_texts(one) and len(one) == 2 for one in value)


def is_heads(value):
    """Whether `value` is {app: [name]}."""
    return isinstance(value, dict) and all(isinstance(app, str) and _is_texts(value[app]) for app in value)


def _is_texts(value):
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def read_answer(running, wanted):
    """The facts that a probe printed: those in `wanted`, a mapping from key to what accepts its value, and no others.

    The application runs in the same process, and may print what it likes.
    """
    for line in running.output().split("\n"):  # splitlines() would split at the mark itself
        if line.startswith(MARK):
            try:
                facts = json.loads(line[len(MARK) :])
            except (ValueError, RecursionError):
                continue
            if isinstance(facts, dict) and all(wanted[key](facts.get(key)) for key in wanted):
                return {key: facts[key] for key in wanted}
    tail = running.output().splitlines()[-commands.TAIL :]
    raise Failed("{} ended without an answer".format(running.step), step=running.step, log=running.log, tail=tail)
