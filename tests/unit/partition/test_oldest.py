"""What a PostgreSQL 9.5 server is sent keeps to the catalogs, functions, types and operators that it has.

`postgresql_9_5.json` is made of that version's own catalog headers. Statements are parsed as a newer server would; what
9.5 has no grammar for is looked for by name.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pglast
import pytest

from hostwright.partition import connection, plan, render, undo
from hostwright.partition import query as querying
from hostwright.partition.archive import stream
from hostwright.partition.split import catalog as split_catalog
from hostwright.partition.split import plan as split_plan
from tests.platforms.contract import beyond_sql
from tests.unit.partition import test_split
from tests.unit.partition.test_archive import VALUES
from tests.unit.partition.test_plan import NOW, child, plain, spec

KNOWN: dict[str, Any] = json.loads(Path(__file__).with_name("postgresql_9_5.json").read_text())
COLUMNS = {table: {*columns.split(), "oid", "ctid", "xmin", "tableoid"} for table, columns in KNOWN["columns"].items()}
# Views, which are no catalogs.
COLUMNS["pg_user_mappings"] = {"srvname", "umoptions"}
COLUMNS["pg_settings"] = {"name", "setting"}
ARGUMENTS: dict[str, list[tuple[int, int | None]]] = {
    name: [
        (int(least), int(most) if most else None if dash else int(least))
        for least, dash, most in (counts.partition("-") for counts in numbers.split())
    ]
    for numbers, names in KNOWN["functions"].items()
    for name in names.split()
}
TYPES, OPERATORS, CSTRING = ({*KNOWN[name].split()} for name in ("types", "operators", "cstring"))
SPELLED = {"extract": "date_part"}
"""As the parser of a newer server calls what 9.5 has by another name."""
NEWER_NODES = {
    "partspec",
    "partbound",
    "PartitionCmd",
    "CreatePublicationStmt",
    "AlterPublicationStmt",
    "CallStmt",
}


# --- All that is sent


def of_templates() -> Iterator[tuple[str, str]]:
    """(template, text) of all that a 9.5 server can be sent."""
    yield "library", render.library(9.5, render.stamp(9.5))
    names: dict[str, Any] = {"schema": "s", "table": "t", "key": "k", "oid": 1, "times": True, "version": 9.5}
    names |= {"lower": NOW, "upper": NOW, "alone": ["id"], "child": "c"}
    for path in render.TEMPLATES.glob("*.j2"):
        name = path.name.removesuffix(".sql.j2")
        if name.startswith(("catalog_", "verify_")) and name != "verify_overflow":
            yield name, render.query(name, **names)
    bare = dataclasses.replace(plain(serial=(("id", "public.events_id_seq"),)), version=9.5)
    old = dataclasses.replace(child("events_p202501", "2025-01", "2025-02"), moves=False, is_frozen=True)
    known = {"kind": "inherited", "children": (old,), "recorded": {"key": "created_at"}, "trigger": "AFTER"}
    divided = dataclasses.replace(
        bare, **known, traits=dataclasses.replace(old.traits, owner="x", indexes=("i",), constraints=("c",))
    )
    steps = plan.plan(spec(), bare, NOW) + plan.plan(spec(keep=1), divided, NOW) + undo.plan(spec(), divided)
    for step in steps:
        if step.template != "library":
            yield step.template, render.sql(step)


def of_archives() -> Iterator[tuple[str, str]]:
    for path in (render.TEMPLATES / "archive").glob("*.j2"):
        name = path.name.removesuffix(".sql.j2")
        for place in ("beside", "inside"):
            told = {**VALUES, "version": 9.5, "declarative": False, "is_inside": place == "inside", "place": place}
            if name != "bounds":
                yield f"archive/{name}", render.query(f"archive/{name}", **told)


def of_splits() -> Iterator[tuple[str, str]]:
    values: dict[str, Any] = {"version": 9.5, "schema": "s", "tables": ("a", "b"), "primary": ("a", "b")}
    values |= {"narrow": "n", "wide": "w", "operators": "pg_catalog"}
    for path in (render.TEMPLATES / "split").glob("*.j2"):
        name = path.name.removesuffix(".sql.j2")
        if name.startswith(("catalog_", "verify_")):
            yield f"split/{name}", render.query(f"split/{name}", **values)
    table = test_split.unsplit(version=9.5)
    columns = tuple(column for column in table.relations["articles"].columns if not column.generated)
    plain_table = test_split.unsplit(version=9.5, columns=columns)
    done = test_split.after(plain_table)
    renewed = test_split.after(plain_table, views="older")
    wanted = test_split.spec()
    copying = dataclasses.replace(plain_table, record={"state": split_catalog.COPYING})
    for step in [
        *split_plan.plan(wanted, plain_table),
        *split_plan.plan(wanted, renewed),
        *split_plan.undo(wanted, done),
        *split_plan.undo(wanted, copying),
    ]:
        yield step.template, render.sql(step)


def of_code() -> Iterator[tuple[str, str]]:
    """Statements that stand in the code; what is put into them is a name, or a condition."""
    root = Path(plan.__file__).parent
    for path in [*root.rglob("*.py"), root.parent / "tasks" / "partition.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                if node.func.attr in ("execute", "copy_expert") and isinstance(first, (ast.Constant, ast.JoinedStr)):
                    yield f"{path.name}:{node.lineno}", _text(first)
    yield "stream", stream.SETTINGS
    yield "query", querying.SETTINGS
    yield "connection", connection.PATIENT


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value).replace("%s", "'1'").replace("%%", "%")
    parts = [part.value if isinstance(part, ast.Constant) else "x" for part in node.values]
    text = re.sub(r"; x$", "", "".join(map(str, parts)).replace("%s", "'1'"))
    for hole, filled in (("IN x MODE", "IN SHARE MODE"), ("COPY (x", "COPY (SELECT 1")):
        text = text.replace(hole, filled)
    return re.sub(r"^BEGIN;\nx\n", "BEGIN;\n", text)


SENT = [*of_templates(), *of_archives(), *of_splits(), *of_code()]


def statements(text: str) -> Iterator[Any]:
    """The parsed statements of `text`, and those of the functions in it."""
    for statement in pglast.split(text):
        yield from parsed(statement)
        language = re.search(r"LANGUAGE (\w+)", statement)
        if language and language[1] == "sql":
            yield from parsed(re.search(r"AS \$\$(.*)\$\$", statement, re.S)[1])
        elif language or re.match(r"(--.*\n|\s)*DO\b", statement):
            # The parser knows no types of other schemas.
            for query in queries(
                pglast.parse_plpgsql(re.sub(r"\b(spec|RETURNS) hostwright\.partitioned", r"\1 record", statement))
            ):
                yield from parsed(query)


def parsed(text: str) -> list[Any]:
    found: list[Any] = json.loads(pglast.parser.parse_sql_json(text))["stmts"]
    return found


def queries(node: Any) -> Iterator[str]:
    """The queries and expressions of a function's body."""
    if isinstance(node, list):
        for one in node:
            yield from queries(one)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == "PLpgSQL_expr":
                text = re.sub(r"^\s*[\w.]+(\[[^\]]*\])?\s*:=", "", value["query"])
                yield (
                    text
                    if re.match(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|LOCK|SET)\b", text, re.I)
                    else f"SELECT {text}"
                )
            else:
                yield from queries(value)


