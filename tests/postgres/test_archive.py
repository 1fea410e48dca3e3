"""A child as a file, and back."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition.archive import file as archive
from tests.postgres.conftest import Database, spec


@pytest.fixture(params=["declarative", "landing"])
def wanted(request: pytest.FixtureRequest, events: Database) -> Any:
    if request.param == "declarative" and events.major < 11:
        pytest.skip("declarative needs PostgreSQL 11")
    wanted = spec(strategy=request.param, adopt="drain", keep=3)
    events.run("UPDATE events SET payload = %s WHERE id = 11", 'a "quoted",\nwide \\ text')
    events.apply(wanted)
    events.apply(wanted)
    return wanted


def rows(events: Database) -> list[tuple[Any, ...]]:
    return events.run("SELECT id, created_at::text, kind, payload FROM events ORDER BY id")


def test_there_and_back(events: Database, wanted: Any, tmp_path: Path) -> None:
    before = rows(events)
    manifest = archive.write(events.connection, wanted, "events_p202512", tmp_path, drop=True)
    assert events.one("SELECT to_regclass('events_p202512')") is None
    assert len(rows(events)) == len(before) - 10
    assert json.loads(manifest.read_text()) == {
        "table": "events",
        "child": "events_p202512",
        "key": "created_at",
        "lower": "2025-12-01 00:00:00+00",
        "upper": "2026-01-01 00:00:00+00",
        "columns": ["id", "created_at", "kind", "payload"],
        "rows": 10,
        "sha256": json.loads(manifest.read_text())["sha256"],
    }
    text = gzip.decompress((tmp_path / "events_p202512.csv.gz").read_bytes())
    assert text.startswith(b"id,created_at,kind,payload\n")
    assert b'\n11,2025-12-01 00:00:00+00,old,"a ""quoted"",\nwide \\ text"\n' in text
    archive.read(events.connection, wanted, manifest)
    assert rows(events) == before
    assert events.one("SELECT tableoid::regclass::text FROM events WHERE id = 11") == "events_p202512"
    events.apply(wanted)
    assert events.plan(wanted) == []


def test_a_child_that_retention_has_detached(events: Database, wanted: Any, tmp_path: Path) -> None:
    later = wanted.model_copy(update={"keep": 1})
    events.apply(later)
    manifest = archive.write(events.connection, later, "events_p202601", tmp_path, drop=False)
    assert json.loads(manifest.read_text())["lower"] == "2026-01-01 00:00:00+00"
    assert events.one("SELECT count(*) FROM events_p202601") == 10


def test_what_cannot_be_archived_or_restored_changes_nothing(events: Database, wanted: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere was no child of it"):
        archive.write(events.connection, wanted, "nowhere", tmp_path, drop=True)
    manifest = archive.write(events.connection, wanted, "events_p202512", tmp_path, drop=False)
    with pytest.raises(BadInput, match="is there already"):
        archive.write(events.connection, wanted, "events_p202512", tmp_path, drop=True)
    before = events.snapshot()
    with pytest.raises(HostwrightError, match='nothing was changed: relation "events_p202512" already exists'):
        archive.read(events.connection, wanted, manifest)
    events.run("DROP TABLE events_p202512")
    data = tmp_path / "events_p202512.csv.gz"
    whole = data.read_bytes()
    data.write_bytes(whole[:-20])
    with pytest.raises(BadInput, match=r"events_p202512.csv.gz: "):
        archive.read(events.connection, wanted, manifest)
    data.write_bytes(gzip.compress(b"id,created_at,kind,payload\n"))
    with pytest.raises(BadInput, match="is not the file that"):
        archive.read(events.connection, wanted, manifest)
    data.write_bytes(whole)
    with pytest.raises(BadInput, match="is of events, not of other"):
        archive.read(events.connection, spec(table="other"), manifest)
    with pytest.raises(BadInput, match="no manifest of an archived child"):
        archive.read(events.connection, wanted, tmp_path / "missing.json")
    assert [line for line in before if "events_p202512" not in line[0]] == events.snapshot()
