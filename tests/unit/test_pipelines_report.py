"""What a pipeline shows of a run: JUnit's XML, and the summary page of GitHub."""

from __future__ import annotations

import json
import xml.etree.ElementTree as xml
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

from hostwright import config, events, summary
from hostwright.errors import Busy
from hostwright.inventory import Inventory
from hostwright.release import drive
from hostwright.tasks import _fleet, site

BEGIN = {"event": "begin", "elapsed": 0.0, "kind": "deploy", "site": "shop", "hosts": ["web1", "web2"], "release": "r2"}
RUN = [
    BEGIN,
    {"event": "begun", "elapsed": 0.1, "host": "web1", "kind": "deploy", "release": "r2"},
    {"event": "state", "elapsed": 0.2, "state": "locked"},
    {"event": "step", "elapsed": 0.3, "host": "web1", "step": "check", "status": "start"},
    {"event": "step", "elapsed": 0.8, "host": "web1", "step": "check", "status": "ok", "seconds": 0.5},
    {
        "event": "step",
        "elapsed": 0.9,
        "host": "web2",
        "step": "wheels",
        "status": "skipped",
        "seconds": 0.0,
        "detail": "is here",
    },
    {"event": "state", "elapsed": 1.0, "state": "migrated", "detail": "a.0001 | <b>"},
]
DONE = [*RUN, {"event": "end", "elapsed": 2.5, "result": "done", "detail": "r2"}]
ERROR = "web1: standby failed\n  ```\x1b[31m\n  Look at the log."
FAILED = [
    *RUN,
    {"event": "step", "elapsed": 2.0, "host": "web1", "step": "standby", "status": "failed", "seconds": 1.0},
    {"event": "step", "elapsed": 2.0, "host": "web2", "step": "standby", "status": "cancelled", "seconds": 0.9},
    {"event": "end", "elapsed": 2.5, "result": "failed", "detail": "web1: standby failed", "error": ERROR},
]


def cases(text: str) -> list[tuple[str, str, str, str]]:
    """(host or site, step or kind, what is in the case, its message) of each case."""
    suites = xml.fromstring(text)
    assert [suite.tag for suite in suites] == ["testsuite"]
    found = [(case, next(iter(case), None)) for case in suites[0]]
    return [
        (c.attrib["classname"], c.attrib["name"], "" if i is None else i.tag, "" if i is None else i.attrib["message"])
        for c, i in found
    ]


def test_each_step_is_a_test_case() -> None:
    text = summary.junit(DONE)
    assert cases(text) == [
        ("web1", "check", "", ""),
        ("web2", "wheels", "skipped", "is here"),
        ("shop", "deploy", "", ""),
    ]
    assert xml.fromstring(text)[0].attrib == {
        "name": "deploy of r2",
        "time": "2.500",
        "tests": "3",
        "failures": "0",
        "skipped": "1",
    }
    assert [case.attrib["time"] for case in xml.fromstring(text)[0]] == ["0.500", "0.000", "2.500"]


def test_a_failure_has_its_message_without_what_xml_can_not_hold() -> None:
    text = summary.junit(FAILED)
    assert cases(text)[2:] == [
        ("web1", "standby", "failure", "see the run's own case, or the log of the step"),
        ("web2", "standby", "skipped", "cancelled"),
        ("shop", "deploy", "failure", "web1: standby failed"),
    ]
    suite = xml.fromstring(text)[0]
    assert (suite.attrib["failures"], suite.attrib["skipped"]) == ("2", "2")
    assert suite[-1][0].text == "web1: standby failed\n  ```\ufffd[31m\n  Look at the log."


def test_the_summary_of_a_run() -> None:
    assert summary.markdown(DONE) == (
        "### shop: deploy of r2 done\n\n"
        "web1, web2; 2.5 s\n\n"
        "| The fleet is | after | |\n| --- | --- | --- |\n"
        "| locked | 0.2 s |  |\n"
        "| migrated | 1.0 s | a.0001 \\| \\<b> |\n\n"
    )


