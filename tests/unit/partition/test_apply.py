"""What becomes of a step that the database refuses."""

from __future__ import annotations

import time
import types
from typing import Any

import psycopg2
import psycopg2.errors
import pytest

from hostwright.errors import HostwrightError
from hostwright.partition import apply
from hostwright.partition.plan import Step

STEP = Step("do it", "finish", {"schema": "public", "table": "events"}, cleanup="finish")
BUSY = [psycopg2.errors.LockNotAvailable("canceling statement"), psycopg2.errors.DeadlockDetected("deadlock detected")]


class Cursor:
    """Of a connection whose first statements fail with `errors`."""

    def __init__(self, *errors: Exception, closed: int = 0) -> None:
        self.errors, self.said = list(errors), []
        self.connection = types.SimpleNamespace(closed=closed, cursor=lambda: self)
        self.rowcount = 0

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, text: str, values: Any = None) -> None:
        self.said.append(text.split(";")[0].split("\n")[0])
        if text.startswith("BEGIN;\n") and self.errors:
            raise self.errors.pop(0)


@pytest.mark.parametrize("busy", BUSY, ids=["lock", "deadlock"])
def test_a_step_that_gets_no_lock_is_tried_again(busy: Exception) -> None:
    cursor = Cursor(busy, busy)
    assert apply._once(cursor, STEP, time.monotonic()) == 0
    assert cursor.said == ["BEGIN", "ROLLBACK", "BEGIN", "ROLLBACK", "BEGIN"]


def test_what_fails_otherwise_is_said_as_it_is() -> None:
    cursor = Cursor(psycopg2.errors.DiskFull("No space left on device\n"))
    with pytest.raises(HostwrightError, match=r"^do it: No space left on device$"):
        apply._once(cursor, STEP, time.monotonic())
    assert cursor.said == ["BEGIN", "ROLLBACK"]


def test_a_lost_connection_is_called_one() -> None:
    cursor = Cursor(psycopg2.OperationalError("server closed the connection"), closed=2)
    with pytest.raises(HostwrightError, match="do it: the connection was lost: server closed the connection"):
        apply._once(cursor, STEP, time.monotonic())
    assert cursor.said == ["BEGIN"]


@pytest.mark.parametrize(("closed", "cleaned"), [(0, True), (2, False)])
def test_a_step_that_fails_is_cleaned_up_where_that_can_be(closed: int, cleaned: bool) -> None:
    cursor = Cursor(psycopg2.errors.CheckViolation("no"), closed=0)
    connection = cursor.connection

    def done(*_: object) -> None:
        pytest.fail("it was not done")

    if closed:
        cursor.errors = [psycopg2.OperationalError("gone")]
        connection.closed = closed
    with pytest.raises(HostwrightError, match="do it: "):
        apply.apply(connection, [STEP], done)
    assert (cursor.said.count("BEGIN") == 3) == cleaned


def test_a_cleanup_that_fails_too_does_not_hide_why() -> None:
    cursor = Cursor(psycopg2.errors.CheckViolation("first"), psycopg2.errors.CheckViolation("second"))
    with pytest.raises(HostwrightError, match="do it: first"):
        apply.apply(cursor.connection, [STEP], lambda *_: None)
