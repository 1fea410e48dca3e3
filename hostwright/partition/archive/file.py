"""A child table as a compressed file with a manifest, and back. Nothing is dropped before the file was read again."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import pydantic

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import apply, catalog, plan, render
from hostwright.partition.archive import known, stream
from hostwright.partition.connection import transaction
from hostwright.partition.spec import PartitionSpec

READ = 1 << 20


Text = Annotated[str, pydantic.StringConstraints(pattern=r"^[^\x00]+$")]


class Manifest(pydantic.BaseModel):
    """What a file holds: `sha256` is that of the CSV text, which begins with a header line; bounds are text."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    table: Text
    child: Text
    key: Text
    lower: Text | None
    upper: Text | None
    columns: list[Text]
    rows: int
    sha256: Text


def write(connection: Any, spec: PartitionSpec, child: str, directory: Path, drop: bool, now: dt.datetime) -> Path:
    """Write `child` to `directory`/CHILD.csv.gz and CHILD.json; returns the manifest's path.

    A child that belongs to its table is taken out of it first. With `drop` it is dropped, once the file is on the disk,
    has been read again and its rows were counted; nobody can write to the child meanwhile. Raises BadInput, before
    anything changes, where there is no such child, its period is not over, or no file can be made.
    """
    with apply.alone(connection):
        table = catalog.read(connection, spec)
        one = known.candidate(spec, table, known.former(connection, spec), child, now)
        if one.is_archived:
            raise BadInput(
                f"{spec.table}: {child} is in the archive at {one.server}", "`fab partition.restore` it first."
            )
        known.insist_filed(connection, spec, table, one)
        with _new_file(directory, child) as (raw, data, manifest):
            for attached in table.children:
                if attached.name == child:
                    steps = plan.taken_out(spec, table, attached, f"detach {child}")
                    apply.apply(connection, [*plan.install(table.version, table.stamp), *steps], lambda *_: None)
            name = render.qualified(one.schema, child)
            failed = f"{spec.table}: {child}, which is a table of its own now, was not written to {data}"
            try:
                with transaction(connection, failed) as cursor:
                    _settle(cursor, name, drop)
                    columns = [
                        column["name"]
                        for column in known.columns(cursor, table.version, one.schema, child)
                        if not column["is_generated"]
                    ]
                    rows, digest = _send(cursor, name, columns, raw)
                    found = Manifest(
                        table=spec.table,
                        child=child,
                        key=spec.key,
                        lower=one.lower,
                        upper=one.upper,
                        columns=columns,
                        rows=rows,
                        sha256=digest,
                    )
                    _keep(raw, data, manifest, found)
                    if drop:
                        # That locks the tables that its foreign keys point to.
                        kept = f"{spec.table}: {data} is written, and {child} is not dropped"
                        apply.insist(cursor, kept, f"DROP TABLE {name}")
            except OSError as error:
                raise HostwrightError(
                    f"{failed}: {error.strerror}", "Look at the disk, then archive it again."
                ) from None
    return manifest


def read(connection: Any, spec: PartitionSpec, manifest: Path) -> Manifest:
    """Make the child of a manifest again, with the rows of its file, in one transaction.

    Raises BadInput, and nothing has changed, where the file is not the one of the manifest.
    """
    found, data = _described(spec, manifest)
    with apply.locked(connection):
        table = catalog.read(connection, spec)
        mend = f"They can be loaded into it: zcat {data} | fab partition.load --table {spec.table} --file -"
        known.insist_room(spec, table, found.child, found.lower, found.upper, mend)
        values = {**known.told(spec, table, found.child, found.lower, found.upper), "back": found.child}
        name = render.qualified(spec.schema_name, found.child)
        with transaction(connection, f"{spec.table}: nothing was changed") as cursor, gzip.open(data, "rb") as packed:
            cursor.execute(stream.SETTINGS)
            apply.insist(cursor, found.child, render.query("archive/back", **values))
            copy = f"COPY {name} ({render.identifiers(found.columns)}) FROM STDIN WITH (FORMAT csv, HEADER)"
            cursor.copy_expert(copy, packed)
            if cursor.rowcount != found.rows:
                raise HostwrightError(f"{found.child} has {cursor.rowcount} rows, and the manifest says {found.rows}")
            apply.insist(cursor, found.child, render.query("archive/back_keys", **values))
            apply.insist(cursor, found.child, render.query("archive/attach", **values))
    return found