# --- What is not known there


def nodes(tree: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, list):
        for one in tree:
            yield from nodes(one)
    elif isinstance(tree, dict):
        for name, value in tree.items():
            yield name, value
            yield from nodes(value)


def named(parts: list[Any]) -> list[str]:
    return [part["String"]["sval"] for part in parts if "String" in part]


def beyond(tree: Any) -> Iterator[str]:
    """What 9.5 does not have of the statement `tree`."""
    tables: dict[str, set[str]] = defaultdict(set)
    here: set[str] = set()
    for kind, node in nodes(tree):
        if kind in NEWER_NODES:
            yield kind
        if (
            kind == "RangeVar"
            and node.get("schemaname", "pg_catalog") == "pg_catalog"
            and node["relname"].startswith("pg_")
        ):
            here.add(node["relname"])
            tables[node.get("alias", {}).get("aliasname", node["relname"])].add(node["relname"])
            if node["relname"] not in COLUMNS:
                yield f"the catalog {node['relname']}"
        if kind in ("RangeSubselect", "RangeFunction", "CommonTableExpr") or (kind == "RangeVar" and "alias" in node):
            alias = node.get("alias", {}).get("aliasname") or node.get("ctename")
            if alias and not (kind == "RangeVar" and node["relname"].startswith("pg_")):
                tables[alias].add("")  # Not a catalog: whatever it has.
    newer = {column for table in here for column in NEWER_COLUMNS.get(table, ())}
    for kind, node in nodes(tree):
        if kind == "ColumnRef":
            path = named(node["fields"])
            if len(path) == 2 and tables.get(path[0]) and "" not in tables[path[0]]:
                if not any(path[1] in COLUMNS.get(table, ()) for table in tables[path[0]]):
                    yield ".".join(path)
            elif path and path[-1] in newer:
                yield path[-1]
        elif kind == "FuncCall":
            yield from _function(node)
        elif kind in ("typeName", "TypeName"):
            path = named(node.get("names", []))
            if path and path[0] in ("pg_catalog", path[-1]) and path[-1] not in (*TYPES, "int", *COLUMNS):
                yield f"the type {path[-1]}"
        elif kind == "A_Expr":
            yield from (f"the operator {name}" for name in named(node["name"]) if _is_new_operator(name))


