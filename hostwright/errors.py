"""The errors that a person or a pipeline sees: one message, what to do about it, and an exit status."""

from __future__ import annotations

from collections.abc import Mapping


class HostwrightError(Exception):
    """Work that failed.

    `message` names the host, file, key or table and says what is wrong; `hint` says what to do.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class BadInput(HostwrightError):
    """What was asked for can't be right: a wrong key, an unknown host, a missing file. Nothing changed."""

    exit_status = 2


class Busy(HostwrightError):
    """Someone else holds the deploy lock; the message says who and since when."""

    exit_status = 75


class Failures(HostwrightError):
    """What failed on one or more hosts: `errors`, by the host's name; not empty.

    The exit status is theirs where it is the same for all, else 1.
    """

    def __init__(self, errors: Mapping[str, HostwrightError]) -> None:
        statuses = {error.exit_status for error in errors.values()}
        hint = next((error.hint for error in errors.values() if error.hint), "")
        super().__init__("\n".join(error.message for error in errors.values()), hint)
        self.errors = errors
        self.exit_status = statuses.pop() if len(statuses) == 1 else 1
