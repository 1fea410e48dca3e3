"""What is told of a run: the lines that a person sees, the events that a pipeline reads, and the file that has both."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostwright import events
from hostwright.errors import BadInput


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
    assert events.text_of({"elapsed": 1.5, **record}) == line


def test_events_for_pipelines_are_whole_and_one_a_line(tmp_path: Path) -> None:
    out = io.StringIO()
    log = tmp_path / "deep" / "log.jsonl"
    reporter = events.Reporter(json_lines=True, log=log, out=out)
    reporter.event("state", state="lo\ncked")
    reporter.event("done", do="build", ok=True)
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [event.pop("elapsed") >= 0 for event in told] == [True, True]
    assert told == [
        {"schema": 1, "event": "state", "state": "lo\ncked"},
        {"schema": 1, "event": "done", "do": "build", "ok": True},
    ]
    assert log.read_text() == out.getvalue()


fields_of_hosts = st.dictionaries(
    st.sampled_from(
        ["self", "event", "elapsed", "schema", "host", "step", "status", "seconds", "detail", "state", "do"]
    ),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
)


@given(st.sampled_from(["state", "step", "note", "end", "expired", "recovering", "other"]), fields_of_hosts)
def test_whatever_a_host_says_is_shown(event: str, fields: dict[str, Any]) -> None:
    for json_lines in (True, False):
        out = io.StringIO()
        events.Reporter(json_lines=json_lines, out=out).event(event, **fields)
        if json_lines:
            shown = json.loads(out.getvalue())
            assert (shown["schema"], shown["event"], type(shown["elapsed"])) == (1, event, float)


def test_people_see_lines_and_the_log_has_all(tmp_path: Path) -> None:
    out = io.StringIO()
    log = tmp_path / "log.jsonl"
    reporter = events.Reporter(log=log, out=out)
    reporter.event("begin", op="o")
    reporter.event("state", state="locked")
    assert re.fullmatch(r" +\d\.\ds  == locked\n", out.getvalue())
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["begin", "state"]


def test_events_that_can_not_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput) as caught:
        events.Reporter(log=tmp_path / "file" / "log.jsonl")
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
    events.Reporter(out=out).event(fields["event"], **fields)
    assert out.getvalue().startswith(f"\x1b[{code}m")
    assert out.getvalue().endswith("\x1b[0m\n")
    monkeypatch.setenv("NO_COLOR", "1")
    for plain in (Terminal(), io.StringIO()):
        events.Reporter(out=plain).event(fields["event"], **fields)
        assert "\x1b" not in plain.getvalue()
    lines = Terminal()
    events.Reporter(json_lines=True, out=lines).event(fields["event"], **fields)
    assert "\x1b" not in lines.getvalue()


def test_where_events_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert events.log_path("shop", "op1") == Path("/state/hostwright/shop/op1.jsonl")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/ann")
    assert events.log_path("shop", "op1") == Path("/home/ann/.local/state/hostwright/shop/op1.jsonl")


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(BadInput) as caught:
        events.log_path("shop", "op1")
    assert caught.value.message == "the events can't be kept: this user has no home directory"


def test_the_events_are_their_users_own(tmp_path: Path) -> None:
    log = tmp_path / "shop" / "op.jsonl"
    events.Reporter(True, log, io.StringIO()).event("begin")
    assert (log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (0o600, 0o700)