NEWER_COLUMNS = {
    "pg_class": {"relispartition", "relpartbound", "relrewrite"},
    "pg_attribute": {"attidentity", "attgenerated", "attcompression", "attmissingval", "atthasmissing"},
    "pg_constraint": {"conparentid", "conperiod", "conenforced"},
    "pg_index": {"indnkeyatts", "indnullsnotdistinct"},
    "pg_inherits": {"inhdetachpending"},
    "pg_trigger": {"tgparentid", "tgoldtable", "tgnewtable"},
    "pg_proc": {"prokind", "proparallel", "prosupport", "prosqlbody"},
}
"""For names without a table before them."""


def _is_new_operator(name: str) -> bool:
    return bool(re.fullmatch(r"\W+", name)) and name not in OPERATORS


def _function(node: Any) -> Iterator[str]:
    path = named(node["funcname"])
    if path[0] not in ("pg_catalog", path[-1]):
        return  # One of hostwright's own.
    name = SPELLED.get(path[-1], path[-1])
    given = len(node.get("args", []))
    if not any(least <= given and (most is None or given <= most) for least, most in ARGUMENTS.get(name, ())):
        yield f"the function {name} with {given} arguments"
    if name in CSTRING and not {"A_Const", "ParamRef"} & {*node["args"][0]}:
        yield f"{name} of what is no constant, and so no cstring"


@pytest.mark.parametrize(("where", "text"), SENT, ids=[where for where, _ in SENT])
def test_it_keeps_to_what_9_5_has(where: str, text: str) -> None:
    assert [found for tree in statements(text) for found in beyond(tree)] == []
    # The text of statements that only other servers are sent is text to this one.
    sent = re.sub(r"'[^'\n]*\b(PARTITION|GENERATED)\b[^'\n]*'", "''", re.sub(r"--.*", "", text))
    assert beyond_sql(sent, "9.5") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT c.relispartition FROM pg_class c", ["c.relispartition"]),
        ("SELECT relispartition FROM pg_class", ["relispartition"]),
        ("SELECT 1 FROM pg_catalog.pg_publication", ["the catalog pg_publication"]),
        ("SELECT current_setting('a.b', true)", ["the function current_setting with 2 arguments"]),
        ("SELECT pg_current_wal_lsn()", ["the function pg_current_wal_lsn with 0 arguments"]),
        ("SELECT to_regclass(a.b) FROM a", ["to_regclass of what is no constant, and so no cstring"]),
        ("SELECT 'a'::jsonpath", ["the type jsonpath"]),
        ("SELECT starts_with('a', 'b'), 'a' ^@ 'b'", ["the function starts_with with 2 arguments", "the operator ^@"]),
        ("DO $$ BEGIN PERFORM gen_random_uuid(); END $$", ["the function gen_random_uuid with 0 arguments"]),
        ("CREATE TABLE a (b int) PARTITION BY RANGE (b)", ["partspec"]),
        ("SELECT to_regclass('a'), c.relname, extract(epoch FROM now()) FROM pg_class c", []),
    ],
)
def test_what_is_newer_is_found(text: str, found: list[str]) -> None:
    assert sorted(one for tree in statements(text) for one in beyond(tree)) == sorted(found)


def test_every_template_is_among_them() -> None:
    """But those that are for servers with partitions of their own, and what others include."""
    sent = {where for where, _ in SENT}
    declarative = {"adopt", "adopt_check", "adopt_copy", "adopt_index", "adopt_uncheck", "adopt_validate", "detach"}
    declarative |= {"drop_overflow", "finish", "leave", "make_fixed", "make_parts", "turn", "turn_index", "undo_turn"}
    declarative |= {"verify_overflow", "share_publications", "undo_copy"}
    included = {
        "children",
        "copied",
        "turned",
        "archive/bounds",
        "split/columns",
        "split/names",
        "split/record",
        "split/unchanged",
    }
    paths = {str(path.relative_to(render.TEMPLATES)).removesuffix(".sql.j2") for path in render.TEMPLATES.rglob("*.j2")}
    assert paths - sent == declarative | included
