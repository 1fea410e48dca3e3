"""Plans: the exact steps from a spec, a table and a time."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
from pydantic import ValidationError

from hostwright import config
from hostwright.errors import BadInput
from hostwright.partition import catalog, plan, render, strategy, undo
from hostwright.partition.catalog import Column
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
        "columns": (Column("id", "bigint", True), Column(key, "timestamp with time zone", True)),
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


@pytest.mark.parametrize("retention", ["detach", "archive", "drop"])
@pytest.mark.parametrize("version", [13, 15])
def test_steps_that_take_rows_out_are_marked(retention: str, version: float) -> None:
    table = dataclasses.replace(divided(child("events_p202501", "2025-01", "2025-02"), *AHEAD), version=version)
    steps = plan.plan(spec(retention=retention, keep=12), table, NOW)
    assert [step.title for step in steps if step.destructive] == [
        f"{retention} events_p202501 (before 2025-03-01 00:00:00+00)"
    ]


@pytest.mark.parametrize(
    ("wanted", "before", "templates"),
    [
        ({"adopt": "copy"}, "adopt_copy", ["leave", "detach", "finish"]),
        ({"adopt": "copy", "overflow": "default"}, "adopt_copy", ["retire"]),
        ({"adopt": "drain"}, "turn", ["leave", "detach", "finish"]),
        ({"strategy": "landing"}, "file", ["retire"]),
        ({"strategy": "trigger"}, "file", ["retire"]),
    ],
)
def test_rows_from_before_keep_leave_by_the_plan_that_divides_their_table(
    wanted: dict[str, Any], before: str, templates: list[str]
) -> None:
    steps = plan.plan(spec(keep=3, **wanted), plain(oldest=month("2020-01")), NOW)
    last = [step.template for step in steps][-len(templates) - 1 :]
    assert last == [before, *templates]
    assert [step.title for step in steps if step.destructive] == ["detach events_pmin (before 2025-12-01 00:00:00+00)"]
    # Where none are that old, none leave.
    young = plan.plan(spec(keep=3, **wanted), plain(oldest=month("2026-02")), NOW)
    assert young[-1].template == before


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
        assert [(step.title, step.destructive) for step in steps] == [("finish with events_p202501", True)]


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
        "columns": (Column("id", "bigint", True), Column("created_at", "timestamp with time zone", True)),
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
        ({"columns": (Column("created_at", "timestamp with time zone", True),)}, "it has no column id"),
        (
            {"columns": (Column("id", "bigint", False), Column("created_at", "timestamp with time zone", True))},
            "id may be NULL",
        ),
        (
            {"kind": "partitioned", "partition_key": ("r", ("created_at",)), "primary_key": ("created_at",)},
            "its primary key does not hold id",
        ),
        ({"unique": (("one", ("created_at",), None),)}, "unique without the partition key: one"),
    ],
)
def test_what_subpartitions_cannot_be_made_for(values: dict[str, Any], message: str) -> None:
    table = dataclasses.replace(plain(), **values)
    with pytest.raises(BadInput, match=message):
        plan.plan(spec(subpartition={"key": "id"}), table, NOW)


def test_parts_of_a_spec_from_before_stay_as_they_are() -> None:
    wanted = spec(subpartition={"key": "id", "modulus": 4})
    bounds = [f"FOR VALUES WITH (modulus 2, remainder {n})" for n in (0, 1)]
    before = [
        dataclasses.replace(one, parts=(f"{one.name}_h0", f"{one.name}_h1"), part_bounds=tuple(bounds)) for one in AHEAD
    ]
    table = divided(*before, **hashed(recorded=plan.recorded(wanted, "declarative")))
    assert titles(wanted, table) == []


ADOPTED = [
    "index for the new primary key",
    "bound what is there (no lock is held while rows are read)",
    "prove the bound",
    "make events partitioned, with what is there as its first child",
]


@pytest.mark.parametrize(
    ("now", "newest", "interval", "upper"),
    [
        ("2026-03-15", None, "month", "2026-04-01"),
        ("2026-03-15", "2026-05-01", "month", "2026-06-01"),
        # A week is left for what is done beside writers, whose new rows have to lie within the bound.
        ("2026-03-25", None, "month", "2026-05-01"),
        ("2026-03-01", "2026-04-30", "month", "2026-06-01"),
        ("2026-03-15", None, "day", "2026-03-17"),
        ("2026-03-15", None, "hour", "2026-03-16T01:00"),
    ],
)
def test_a_table_is_attached_with_room_for_rows_that_come_meanwhile(
    now: str, newest: str | None, interval: str, upper: str
) -> None:
    def at(text: str) -> dt.datetime:
        return dt.datetime.fromisoformat(text).replace(tzinfo=UTC)

    table = plain(newest=newest and at(newest))
    steps = [step for step in plan.plan(spec(interval=interval), table, at(now)) if "adopt" in step.template]
    assert [step.title for step in steps] == ADOPTED
    assert {step.values["upper"] for step in steps} == {at(upper)}
    assert [step.cleanup for step in steps] == ["", "", "adopt_uncheck", "adopt_uncheck"]


def test_a_range_of_numbers_is_attached_with_room_for_one_more() -> None:
    table = plain(columns=(Column("id", "bigint", True),), newest=999_990)
    adopted = next(step for step in plan.plan(spec(key="id", interval=1000), table, NOW) if step.template == "adopt")
    assert adopted.values["upper"] == 1_001_000


@pytest.mark.parametrize("adopt", ["attach", "drain"])
def test_a_row_of_the_far_future_is_named(adopt: str) -> None:
    table = plain(newest=dt.datetime(9999, 12, 31, 23, tzinfo=UTC))
    with pytest.raises(BadInput, match=r"created_at is 9999-12-31 23:00:00\+00:00 in one of its rows"):
        plan.plan(spec(adopt=adopt), table, NOW)


def bounds(steps: list[plan.Step]) -> list[tuple[str, str, str]]:
    return [
        (step.values["child"], f"{step.values['lower']:%m-%d}", f"{step.values['upper']:%m-%d}")
        for step in steps
        if step.template == "make_child"
    ]


def test_another_interval_goes_on_where_the_old_children_end() -> None:
    steps = plan.plan(spec(interval="quarter", keep=None, premake=2), divided(*AHEAD[:3]), NOW)
    assert bounds(steps) == [
        ("events_p2026q1", "01-01", "03-01"),
        ("events_p2026q2", "06-01", "07-01"),
        ("events_p2026q3", "07-01", "10-01"),
    ]
    steps = plan.plan(spec(interval="day", premake=1), divided(AHEAD[0]), dt.datetime(2026, 3, 31, tzinfo=UTC))
    assert bounds(steps) == [("events_p20260401", "04-01", "04-02")]


def test_a_child_that_was_made_by_hand_is_left_room_for() -> None:
    middle = dataclasses.replace(AHEAD[1], name="mine", lower=dt.datetime(2026, 4, 10, tzinfo=UTC))
    assert bounds(plan.plan(spec(premake=1), divided(AHEAD[0], middle), NOW)) == [("events_p202604", "04-01", "04-10")]
    taken = dataclasses.replace(middle, name="events_p202604")
    with pytest.raises(BadInput, match=r"no child holds the rows from 2026-04-01 .* and events_p202604 is there with"):
        plan.plan(spec(), divided(AHEAD[0], taken), NOW)


def test_what_a_child_leaves_of_its_period_goes_to_the_next() -> None:
    early = dataclasses.replace(AHEAD[2], upper=dt.datetime(2026, 5, 31, 23, tzinfo=UTC))
    steps = plan.plan(spec(), divided(*AHEAD[:2], early), NOW)
    assert bounds(steps) == [("events_p202606", "05-31", "07-01")]
    with pytest.raises(BadInput, match="no child holds the rows from 2026-05-31 23:00:00"):
        plan.plan(spec(), divided(*AHEAD[:2], early, AHEAD[3]), NOW)


def listed(method: str, *children: catalog.Child) -> catalog.Table:
    columns = (Column("id", "bigint", True), Column("kind", "text", True))
    return divided(*children, columns=columns, partition_key=(method, ("kind" if method == "l" else "id",)))


def test_what_a_list_or_hash_holds_is_compared() -> None:
    mine = spec(key="kind", method="list", values={"a": ["x", "it's", "b\\c"], "n": [1]})
    there = catalog.Child("events_a", bound="FOR VALUES IN ('it''s', 'b\\c', 'x')")
    number = catalog.Child("events_n", bound="FOR VALUES IN ('1')")
    assert [title for title in titles(mine, listed("l", there, number)) if title != RECORD] == []
    more = spec(key="kind", method="list", values={"a": ["x"], "n": [1]})
    with pytest.raises(BadInput, match=r"events_a is FOR VALUES IN \('it''s', .*, and the spec says IN \('x'\)"):
        titles(more, listed("l", there, number))
    halves = [catalog.Child(f"events_h{n}", bound=f"FOR VALUES WITH (modulus 2, remainder {n})") for n in (0, 1)]
    assert [t for t in titles(spec(key="id", method="hash", modulus=2), listed("h", *halves)) if t != RECORD] == []
    with pytest.raises(BadInput, match=r"events_h0 is FOR VALUES WITH \(modulus 2, remainder 0\)"):
        titles(spec(key="id", method="hash", modulus=4), listed("h", *halves))


def test_values_of_a_list_are_of_its_type() -> None:
    with pytest.raises(BadInput, match="id is of type bigint, and values has one"):
        titles(spec(key="id", method="list", values={"a": ["one", 2, "3"]}, adopt="copy"), plain())


def test_constraints_that_were_never_proved_are_named() -> None:
    for wanted in (spec(), spec(strategy="landing")):
        with pytest.raises(BadInput, match="never proved: odd"):
            titles(wanted, plain(unproven=("odd",)))
    # Its own, of an adoption that was cut off.
    assert titles(spec(), plain(unproven=("events_pmin_bound",)))[2:6] == ADOPTED


@pytest.mark.parametrize("values", [{"adopt": "copy"}, {"adopt": "drain"}, {"strategy": "landing"}])
@pytest.mark.parametrize("unproven", [("events_pmin_bound",), ()])
def test_the_bound_of_an_attach_that_was_cut_off_is_taken_back(values: dict[str, Any], unproven: tuple[str]) -> None:
    taken_back = "take back the bound of an attach that was cut off"
    table = plain(checks=("events_pmin_bound",), unproven=unproven)
    assert titles(spec(**values), table)[2] == taken_back
    assert taken_back not in titles(spec(), table)
    assert taken_back in [step.title for step in undo.plan(spec(), dataclasses.replace(table, recorded={"a": 1}))]


POINTING = catalog.Reference("public.notes", "notes_event", ("id", "created_at"))


def test_foreign_keys_that_hold_the_partition_key_stay() -> None:
    for adopt, last in (("attach", ADOPTED[-1]), ("copy", "copy all rows into 5 children, with the table locked")):
        found = titles(spec(adopt=adopt), plain(references=(POINTING,)))
        assert found[found.index(last) + 1] == "prove notes_event of public.notes"
    cut_off = dataclasses.replace(POINTING, proven=False)
    assert titles(spec(), divided(*AHEAD, references=(cut_off,))) == ["prove notes_event of public.notes"]
    assert titles(spec(), divided(*AHEAD, references=(POINTING,))) == []


@pytest.mark.parametrize(
    ("reference", "values", "wanted", "message"),
    [
        ({"columns": ("id",)}, {}, {}, r"foreign keys point to it: public.notes \(notes_event\)"),
        ({}, {"version": 11}, {}, "foreign keys point to it"),
        ({}, {}, {"strategy": "landing"}, "foreign keys point to it"),
        ({}, {}, {"subpartition": {"key": "kind"}}, "foreign keys point to it"),
        ({}, {}, {"adopt": "drain"}, "foreign keys point to it"),
        ({"proven": False}, {}, {}, r"notes_event\) points to it, and was never proved"),
        (
            {"obstacle": "that is not yours"},
            {},
            {},
            r"the foreign key public.notes \(notes_event\) points to it, and that",
        ),
        (
            {},
            {},
            {"archive": {"server": "a", "name": "b", "user": "c", "password": "d"}},
            "archive: foreign keys point to it",
        ),
        ({}, {}, {"overflow": "default"}, "overflow: default: foreign keys point to it"),
        (
            {},
            {"kind": "partitioned", "partition_key": ("r", ("created_at",))},
            {"overflow": "default"},
            "overflow: default: foreign keys point to it",
        ),
    ],
)
def test_foreign_keys_that_can_not_stay(
    reference: dict[str, Any], values: dict[str, Any], wanted: dict[str, Any], message: str
) -> None:
    columns = (*plain().columns, Column("kind", "text", True))
    table = dataclasses.replace(
        plain(columns=columns, references=(dataclasses.replace(POINTING, **reference),)), **values
    )
    with pytest.raises(BadInput, match=message):
        plan.plan(spec(**wanted), table, NOW)


def inherited(*children: catalog.Child, **values: Any) -> catalog.Table:
    known = {
        "kind": "inherited",
        "recorded": {**plan.recorded(spec(strategy="landing"), "landing"), "filed": True},
        "trigger": "AFTER",
        "hot": (month("2026-03"), month("2026-04")),
    }
    return divided(*children, **{**known, **values})


def test_triggers_publications_and_writers_come_back_to_children() -> None:
    wanted = spec(strategy="landing")
    assert titles(wanted, inherited(*AHEAD)) == []
    still = dataclasses.replace(AHEAD[1], moves=False)
    assert titles(wanted, inherited(AHEAD[0], still, *AHEAD[2:])) == ["let rows move out of events_p202604"]
    published = inherited(*AHEAD[:3], AHEAD[3], traits=catalog.Traits(publications=("feed",)))
    assert titles(wanted, published) == [f"publish {one.name} with the table: feed" for one in AHEAD]
    frozen = dataclasses.replace(AHEAD[0], is_frozen=True)
    assert titles(wanted, inherited(frozen, *AHEAD[1:])) == ["let events_p202603 be written to again"]
    assert titles(wanted, inherited(*AHEAD, routed=False)) == [
        "send late and early rows to their children",
        "move rows to the children of their periods, in small batches",
    ]


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
        ({"method": "list", "values": {"": ["a"]}}, "a child needs a suffix for its name"),
        ({"method": "list", "values": {"a": []}}, "values: none for a"),
        ({"method": "list", "values": {"default": ["a"]}, "overflow": "default"}, "has that name already"),
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


def test_a_table_has_one_spec() -> None:
    site = {"name": "shop", "source": {"git": "."}}
    partitions = [{"table": "events", "key": "a"}, {"table": "public.events", "wide": ["b"]}]
    with pytest.raises(BadInput, match=r"partitions: there twice: public.events"):
        config.load({**site, "partitions": partitions})
    partitions[1]["database"] = "other"
    assert len(config.load({**site, "partitions": partitions}).partitions) == 2


def test_undo_of_what_is_not_divided() -> None:
    assert undo.plan(spec(), plain()) == []
    with pytest.raises(BadInput, match="it was not divided by Hostwright"):
        undo.plan(spec(), divided(*AHEAD, recorded={}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"may_change": False}, "it belongs to shop, and you are not"),
        ({"in_the_way": ("the view v",)}, "the view v would not do what it does"),
        ({"references": (catalog.Reference("notes", "fk"),)}, r"foreign keys point to it: notes \(fk\)"),
    ],
)
def test_an_undo_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        undo.plan(spec(), dataclasses.replace(divided(*AHEAD), **values))


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
