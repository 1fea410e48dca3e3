"""The rows of a query as CSV with a header line, while they come."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import psycopg2

from hostwright.errors import BadInput
from hostwright.partition.connection import PATIENT

PIECE = 1 << 18
"""Bytes that are passed on at once."""
WRITTEN = (
    "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'iso_8601';"
    " SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; SET LOCAL client_encoding = 'UTF8'"
)
"""Values are written in one way in this transaction, whatever the settings of the role and the server are."""
SETTINGS = f"SET TRANSACTION READ ONLY; {WRITTEN}; {PATIENT}"


@contextlib.contextmanager
def rows(connection: Any, query: str) -> Iterator[BinaryIO]:
    """What `query` gives at `connection` (psycopg2, autocommit), which may not write.

    Where the query fails, so does reading on, with BadInput: a part of the rows is never taken for all of them.
    """
    reader, writer = os.pipe()
    failed: list[psycopg2.Error] = []

    def ask() -> None:
        # Nobody reads any more where the rows could not be loaded.
        with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "wb", PIECE) as pipe:
            try:
                with connection.cursor() as cursor:
                    cursor.execute(f"BEGIN; {SETTINGS}")
                    text = query.strip().rstrip(";")
                    cursor.copy_expert(f"COPY ({text}\n) TO STDOUT WITH (FORMAT csv, HEADER)", pipe)
                    cursor.execute("COMMIT")
            except psycopg2.Error as error:
                failed.append(error)
                with contextlib.suppress(psycopg2.Error):
                    connection.cursor().execute("ROLLBACK")

    thread = threading.Thread(target=ask)
    thread.start()
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        try:
            yield cast("BinaryIO", io.BufferedReader(_Rows(pipe, thread, failed), PIECE))
        finally:
            pipe.close()
            thread.join()


class _Rows(io.RawIOBase):
    def __init__(self, pipe: Any, thread: threading.Thread, failed: list[psycopg2.Error]) -> None:
        self._pipe, self._thread, self._failed = pipe, thread, failed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._pipe.readinto(buffer)
        if not count:
            self._thread.join()
            if self._failed:
                raise BadInput(f"the query: {str(self._failed[0]).strip()}", "Nothing was loaded.")
        return count
