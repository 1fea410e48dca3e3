"""Why Ansible refuses an inventory: by what it says, and by the files where it does not say which."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hostwright import tree
from hostwright.errors import BadInput

NO_YAML = "What is there, or the line before it, is no YAML."


def why(said: str, inventory: str) -> BadInput:
    """What is wrong with an inventory that Ansible refuses, by what it `said`; `inventory` is what -i names, or "".

    What is most certain comes first: one cause has Ansible complain of others too.
    """
    # Warnings are wrapped, also after the hyphens of a path.
    text = " ".join(said.replace("-\n", "-").replace("[WARNING]:", " ").split())
    return (
        _locale(text)
        or _vault(said, text)
        or _nothing_there(text, inventory)
        or _no_yaml(text)
        or _spoiled(inventory)
        or _no_inventory(text)
        or BadInput(f"the inventory can't be read: {text[-400:]}", "ansible-inventory --list shows the same.")
    )


def _locale(text: str) -> BadInput | None:
    """Ansible does not begin in a locale whose encoding is another."""
    if "requires the locale encoding to be UTF-8" not in text:
        return None
    return BadInput("Ansible needs a locale whose encoding is UTF-8", "Use: export LC_ALL=C.UTF-8")


def _vault(said: str, text: str) -> BadInput | None:
    """The vault password is wrong, was not given, or can't be had."""
    if "Decryption failed" in text:
        named = re.search(r"Decryption failed .*?\) on (/.+)", text)  # ansible-core 2.19 names none.
        where = f"{named[1]}: " if named else ""
        return BadInput(
            f"{where}the vault password is wrong", "ANSIBLE_VAULT_PASSWORD_FILE names the file that holds it."
        )
    if "no vault secrets" in text:
        return BadInput(
            "the inventory has an encrypted file, and no vault password was given",
            "Set ANSIBLE_VAULT_PASSWORD_FILE to the file that holds it.",
        )
    last = re.split(r"ERROR\]?[!:] ", text)[-1]
    if not re.search(r"vault password (file|script|was) ", last, re.IGNORECASE):
        return None
    script = said.partition("[WARNING]")[0].strip() if "[WARNING]" in said else ""
    reason = last.removesuffix(": None") + (f": {script}" if script else "")
    where = "ANSIBLE_VAULT_PASSWORD_FILE" if os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE") else "ansible.cfg"
    return BadInput(
        f"{where}: {reason}", "It names the file that holds the vault password, or a script that prints it."
    )


def _nothing_there(text: str, inventory: str) -> BadInput | None:
    """There is no such file or directory, or no inventory in the directory."""
    source = re.search(r"Completely failed to parse inventory source (.+)", text)
    if not source:
        return None
    path = Path(source[1])
    named = "-i" if inventory else "ANSIBLE_INVENTORY" if os.environ.get("ANSIBLE_INVENTORY") else "ansible.cfg"
    if not path.exists():
        return BadInput(f"{named}: there is no inventory {source[1]}", tree.NEW_INVENTORY)
    if path.is_dir() and "Failed to parse" not in text:
        return BadInput(f"{named}: {source[1]} holds no inventory", tree.AN_INVENTORY)
    return None


def _no_yaml(text: str) -> BadInput | None:
    """A file is no YAML, and Ansible says where."""
    place = re.search(r"error appears to be in '(.+?)': line (\d+), column (\d+)", text)
    if not place or "duplicate" in text:
        return None
    reason = re.search(r"Syntax Error while loading YAML\. *(.+?) *The error appears", text)
    return BadInput(
        f"{place[1]}: line {place[2]}, column {place[3]}: {reason[1] if reason else 'it is no YAML'}", NO_YAML
    )


def _spoiled(inventory: str) -> BadInput | None:
    """The first file of the inventory that is no YAML, or has a key twice: Ansible does not always say which it is."""
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read("ansible.cfg")
    except configparser.Error as error:
        return BadInput(f"ansible.cfg: {' '.join(str(error).split())}", "It begins with the line [defaults].")
    configured = settings.get("defaults", "inventory", fallback="")
    named = inventory or os.environ.get("ANSIBLE_INVENTORY") or configured
    if not named:
        return None
    top = Path(named)
    files = top.rglob("*") if top.is_dir() else [top, *top.parent.glob("*_vars/**/*")]
    for file in sorted(path for path in files if _is_yaml(str(path)) and path.is_file()):
        try:
            text = file.read_bytes().decode()
            twice = [key for node in yaml.compose_all(text) for key in _twice(node, [])]
        except UnicodeDecodeError:
            return BadInput(f"{file}: it is no UTF-8", "Save it as UTF-8.")
        except OSError as error:
            return BadInput(f"{file}: {error.strerror}", "It must be readable for whom runs fab.")
        except yaml.MarkedYAMLError as error:
            at = error.problem_mark
            place = f"line {at.line + 1}, column {at.column + 1}: " if at else ""
            return BadInput(f"{file}: {place}{error.problem}", NO_YAML)
        except yaml.YAMLError as error:
            return BadInput(f"{file}: {str(error).splitlines()[0]}", NO_YAML)
        if twice:
            mark = twice[0].start_mark
            return BadInput(
                f"{file}: line {mark.line + 1}: {twice[0].value} is there twice", "Only one of both can be."
            )
    return None


def _no_inventory(text: str) -> BadInput | None:
    """A file is no inventory; each plugin of Ansible's says why it is none of its own."""
    failed = re.findall(r"Failed to parse (.+?) with (\w+) plugin: (.+?)(?= \* Failed| ERROR!|$)", text)
    if not failed:
        return None
    path, _, reason = next((found for found in failed if _is_yaml(found[0]) and found[1] == "yaml"), failed[-1])
    reason = re.sub(r""", found "<class .*?>" instead""", "", reason)
    message = reason if reason.startswith(path) else f"{path}: {reason}"
    return BadInput(message, f"It is no inventory. {tree.AN_INVENTORY}")


def _is_yaml(path: str) -> bool:
    return path.endswith((".yml", ".yaml"))


def _twice(node: Any, above: list[Any]) -> Iterator[Any]:
    """The keys of mappings in a YAML node that are there already."""
    if not isinstance(node.value, list) or node in above:
        return
    pairs = [item for item in node.value if isinstance(item, tuple)]
    names = [key.value for key, _ in pairs]
    yield from (key for number, (key, _) in enumerate(pairs) if key.value in names[:number])
    for inner in [value for _, value in pairs] or node.value:
        yield from _twice(inner, [*above, node])
