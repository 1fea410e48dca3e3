"""Writes roles/ROLE/README.md from the role's argument specs and defaults."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from generated import ROOT, publish, table


def readme(role: Path) -> str:
    """The README of the role in the directory `role`."""
    spec = load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]
    defaults = load(role / "defaults" / "main.yml")
    differ = sorted(set(defaults) ^ set(spec["options"]))
    if differ:
        raise SystemExit(f"roles/{role.name}: not both in defaults and in argument_specs: {', '.join(differ)}")
    return "\n\n".join(
        [
            f"# {role.name}\n\n{spec['short_description']}.",
            "\n".join(spec["description"]),
            table(["Variable", "Type", "Default", "What it says"], list(rows(spec["options"], defaults))),
            f"```yaml\n{spec['examples'].strip()}\n```",
            "<!-- Made by tools/role_readmes.py from meta/argument_specs.yml and defaults/main.yml. -->\n",
        ]
    )


def rows(options: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> Iterator[list[str]]:
    """(name, type, default, meaning) of each option, then of those in it."""
    for name, option in options.items():
        default = "needed" if option.get("required") else f"`{inline(defaults[name])}`" if name in defaults else ""
        yield [f"`{prefix}{name}`", kind(option), default, " ".join(option["description"].split())]
        yield from rows(option.get("options", {}), {}, f"{prefix}{name}{'[]' if option['type'] == 'list' else ''}.")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def kind(option: dict[str, Any]) -> str:
    """An option's type in words."""
    if "choices" in option:
        return "one of " + ", ".join(f"`{choice}`" for choice in option["choices"])
    return option["type"] + (f" of {option['elements']}" if "elements" in option else "")


def inline(value: Any) -> str:
    """A default as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("...\n")
    return " ".join(value.split()) if isinstance(value, str) and "{{" in value else text.strip()


if __name__ == "__main__":
    roles = sorted((ROOT / "roles").iterdir())
    sys.exit(publish({role / "README.md": readme(role) for role in roles}, __doc__))
