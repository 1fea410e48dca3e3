"""Ansible's plugins, for what evaluates and renders as Ansible does it."""

from __future__ import annotations

import pytest

from tests.roles import load_plugins


@pytest.fixture(scope="session", autouse=True)
def _plugins() -> None:
    load_plugins()
