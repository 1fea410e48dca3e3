"""Answers of engines: what is right, and what is wrong with the others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostwright import answers, console
from hostwright.tasks import site

STATUS: dict[str, Any] = {
    "event": "status",
    "current": {"release": "r1", "slot": "a", "since": 1.5},
    "previous": None,
    "transaction": {"op": "x"},
    "lock": {"owner": "ann@pc", "since": "2026-01-01T00:00:00+0000", "op": "x", "release": "r2"},
    "units": [{"unit": "shop-web@a.service", "state": "active", "since": None}],
    "maintenance": False,
    "of a later version": 1,
}
ROW: dict[str, Any] = {
    "release": "r1",
    "current": True,
    "previous": False,
    "created": 1.5,
    "status": "good",
    "ref": None,
    "commit": None,
    "owner": None,
    "applied": [["orders", "0001_initial"]],
}
FACTS: dict[str, dict[str, Any]] = {
    "prepare": {"release": "r2", "venv": "k1", "venv_ready": True, "platform": "linux"},
    "build": {"plan": [["orders", "0002"]], "reversible": True, "heads": {"orders": ["0002"]}},
    "migrate": {"applied": [["orders", "0002"]]},
    "unmigrate": {"undone": [["orders", "0002"]]},
    "finish": {"workers": [], "stopping": ["shop-worker@1.service"], "removed": [], "drained": True},
    "done": {"do": "build", "n": 2, "ok": True},
    "attached": {"op": "x", "got": 3},
}


def test_answers_that_are_right() -> None:
    nothing = {**STATUS, "current": None, "transaction": None, "lock": None, "units": []}
    for status in (STATUS, nothing, {**STATUS, "lock": {}}):
        assert answers.problem("status", status) == ""
    for rows in ([], [ROW], [{**ROW, "applied": None}]):
        assert answers.problem("releases", {"releases": rows}) == ""
    assert answers.problem("maintenance", {"maintenance": True}) == ""
    assert answers.problem("maintenance", {}) == "maintenance.maintenance: is needed"
    assert answers.problem("a verb of a later version", {}) == ""
    for command, facts in FACTS.items():
        assert answers.problem(command, facts) == ""
    assert answers.problem("build", {**FACTS["build"], "plan": [], "heads": None}) == ""
    assert answers.problem("done", {"do": "abort", "n": None, "ok": False, "error": {}}) == ""


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"units": "canary"}, "status.units: must be a list"),
        ({"units": [{}]}, "status.units.0.unit: is needed"),
        ({"units": [7]}, "status.units.0: must be a mapping of keys"),
        ({"current": []}, "status.current: must be a mapping of keys"),
        (
            {"current": {"release": 1, "slot": None, "since": 1}},
            "status.current.release: must be text: put it in quotes",
        ),
        (
            {"current": {"release": "r", "slot": None, "since": 1e300}},
            "status.current.since: must be 100000000000.0 or less",
        ),
        ({"current": {"release": "r", "slot": None, "since": "1"}}, "status.current.since: must be a number"),
        ({"maintenance": "yes"}, "status.maintenance: must be true or false"),
        ({"transaction": "x"}, "status.transaction: must be a mapping of keys"),
        ({"transaction": {"since": "1"}}, "status.transaction.since: must be a number"),
        ({"lock": {"since": 1}}, "status.lock.since: must be text: put it in quotes"),
    ],
)
def test_what_is_wrong_is_named_and_not_shown(changes: dict[str, Any], problem: str) -> None:
    assert answers.problem("status", {**STATUS, **changes}) == problem


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(list(ROW)), json_values, max_size=3))
def test_what_is_read_of_an_answer_that_passes_can_be_used(changes: dict[str, Any]) -> None:
    row = json.loads(json.dumps({**ROW, **changes}))
    if answers.problem("releases", {"releases": [row, ROW]}) == "":
        console.since(row["created"])
        older = {**ROW, "release": "r0", "current": False, "created": 0.5}
        target, applied = site._target({"web1": [ROW, older], "web2": [row, older]}, "r0")
        assert target == "r0"
        assert all(isinstance(migration, str) for migration in applied)
