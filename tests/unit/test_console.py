"""What a person sees, and what a pipeline reads."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostwright import console
from hostwright.errors import BadInput, HostwrightError


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({"event": "state", "state": "locked"}, "   1.5s  == locked"),
        ({"event": "state", "state": "uploaded", "detail": "r1"}, "   1.5s  == uploaded: r1"),
        ({"event": "step", "host": "web1", "step": "build", "status": "start"}, ""),
        (
            {"event": "step", "host": "web1", "step": "build", "status": "ok", "seconds": 1.234},
            "   1.5s     web1         build              ok        1.23 s",
        ),
        (
            {
                "event": "step",
                "host": "web1",
                "step": "wheels",
                "status": "skipped",
                "seconds": 0.0,
                "detail": "is here",
            },
            "   1.5s     web1         wheels             skipped    is here",
        ),
        (
            {"event": "step", "host": "web1", "step": "build", "status": "cancelled", "seconds": 1.234},
            "   1.5s     web1         build              cancelled 1.23 s",
        ),
        ({"event": "note", "host": "web1", "detail": "migrations: a.1"}, "   1.5s     web1         migrations: a.1"),
        ({"event": "recovering", "host": "web1", "do": "abort"}, "   1.5s     web1         abort"),
        ({"event": "expired", "host": "web1"}, "   1.5s     web1         expired"),
        ({"event": "end", "result": "failed", "detail": "web1: no"}, "   1.5s  == failed: web1: no"),
        ({"event": "end", "result": "done"}, "   1.5s  == done"),
        ({"event": "begin", "op": "o"}, ""),
        ({"event": "done", "do": "build"}, ""),
        ({"event": "an event of a later version"}, ""),
    ],
)
def test_lines_for_people(record: dict[str, Any], line: str) -> None:
    assert console.text_of({"elapsed": 1.5, **record}) == line


def test_events_for_pipelines_are_whole_and_one_a_line(tmp_path: Path) -> None:
    out = io.StringIO()
    log = tmp_path / "deep" / "log.jsonl"
    reporter = console.Reporter(json_lines=True, log=log, out=out)
    reporter.event("state", state="lo\ncked")
    reporter.event("done", do="build", ok=True)
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [event.pop("elapsed") >= 0 for event in events] == [True, True]
    assert events == [
        {"schema": 1, "event": "state", "state": "lo\ncked"},
        {"schema": 1, "event": "done", "do": "build", "ok": True},
    ]
    assert log.read_text() == out.getvalue()


events = st.dictionaries(
    st.sampled_from(
        ["self", "event", "elapsed", "schema", "host", "step", "status", "seconds", "detail", "state", "do"]
    ),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
)


@given(st.sampled_from(["state", "step", "note", "end", "expired", "recovering", "other"]), events)
def test_whatever_a_host_says_is_shown(event: str, fields: dict[str, Any]) -> None:
    for json_lines in (True, False):
        out = io.StringIO()
        console.Reporter(json_lines=json_lines, out=out).event(event, **fields)
        if json_lines:
            shown = json.loads(out.getvalue())
            assert (shown["schema"], shown["event"], type(shown["elapsed"])) == (1, event, float)


def test_people_see_lines_and_the_log_has_all(tmp_path: Path) -> None:
    out = io.StringIO()
    log = tmp_path / "log.jsonl"
    reporter = console.Reporter(log=log, out=out)
    reporter.event("begin", op="o")
    reporter.event("state", state="locked")
    assert re.fullmatch(r" +\d\.\ds  == locked\n", out.getvalue())
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["begin", "state"]


def test_events_that_can_not_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput) as caught:
        console.Reporter(log=tmp_path / "file" / "log.jsonl")
    assert caught.value.message == f"the events can't be kept in {tmp_path}/file: File exists"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"event": "state", "state": "locked"}, "1"),
        ({"event": "end", "result": "failed"}, "31"),
        ({"event": "end", "result": "done"}, "32"),
    ],
)
def test_colours_are_for_terminals(fields: dict[str, Any], code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    console.Reporter(out=out).event(fields["event"], **fields)
    assert out.getvalue().startswith(f"\x1b[{code}m")
    assert out.getvalue().endswith("\x1b[0m\n")
    monkeypatch.setenv("NO_COLOR", "1")
    for plain in (Terminal(), io.StringIO()):
        console.Reporter(out=plain).event(fields["event"], **fields)
        assert "\x1b" not in plain.getvalue()
    lines = Terminal()
    console.Reporter(json_lines=True, out=lines).event(fields["event"], **fields)
    assert "\x1b" not in lines.getvalue()


def test_where_events_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert console.log_path("shop", "op1") == Path("/state/hostwright/shop/op1.jsonl")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/ann")
    assert console.log_path("shop", "op1") == Path("/home/ann/.local/state/hostwright/shop/op1.jsonl")


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(BadInput) as caught:
        console.log_path("shop", "op1")
    assert caught.value.message == "the events can't be kept: this user has no home directory"


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


def test_the_events_are_their_users_own(tmp_path: Path) -> None:
    log = tmp_path / "shop" / "op.jsonl"
    console.Reporter(True, log, io.StringIO()).event("begin")
    assert (log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (0o600, 0o700)
