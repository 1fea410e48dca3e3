"""Hostile inputs are data: what they say is not done. With HOSTWRIGHT_FUZZ the end says how many there were."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.engine.conftest import as_root
from tests.unit.fuzz import hostile

__all__ = ["as_root"]


@pytest.fixture(autouse=True)
def _nothing_is_executed() -> Any:
    """What hostile texts would do, if anything took them for a command."""
    hostile.CANARY.unlink(missing_ok=True)
    yield
    assert not hostile.CANARY.exists(), "a hostile text was executed"


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["hostile inputs"] = dict(hostile.counts)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what a worker of pytest-xdist counted; one that crashed says nothing."""
    hostile.counts.update(getattr(node, "workeroutput", {}).get("hostile inputs", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if hostile.MANY and hostile.counts:
        terminalreporter.section("hostile inputs")
        for name, number in sorted(hostile.counts.items()):
            terminalreporter.write_line(f"{number:>7}  {name}")
        terminalreporter.write_line(f"{sum(hostile.counts.values()):>7}  in all")
