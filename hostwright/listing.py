"""The inventory as Ansible lists it. It loads little, so that a task starts Ansible before everything else it needs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hostwright import tree
from hostwright.errors import BadInput

NO_YAML = "What is there, or the line before it, is no YAML."


def read(inventory: str = "") -> dict[str, Any]:
    """What `ansible-inventory --list` prints for the inventory that `-i`, ANSIBLE_INVENTORY or ansible.cfg names.

    Raises BadInput, with what Ansible says is wrong.
    """
    done = _run("ansible-inventory", "--list", inventory=inventory)
    if done.returncode:
        raise _refused(done.stderr, inventory)
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


def _refused(said: str, inventory: str) -> BadInput:
    """What is wrong with an inventory that Ansible refuses, by what it says."""
    # Warnings are wrapped, also after the hyphens of a path.
    text = " ".join(said.replace("-\n", "-").replace("[WARNING]:", " ").split())
    if "Decryption failed" in text:
        return BadInput("the vault password is wrong", "ANSIBLE_VAULT_PASSWORD_FILE names the file that holds it.")
    if "no vault secrets" in text:
        return BadInput(
            "the inventory has an encrypted file, and no vault password was given",
            "Set ANSIBLE_VAULT_PASSWORD_FILE to the file that holds it.",
        )
    source = re.search(r"Completely failed to parse inventory source (.+)", text)
    named = "-i" if inventory else "ANSIBLE_INVENTORY" if os.environ.get("ANSIBLE_INVENTORY") else "ansible.cfg"
    if source and not Path(source[1]).exists():
        return BadInput(
            f"{named}: there is no inventory {source[1]}",
            tree.NEW_INVENTORY,
        )
    if source and Path(source[1]).is_dir() and "Failed to parse" not in text:
        return BadInput(f"{named}: {source[1]} holds no inventory", tree.AN_INVENTORY)
    place = re.search(r"error appears to be in '(.+?)': line (\d+), column (\d+)", text)
    if place:
        why = re.search(r"Syntax Error while loading YAML\. *(.+?) *The error appears", text)
        return BadInput(
            f"{place[1]}: line {place[2]}, column {place[3]}: {why[1] if why else 'it is no YAML'}", NO_YAML
        )
    spoiled = _spoiled(inventory) if "YAML parsing failed" in text else None
    if spoiled:
        return spoiled
    failed = re.findall(r"Failed to parse (.+?) with \w+ plugin: (.+?)(?= \* Failed| ERROR!|$)", text)
    if failed:
        path, why = failed[-1]
        message = why if why.startswith(path) else f"{path}: {why}"
        return BadInput(message, f"It is no inventory. {tree.AN_INVENTORY}")
    return BadInput(f"the inventory can't be read: {text[-400:]}", "ansible-inventory --list shows the same.")


def _spoiled(inventory: str) -> BadInput | None:
    """The first file of the inventory that is no YAML: from ansible-core 2.19 on, Ansible does not say which it is."""
    import configparser

    import yaml

    settings = configparser.ConfigParser(interpolation=None)
    settings.read("ansible.cfg")
    configured = settings.get("defaults", "inventory", fallback="")
    named = inventory or os.environ.get("ANSIBLE_INVENTORY") or configured
    if not named:
        return None
    top = Path(named)
    files = top.rglob("*.y*ml") if top.is_dir() else [top, *top.parent.glob("*_vars/**/*.y*ml")]
    for file in sorted(path for path in files if path.is_file()):
        try:
            list(yaml.parse(file.read_text(encoding="utf-8", errors="replace")))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
            return BadInput(f"{file}: {place}{error.problem}", NO_YAML)
    return None


def _without_vaults(value: dict[str, Any]) -> Any:
    """A value that was encrypted by itself (`!vault`) stays encrypted: the controller needs no secret."""
    return "encrypted" if set(value) == {"__ansible_vault"} else value
