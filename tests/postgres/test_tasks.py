"""`fab partition.*`, as a person and a pipeline call it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from hostwright.errors import HostwrightError
from hostwright.partition import apply
from tests.postgres.conftest import Database, spec


def test_a_table_s_whole_life(fab: Any, events: Database, tmp_path: Path) -> None:
    printed, status = fab("maintain")
    assert (printed.splitlines()[0], status) == ("error: nothing is divided in the database", 2)
    printed, status = fab("plan")
    assert status == 3
    assert "-- events: make events_p202511\nSELECT hostwright.make_child(" in printed
    assert re.search(r"-- events: install the functions in schema hostwright\n-- \(\d+ lines", printed)
    assert "CREATE FUNCTION" not in printed
    printed, status = fab("plan", json=True)
    assert json.loads(printed.splitlines()[0])["step"] == "install the functions in schema hostwright"
    assert fab("apply", check=True)[1] == 3
    printed, status = fab("apply")
    assert status == 0
    assert "events: move rows to the children of their periods, in small batches" in printed
    assert fab("plan") == ("-- events: nothing to do\n", 0)
    assert fab("apply") == ("events: nothing to do\n", 0)
    assert fab("maintain") == ("", 0)
    assert fab("verify") == ("events: all is well\n", 0)
    printed, status = fab("status", json=True)
    found = json.loads(printed)
    assert found["problems"] == []
    assert [child["child"] for child in found["children"]][:2] == ["events_pmin", "events_p202511"]
    printed, status = fab("status")
    assert "events_p202512  2025-12-01 00:00:00+00  2026-01-01 00:00:00+00" in printed

    (tmp_path / "rows.csv").write_text("created_at,kind\n2025-12-24 12:00:00+00,loaded\n")
    assert fab("load", file=str(tmp_path / "rows.csv")) == ("events: 1 rows loaded\n", 0)
    printed, status = fab("load", file=str(tmp_path / "nowhere.csv"))
    assert status == 2
    events.run("CREATE TABLE before AS SELECT timestamptz '2026-01-07+00' AS created_at, 'asked'::text AS kind")
    asked = "SELECT * FROM before;"
    assert fab("load", query=asked) == ("events: 1 rows loaded\n", 0)
    assert fab("load", query=asked, source=events.server.dsn(events.name, "shop")) == ("events: 1 rows loaded\n", 0)
    for options, said in (
        ({}, "error: load takes --file or --query"),
        ({"file": "a", "query": asked}, "error: load takes --file or --query"),
        ({"file": "a", "source": "host=b"}, "error: --source is for --query"),
        ({"query": asked, "source": "host=/nowhere"}, "error: --source: the database can't be reached: "),
        ({"query": "SELECT 1 AS created_at FROM nowhere"}, 'error: events: the query: relation "nowhere" '),
    ):
        printed, status = fab("load", **options)
        assert (printed.startswith(said), status) == (True, 2), printed
    events.run("DELETE FROM events WHERE kind = 'asked'; DROP TABLE before")
    assert fab("archive", child="events_p202512", to=str(tmp_path), drop=True, yes=True)[1] == 0
    manifest = tmp_path / "events_p202512.json"
    assert fab("restore", manifest=str(manifest)) == ("events: events_p202512 is back, 11 rows\n", 0)
    assert fab("archive", child="events_p202512", to=str(tmp_path / "more"))[1] == 0
    assert (
        events.one("SELECT count(*) FROM events WHERE created_at < '2026-01-01+00' AND created_at > '2025-12-01+00'")
        == 0
    )
    printed, status = fab("restore", child="events_p202512", drop=True)
    assert (printed.splitlines()[0], status) == ("error: events: events_p202512 is detached, and not in the archive", 2)
    printed, status = fab("restore", child="events_p202512")
    assert (printed.splitlines()[-1], status) == ("events: events_p202512 is back", 0)
    assert (fab("apply")[1], fab("plan")[1]) == (0, 0)
    assert events.one("SELECT count(*) FROM events_p202512") == 11
    events.run("DROP TABLE events_p202512")
    printed, status = fab("verify")
    assert status == 1
    assert "no child for rows from 2025-12-01 00:00:00+00 up to 2026-01-01 00:00:00+00" in printed
    assert fab("undo", yes=True)[1] == 0
    assert events.one("SELECT count(*) FROM ONLY events") == 40
    assert fab("undo", yes=True) == ("events: nothing to do\n", 0)


def test_rows_from_a_pipe(fab: Any, events: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fab("apply")[1] == 0
    before = events.one("SELECT count(*) FROM events")

    def load(text: str) -> Any:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        return fab("load", file="-")

    assert load("created_at,kind\n2025-12-24 12:00:00+00,piped\n") == ("events: 1 rows loaded\n", 0)
    assert events.run("SELECT tableoid::regclass::text FROM events WHERE kind = 'piped'") == [("events_p202512",)]
    for text in ("", "kind\nlost\n", "created_at,kind\n2025-12-24,piped\nnever,piped\n"):
        printed, status = load(text)
        assert (printed.startswith("error: events: standard input: "), status) == (True, 2), printed
    assert events.one("SELECT count(*) FROM events") == before + 1


def test_maintenance_that_fails_is_seen(fab: Any, events: Database) -> None:
    assert fab("apply")[1] == 0
    last = events.one("SELECT max(horizon) FROM hostwright.health")
    other = events.connect()
    with apply.alone(other):
        printed, status = fab("maintain")
        assert (printed.splitlines()[0], status) == ("error: someone else is applying partitions to this database", 1)
    other.close()
    printed, status = fab("status")
    assert "maintained never" in printed
    assert (fab("maintain")[1], "maintained 20" in fab("status")[0]) == (0, True)
    events.run(
        "UPDATE hostwright.partitioned SET premake = 12;"
        "CREATE FUNCTION public.no() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''the disk is full''; END'"
    )
    admin = events.server.connect(events.name)
    admin.cursor().execute(
        "CREATE EVENT TRIGGER no ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE PROCEDURE public.no()"
    )
    try:
        assert fab("maintain") == ("error: public.events: the disk is full", 1)
    finally:
        admin.cursor().execute("DROP EVENT TRIGGER no")
        admin.close()
    printed, status = fab("status")
    assert re.search(r"! maintenance fails since .*: the disk is full", printed)
    (problem,) = json.loads(fab("status", json=True)[0])["problems"]
    assert problem.endswith("the disk is full")
    assert events.one("SELECT problem FROM hostwright.health") == "the disk is full"
    events.run("UPDATE hostwright.partitioned SET failed_at = failed_at - interval '1 hour'")
    printed, status = fab("maintain")
    assert (status, len(printed.splitlines())) == (0, 9)
    assert events.one("SELECT max(horizon) FROM hostwright.health") > last
    assert "! " not in fab("status")[0]


def test_maintenance_of_one_table(fab: Any, events: Database) -> None:
    events.run("CREATE TABLE log (LIKE events INCLUDING ALL)")
    events.apply(spec(table="log", keep=None, adopt="drain"))
    assert fab("maintain", table="events") == (
        "error: public.events: it is not divided\n  `fab partition.apply` divides it.",
        2,
    )
    assert fab("apply")[1] == 0
    events.run("UPDATE hostwright.partitioned SET premake = 12")
    printed, status = fab("maintain", table="events")
    assert (status, {line.split(":")[0] for line in printed.splitlines()}) == (0, {"public.events"})
    assert events.one("SELECT failure FROM hostwright.partitioned WHERE table_name = 'log'") is None
    events.run(
        "UPDATE hostwright.partitioned SET failed_at = now(), failure = 'the disk is full' WHERE table_name = 'log'"
    )
    assert fab("maintain", table="events") == ("", 0)
    assert fab("maintain") == ("error: public.log: the disk is full", 1)
    events.run("DROP FUNCTION hostwright.maintain_one(text, text, timestamptz, int)")
    assert fab("maintain", table="events") == (
        "error: the functions in the database are of an older Hostwright\n  `fab partition.apply` renews them.",
        2,
    )


def test_what_is_wrong_is_said_in_one_message(fab: Any, events: Database) -> None:
    assert fab("plan", table="orders") == ("error: no partition spec for orders\n  See `partitions`.", 2)
    printed, status = fab("plan", dsn="host=/nowhere")
    assert (printed.startswith("error: the database can't be reached: "), status) == (True, 2)
    assert fab("restore", child="events_p2020") == (
        "error: partitions: events: it has no archive.server\n"
        "  Give one in the spec; events_p2020 is not detached, and --manifest takes a file.",
        2,
    )
    assert fab("undo", json=True, yes=True) == ("", 0)
    events.run("ALTER TABLE events ALTER created_at DROP NOT NULL")
    printed, status = fab("apply")
    assert (printed.splitlines()[0], status) == ("error: partitions: events: created_at may be NULL", 2)
    events.run("ALTER TABLE events RENAME TO others")
    for name in ("plan", "status", "undo"):
        printed, status = fab(name)
        assert (printed.splitlines()[0], status) == ("error: partitions: events: there is no such table", 2)
    assert fab("verify") == ("error: events: there is no such table", 1)


def test_a_step_that_fails_names_its_table(fab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise HostwrightError("install: out of memory", "Buy some")

    monkeypatch.setattr(apply, "apply", fail)
    assert fab("apply") == ("error: events: install: out of memory\n  Buy some", 1)
