"""Tests that need what this machine can't give fail in CI; elsewhere they are skipped, and the end says so loudly."""

from __future__ import annotations

import os
from typing import Any

import pytest

NOT_RUN = "NOT RUN"


def need(what: str, missing: str, mend: str, *, in_ci: bool = True) -> None:
    """Skip the calling test because `missing`; `mend` says what would make it run.

    In CI it fails, unless not even CI must have that.
    """
    reason = f"{what}: {missing}. {mend}"
    if in_ci and os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(f"{NOT_RUN}: {reason}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    # From the reports: with pytest-xdist, other processes have run the tests.
    skipped = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ())]
    mark = f"Skipped: {NOT_RUN}: "
    if missing := dict.fromkeys(reason.removeprefix(mark) for reason in skipped if reason.startswith(mark)):
        terminalreporter.section(NOT_RUN, sep="!", red=True)
        for line in missing:
            terminalreporter.write_line(line)