def test_the_summary_of_a_failure_ends_with_it() -> None:
    text = summary.markdown(FAILED)
    assert text.startswith("### shop: deploy of r2 failed\n")
    assert text.endswith(f"\n\n````text\n{ERROR}\n````\n\n")


def test_a_run_without_an_end_has_failed() -> None:
    assert summary.problem(RUN) == "it has no end: fab was killed, or broke"
    assert "failure" in summary.junit(RUN)


def test_a_run_that_did_not_begin_on_a_host() -> None:
    events = [{**BEGIN, "release": None, "kind": "restart"}, {**FAILED[-1], "error": "x"}]
    assert summary.markdown(events) == "### shop: restart of shop failed\n\nweb1, web2; 2.5 s\n\n```text\nx\n```\n\n"


# --- In the tasks

Deploy = Callable[..., None]


@pytest.fixture
def rollback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Deploy:
    """`fab rollback`, whose transaction ends as it is told."""
    found = Inventory(config.load({"name": "shop", "source": {"git": "."}}), {"web": ("web1",)}, {"web1": {}})
    listed = [
        {"release": "r2", "created": 2, "current": True, "status": "good", "applied": []},
        {"release": "r1", "created": 1, "current": False, "status": "good", "applied": []},
    ]

    class Remote:
        def ask(self, request: dict[str, Any]) -> dict[str, Any]:
            return {"releases": listed}

        def close(self) -> None:
            pass

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(_fleet, "read", lambda *_: (found, ["web1"]))
    monkeypatch.setattr(_fleet, "remotes", lambda *_: [Remote()])
    monkeypatch.setattr(drive, "Fleet", lambda *_: None)

    def call(error: BaseException | None = None, **options: Any) -> None:
        def run(*_: Any, **__: Any) -> None:
            if error:
                raise error

        monkeypatch.setattr(drive, "run", run)
        site.rollback.body(None, yes=True, **options)

    return call


def test_a_log_that_can_not_be_written_takes_nothing_from_the_report(
    rollback: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    monkeypatch.setattr(events, "log_path", lambda *_: tmp_path / "full")
    rollback(junit=str(tmp_path / "run.xml"))
    assert cases((tmp_path / "run.xml").read_text()) == [("shop", "rollback", "", "")]


def test_the_tasks_write_both(rollback: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    rollback(junit=str(tmp_path / "run.xml"))
    rollback(junit=str(tmp_path / "run.xml"))
    assert cases((tmp_path / "run.xml").read_text()) == [("shop", "rollback", "", "")]
    assert (tmp_path / "summary.md").read_text().count("### shop: rollback of r1 done") == 2


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [(Busy("ann is deploying"), 75, "ann is deploying"), (KeyboardInterrupt(), 130, "interrupted")],
)
def test_what_failed_keeps_its_status(
    rollback: Deploy, tmp_path: Path, error: BaseException, status: int, message: str
) -> None:
    with pytest.raises(Exit) as caught:
        rollback(error, junit=str(tmp_path / "run.xml"))
    assert caught.value.code == status
    assert cases((tmp_path / "run.xml").read_text()) == [("shop", "rollback", "failure", message)]


def test_nothing_is_written_unasked(rollback: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    rollback()
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".jsonl"]


def test_a_file_that_has_no_place_is_bad_input(rollback: Deploy, tmp_path: Path) -> None:
    with pytest.raises(Exit) as caught:
        rollback(junit=str(tmp_path / "none" / "run.xml"))
    assert (caught.value.code, str(caught.value.message)) == (
        2,
        f"error: --junit: there is no directory {tmp_path}/none\n  Make it first.",
    )
    assert not (tmp_path / "state").exists()


def test_a_file_that_can_not_be_written_does_not_change_the_result(
    rollback: Deploy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rollback(junit=str(tmp_path))
    assert f"note: {tmp_path} can't be written: Is a directory" in capsys.readouterr().err
    assert [json.loads(line)["event"] for line in next(tmp_path.rglob("*.jsonl")).read_text().splitlines()] == [
        "begin",
        "end",
    ]
