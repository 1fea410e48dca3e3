"""A child table as a compressed file with a manifest, and back. Nothing is dropped before the file was read again."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import apply, catalog, plan, render
from hostwright.partition.archive.stream import Hashed
from hostwright.partition.connection import transaction
from hostwright.partition.spec import PartitionSpec

READ = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What a file holds: `sha256` is that of the CSV text, which begins with a header line; bounds are text."""

    table: str
    child: str
    key: str
    lower: str | None
    upper: str | None
    columns: list[str]
    rows: int
    sha256: str


def write(connection: Any, spec: PartitionSpec, child: str, directory: Path, drop: bool) -> Path:
    """Write `child` to `directory`/CHILD.csv.gz and CHILD.json; returns the manifest's path.

    A child that belongs to its table is taken out of it first. With `drop` it is dropped, once the file has been read
    again and its rows were counted; nobody can write to the child meanwhile. Raises BadInput where there is no such
    child, or a file is there already.
    """
    table = catalog.read(connection, spec)
    directory.mkdir(parents=True, exist_ok=True)
    data, manifest = directory / f"{child.replace('/', '_')}.csv.gz", directory / f"{child.replace('/', '_')}.json"
    for path in (data, manifest):
        if path.exists():
            raise BadInput(f"{path} is there already", "Archives are never written over; move it away.")
    for one in table.children:
        if one.name == child:
            steps = [*plan.install(table), *plan.taken_out(spec, table, one, f"detach {child}")]
            apply.apply(connection, steps, lambda *_: None)
    name = f"{render.identifier(spec.schema_name)}.{render.identifier(child)}"
    with transaction(connection, f"{spec.table}: nothing was changed") as cursor:
        cursor.execute("SELECT pg_catalog.obj_description(pg_catalog.to_regclass(%s), 'pg_class')", (name,))
        (comment,) = cursor.fetchone()
        try:
            was = json.loads(comment or "")
            lower, upper = was["from"], was["to"]
        except (ValueError, KeyError):
            raise BadInput(f"{spec.table}: {child} was no child of it", "`fab partition.status` lists them.") from None
        cursor.execute(f"LOCK TABLE {name} IN {'ACCESS EXCLUSIVE' if drop else 'SHARE'} MODE")
        cursor.execute(f"SELECT count(*) FROM {name}")
        (rows,) = cursor.fetchone()
        columns = [column[0] for column in table.columns if column[0] not in table.generated]
        partial = data.with_name(data.name + ".partial")
        cursor.execute("SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL extra_float_digits = 3")
        with partial.open("wb") as raw:
            with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed:
                hashed = Hashed(packed)
                query = f"SELECT {render.identifiers(columns)} FROM {name}"
                cursor.copy_expert(f"COPY ({query}) TO STDOUT WITH (FORMAT csv, HEADER)", hashed)
            raw.flush()
            os.fsync(raw.fileno())
        digest = hashed.digest()
        if _digest(partial) != digest:
            raise HostwrightError(f"{partial} does not hold what was written to it", "Look at the disk.")
        found = Manifest(spec.table, child, spec.key, lower, upper, columns, rows, digest)
        partial.rename(data)
        manifest.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
        if drop:
            cursor.execute(f"DROP TABLE {name}")
    return manifest


def read(connection: Any, spec: PartitionSpec, manifest: Path) -> Manifest:
    """Make the child of a manifest again, with the rows of its file, in one transaction.

    Raises BadInput, and nothing has changed, where the file is not the one of the manifest.
    """
    try:
        found = Manifest(**json.loads(manifest.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"{manifest}: no manifest of an archived child: {error}") from None
    data = manifest.with_suffix(".csv.gz")
    try:
        same = _digest(data) == found.sha256
    except (OSError, EOFError) as error:
        raise BadInput(f"{data}: {error}", "It belongs beside its manifest.") from None
    if not same:
        raise BadInput(f"{data} is not the file that {manifest} describes", "Its checksum differs.")
    if found.table != spec.table:
        raise BadInput(f"{manifest} is of {found.table}, not of {spec.table}")
    whole = f"{render.identifier(spec.schema_name)}.{render.identifier(spec.table_name)}"
    name = f"{render.identifier(spec.schema_name)}.{render.identifier(found.child)}"
    with transaction(connection, f"{spec.table}: nothing was changed") as cursor, gzip.open(data, "rb") as packed:
        cursor.execute(
            "SELECT hostwright.make_child(%s::regclass, %s, %s, %s)", (whole, found.child, found.lower, found.upper)
        )
        cursor.execute("SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'")
        cursor.copy_expert(
            f"COPY {name} ({render.identifiers(found.columns)}) FROM STDIN WITH (FORMAT csv, HEADER)", packed
        )
        cursor.execute(f"SELECT count(*) FROM {name}")
        (rows,) = cursor.fetchone()
        if rows != found.rows:
            raise HostwrightError(f"{found.child} has {rows} rows, and the manifest says {found.rows}")
    return found


def _digest(path: Path) -> str:
    sha256 = hashlib.sha256()
    with gzip.open(path, "rb") as packed:
        while data := packed.read(READ):
            sha256.update(data)
    return sha256.hexdigest()
