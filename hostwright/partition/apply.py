"""Carrying out a plan: a transaction a step, one at a time in the database, never waiting long for a lock."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg2

from hostwright.errors import HostwrightError
from hostwright.partition import render
from hostwright.partition.plan import Step

LOCK_TIMEOUT_MS = 50
"""How long a statement waits for a lock, and others behind it, before it gives way and tries again."""
SESSION = {
    "lock_timeout": f"{LOCK_TIMEOUT_MS}ms",
    # Proving a bound and making an index take as long as they take; they hold no lock that anybody waits for.
    "statement_timeout": "0",
    # A row that was locked is read as it is once the lock is there.
    "default_transaction_isolation": "read committed",
    "timezone": "UTC",
    "client_min_messages": "warning",
}
PATIENTLY, IMPATIENTLY = "SET lock_timeout = '10min'", f"SET lock_timeout = '{LOCK_TIMEOUT_MS}ms'"
"""For what nobody waits for: it may wait for transactions that are older."""
BUSY_MS = 2000
"""How long a session waits for another one that changes partitions, before it is refused."""
PATIENCE = 60.0
"""Seconds of trying before a step fails."""


def apply(
    connection: Any,
    steps: Sequence[Step],
    done: Callable[[Step, float], None],
    progress: Callable[[Step, int], None] = lambda step, rows: None,
    rows_per_second: float = 0,
) -> None:
    """Run `steps` in order on `connection` (psycopg2, autocommit), calling `done` with each and its seconds.

    While rows are moved, `progress` is told how many there were so far, and no more than `rows_per_second` are moved
    (0: no limit). Raises HostwrightError at the first step that fails; those before it stay, and the next plan goes on
    from there.
    """
    with locked(connection) as cursor:
        for step in steps:
            started = time.monotonic()
            with _cleaned_up(cursor, step):
                if step.mode == "repeat":
                    moved = 0
                    while rows := _once(cursor, step, time.monotonic()):
                        moved += rows
                        progress(step, moved)
                        if rows_per_second:
                            time.sleep(max(0.0, moved / rows_per_second - (time.monotonic() - started)))
                else:
                    _once(cursor, step, started)
            done(step, time.monotonic() - started)


@contextlib.contextmanager
def alone(connection: Any) -> Iterator[Any]:
    """A cursor of a session that alone changes the database's partitions: maintenance rests, and others are refused."""
    with connection.cursor() as cursor:
        try:
            try:
                # A step of maintenance is waited for; it holds the lock for some milliseconds.
                cursor.execute(
                    "BEGIN; SET LOCAL lock_timeout = %s; SELECT pg_advisory_lock(%s); COMMIT",
                    (f"{BUSY_MS}ms", render.ADVISORY_LOCK),
                )
            except psycopg2.errors.LockNotAvailable:
                cursor.execute("ROLLBACK")
                raise HostwrightError(
                    "someone else is applying partitions to this database", "Try again when they are done."
                ) from None
            try:
                yield cursor
            finally:
                if not connection.closed:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", (render.ADVISORY_LOCK,))
        except psycopg2.Error as error:
            if error.pgcode and not connection.closed:
                raise
            # Without a code it came from no server: another connection is meant, to the archive for example.
            raise HostwrightError(f"the connection was lost: {str(error).strip()}", "Apply again.") from None


@contextlib.contextmanager
def locked(connection: Any) -> Iterator[Any]:
    """A cursor as `alone` gives it, of a session that waits little for locks of tables."""
    with alone(connection) as cursor:
        for name, value in SESSION.items():
            cursor.execute(f"SET {name} = '{value}'")
        try:
            yield cursor
        finally:
            if not connection.closed:
                cursor.execute("; ".join(f"RESET {name}" for name in SESSION))


@contextlib.contextmanager
def _cleaned_up(cursor: Any, step: Step) -> Iterator[None]:
    """Run the cleanup of `step` where it fails and the connection is there still."""
    try:
        yield
    except BaseException:
        if step.cleanup and not cursor.connection.closed:
            with contextlib.suppress(HostwrightError):  # What failed first is said.
                _once(cursor, dataclasses.replace(step, template=step.cleanup, mode="transaction"), time.monotonic())
        raise


def _pauses(what: str, nothing: str, verb: str, started: float) -> Iterator[None]:
    """Each `next` waits before another try, for longer each time.

    Raises HostwrightError, of `what`, where PATIENCE is over since `started`; `verb` is what to do again.
    """
    wait = 0.05
    while (tried := time.monotonic() - started) <= PATIENCE:
        time.sleep(wait)
        yield
        wait = min(wait * 2, 2.0)
    raise HostwrightError(
        f"{what}: the table was locked by others for {tried:.0f} s; {nothing}",
        f"Look for long transactions in pg_stat_activity, then {verb} again.",
    ) from None


def insist(cursor: Any, what: str, statements: str) -> None:
    """Run `statements` in the transaction that there is, again and again until they get their locks.

    Raises HostwrightError, which begins with `what`, where they don't.
    """
    pauses = _pauses(what, "nothing was changed", "try", time.monotonic())
    cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_MS}ms'; SAVEPOINT before")
    while True:
        try:
            cursor.execute(statements)
            return
        except psycopg2.errors.LockNotAvailable:
            cursor.execute("ROLLBACK TO before")
            next(pauses)


def _once(cursor: Any, step: Step, started: float) -> int:
    """Run `step`, again and again until it gets its locks; returns the number that a `repeat` gives."""
    text = render.sql(step)
    pauses = _pauses(step.title, "nothing of this step was done", "apply", started)
    while True:
        try:
            if step.mode == "transaction":
                cursor.execute(f"BEGIN;\n{text}\nCOMMIT;")
                return 0
            statements = [one for one in text.split(";\n") if one.strip()]
            if step.mode == "given":
                cursor.execute(text)
                statements = [PATIENTLY, *(one for (one,) in cursor.fetchall()), IMPATIENTLY]
            for statement in statements:
                cursor.execute(statement)
            return int(cursor.fetchone()[0]) if step.mode == "repeat" else 0
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected):
            cursor.execute("ROLLBACK")
            next(pauses)
        except psycopg2.Error as error:
            said = str(error).strip()
            if cursor.connection.closed:
                raise HostwrightError(f"{step.title}: the connection was lost: {said}", "Apply again.") from None
            cursor.execute("ROLLBACK")
            raise HostwrightError(f"{step.title}: {said}") from None
