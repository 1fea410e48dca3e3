"""What a person at a terminal is shown and asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from hostwright.errors import BadInput, HostwrightError


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, as wide as it needs where nobody watches."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for heading in headings:
        shown.add_column(heading, overflow="fold", no_wrap=not sys.stdout.isatty())
    for row in rows:
        shown.add_row(*row)
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160).print(shown)


def confirm(question: str, yes: bool) -> None:
    """Ask before something that can't be taken back; `yes` answers. Raises where nobody can be asked.

    The question is no output: that may be events, or go to a file.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"{question} Nobody is here to ask.", "Add --yes if that is what you want.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print(file=sys.stderr)  # It ended with Ctrl-D.
    if answer.strip().lower() not in ("y", "yes"):
        raise HostwrightError("nothing was done")


def since(seconds: float | None) -> str:
    """A time in seconds since 1970 as a person reads it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""
