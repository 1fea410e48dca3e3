"""The schema of events: it takes what docs/events.md describes and what engine and `fab` say, nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hostwright.events import SCHEMA, Reporter

ROOT = Path(__file__).resolve().parents[3]
SCHEMA_FILE = ROOT / "docs" / "events.schema.json"
PREPARED = {"venv": "k", "venv_ready": True, "platform": None, "release": "r1"}
BUILT = {"plan": [["a", "1"]], "heads": {"a": ["1"]}, "reversible": True}
HOST = {"host": "web1", "op": "o-0", "seq": 1, "at": 1.5}

EVENTS: list[dict[str, Any]] = [
    {"event": "begin", "op": "o", "kind": "restart", "site": "shop", "hosts": ["web1"], "release": None},
    {"event": "state", "state": "migrated", "detail": "a.0001"},
    {"event": "note", "host": "web1", "detail": "migrations: a.0001"},
    {"event": "end", "result": "failed", "detail": "no", "error": "no", "log": "/x"},
    {"event": "begun", "release": "r1", "kind": "deploy", "serves": None, **HOST},
    {"event": "step", "step": "check", "status": "start", **HOST},
    {"event": "step", "step": "check", "status": "skipped", "seconds": 0.0, "detail": "why", **HOST},
    {"event": "done", "do": "prepare", "ok": True, **PREPARED, **HOST},
    {"event": "done", "do": "wheels", "ok": True, "key": "k", **HOST},
    {"event": "done", "do": "build", "ok": True, **BUILT, **HOST},
    {"event": "done", "do": "migrate", "ok": True, "applied": [["a", "1"]], **HOST},
    {"event": "done", "do": "unmigrate", "ok": True, "undone": [], **HOST},
    {"event": "done", "do": "standby", "ok": True, "slot": "a", **HOST},
    {"event": "done", "do": "ready", "ok": True, **HOST},
    {"event": "done", "do": "flip", "ok": True, **HOST},
    {"event": "done", "do": "finish", "ok": True, "workers": [], "stopping": ["u"], "removed": [], **HOST},
    {"event": "done", "do": "abort", "ok": True, "release_kept": None, **HOST},
    {"event": "done", "do": "build", "ok": False, **HOST},
    {"event": "expired", "detail": "nobody was heard", **HOST},
    {"event": "recovering", "do": "abort", **HOST},
    {
        "event": "plan",
        "site": "shop",
        "release": "r1",
        "ref": "HEAD",
        "commit": "c",
        "steps": [{"do": "flip", "hosts": ["web1"], "state": "flipped", "detail": ""}],
    },
    {
        "event": "status",
        "site": "shop",
        "host": "web1",
        "engine": 1,
        "current": {"release": "r1", "slot": None, "since": 1.0},
        "previous": None,
        "transaction": None,
        "lock": {"owner": "ann"},
        "units": [{"unit": "shop-web@a.service", "state": "active", "since": None}],
        "maintenance": False,
        "applied": None,
        "heads": {},
    },
    {
        "event": "release",
        "host": "web1",
        "release": "r1",
        "created": 1.0,
        "status": "good",
        "ref": None,
        "commit": None,
        "owner": None,
        "applied": [],
        "heads": None,
        "current": True,
        "previous": False,
    },
]

WRONG: list[dict[str, Any]] = [
    {"event": "begin", "op": "o", "kind": "destroy", "site": "shop", "hosts": ["web1"], "release": None},
    {"event": "begin", "op": "o", "kind": "deploy", "site": "shop", "hosts": [], "release": None},
    {"event": "state", "state": "nearly there"},
    {"event": "state"},
    {"event": "note", "detail": "without a host"},
    {"event": "end", "result": "refused"},
    {"event": "step", "step": "check", "status": "ok", **HOST},
    {"event": "step", "step": "check", "status": "start", "host": "web1"},
    {"event": "step", "step": "check", "status": "start", **HOST, "seq": 0},
    {"event": "done", "do": "prepare", "ok": True, **HOST},
    {"event": "done", "do": "build", "ok": True, "plan": [["a"]], "heads": {}, "reversible": True, **HOST},
    {"event": "done", "do": "standby", "ok": True, "slot": "c", **HOST},
    {"event": "recovering", "do": "nothing", **HOST},
    {"event": 1},
]


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    validator.check_schema(validator.schema)
    return validator


def whole(event: dict[str, Any]) -> dict[str, Any]:
    return {"schema": SCHEMA, "elapsed": 0.1, **event}


def name(event: dict[str, Any]) -> str:
    return " ".join(str(event.get(key, "")) for key in ("event", "do", "status", "state")).strip()


@pytest.mark.parametrize("event", EVENTS, ids=name)
def test_what_is_described_is_taken(schema: jsonschema.Draft202012Validator, event: dict[str, Any]) -> None:
    schema.validate(whole(event))
    schema.validate(whole({**event, "of a later version": 1}))


@pytest.mark.parametrize("event", WRONG, ids=name)
def test_what_is_wrong_is_refused(schema: jsonschema.Draft202012Validator, event: dict[str, Any]) -> None:
    assert not schema.is_valid(whole(event))


@pytest.mark.parametrize("event", EVENTS, ids=name)
def test_no_field_that_is_described_can_be_left_out(
    schema: jsonschema.Draft202012Validator, event: dict[str, Any]
) -> None:
    """But for those that docs/events.md says may be missing."""
    optional = {"detail", "error", "log", "seconds", "previous", "heads", "applied"}
    for key in set(event) - optional:
        without = {k: v for k, v in whole(event).items() if k != key}
        assert not schema.is_valid(without), key


def test_the_version_is_the_reporters(schema: jsonschema.Draft202012Validator) -> None:
    assert schema.schema["properties"]["schema"] == {"const": SCHEMA}
    assert not schema.is_valid({**whole(EVENTS[0]), "schema": SCHEMA + 1})


def test_what_the_reporter_writes_is_taken(
    schema: jsonschema.Draft202012Validator, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = Reporter(json_lines=True)
    for event in EVENTS:
        reporter.event(str(event["event"]), **{key: value for key, value in event.items() if key != "event"})
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(written) == len(EVENTS)
    for event in written:
        schema.validate(event)


def test_the_page_and_the_schema_know_the_same(schema: jsonschema.Draft202012Validator) -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    events = set(schema.schema["$defs"]) - {"host"}
    described = set(re.findall(r"^(?:\| )?`([a-z]+)`(?: \||,)", page, re.MULTILINE)) - {"do", "owner", "strategy"}
    commands = {
        "prepare",
        "wheels",
        "build",
        "migrate",
        "unmigrate",
        "standby",
        "ready",
        "flip",
        "confirm",
        "finish",
        "abort",
    }
    assert described - commands - {"op", "seq", "at", "host", "schema", "event", "elapsed"} == events
    assert set(schema.schema["$defs"]["done"]["properties"]["do"]["enum"]) == commands
    for state in schema.schema["$defs"]["state"]["properties"]["state"]["enum"]:
        assert f"`{state}`" in page


def test_the_page_and_the_schema_know_the_same_events_of_a_host(schema: jsonschema.Draft202012Validator) -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    table = page.partition("## Of one host\n\n")[2].partition("\n\n")[0]
    described = set(re.findall(r"^\| `([a-z]+)`", table, re.MULTILINE)) - {"event"}
    cases = [json.dumps(case) for case in schema.schema["allOf"]]
    assert described == {re.findall(r"/([a-z]+)\"", case)[-1] for case in cases if "/host" in case}


def test_every_state_and_event_of_the_code_is_in_the_schema(schema: jsonschema.Draft202012Validator) -> None:
    engine = ROOT / "roles" / "release" / "files" / "hostwright_engine"
    code = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("hostwright/release/*.py"))
    said = set(re.findall(r'state="([a-z ]+)"', code)) | {"uploaded", "found"}
    assert said == set(schema.schema["$defs"]["state"]["properties"]["state"]["enum"])
    emitted = {
        found
        for path in (engine / "server.py", engine / "transaction.py")
        for found in re.findall(r'"event": "([a-z]+)"', path.read_text(encoding="utf-8"))
    }
    assert {"begun", "step", "done"} <= emitted
    assert emitted - set(schema.schema["$defs"]) == {"attached"}
