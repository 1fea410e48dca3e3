"""Plans: the exact steps from a spec, a table and a time."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
from pydantic import ValidationError

from hostwright.errors import BadInput
from hostwright.partition import catalog, plan, render, strategy, undo
from hostwright.partition.spec import PartitionSpec

UTC = dt.timezone.utc
NOW = dt.datetime(2026, 3, 15, 12, tzinfo=UTC)
INSTALL = "install the functions in schema hostwright"
RECORD = "write down the spec"


def spec(**values: Any) -> PartitionSpec:
    return PartitionSpec.model_validate({"table": "events", "key": "created_at", **values})


def month(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text + "-01").replace(tzinfo=UTC)


def child(name: str, lower: str | None, upper: str | None) -> catalog.Child:
    return catalog.Child(name, month(lower) if lower else None, month(upper) if upper else None)


def plain(key: str = "created_at", **values: Any) -> catalog.Table:
    found: dict[str, Any] = {
        "kind": "plain",
        "owner": "shop",
        "may_change": True,
        "columns": (("id", "bigint", True), (key, "timestamp with time zone", True)),
        "primary_key": ("id",),
        "primary_key_name": "events_pkey",
    }
    return catalog.Table(15, True, **{**found, **values})


def divided(*children: catalog.Child, **values: Any) -> catalog.Table:
    known = {
        "kind": "partitioned",
        "partition_key": ("r", ("created_at",)),
        "primary_key": ("id", "created_at"),
        "stamp": render.stamp(15),
        "recorded": plan.recorded(spec(), "declarative"),
    }
    return plain(children=children, **{**known, **values})


def titles(wanted: PartitionSpec, table: catalog.Table, now: dt.datetime = NOW) -> list[str]:
    return [step.title for step in plan.plan(wanted, table, now)]


AHEAD = [child(f"events_p2026{n:02}", f"2026-{n:02}", f"2026-{n + 1:02}") for n in (3, 4, 5, 6)]


def test_nothing_is_to_be_done_for_a_table_that_is_as_its_spec() -> None:
    assert titles(spec(), divided(child("events_pmin", None, "2026-03"), *AHEAD)) == []


def test_what_lacks_is_made_and_what_is_old_goes() -> None:
    table = divided(child("events_pmin", None, "2025-02"), child("events_p202502", "2025-02", "2025-03"), *AHEAD[:2])
    steps = plan.plan(spec(keep=3), table, NOW)
    assert [step.title for step in steps] == [
        RECORD,
        "make events_p202512",
        "make events_p202601",
        "make events_p202602",
        "make events_p202605",
        "make events_p202606",
        "write down that events_pmin goes",
        "detach events_pmin beside readers and writers",
        "detach events_pmin (before 2025-12-01 00:00:00+00)",
        "write down that events_p202502 goes",
        "detach events_p202502 beside readers and writers",
        "detach events_p202502 (before 2025-12-01 00:00:00+00)",
    ]
    assert render.sql(steps[1]) == (
        """SELECT hostwright.make_child('"public"."events"'::regclass, 'events_p202512', """
        "'2025-12-01 00:00:00+00', '2026-01-01 00:00:00+00');"
    )


@pytest.mark.parametrize(
    ("now", "gone"),
    [
        ("2026-12-31T23:59:59.999999", ["events_p202603"]),
        ("2027-01-01T00:00:00", ["events_p202603", "events_p202604"]),
    ],
)
def test_retention_takes_whole_periods_only(now: str, gone: list[str]) -> None:
    moment = dt.datetime.fromisoformat(now).replace(tzinfo=UTC)
    found = titles(spec(keep=8), divided(*AHEAD), moment)
    assert [title.split()[1] for title in found if "(before" in title] == gone


def test_steps_that_drop_rows_are_marked() -> None:
    table = divided(child("events_p202501", "2025-01", "2025-02"), *AHEAD)
    steps = plan.plan(spec(retention="drop", keep=12), table, NOW)
    assert [step.title for step in steps if step.destructive] == ["drop events_p202501 (before 2025-03-01 00:00:00+00)"]


OVERFLOW = catalog.Child("events_default", bound="DEFAULT")
OLD = child("events_p202501", "2025-01", "2025-02")


@pytest.mark.parametrize(
    ("version", "children", "templates"),
    [
        (15, [OLD, *AHEAD], ["leave", "detach", "finish"]),
        (14, [OLD, *AHEAD], ["leave", "detach", "finish"]),
        (13, [OLD, *AHEAD], ["retire"]),
        (15, [OLD, *AHEAD, OVERFLOW], ["retire"]),
        (15, [dataclasses.replace(OLD, is_leaving=True), *AHEAD], ["retire"]),
    ],
)
def test_a_child_is_detached_concurrently_where_that_can_be(
    version: float, children: list[catalog.Child], templates: list[str]
) -> None:
    table = dataclasses.replace(divided(*children, stamp=render.stamp(version)), version=version)
    steps = plan.plan(spec(overflow="default" if OVERFLOW in children else "error"), table, NOW)
    assert [step.template for step in steps if step.template != "make_child"] == templates


@pytest.mark.parametrize("dropped", [True, False])
def test_a_detach_that_was_cut_off_is_finished_first(dropped: bool) -> None:
    leaving = {"child": OLD.name, "dropped": dropped, "moved_to": None}
    for there in ([OLD], []):
        table = divided(*there, *AHEAD)
        table = dataclasses.replace(table, recorded={**table.recorded, "leaving": leaving})
        steps = [step for step in plan.plan(spec(), table, NOW) if step.template != "make_child"]
        assert [(step.title, step.destructive) for step in steps] == [("finish with events_p202501", dropped)]


def test_a_default_partition_comes_and_goes() -> None:
    assert titles(spec(overflow="default"), divided(*AHEAD)) == ["make events_default"]
    assert titles(spec(overflow="default"), divided(*AHEAD, OVERFLOW)) == []
    assert titles(spec(), divided(*AHEAD, OVERFLOW)) == ["remove events_default, if it is empty"]
    by_hand = catalog.Child("rest", bound="DEFAULT")
    assert titles(spec(), divided(*AHEAD, by_hand)) == titles(spec(overflow="default"), divided(*AHEAD, by_hand)) == []
    assert titles(spec(overflow="default"), plain())[-1] == "make events_default"


def test_rows_of_a_default_partition_get_the_children_that_they_lack() -> None:
    wanted = spec(overflow="default", keep=3)
    for waiting, made in [("2026-01", ["make events_p202601", "make events_p202602"]), ("2026-09", [])]:
        assert titles(wanted, divided(*AHEAD, OVERFLOW, overflowing=month(waiting)))[1:] == made
    # Those that are older than what is kept stay there.
    assert titles(wanted, divided(*AHEAD, OVERFLOW, overflowing=month("2020-01")))[1:] == [
        "make events_p202512",
        "make events_p202601",
        "make events_p202602",
    ]


def hashed(**values: Any) -> dict[str, Any]:
    wanted = spec(subpartition={"key": "id", "modulus": 2})
    return {
        "columns": (("id", "bigint", True), ("created_at", "timestamp with time zone", True)),
        "recorded": plan.recorded(wanted, "declarative"),
        **values,
    }


def test_divided_children() -> None:
    wanted = spec(subpartition={"key": "id", "modulus": 2})
    whole = [dataclasses.replace(one, parts=(f"{one.name}_h0", f"{one.name}_h1")) for one in AHEAD]
    assert titles(wanted, divided(*whole, **hashed())) == []
    # A child from before is left as it is; one that has lost a part gets it again.
    lost = dataclasses.replace(whole[1], parts=("events_p202604_h1",))
    assert titles(wanted, divided(AHEAD[0], lost, *whole[2:], **hashed())) == ["make events_p202604_h0"]
    assert plan.recorded(wanted, "declarative")["subpartition"] == {
        "key": "id",
        "method": "hash",
        "bounds": {"_h0": "WITH (modulus 2, remainder 0)", "_h1": "WITH (modulus 2, remainder 1)"},
    }
    attached = next(step for step in plan.plan(wanted, plain(**hashed(recorded={})), NOW) if step.template == "adopt")
    assert attached.values["primary"] == ["id", "created_at"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": 10}, "subpartition needs strategy: declarative"),
        ({"columns": (("created_at", "timestamp with time zone", True),)}, "it has no column id"),
        ({"columns": (("id", "bigint", False), ("created_at", "timestamp with time zone", True))}, "id may be NULL"),
        (
            {"kind": "partitioned", "partition_key": ("r", ("created_at",)), "primary_key": ("created_at",)},
            "its primary key does not hold id",
        ),
        ({"unique": (("one", ("created_at",)),)}, "unique without the partition key: one"),
    ],
)
def test_what_subpartitions_cannot_be_made_for(values: dict[str, Any], message: str) -> None:
    table = dataclasses.replace(plain(), **values)
    with pytest.raises(BadInput, match=message):
        plan.plan(spec(subpartition={"key": "id"}), table, NOW)


def test_a_changed_owner_or_grant_is_mended() -> None:
    table = divided(*AHEAD, traits=catalog.Traits("shop", ("SELECT to reader",)))
    assert titles(spec(), table) == [f"owner and grants of {one.name}" for one in AHEAD]


def test_an_older_library_and_another_spec_are_renewed() -> None:
    assert titles(spec(), divided(*AHEAD, stamp="older")) == [INSTALL]
    assert titles(spec(keep=6), divided(*AHEAD)) == [RECORD]


def test_what_a_parent_got_later_is_given_to_its_children() -> None:
    table = divided(
        *AHEAD,
        kind="inherited",
        traits=catalog.Traits(indexes=("btree {kind}",)),
        recorded={**plan.recorded(spec(strategy="landing"), "landing"), "filed": True},
        trigger="AFTER",
        hot=(month("2026-03"), month("2026-04")),
    )
    assert titles(spec(strategy="landing"), table) == [
        f"give {one.name} what the table has: btree {{kind}}" for one in AHEAD
    ]


def test_children_whose_columns_are_in_another_order_are_refused() -> None:
    table = divided(*AHEAD, kind="inherited", traits=catalog.Traits(columns=("id", "created_at")))
    with pytest.raises(BadInput, match="the columns of events_p202603 are in another order"):
        plan.plan(spec(strategy="landing"), table, NOW)


def test_too_many_children_are_taken_for_a_mistake() -> None:
    table = plain(oldest=dt.datetime(1970, 1, 1, tzinfo=UTC))
    with pytest.raises(BadInput, match="more than 2000 children"):
        plan.plan(spec(strategy="landing", interval="day", keep=None), table, NOW)


@pytest.mark.parametrize(
    ("version", "wanted", "chosen"),
    [
        (9.5, {}, "landing"),
        (10, {}, "landing"),
        (11, {}, "declarative"),
        (18, {}, "declarative"),
        (18, {"strategy": "landing"}, "landing"),
        (10, {"strategy": "trigger"}, "trigger"),
    ],
)
def test_auto_goes_by_the_version(version: float, wanted: dict[str, Any], chosen: str) -> None:
    assert strategy.choose(spec(**wanted), version) == chosen


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"table": "a.b.c"}, "must be a table's name, or schema.table"),
        ({"table": ""}, "at least 1 character"),
        ({"interval": "fortnight"}, "interval"),
        ({"interval": 0}, "greater than or equal to 1"),
        ({"timezone": "Vienna"}, "no time zone is called Vienna"),
        ({"interval": "hour", "timezone": "Europe/Vienna"}, "interval: hour needs timezone: UTC"),
        ({"method": "list"}, "method: list needs values"),
        ({"values": {"a": [1]}}, "values are for method: list"),
        ({"method": "list", "values": {"a": [1], "b": [2, 1]}}, "in two children at once: 1"),
        ({"method": "hash", "strategy": "landing"}, "method: hash needs strategy: declarative"),
        ({"method": "hash", "overflow": "default"}, "every row has its place in a hash"),
        ({"subpartition": {"key": "created_at"}}, "another column than key"),
        ({"subpartition": {"key": "id", "method": "list"}}, "method: list needs values"),
        ({"subpartition": {"key": "id"}, "strategy": "landing"}, "subpartition needs strategy: declarative"),
        ({"subpartition": {"key": "id"}, "adopt": "drain"}, "subpartition goes with adopt: attach"),
        ({"keep": 0}, "greater than or equal to 1"),
        ({"kep": 1}, "Extra inputs"),
    ],
)
def test_a_bad_spec_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(**values)


def test_undo_of_what_is_not_divided() -> None:
    assert undo.plan(spec(), plain()) == []
    with pytest.raises(BadInput, match="it was not divided by Hostwright"):
        undo.plan(spec(), divided(*AHEAD, recorded={}))


def test_undo_gives_a_numbered_table_its_old_key() -> None:
    table = divided(*AHEAD[:1], serial=(("id", "public.events_id_seq"),))
    assert [step.title for step in undo.plan(spec(), table)] == [
        "make events a plain table whose children are tables of their own",
        "move the rows of events_p202603 back, in small batches",
        "index for the old primary key",
        "remove the empty children",
    ]
    composite = dataclasses.replace(table, serial=())
    assert "index for the old primary key" not in [step.title for step in undo.plan(spec(), composite)]
