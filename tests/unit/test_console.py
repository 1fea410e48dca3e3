"""What a person at a terminal is shown and asked."""

from __future__ import annotations

import io
import sys

import pytest

from hostwright import console
from hostwright.errors import BadInput, HostwrightError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_is_not_cut_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("shop", ("host", "state"), [("web1", "x" * 100), ("a-long-name", "[bold]y")])
    title, heading, *rows = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert (title, heading.split()) == ("shop", ["host", "state"])
    assert [row.split() for row in rows] == [["web1", "x" * 100], ["a-long-name", "[bold]y"]]


@pytest.mark.parametrize(
    ("said", "goes_on"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("yess\n", False), ("", False)]
)
def test_a_question(
    said: str, goes_on: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(said))
    if goes_on:
        console.confirm("Sure?", yes=False)
    else:
        with pytest.raises(HostwrightError, match="nothing was done"):
            console.confirm("Sure?", yes=False)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "Sure? [y/N] " if said else "Sure? [y/N] \n")


def test_a_question_that_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    console.confirm("Sure?", yes=True)
    with pytest.raises(BadInput) as caught:
        console.confirm("Sure?", yes=False)
    assert str(caught.value) == "Sure? Nobody is here to ask.\n  Add --yes if that is what you want."


def test_times(monkeypatch: pytest.MonkeyPatch) -> None:
    assert console.since(None) == ""
    assert len(console.since(1767225600.0)) == len("2026-01-01 00:00:00")
