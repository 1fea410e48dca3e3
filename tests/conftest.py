"""Tests that need what this machine can't give fail in CI; elsewhere they are skipped, and the end says so loudly."""

from __future__ import annotations

import os
from typing import Any

import pytest

_missing: dict[str, str] = {}


def need(what: str, missing: str, mend: str, *, in_ci: bool = True) -> None:
    """Skip the calling test because `missing`; `mend` says what would make it run.

    In CI it fails, unless not even CI must have that.
    """
    _missing[what] = f"{missing}. {mend}"
    if in_ci and os.environ.get("CI") == "true":
        pytest.fail(f"{what}: {missing}. {mend}", pytrace=False)
    pytest.skip(f"{what}: {missing}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _missing:
        terminalreporter.section("NOT RUN", sep="!", red=True)
        for what, why in _missing.items():
            terminalreporter.write_line(f"{what}: {why}")
