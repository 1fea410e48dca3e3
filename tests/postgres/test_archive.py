"""A child as a file, and back."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import apply, catalog, load, plan
from hostwright.partition.archive import file as archive
from tests.postgres.conftest import NOW, Database, spec, until_it_waits


@pytest.fixture(params=["declarative", "landing"])
def wanted(request: pytest.FixtureRequest, events: Database) -> Any:
    if request.param == "declarative":
        events.server.needs("declarative")
    wanted = spec(strategy=request.param, adopt="drain", keep=3)
    events.run("UPDATE events SET payload = %s WHERE id = 11", 'a "quoted",\nwide \\ text')
    events.apply(wanted)
    events.apply(wanted)
    return wanted


def rows(events: Database) -> list[tuple[Any, ...]]:
    return events.run("SELECT id, created_at::text, kind, payload FROM events ORDER BY id")


def test_there_and_back(events: Database, wanted: Any, tmp_path: Path) -> None:
    before = rows(events)
    manifest = archive.write(events.connection, wanted, "events_p202512", tmp_path, drop=True, now=NOW)
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


def test_the_sql_for_9_5(events: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "version_of", lambda connection: 9.5)
    old = spec(strategy="landing", keep=3)
    for _ in range(2):
        events.apply(old)
    before = rows(events)
    manifest = archive.write(events.connection, old, "events_p202512", tmp_path, drop=True, now=NOW)
    archive.read(events.connection, old, manifest)
    assert rows(events) == before
    events.apply(old)
    assert events.plan(old) == []


def test_a_child_that_retention_has_detached(events: Database, wanted: Any, tmp_path: Path) -> None:
    later = wanted.model_copy(update={"keep": 1})
    events.apply(later)
    manifest = archive.write(events.connection, later, "events_p202601", tmp_path, drop=False, now=NOW)
    assert json.loads(manifest.read_text())["lower"] == "2026-01-01 00:00:00+00"
    assert events.one("SELECT count(*) FROM events_p202601") == 10


def test_what_cannot_be_archived_or_restored_changes_nothing(events: Database, wanted: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere was no child of it"):
        archive.write(events.connection, wanted, "nowhere", tmp_path, drop=True, now=NOW)
    manifest = archive.write(events.connection, wanted, "events_p202512", tmp_path, drop=False, now=NOW)
    with pytest.raises(BadInput, match="is there already"):
        archive.write(events.connection, wanted, "events_p202512", tmp_path, drop=True, now=NOW)
    before = events.snapshot()
    with pytest.raises(HostwrightError, match=r"nothing was changed: .*events_p202512"):
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


def test_a_child_whose_place_is_taken(events: Database, wanted: Any, tmp_path: Path) -> None:
    before = rows(events)
    manifest = archive.write(events.connection, wanted, "events_p202512", tmp_path, drop=True, now=NOW)
    archive.read(events.connection, wanted, manifest)
    events.run("ALTER TABLE events_p202512 RENAME TO december; DELETE FROM december")
    with pytest.raises(BadInput) as caught:
        archive.read(events.connection, wanted, manifest)
    packed = tmp_path / "events_p202512.csv.gz"
    assert str(caught.value) == (
        "events: december is for rows of events_p202512 too\n"
        f"  They can be loaded into it: zcat {packed} | fab partition.load --table events --file -"
    )
    table = catalog.read(events.connection, wanted)
    with gzip.open(packed) as unpacked:
        assert load.load(events.connection, wanted, table, unpacked, lambda rows: None) == 10
    assert rows(events) == before
    manifest.write_text(manifest.read_text().replace("2025-12-01", "2025-13-01"))
    with pytest.raises(BadInput, match=r"'2025-13-01 00:00:00\+00' is no bound of a timestamp with time zone"):
        archive.read(events.connection, wanted, manifest)


def refused(events: Database, wanted: Any, child: str, directory: Path, message: str) -> None:
    before = events.snapshot()
    with pytest.raises(BadInput, match=message):
        archive.write(events.connection, wanted, child, directory, drop=True, now=NOW)
    assert events.snapshot() == before


def test_what_is_in_use_is_not_taken_out(events: Database, wanted: Any, tmp_path: Path) -> None:
    refused(events, wanted, "events_p202603", tmp_path, "the period of events_p202603 is not over")
    refused(events, wanted, "events_p202605", tmp_path, "the period of events_p202605 is not over")
    (tmp_path / "file").write_text("")
    refused(events, wanted, "events_p202512", tmp_path / "file", "file: File exists")
    refused(events, wanted, "events_p202512", tmp_path / "file" / "below", "Not a directory")
    refused(events, wanted, "events_p202512", Path("/proc/nowhere"), "/proc/nowhere: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    if wanted.strategy == "declarative":
        listed = spec(key="kind", method="list", adopt="copy", values={"old": ["old"]}, overflow="default")
        events.wipe()
        events.run("CREATE TABLE events (id int, kind text NOT NULL)")
        events.apply(listed)
        refused(events, listed, "events_old", tmp_path, "events_old is FOR VALUES IN")
        refused(events, listed, "events_default", tmp_path, "events_default is DEFAULT")


def test_a_child_whose_rows_wait_in_the_table(events: Database, tmp_path: Path) -> None:
    landing = spec(strategy="landing", keep=None)
    for _ in range(2):
        events.apply(landing)
    april = NOW.replace(month=4)
    with pytest.raises(BadInput, match="rows of events_p202603 wait in the table itself"):
        archive.write(events.connection, landing, "events_p202603", tmp_path, drop=True, now=april)
    events.maintain(april)
    archive.write(events.connection, landing, "events_p202603", tmp_path, drop=True, now=april)
    assert len(rows(events)) == 40


def test_a_disk_that_is_full(events: Database, wanted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(archive, "_keep", _full)
        with pytest.raises(HostwrightError, match=r"events_p202512, which is a table of its own now, .*No space left"):
            archive.write(events.connection, wanted, "events_p202512", tmp_path, drop=True, now=NOW)
    assert list(tmp_path.iterdir()) == []
    assert events.one("SELECT count(*) FROM events_p202512") == 10
    archive.write(events.connection, wanted, "events_p202512", tmp_path, drop=True, now=NOW)
    assert len(list(tmp_path.iterdir())) == 2


def _full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_columns_that_came_and_went_since(events: Database, wanted: Any, tmp_path: Path) -> None:
    """The file has those of the child."""
    events.apply(wanted.model_copy(update={"keep": 1}))
    assert events.one("SELECT count(*) FROM events") == 20
    events.run("ALTER TABLE events ADD colour text DEFAULT 'red'; ALTER TABLE events DROP payload")
    manifest = archive.write(events.connection, wanted, "events_p202601", tmp_path, drop=True, now=NOW)
    assert json.loads(manifest.read_text())["columns"] == ["id", "created_at", "kind", "payload"]
    with pytest.raises(HostwrightError, match='nothing was changed: column "payload" of relation'):
        archive.read(events.connection, wanted, manifest)
    events.run("ALTER TABLE events ADD payload text")
    assert archive.read(events.connection, wanted, manifest).rows == 10
    assert events.run("SELECT DISTINCT payload, colour FROM events WHERE id BETWEEN 21 AND 30") == [("{}", "red")]
    events.apply(wanted.model_copy(update={"keep": 2}))
    assert events.plan(wanted.model_copy(update={"keep": 2})) == []


def test_rows_of_the_period_that_came_meanwhile(events: Database, wanted: Any, tmp_path: Path) -> None:
    """They wait in the parent, or in the DEFAULT partition."""
    if wanted.strategy == "declarative":
        wanted = wanted.model_copy(update={"overflow": "default"})
        events.apply(wanted)
    manifest = archive.write(events.connection, wanted, "events_p202512", tmp_path, drop=True, now=NOW)
    events.run("INSERT INTO events (id, created_at) VALUES (100, '2025-12-24+00')")
    archive.read(events.connection, wanted, manifest)
    events.apply(wanted)
    assert events.counts()["events_p202512"] == 11
    assert events.plan(wanted) == []


def test_others_go_on_while_a_child_waits_to_be_dropped(events: Database, wanted: Any, tmp_path: Path) -> None:
    """A lock of the table that its foreign key points to is needed for that, and others have it."""
    events.run("CREATE TABLE kinds (kind varchar(40) PRIMARY KEY); INSERT INTO kinds VALUES ('old'), ('seen')")
    events.run("ALTER TABLE events ADD FOREIGN KEY (kind) REFERENCES kinds")
    events.apply(wanted)
    steps = plan.taken_out(wanted, catalog.read(events.connection, wanted), catalog.Child("events_p202512"), "detach")
    apply.apply(events.connection, list(steps), lambda *_: None)
    reading, writing = events.connect(), events.connect()
    reading.cursor().execute("BEGIN; SELECT FROM kinds")
    writing.cursor().execute("SET lock_timeout = '1s'")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        dropped = pool.submit(archive.write, events.connection, wanted, "events_p202512", tmp_path, drop=True, now=NOW)
        until_it_waits(events, events.connection.get_backend_pid())
        writing.cursor().execute("INSERT INTO kinds VALUES ('new')")
        assert not dropped.done()
        reading.close()
        dropped.result()
    writing.close()
    assert events.one("SELECT to_regclass('events_p202512')") is None


def test_others_go_on_while_rows_come_back(events: Database, wanted: Any, tmp_path: Path) -> None:
    events.run(
        "CREATE TABLE kinds (kind varchar(40) PRIMARY KEY); INSERT INTO kinds VALUES ('old'), ('seen'), ('x');"
        "ALTER TABLE events ADD FOREIGN KEY (kind) REFERENCES kinds"
    )
    events.apply(wanted)
    manifest = archive.write(events.connection, wanted, "events_p202512", tmp_path, drop=True, now=NOW)
    other = events.connect()
    other.cursor().execute("SET lock_timeout = '1s'")

    class Slow:
        """The file, during whose reading others use the table."""

        def __init__(self, raw: Any) -> None:
            self.raw = raw

        def read(self, size: int = -1) -> bytes:
            with other.cursor() as cursor:
                cursor.execute("UPDATE events SET kind = 'x' WHERE id = 50")
                cursor.execute("INSERT INTO events (created_at) VALUES ('2026-03-03+00')")
                cursor.execute("SELECT count(*) FROM events")
                cursor.execute("INSERT INTO kinds VALUES (clock_timestamp()::text)")
            data: bytes = self.raw.read(size)
            return data

    found, data = archive._described(wanted, manifest)
    with gzip.open(data) as packed, pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "_described", lambda *_: (found, data))
        patch.setattr(archive.gzip, "open", lambda *_: contextlib.nullcontext(Slow(packed)))
        archive.read(events.connection, wanted, manifest)
    other.close()
    assert events.counts()["events_p202512"] == 10
    assert events.one(
        "SELECT count(*) FROM pg_constraint WHERE conrelid = 'events_p202512'::regclass AND contype = 'f'"
    )
    events.apply(wanted)
    assert events.plan(wanted) == []
