"""Rows as a stream, from one server to another through this machine, with the checksum of what went by."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from hostwright.partition import render
from hostwright.partition.connection import PATIENT
from hostwright.partition.query import PIECE, WRITTEN

# The same rows give the same bytes, in the order in which they lie there, on either server.
SETTINGS = f"{WRITTEN}; SET LOCAL synchronize_seqscans = off; SET LOCAL search_path = pg_catalog; {PATIENT}"


class Hashed(io.RawIOBase):
    """A file that is read or written through, and the checksum of what was; without a file it takes all there is."""

    def __init__(self, file: Any = None) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self._sha256.update(data)
        return data

    def write(self, data: Any) -> int:
        self._sha256.update(data)
        return len(data) if self._file is None else int(self._file.write(data))

    def digest(self) -> str:
        return self._sha256.hexdigest()


def form(types: Mapping[str, bool]) -> str:
    """How rows are sent, of columns that have one of the server's own types or not: text says the names of others."""
    return "binary" if all(types.values()) else "text"


def digest(cursor: Any, table: str, columns: Sequence[str], how: str) -> tuple[int, str]:
    """(rows, SHA-256) of the stream that `send` would make of `table`; the transaction has SETTINGS."""
    hashed = Hashed()
    sink = io.BufferedWriter(hashed, PIECE)
    cursor.copy_expert(_out(cursor, table, columns, how), sink)
    sink.flush()
    return cursor.rowcount, hashed.digest()


def send(source: Any, table: str, cursor: Any, target: str, columns: Sequence[str], how: str) -> tuple[int, str]:
    """Copy `columns` of `table` at the cursor `source` to `target` at `cursor`; returns (rows, SHA-256).

    Both are in transactions with SETTINGS. Raises what the server said that was first to fail.
    """
    reader, writer = os.pipe()
    failed: list[BaseException] = []

    def take() -> None:
        try:
            with os.fdopen(writer, "wb", PIECE) as pipe:
                source.copy_expert(_out(source, table, columns, how), pipe)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        with os.fdopen(reader, "rb", PIECE) as pipe:
            hashed = Hashed(pipe)
            copy = f"COPY {target} ({render.identifiers(columns)}) FROM STDIN WITH (FORMAT {how})"
            cursor.copy_expert(copy, hashed, PIECE)
    finally:
        # Where the target failed, the pipe is closed by now, and that ends the thread.
        thread.join()
    if failed:
        raise failed[0]
    return source.rowcount, hashed.digest()


def _out(cursor: Any, table: str, columns: Sequence[str], how: str) -> str:
    if cursor.connection.server_version >= 90600:
        cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
    return f"COPY (SELECT {render.identifiers(columns)} FROM {table}) TO STDOUT WITH (FORMAT {how})"
