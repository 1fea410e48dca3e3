"""Carrying out a plan: a transaction a step, one at a time in the database, never waiting long for a lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg2

from hostwright.errors import HostwrightError
from hostwright.partition import render
from hostwright.partition.plan import Step

ADVISORY_LOCK = 0x70617274
LOCK_TIMEOUT_MS = 200
"""How long a statement waits for a lock, and others behind it, before it gives way and tries again."""
PATIENCE = 60.0
"""Seconds of trying before a step fails."""


def apply(connection: Any, steps: Sequence[Step], done: Callable[[Step, float], None]) -> None:
    """Run `steps` in order on `connection` (psycopg2, autocommit), calling `done` with each and its seconds.

    Raises HostwrightError at the first that fails; those before it stay, and the next plan goes on from there.
    """
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (ADVISORY_LOCK,))
        except psycopg2.OperationalError as error:
            raise HostwrightError(f"the connection was lost: {error}", "Apply again.") from None
        if not cursor.fetchone()[0]:
            raise HostwrightError(
                "someone else is applying partitions to this database", "Try again when they are done."
            )
        try:
            cursor.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
            cursor.execute("SET timezone = 'UTC'")
            for step in steps:
                started = time.monotonic()
                _run(cursor, step, started)
                done(step, time.monotonic() - started)
        finally:
            if not connection.closed:
                cursor.execute("SELECT pg_advisory_unlock(%s)", (ADVISORY_LOCK,))


def _run(cursor: Any, step: Step, started: float) -> None:
    text = render.sql(step)
    wait = 0.05
    while True:
        try:
            if step.alone:
                for statement in filter(str.strip, text.split(";\n")):
                    cursor.execute(statement)
            else:
                cursor.execute(f"BEGIN;\n{text}\nCOMMIT;")
            return
        except psycopg2.errors.LockNotAvailable:
            _rollback(cursor)
            if time.monotonic() - started > PATIENCE:
                raise HostwrightError(
                    f"{step.title}: the table was locked by others for {PATIENCE:.0f} s; nothing of this step was done",
                    "Look for long transactions in pg_stat_activity, then apply again.",
                ) from None
            time.sleep(wait)
            wait = min(wait * 2, 2.0)
        except psycopg2.OperationalError as error:
            raise HostwrightError(f"{step.title}: the connection was lost: {error}", "Apply again.") from None
        except psycopg2.Error as error:
            _rollback(cursor)
            raise HostwrightError(f"{step.title}: {str(error).strip()}") from None


def _rollback(cursor: Any) -> None:
    cursor.execute("ROLLBACK")
