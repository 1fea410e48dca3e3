"""Splits: the exact steps from a spec and a catalog, and statements that PostgreSQL's own parser takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pglast
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hostwright.errors import BadInput
from hostwright.partition import render
from hostwright.partition.plan import Step
from hostwright.partition.spec import SplitSpec
from hostwright.partition.split import plan
from hostwright.partition.split.catalog import Column, Constraint, Index, Names, Relation, Split

INSTALL = "install the functions in schema hostwright"
TEMPLATES = render.TEMPLATES / "split"
names = st.text(st.characters(exclude_characters="\0.", exclude_categories=("Cs",)), min_size=1, max_size=63)


def spec(table: str = "articles", wide: str = "body") -> SplitSpec:
    return SplitSpec(table=table, wide=[wide])


def unsplit(table: str = "articles", wide: str = "body", version: float = 15, **values: Any) -> Split:
    """A table with all that moves; its key has two columns."""
    sql = f"public.{render.identifier(table)}"
    relation = Relation(
        "r",
        "shop",
        columns=(
            Column("id", "bigint", required=True, default="nextval('s'::regclass)", sequence="public.s"),
            Column("at", "date", required=True),
            Column("count", "integer", default="0", comment="how many", statistics=100),
            Column(wide, "text", storage="EXTERNAL", compression="lz4"),
            Column("twice", "integer", default="(count * 2)", generated="s", sources=("count",)),
            Column("number", "integer", default="nextval('n'::regclass)", sequence="public.n"),
        ),
        options=("fillfactor = '90'",),
        comment="What's seen",
        primary_key=("id", "at"),
        primary_key_name="articles_pkey",
        operators="pg_catalog",
        indexes=(
            Index("articles_count", "btree (count)", columns=("count",)),
            Index("articles_number_key", "btree (number)", True, True, "DEFERRABLE", ("number",)),
            Index("broken", "btree (count)", valid=False, columns=("count",)),
            Index("of_wide", "btree (x)", columns=(wide,)),
        ),
        constraints=(
            Constraint("c", "sane", sql, "CHECK ((count > 0))", columns=("count",)),
            Constraint("f", "above", sql, f"FOREIGN KEY (count) REFERENCES {sql}(id)", True, ("count",), ("id",), sql),
        ),
    )
    relation = replace(relation, **values)
    pointing = Constraint("f", "other", "public.o", f"FOREIGN KEY (a) REFERENCES {sql}(id)", True, ("a",), ("id",), sql)
    return Split(version, Names("public", table), {table: relation}, (pointing,), stamp=render.stamp(version))


def after(split: Split, wide: str = "body", **record: Any) -> Split:
    """The same once it is split."""
    table, named = split.relations[split.names.table], split.names
    kept = tuple(column for column in table.columns if column.name != wide)
    version = Column("hostwright_version", "integer")
    relations = {
        named.table: Relation("v", "shop", comment=table.comment),
        named.rows: Relation("v", "shop"),
        named.narrow: replace(
            table,
            columns=(*kept, version),
            indexes=tuple(one for one in table.indexes if one.valid and wide not in one.columns),
        ),
        named.wide: Relation(
            "r",
            "shop",
            columns=(*kept[:2], *(column for column in table.columns if column.name == wide), version),
            primary_key=table.primary_key,
            indexes=tuple(one for one in table.indexes if wide in one.columns),
        ),
    }
    columns = [column.name for column in table.columns]
    turn = next(step for step in plan.plan(SplitSpec(table=named.table, wide=[wide]), split) if "turn" in step.template)
    known = {"state": "split", "columns": columns, "wide": [wide], "views": turn.values["stamp"]}
    return replace(split, relations=relations, record={**known, **record})


def titles(steps: list[Step]) -> list[str]:
    return [step.title for step in steps]


def test_a_table_is_split() -> None:
    assert titles(plan.plan(spec(), unsplit())) == [
        "make articles_narrow, and keep it up to date",
        "copy the narrow columns to articles_narrow, in small batches",
        "index articles_count of articles_narrow",
        "index articles_number_key of articles_narrow",
        "gather statistics of articles_narrow",
        "compare all rows with the copy",
        "make articles a view of articles_narrow and articles_wide",
        'prove hostwright_split of "public"."articles_wide"',
        'prove above of "public"."articles_narrow"',
        "prove other of public.o",
    ]
    assert titles(plan.plan(spec(), replace(unsplit(), stamp="")))[0] == INSTALL


def test_foreign_keys_follow_the_table() -> None:
    turn = next(step for step in plan.plan(spec(), unsplit()) if step.template == "split/turn")
    assert [key.definition for key in (*turn.values["foreign_keys"], *turn.values["pointing"])] == [
        'FOREIGN KEY (count) REFERENCES "public"."articles_narrow"(id)',
        'FOREIGN KEY (a) REFERENCES "public"."articles_narrow"(id)',
    ]


def test_a_copy_goes_on_where_it_was() -> None:
    split = unsplit()
    copied = after(split).relations["articles_narrow"].columns
    begun = replace(
        split,
        record={"state": "copying", "wide": ["body"]},
        relations={
            **split.relations,
            "articles_narrow": Relation(
                "r",
                columns=copied,
                indexes=(Index("articles_count_new", ""), Index("articles_number_key_new", "", valid=False)),
            ),
        },
    )
    assert titles(plan.plan(spec(), begun))[:3] == [
        "copy the narrow columns to articles_narrow, in small batches",
        "index articles_number_key of articles_narrow",
        "gather statistics of articles_narrow",
    ]
    assert titles(plan.undo(spec(), begun)) == ["give up the copy"]
    with pytest.raises(BadInput, match="wide has changed since it was begun: body"):
        plan.plan(spec(wide="count"), begun)


def test_nothing_is_to_be_done_for_a_table_that_is_split() -> None:
    assert plan.plan(spec(), after(unsplit())) == []
    assert titles(plan.plan(spec(), after(unsplit(), views="older"))) == ["renew the views"]


def test_what_came_later_comes_last_in_the_view() -> None:
    split = after(unsplit())
    narrow = split.relations["articles_narrow"]
    later = replace(narrow, columns=(Column("new", "integer", default="7"), *narrow.columns))
    (step,) = plan.plan(spec(), replace(split, relations={**split.relations, "articles_narrow": later}))
    assert [column["name"] for column in step.values["view_columns"]] == [
        "id", "at", "count", "body", "twice", "number", "new"
    ]  # fmt: skip


def test_the_way_back() -> None:
    split = after(unsplit())
    assert titles(plan.undo(spec(), split)) == [
        "make articles_whole, and keep it up to date",
        "copy the rows to articles_whole, in small batches",
        "index articles_count of articles_whole",
        "index articles_number_key of articles_whole",
        "index of_wide of articles_whole",
        "gather statistics of articles_whole",
        "compare all rows with the copy",
        "make articles one plain table",
        'prove above of "public"."articles"',
        "prove other of public.o",
        "forget the split",
    ]
    made = {**split.relations, "articles_whole": Relation("r", columns=unsplit().relations["articles"].columns)}
    gathering = replace(split, relations=made, record={**split.record, "state": "gathering"})
    assert titles(plan.undo(spec(), gathering))[0] == "copy the rows to articles_whole, in small batches"
    other = {**split.relations, "articles_whole": Relation("r")}
    assert titles(plan.undo(spec(), replace(gathering, relations=other)))[:2] == [
        "give up a copy that has other columns",
        "make articles_whole, and keep it up to date",
    ]
    with pytest.raises(BadInput, match="articles_whole is there already"):
        plan.undo(spec(), replace(split, relations=other))
    with pytest.raises(BadInput, match=r"it is being put together again"):
        plan.plan(spec(), gathering)
    whole = replace(unsplit(), record={**split.record, "state": "whole"})
    assert titles(plan.undo(spec(), whole)) == ["forget the split"]
    assert plan.undo(spec(), unsplit()) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"wide": []}, "at least 1 item"),
        ({"wide": ["a", "b", "a"]}, "wide: there twice: a"),
        ({"wide": ["a"], "key": "b"}, "Extra inputs"),
        ({"wide": ["a"], "strategy": "landing"}, "Extra inputs"),
    ],
)
def test_a_bad_spec_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SplitSpec.model_validate({"table": "articles", **values})


def every_step(name: str, wide: str, version: float) -> list[Step]:
    split = unsplit(name, wide, version)
    done = after(split, wide)
    wanted = SplitSpec(table=name, wide=[wide])
    numbered = replace(split.relations[name].columns[0], identity="a", default=None)
    columns = (numbered, *split.relations[name].columns[1:])
    counted = unsplit(name, wide, version, columns=columns, unlogged=True)
    return [
        *plan.plan(wanted, split),
        *plan.plan(wanted, counted),
        *plan.plan(wanted, after(split, wide, views="older")),
        *plan.undo(wanted, done),
        *plan.undo(wanted, after(counted, wide)),
        *plan.undo(wanted, replace(split, record={"state": "copying"})),
    ]


@pytest.mark.parametrize("version", [9.5, 10, 18])
@given(names, names)
@settings(deadline=None, max_examples=20)
def test_every_statement_parses_whatever_the_names(version: float, name: str, wide: str) -> None:
    if wide in ("id", "at", "count", "twice", "number"):
        return
    for step in every_step(name, wide, version):
        assert pglast.parse_sql(render.sql(step))


@pytest.mark.parametrize("version", [9.5, 10, 18])
def test_every_function_parses(version: float) -> None:
    functions = [
        str(statement)
        for step in every_step('an "odd" name', "it's", version)
        for statement in pglast.split(render.sql(step))
        if "LANGUAGE plpgsql" in statement
    ]
    assert len(functions) > 10
    for function in functions:
        assert pglast.parse_plpgsql(function)


@pytest.mark.parametrize("version", [9.5, 10, 11, 12, 14, 15, 18])
@given(names)
@settings(deadline=None, max_examples=10)
def test_the_queries_parse_for_each_version(version: float, name: str) -> None:
    values: dict[str, Any] = {"version": version, "schema": name, "tables": (name, "t"), "primary": (name, "b")}
    values |= {"narrow": name, "wide": name, "operators": "pg_catalog"}
    for path in TEMPLATES.glob("*.j2"):
        if path.name.startswith(("catalog_", "verify_")):
            text = render.query(f"split/{path.name.removesuffix('.sql.j2')}", **values)
            assert pglast.parse_sql(text)
            newer = ("attgenerated", "attidentity", "pg_publication", "pg_statistic_ext", "attcompression")
            assert version >= 10 or [word for word in newer if word in text] == []


def test_nothing_newer_than_the_server_is_said() -> None:
    newer = ("EXECUTE FUNCTION", "ADD COLUMN IF NOT EXISTS", "OVERRIDING", "GENERATED", "missing_ok")
    plain = unsplit(version=9.5, columns=tuple(c for c in unsplit().relations["articles"].columns if not c.generated))
    text = "\n".join(render.sql(step) for step in [*plan.plan(spec(), plain), *plan.undo(spec(), after(plain))])
    assert [word for word in newer if word in text] == []


def test_no_template_is_left_out() -> None:
    included = {"columns", "names", "record", "unchanged"}
    queries = {
        path.name.split(".")[0] for path in TEMPLATES.glob("*.j2") if path.name.startswith(("catalog_", "verify_"))
    }
    steps = {step.template for step in every_step("articles", "body", 15)}
    rendered = {name.removeprefix("split/") for name in steps if name.startswith("split/")}
    assert rendered | queries | included == {path.name.removesuffix(".sql.j2") for path in TEMPLATES.glob("*.j2")}
