"""The inventory as Ansible lists it. It loads little, so that a task starts Ansible before everything else it needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hostwright.errors import BadInput


def read(inventory: str = "") -> dict[str, Any]:
    """What `ansible-inventory --list` prints for the inventory that `-i`, ANSIBLE_INVENTORY or ansible.cfg names.

    Raises BadInput, with what Ansible says is wrong.
    """
    program = Path(sys.executable).with_name("ansible-inventory")
    argv = [
        str(program) if program.exists() else shutil.which("ansible-inventory") or "ansible-inventory",
        "--list",
    ]
    if inventory:
        if not Path(inventory).exists() and "," not in inventory:
            raise BadInput(f"-i: there is no inventory {inventory}", "Copy inventory/example and fill it in.")
        argv += ["-i", inventory]
    environment = {**os.environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1", "ANSIBLE_NOCOLOR": "1"}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError:
        raise BadInput("ansible-inventory is not installed", "Install the requirements of this project.") from None
    if done.returncode:
        text = " ".join(done.stderr.replace("[WARNING]:", " ").split())
        if "Decryption failed" in text:
            raise BadInput("the vault password is wrong", "ANSIBLE_VAULT_PASSWORD_FILE names the file that holds it.")
        if "no vault secrets" in text:
            raise BadInput(
                "the inventory has an encrypted file, and no vault password was given",
                "Set ANSIBLE_VAULT_PASSWORD_FILE to the file that holds it.",
            )
        raise BadInput(f"the inventory can't be read: {text[-400:]}", "ansible-inventory --list shows the same.")
    return json.loads(done.stdout, object_hook=_without_vaults)  # type: ignore[no-any-return]  # what json gives


def _without_vaults(value: dict[str, Any]) -> Any:
    """A value that was encrypted by itself (`!vault`) stays encrypted: the controller needs no secret."""
    return "encrypted" if set(value) == {"__ansible_vault"} else value
