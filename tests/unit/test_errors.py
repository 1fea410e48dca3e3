"""What ends a run."""

from __future__ import annotations

import pytest

from hostwright.errors import BadInput, Busy, Failures, HostwrightError


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ([HostwrightError("a")], 1),
        ([BadInput("a")], 2),
        ([BadInput("a"), BadInput("b")], 2),
        ([Busy("a"), Busy("b")], 75),
        ([BadInput("a"), HostwrightError("b")], 1),
        ([BadInput("a"), Busy("b")], 1),
    ],
)
def test_hosts_that_fail_alike_end_with_that_status(errors: list[HostwrightError], status: int) -> None:
    assert Failures({f"web{number}": error for number, error in enumerate(errors)}).exit_status == status
