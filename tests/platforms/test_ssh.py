"""Fabric's ssh and the oldest sshd have something in common; sshd's own settings are nobody's business here."""

from __future__ import annotations

from typing import Any

import paramiko
import pytest

from tests.platforms.contract import known
from tests.platforms.test_contract import texts_of_commands
from tests.roles import NAMES
from tests.unit.roles.test_structure import written

OFFERED: dict[str, Any] = known("ssh")
ASKED = {
    "key_exchange": paramiko.Transport._preferred_kex,
    "ciphers": paramiko.Transport._preferred_ciphers,
    "macs": paramiko.Transport._preferred_macs,
    "host_keys": paramiko.Transport._preferred_keys,
}


@pytest.mark.parametrize("kind", ASKED)
def test_an_old_sshd_is_understood(kind: str) -> None:
    assert {name for name in ASKED[kind] if "sha1" not in name} & set(OFFERED[kind])


def test_no_role_writes_settings_of_sshd() -> None:
    assert [where for where, text in texts_of_commands().items() if "/etc/ssh/" in text] == []
    assert [(role, path) for role in NAMES for path, _ in written(role) if path.startswith("/etc/ssh/")] == []
