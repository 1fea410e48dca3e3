"""Rendered SQL: every template gives statements that PostgreSQL's own parser takes, whatever the names are."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pglast
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostwright.errors import BadInput
from hostwright.partition import catalog, plan, render, undo
from tests.unit.partition.test_plan import NOW, child, plain, spec

names = st.text(st.characters(exclude_characters="\0.", exclude_categories=("Cs",)), min_size=1, max_size=63)


def every_step(name: str, key: str) -> list[plan.Step]:
    """Steps that need each of the templates, for a table and a key of any name."""
    old = child("events_p202501", "2025-01", "2025-02")
    bare = plain(key, serial=(("id", '"public"."events_id_seq"'),), publications=(name,), indexed=True)
    numbered = dataclasses.replace(bare, identity=("id",))
    divided: dict[str, Any] = {"children": (old,), "recorded": {"key": key}, "trigger": "AFTER"}
    traits = dataclasses.replace(old.traits, indexes=("i",), constraints=("c",), publications=(name,))
    still = dataclasses.replace(old, moves=False, is_frozen=True)
    inherited = dataclasses.replace(bare, kind="inherited", **{**divided, "children": (still,)}, traits=traits)
    partitioned = dataclasses.replace(
        bare, kind="partitioned", partition_key=("r", (key,)), primary_key=("id", key), **divided
    )
    listed = dataclasses.replace(
        bare,
        kind="partitioned",
        partition_key=("l", (key,)),
        traits=dataclasses.replace(old.traits, owner="x"),
        **divided,
    )
    parts = dataclasses.replace(old, parts=(name,))
    divided |= {"children": (parts, child("x", "2025-02", "2025-03"), catalog.Child("events_default", bound="DEFAULT"))}
    deeper = dataclasses.replace(
        bare, kind="partitioned", partition_key=("r", (key,)), primary_key=("id", key), **divided
    )
    unproven = catalog.Reference('"public"."notes"', name, columns=(key,), proven=False)
    tables = [
        (spec(table=name, key=key), numbered),
        (spec(table=name, key=key), dataclasses.replace(partitioned, references=(unproven,))),
        (spec(table=name, key=key, adopt="copy"), bare),
        (spec(table=name, key=key, adopt="copy", overflow="default", subpartition={"key": "id"}), bare),
        (spec(table=name, key=key, keep=1, subpartition={"key": "id"}), deeper),
        (
            spec(table="events", key=key),
            dataclasses.replace(deeper, recorded={"leaving": {"child": "x", "dropped": True}}),
        ),
        (spec(table=name, key=key, adopt="drain"), bare),
        (spec(table=name, key=key, strategy="landing"), inherited),
        (spec(table=name, key=key, keep=1, retention="drop"), partitioned),
        (spec(table=name, key=key, method="list", values={name[:9]: [name, 1]}), listed),
    ]
    steps = [step for wanted, table in tables for step in plan.plan(wanted, table, NOW)]
    steps += undo.plan(spec(table=name, key=key, method="hash"), listed)
    steps += undo.plan(spec(table=name, key=key), inherited) + undo.plan(spec(table=name, key=key), deeper)
    return steps + [dataclasses.replace(step, template=step.cleanup) for step in steps if step.cleanup]


@given(names, names)
@settings(deadline=None, max_examples=50)
def test_every_statement_parses_whatever_the_names(name: str, key: str) -> None:
    for step in every_step(name, key):
        if step.template != "library":
            assert pglast.parse_sql(render.sql(step))


def test_no_template_is_left_out() -> None:
    included = {"children", "turned", "copied"}
    queries = {
        path.name.split(".")[0]
        for path in render.TEMPLATES.glob("*.j2")
        if path.name.startswith(("catalog_", "verify_"))
    }
    rendered = {step.template for step in every_step("events", "created_at")} - {"archive/thaw"}
    assert rendered | queries | included == {
        path.name.removesuffix(".sql.j2") for path in render.TEMPLATES.glob("*.j2")
    }


@pytest.mark.parametrize("version", [9.5, 9.6, *range(10, 19)])
def test_the_functions_in_the_database_parse_for_each_version(version: float) -> None:
    text = render.library(version, render.stamp(version))
    assert len(pglast.parse_sql(text)) > 20
    if version < 10:
        newer = ("relpartbound", "OVERRIDING", "pg_publication", "attgenerated", "INCLUDING GENERATED")
        assert [word for word in newer if word in text] == []
    if version < 9.6:
        assert "current_setting('hostwright.moved', true)" not in text


@pytest.mark.parametrize("version", [9.5, 10, 11, 18])
@given(names)
@settings(deadline=None, max_examples=20)
def test_the_queries_parse_for_each_version(version: float, name: str) -> None:
    values: dict[str, Any] = {"version": version, "oid": 1, "schema": name, "table": name, "key": name, "times": True}
    values |= {"lower": NOW, "upper": NOW, "alone": [name], "child": name}
    for path in render.TEMPLATES.glob("*.j2"):
        if path.name.startswith(("catalog_", "verify_")):
            assert pglast.parse_sql(render.query(path.name.removesuffix(".sql.j2"), **values))


@given(names)
def test_an_identifier_comes_back_as_it_was(name: str) -> None:
    (statement,) = pglast.parse_sql(f"SELECT 1 AS {render.identifier(name)}")
    assert statement.stmt.targetList[0].name == name.encode()[:63].decode(errors="ignore")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))))
def test_a_literal_comes_back_as_it_was(text: str) -> None:
    (statement,) = pglast.parse_sql(f"SELECT {render.literal(text)}")
    assert statement.stmt.targetList[0].val.val.sval == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (NOW, "'2026-03-15 12:00:00+00'"),
        (NOW.astimezone(dt.timezone(dt.timedelta(hours=2))), "'2026-03-15 12:00:00+00'"),
        (dt.datetime(2026, 3, 1), "'2026-03-01 00:00:00'"),
        (-5, "-5"),
        (None, "NULL"),
    ],
)
def test_bounds_as_literals(value: Any, text: str) -> None:
    assert render.literal(value) == text


@pytest.mark.parametrize("quote", [render.identifier, render.literal])
def test_nul_is_refused(quote: Any) -> None:
    with pytest.raises(BadInput, match="NUL"):
        quote("a\0b")
