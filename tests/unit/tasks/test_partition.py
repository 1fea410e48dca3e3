"""`fab partition.*`: which table is looked for in which database."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import invoke
import pytest

from hostwright import config
from hostwright.errors import BadInput
from hostwright.inventory import Inventory
from hostwright.partition import apply, connection
from hostwright.partition.plan import Step
from hostwright.tasks import _fleet, partition

BIG, EVENTS = {"table": "big", "key": "id"}, {"table": "events", "key": "id"}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Table -> the database that a task works in."""

    @contextlib.contextmanager
    def through(remote: Any, database: str, role: str) -> Iterator[str]:
        yield f"{role}@{remote.name}/{database}"

    @contextlib.contextmanager
    def direct(dsn: str) -> Iterator[str]:
        yield dsn

    def open_(databases: list[Any], partitions: list[Any], dsn: str = "", table: str = "") -> dict[str, str]:
        services = {"databases": databases}
        data = {"name": "shop", "source": {"git": "."}, "services": services, "partitions": partitions}
        found = Inventory(config.load(data), {"db": ["db1"]}, {"db1": {"ansible_user": "deploy"}})
        monkeypatch.setattr(_fleet, "inventory", lambda name: found)
        with partition._databases("", dsn, table) as those:
            return {spec.table: found for spec, found in those}

    monkeypatch.setattr(connection, "through", through)
    monkeypatch.setattr(connection, "direct", direct)
    return open_


def test_a_table_is_in_the_site_s_first_database_unless_it_names_another(opened: Any) -> None:
    databases = [{"name": "shop"}, {"name": "reports", "owner": "ann"}]
    big, events = {"big": "ann@db1/reports"}, {"events": "shop@db1/shop"}
    assert opened(databases, [{**BIG, "database": "reports"}, EVENTS]) == big | events
    assert opened(databases, [EVENTS, {**BIG, "database": "reports"}]) == big | events
    assert opened(databases, [{**BIG, "database": "reports"}, EVENTS], table="events") == events
    everything = {"big": "service=x", "events": "service=x"}
    assert opened(databases, [{**BIG, "database": "reports"}, EVENTS], dsn="service=x") == everything


def test_a_site_whose_database_is_elsewhere(opened: Any) -> None:
    assert opened([], [EVENTS], dsn="service=x") == {"events": "service=x"}
    for spec, what in ((EVENTS, "of its own"), ({**EVENTS, "database": "reports"}, "reports")):
        with pytest.raises(BadInput, match=f"partitions: events: the site has no database {what}"):
            opened([], [spec])


@pytest.mark.parametrize(("table", "name"), [("events", "public.events"), ("public.events", "events")])
def test_a_table_is_named_with_its_schema_or_without(opened: Any, table: str, name: str) -> None:
    assert list(opened([{"name": "shop"}], [{**EVENTS, "table": table}], table=name)) == [table]


def test_an_error_of_whoever_reads_the_file_is_not_the_file_s(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").touch()
    with (
        pytest.raises(OSError, match="no space left"),
        partition._rows(str(tmp_path / "rows.csv"), "", "", None) as rows,
    ):
        raise OSError("no space left")
    assert rows.closed


class Tables:
    """Databases that are lists of plans: each apply carries out the first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **plans: list[list[Step]]) -> None:
        self.done: list[str] = []
        self.asked: list[str] = []
        self.agrees = True
        specs = {name: types.SimpleNamespace(table=name) for name in plans}

        @contextlib.contextmanager
        def databases(*_: str) -> Iterator[list[tuple[Any, Any]]]:
            yield [(specs[name], plans[name]) for name in plans]

        def carry_out(connection: list[list[Step]], steps: list[Step], *_: Any) -> None:
            assert connection.pop(0) == steps
            self.done += [step.title for step in steps]

        def confirm(question: str, yes: bool) -> None:
            self.asked.append(question)
            if not (yes or self.agrees):
                raise BadInput("nobody is here to ask")

        monkeypatch.setattr(partition, "_databases", databases)
        found = types.SimpleNamespace
        monkeypatch.setattr(partition, "_find", lambda spec, plans: found(plan=lambda: plans[0] if plans else []))
        monkeypatch.setattr(apply, "apply", carry_out)
        monkeypatch.setattr(partition.console, "confirm", confirm)

    def apply(self) -> tuple[int, str]:
        """Its exit status, and what it said then."""
        try:
            partition.apply(invoke.Context())
        except invoke.exceptions.Exit as end:
            return end.code, end.message
        return 0, ""


MAKE = Step("make it", "make_child")
DETACH, DROP = (Step(title, "retire", destructive=True) for title in ("detach it", "drop it"))


def test_apply_asks_once_before_the_first_table_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(monkeypatch, big=[[MAKE, DETACH]], events=[[MAKE, DROP]], orders=[[MAKE]])
    tables.agrees = False
    assert tables.apply() == (2, "error: nobody is here to ask")
    assert tables.done == []
    tables.agrees = True
    assert tables.apply() == (0, "")
    assert tables.done == ["make it", "detach it", "make it", "drop it", "make it"]
    assert tables.asked == ["big: detach it; events: drop it. These rows leave their table. Go on?"] * 2


def test_what_a_later_round_takes_out_is_asked_for_then(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(monkeypatch, big=[[MAKE], [DETACH]])
    assert tables.apply() == (0, "")
    assert tables.done == ["make it", "detach it"]
    assert tables.asked == ["big: detach it. These rows leave their table. Go on?"]
    tables = Tables(monkeypatch, events=[[MAKE]], big=[[MAKE], [DETACH]])
    tables.agrees = False
    assert tables.apply() == (
        1,
        "error: nobody has agreed to this: big: detach it. Done so far: events: make it; big: make it\n"
        "  Apply again, with --yes if that is what you want.",
    )
    assert tables.done == ["make it", "make it"]
