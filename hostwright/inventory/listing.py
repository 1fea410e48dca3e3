"""What Ansible itself says of an inventory: its list, and what it makes of an expression."""

from __future__ import annotations

import json
import os
import re
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
    done = _run("ansible-inventory", "--list", inventory=inventory)
    if done.returncode:
        from hostwright.inventory import refused

        raise refused.why(done.stderr, inventory)
    return json.loads(done.stdout, object_hook=_without_vaults)  # type: ignore[no-any-return]  # what json gives


def evaluate(host: str, expression: str, inventory: str = "") -> Any:
    """What Ansible itself makes of a Jinja expression, with the variables of `host`. Raises BadInput with its words."""
    arguments = ["-m", "ansible.builtin.debug", "-a", json.dumps({"msg": expression})]
    done = _run("ansible", host, *arguments, inventory=inventory)
    try:
        said = json.loads(done.stdout.partition("=> ")[2])["msg"]
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"Ansible said {(done.stderr or done.stdout).strip()[-400:]}") from None
    if done.returncode:
        raise BadInput(re.sub(r"^template error while templating string: ", "", str(said)).split(". String: ")[0])
    return said


def _run(program: str, *arguments: str, inventory: str) -> subprocess.CompletedProcess[str]:
    path = Path(sys.executable).with_name(program)
    argv = [str(path) if path.exists() else shutil.which(program) or program, *arguments]
    environment = {
        **os.environ,
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
        "ANSIBLE_NOCOLOR": "1",
        # What a person wants to see of a playbook would stand between what is read here.
        "ANSIBLE_VERBOSITY": "0",
        "ANSIBLE_DEBUG": "0",
        "ANSIBLE_DUPLICATE_YAML_DICT_KEY": "error",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }
    try:
        return subprocess.run(
            [*argv, *(["-i", inventory] if inventory else [])],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
    except FileNotFoundError:
        raise BadInput(f"{program} is not installed", "Install the requirements of this project.") from None


def _without_vaults(value: dict[str, Any]) -> Any:
    """A value that was encrypted by itself (`!vault`) stays encrypted: the controller needs no secret."""
    return "encrypted" if set(value) == {"__ansible_vault"} else value
