"""Rendered SQL: every template gives statements that PostgreSQL's own parser takes, whatever the names are."""

from __future__ import annotations

import datetime as dt

import pglast
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostwright.errors import BadInput
from hostwright.partition import catalog, plan, render
from hostwright.partition.spec import PartitionSpec

UTC = dt.timezone.utc
NOW = dt.datetime(2026, 3, 15, tzinfo=UTC)
names = st.text(st.characters(exclude_characters="\0.", exclude_categories=("Cs",)), min_size=1, max_size=63)


def table(key: str, kind: str = "plain", children: tuple[catalog.Child, ...] = ()) -> catalog.Table:
    return catalog.Table(
        15,
        True,
        kind,
        "shop",
        True,
        f"RANGE ({key})" if kind == "partitioned" else "",
        (("id", "bigint", True), (key, "timestamp with time zone", True)),
        ("id",),
        "events_pkey",
        serial=(("id", "public.events_id_seq"),),
        identity=("id",),
        children=children,
    )


@given(names, names)
def test_every_statement_parses_whatever_the_names(name: str, key: str) -> None:
    spec = PartitionSpec(table=name, key=key, keep=1, retention="drop")
    old = catalog.Child(name, None, dt.datetime(2026, 1, 1, tzinfo=UTC))
    steps = plan.plan(spec, table(key), NOW) + plan.plan(spec, table(key, "partitioned", (old,)), NOW)
    steps += plan.plan(spec.model_copy(update={"retention": "detach"}), table(key, "partitioned", (old,)), NOW)
    assert {step.template for step in steps} == {path.name for path in render.TEMPLATES.glob("*.j2")}
    for step in steps:
        assert pglast.parse_sql(render.sql(step))


@given(names)
def test_an_identifier_comes_back_as_it_was(name: str) -> None:
    (statement,) = pglast.parse_sql(f"SELECT 1 AS {render.identifier(name)}")
    assert statement.stmt.targetList[0].name == name.encode()[:63].decode(errors="ignore")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))))
def test_a_literal_comes_back_as_it_was(text: str) -> None:
    (statement,) = pglast.parse_sql(f"SELECT {render.literal(text)}")
    assert statement.stmt.targetList[0].val.val.sval == text


def test_a_moment_carries_its_offset() -> None:
    assert render.literal(NOW) == "'2026-03-15 00:00:00+00'"


@pytest.mark.parametrize("quote", [render.identifier, render.literal])
def test_nul_is_refused(quote: object) -> None:
    with pytest.raises(BadInput, match="NUL"):
        quote("a\0b")  # type: ignore[operator]
