"""What each release knows, and what in texts and commands goes beyond it. The knowledge is in the YAML files here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Version = tuple[int, ...]


def known(name: str) -> Any:
    """The data of `name`.yml."""
    return yaml.safe_load((Path(__file__).parent / f"{name}.yml").read_text(encoding="utf-8"))


RELEASES: dict[str, dict[str, Any]] = known("releases")
SYSTEMD, NGINX, POSTGRESQL, REDIS, RABBITMQ, LOGROTATE, COMMANDS = map(
    known, ("systemd", "nginx", "postgresql", "redis", "rabbitmq", "logrotate", "commands")
)


def number(version: object) -> Version:
    """1.10.3 as (1, 10, 3)."""
    return tuple(int(part) for part in str(version).split("."))


def newer(table: Mapping[str, object], name: str, version: str) -> bool:
    """Whether `name` is unknown, or came after `version`."""
    return name not in table or number(table[name]) > number(version)


def matching(patterns: Mapping[str, object], text: str, version: str) -> list[str]:
    """The patterns in `text` that stand for something newer than `version`."""
    return [pattern for pattern in patterns if newer(patterns, pattern, version) and re.search(pattern, text)]


def lines(text: str, comment: str = "#") -> Iterator[str]:
    """The lines that mean something."""
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith(comment):
            yield line


def beyond_systemd(text: str, version: str) -> list[str]:
    """The lines of a unit, or of journald's configuration, that systemd `version` passes over."""
    found = []
    section = ""
    for line in lines(text):
        if line.startswith("["):
            section = line.strip("[]")
            continue
        name, _, value = line.partition("=")
        words = SYSTEMD["words"].get(name)
        unknown = newer(SYSTEMD["directives"].get(section, {}), name, version)
        unknown |= words is not None and any(newer(words, word, version) for word in value.lstrip("~").split())
        if unknown or matching(SYSTEMD["patterns"].get(name, {}), value, version):
            found.append(line)
    return found


def beyond_nginx(text: str, version: str) -> list[str]:
    """The directives, parameters and variables that nginx `version` does not know, or no longer."""
    found = []
    in_map = False
    for line in lines(text):
        statement = re.sub(r'"[^"]*"', lambda quoted: " ".join(re.findall(r"\$\w+", quoted[0])) or "_", line)
        if line == "}" and in_map:
            in_map = False
            continue
        name = re.match(r"\w+", statement)
        gone = NGINX["removed"].get(name[0] if name else "")
        # The lines of a map are values, not directives.
        unknown = (
            name and not in_map and newer({**NGINX["directives"], **({name[0]: 0} if gone else {})}, name[0], version)
        )
        if unknown or (gone and number(gone) <= number(version)) or matching(NGINX["patterns"], statement, version):
            found.append(line)
        in_map = in_map or line.startswith("map ")
    return found


def beyond_postgresql(text: str, version: str) -> list[str]:
    """The settings, and values, that PostgreSQL `version` does not know."""
    return _settings(text.replace(" = ", " "), POSTGRESQL, version)


def beyond_redis(text: str, version: str) -> list[str]:
    """The settings, and values, that Redis `version` does not know."""
    return _settings(text, REDIS, version)


def _settings(text: str, table: Mapping[str, Any], version: str) -> list[str]:
    found = []
    for line in lines(text):
        name, _, value = line.partition(" ")
        values = table["values"].get(name)
        if newer(table["settings"], name, version) or (values and newer(values, value.strip("' "), version)):
            found.append(line)
    return found


def beyond_rabbitmq(text: str, version: str) -> list[str]:
    """The variables of rabbitmq-env.conf that RabbitMQ `version` does not read."""
    return [line for line in lines(text) if newer(RABBITMQ["environment"], line.partition("=")[0], version)]


def beyond_logrotate(text: str, version: str) -> list[str]:
    """The directives that logrotate `version` does not know."""
    names = [(line, line.split()[0]) for line in lines(text) if not line.endswith("{") and line != "}"]
    return [line for line, name in names if newer(LOGROTATE["directives"], name, version)]


def beyond_sql(text: str, version: str) -> list[str]:
    """The patterns of SQL that PostgreSQL `version` does not parse, comments left out."""
    return matching(POSTGRESQL["sql"], re.sub(r"--.*", "", text), version)


def beyond_commands(text: str, versions: Mapping[str, str]) -> list[str]:
    """The options of commands that a release with `versions` does not have."""
    return [
        pattern
        for program, patterns in COMMANDS.items()
        for line in text.splitlines()
        for pattern in matching(patterns, line, versions[program])
    ]
