"""Archives on another server: which children are due, what can't be inside of a table, and SQL that parses."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pglast
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostwright.errors import BadInput
from hostwright.partition import plan, render, undo
from hostwright.partition.archive import file, known, stream
from tests.unit.partition.test_plan import NOW, child, plain, spec

names = st.text(st.characters(exclude_characters="\0.", exclude_categories=("Cs",)), min_size=1, max_size=63)
SERVER = {"server": "archive.example.com", "name": "old", "user": "keeper", "password": "secret"}


def archived(name: str, lower: str, upper: str) -> Any:
    return dataclasses.replace(child(name, lower, upper), is_archived=True)


def former(name: str, is_archived: bool) -> known.Former:
    return known.Former("public", name, is_archived, is_inside=False, lower=None, upper=None)


def values(name: str, key: str) -> dict[str, Any]:
    """What templates are told, with names of any kind."""
    column = {"name": key, "type": "pg_catalog.int8", "required": True, "collation": None}
    text = {"name": name + "2", "type": "text", "required": False, "collation": 'pg_catalog."C"'}
    return {
        **{"schema": name, "table": name, "child": name, "child_schema": name, "key": key, "type": "bigint"},
        **{"lower": None, "upper": "5", "columns": [column, text], "primary": [key], "fresh": name},
        **{"link": name, "reader": render.identifier(name), "user": name, "in_schema": name, "server": name},
        **{"comment": name, "view": name, "back": name, "options": {"host": name, "port": "5432"}},
        **{"view_columns": [column, text], "archived": [{"schema": name, "name": key, "types": {key: "int"}}]},
    }


VALUES = values("events", "id")


@pytest.mark.parametrize("version", [9.5, 10, 11, 18])
@given(names, names)
@settings(deadline=None, max_examples=8)
def test_every_statement_parses_whatever_the_names(version: float, name: str, key: str) -> None:
    for path in (render.TEMPLATES / "archive").glob("*.j2"):
        if path.name == "bounds.sql.j2":
            continue
        for declarative, inside in itertools.product((True, False), repeat=2):
            told = {"declarative": declarative, "is_inside": inside, "place": "inside" if inside else "beside"}
            query = render.query(f"archive/{path.name.split('.')[0]}", version=version, **values(name, key), **told)
            assert pglast.parse_sql(query)


def test_those_are_due_that_are_older_than_keep_or_were_detached() -> None:
    table = dataclasses.replace(
        plain("created_at"),
        kind="inherited",
        children=(
            archived("events_p202501", "2025-01", "2025-02"),
            child("events_p202511", "2025-11", "2025-12"),
            child("events_p202512", "2025-12", "2026-01"),
        ),
    )
    past = [former("events_p202501", True), former("events_p202510", False)]
    assert known.due(spec(keep=3), table, past, NOW) == ["events_p202510", "events_p202511"]
    assert known.due(spec(keep=None), table, past, NOW) == ["events_p202510"]


def test_archived_children_are_left_alone() -> None:
    old = archived("events_p202501", "2025-01", "2025-02")
    table = dataclasses.replace(plain("created_at"), kind="inherited", children=(old,), recorded={"key": "created_at"})
    steps = plan.plan(spec(strategy="landing", keep=1, retention="drop"), table, NOW)
    assert [step.title for step in steps if "events_p202501" in step.title] == []
    with pytest.raises(BadInput, match="archived inside of it: events_p202501"):
        undo.plan(spec(), table)
    with pytest.raises(BadInput, match="archived inside of it: events_p202501"):
        plan.plan(spec(strategy="declarative"), table, NOW)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, "no declarative table with a child on another server and a primary key"),
        ({"primary_key": (), "unique": (("u", ("created_at",), None),)}, "and the unique u"),
        ({"primary_key": (), "generated": ("g",)}, "and generated columns (g)"),
    ],
)
def test_what_can_not_be_inside(changed: dict[str, Any], message: str) -> None:
    table = dataclasses.replace(plain("created_at"), **changed)
    wanted = spec(strategy="declarative", archive={**SERVER, "place": "inside"})
    with pytest.raises(BadInput, match=re.escape(message)):
        plan.plan(wanted, table, NOW)
    bare = dataclasses.replace(plain("created_at"), primary_key=())
    assert plan.plan(wanted, bare, NOW)
    assert plan.plan(spec(archive=SERVER), plain("created_at"), NOW)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"retention": "drop"}, "retention: drop would drop what is to be archived"),
        ({"method": "hash"}, "archive is for method: range"),
        ({"archive": {**SERVER, "server": "a b"}}, "archive.server"),
        ({"archive": {**SERVER, "port": 0}}, "archive.port"),
    ],
)
def test_specs_that_make_no_sense(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        spec(**{"archive": SERVER, **wrong})
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


MANIFEST = {
    **{"table": "events", "child": "events_p202501", "key": "created_at", "lower": None, "upper": "2025-02-01"},
    **{"columns": ["created_at"], "rows": 1, "sha256": "0"},
}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps({**MANIFEST, "table": 5}), "table: Input should be a valid string"),
        (json.dumps({**MANIFEST, "child": None}), "child: Input should be a valid string"),
        (json.dumps({**MANIFEST, "columns": "created_at"}), "columns: Input should be a valid array"),
        (json.dumps({**MANIFEST, "columns": [1]}), "columns: 0: Input should be a valid string"),
        (json.dumps({**MANIFEST, "child": "a\0b"}), "child: String should match pattern"),
        (json.dumps({**MANIFEST, "more": 1}), "more: Extra inputs are not permitted"),
        ("[" * 100_000, "Invalid JSON: recursion limit exceeded"),
        ("[]", "Input should be an object"),
        ("\xe9", "Invalid JSON"),
        ('{"table": "\\ud800"}', "Invalid JSON"),
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "events_p202501.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(BadInput) as caught:
        file.read(None, spec(), path)
    assert caught.value.message.startswith(f"{path}: no manifest of an archived child: {message}")


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.json: no manifest of an archived child: No such file or directory"):
        file.read(None, spec(), tmp_path / "none.json")


def test_rows_are_sent_in_binary_where_both_servers_know_the_types_by_number() -> None:
    assert stream.form({"id": True, "mood": False}) == "text"
    assert stream.form({"id": True}) == "binary"
