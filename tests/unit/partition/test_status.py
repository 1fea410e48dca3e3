"""What `fab partition.status` says: the exact values and lines from what was found."""

from __future__ import annotations

import dataclasses
import json

from hostwright.partition import status
from hostwright.partition.archive.known import Former
from hostwright.partition.split.catalog import Column, Names, Relation, Split
from tests.unit.partition import test_split
from tests.unit.partition.test_plan import child, divided, plain, spec

MAY = {"from": "2026-05-01 00:00:00+00", "to": "2026-06-01 00:00:00+00"}


def test_a_divided_table() -> None:
    table = divided(
        dataclasses.replace(child("events_pmin", None, "2026-05"), rows=1234, size=2048),
        dataclasses.replace(child("events_p202605", "2026-05", "2026-06"), size=1024, parts=("a", "b")),
        dataclasses.replace(child("events_p202606", "2026-06", "2026-07"), is_archived=True, size=1),
        dataclasses.replace(child("events_pdefault", None, None), bound="DEFAULT"),
        recorded={"strategy": "declarative", "worked_at": "today", "step": None, "failure": "full", "keep": 12},
    )
    old = Former("public", "events_p202504", True, False, None, "2025-05-01 00:00:00+00", 5000, "ab", "far", "then")
    detached = Former("public", "events_p202503", False, False, None, None)
    shown = status.of_divided(spec(), table, ["it is wrong"], [old, detached])
    assert json.loads(json.dumps(shown)) == {
        "schema": 1,
        "table": "events",
        "strategy": "declarative",
        "worked_at": "today",
        "step": None,
        "failure": "full",
        "problems": ["it is wrong"],
        "children": [
            {"child": "events_pmin", "from": "", "to": MAY["from"], "rows": 1234, "bytes": 2048, "parts": []},
            {"child": "events_p202605", **MAY, "rows": 0, "bytes": 1024, "parts": ["a", "b"]},
            {"child": "events_pdefault", "from": "", "to": "DEFAULT", "rows": 0, "bytes": 0, "parts": []},
        ],
        "archived": [
            {
                "child": "events_p202504",
                "from": None,
                "to": "2025-05-01 00:00:00+00",
                "rows": 5000,
                "server": "far",
                "at": "then",
            }
        ],
    }
    assert status.lines_of_divided("partitioned", shown) == (
        "events: declarative, maintained today",
        ("child", "from", "to", "rows (estimate)", "size", ""),
        [
            ("events_pmin", "", MAY["from"], "1,234", "2 kB", "▇" * 20),
            ("events_p202605 (2 parts)", *MAY.values(), "0", "1 kB", "▇" * 10),
            ("events_pdefault", "", "DEFAULT", "0", "0 B", ""),
            ("events_p202504", "", "2025-05-01 00:00:00+00", "5,000", "", "at far"),
        ],
    )


def test_a_table_that_is_not_divided_yet() -> None:
    shown = status.of_divided(spec(), plain(), ["it is not divided"], [])
    recorded = ["strategy", "worked_at", "step", "failure"]
    assert list(shown) == ["schema", "table", *recorded, "problems", "children", "archived"]
    title, _, rows = status.lines_of_divided("plain", shown)
    assert (title, rows) == ("events: plain, maintained never", [])


def test_children_that_take_no_room() -> None:
    shown = status.of_divided(spec(), divided(child("events_pmin", None, None)), [], [])
    assert status.lines_of_divided("partitioned", shown)[2] == [("events_pmin", "", "", "0", "0 B", "")]


def test_a_split_table() -> None:
    columns = (Column("id", "bigint"), Column("at", "date"))
    relations = {
        "articles": Relation("v", columns=columns),
        "articles_narrow": Relation("r", columns=columns, rows=12345, size=5 * 1024**4),
        "articles_wide": Relation("r", columns=columns[:1], rows=7, size=1023),
    }
    found = Split(15, Names("public", "articles"), relations, record={"state": "split"})
    shown = status.of_split(test_split.spec(), found, ["it is wrong"])
    assert json.loads(json.dumps(shown)) == {
        "schema": 1,
        "table": "articles",
        "state": "split",
        "problems": ["it is wrong"],
        "tables": [
            {"table": "articles_narrow", "columns": 2, "rows": 12345, "bytes": 5 * 1024**4},
            {"table": "articles_wide", "columns": 1, "rows": 7, "bytes": 1023},
        ],
    }
    assert status.lines_of_split(shown) == (
        "articles: split",
        ("table", "columns", "rows (estimate)", "size"),
        [("articles_narrow", "2", "12,345", "5.0 TB"), ("articles_wide", "1", "7", "1023 B")],
    )


def test_a_table_that_is_not_split_yet() -> None:
    shown = status.of_split(test_split.spec(), test_split.unsplit(), ["it is not split"])
    assert (list(shown), shown["state"]) == (["schema", "table", "state", "problems", "tables"], "")
    assert status.lines_of_split(shown)[0] == "articles: one table"
