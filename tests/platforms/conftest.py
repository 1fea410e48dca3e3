"""Ansible's plugins, as the roles' own tests load them."""

from tests.unit.roles.conftest import _plugins

__all__ = ["_plugins"]
