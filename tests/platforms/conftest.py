"""Ansible's plugins, as the roles' own tests load them."""

from __future__ import annotations

import pytest

from tests.roles import load_plugins


@pytest.fixture(scope="session", autouse=True)
def _plugins() -> None:
    load_plugins()