@contextlib.contextmanager
def _new_file(directory: Path, child: str) -> Iterator[tuple[BinaryIO, Path, Path]]:
    """A file that can be written to, what it will be called, and its manifest. Where something fails, it is gone."""
    name = child.replace("/", "_")
    data, manifest = directory / f"{name}.csv.gz", directory / f"{name}.json"
    partial = data.with_name(data.name + ".partial")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in (data, manifest):
            if path.exists():
                raise BadInput(f"{path} is there already", "Archives are never written over; move it away.")
        raw = partial.open("w+b")
    except OSError as error:
        raise BadInput(f"{error.filename or directory}: {error.strerror}", "--to names a directory.") from None
    try:
        with raw:
            yield raw, data, manifest
    finally:
        partial.unlink(missing_ok=True)


def _settle(cursor: Any, name: str, drop: bool) -> None:
    """Keep writers from the table `name`, and readers too where it is to be dropped."""
    cursor.execute(stream.SETTINGS)
    cursor.execute(f"SET LOCAL lock_timeout = '{apply.PATIENCE:.0f}s'")
    cursor.execute(f"LOCK TABLE {name} IN {'ACCESS EXCLUSIVE' if drop else 'SHARE'} MODE")


def _send(cursor: Any, name: str, columns: list[str], raw: BinaryIO) -> tuple[int, str]:
    """Write the rows to `raw`; returns their number and the checksum of the text."""
    cursor.execute(f"SELECT count(*) FROM {name}")
    (rows,) = cursor.fetchone()
    with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed:
        hashed = stream.Hashed(packed)
        query = f"SELECT {render.identifiers(columns)} FROM {name}"
        cursor.copy_expert(f"COPY ({query}) TO STDOUT WITH (FORMAT csv, HEADER)", hashed)
    if cursor.rowcount != rows:
        raise HostwrightError(f"{name} has {rows} rows, and {cursor.rowcount} were written")
    return rows, hashed.digest()


def _keep(raw: BinaryIO, data: Path, manifest: Path, found: Manifest) -> None:
    """Give what was written to `raw` its name and its manifest, once it was read again. Both outlive a power cut."""
    raw.flush()
    os.fsync(raw.fileno())
    partial = Path(raw.name)
    if _digest(partial) != found.sha256:
        raise HostwrightError(f"{partial} does not hold what was written to it", "Look at the disk.")
    partial.rename(data)
    with manifest.open("x", encoding="utf-8") as file:
        file.write(found.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    directory = os.open(data.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _described(spec: PartitionSpec, manifest: Path) -> tuple[Manifest, Path]:
    """What a manifest says, and the file that it describes."""
    try:
        found = Manifest.model_validate_json(manifest.read_bytes())
    except OSError as error:
        raise BadInput(
            f"{manifest}: no manifest of an archived child: {error.strerror}", "--manifest names what archive wrote."
        ) from None
    except pydantic.ValidationError as error:
        wrong = [": ".join([*map(str, one["loc"]), one["msg"]]) for one in error.errors()]
        raise BadInput(
            f"{manifest}: no manifest of an archived child: {'; '.join(wrong)}", "--manifest names what archive wrote."
        ) from None
    data = manifest.with_suffix(".csv.gz")
    try:
        same = _digest(data) == found.sha256
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{data}: {error}", "It belongs beside its manifest.") from None
    if not same:
        raise BadInput(f"{data} is not the file that {manifest} describes", "Its checksum differs.")
    if found.table.removeprefix("public.") != spec.table.removeprefix("public."):
        raise BadInput(f"{manifest} is of {found.table}, not of {spec.table}")
    if found.key != spec.key:
        raise BadInput(f"{manifest} is of rows divided by {found.key}, not by {spec.key}")
    return found, data


def _digest(path: Path) -> str:
    sha256 = hashlib.sha256()
    with gzip.open(path, "rb") as packed:
        while data := packed.read(READ):
            sha256.update(data)
    return sha256.hexdigest()
