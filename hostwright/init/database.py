"""The database that the settings describe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from hostwright.init.reading import Reading
from hostwright.init.values import UNKNOWN, Unknown, Variable

ENGINE = "django.db.backends.postgresql"


@dataclass(frozen=True)
class Database:
    name: str = ""
    """Empty where the site has none of PostgreSQL's."""
    geographic: bool = False
    """Of PostGIS."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What DATABASES reads from the environment -> what reaches the database of this server."""


def database(reading: Reading, name: str) -> Database:
    found = _database(reading, name)
    if found.geographic:
        package = "postgresql-15-postgis-3 on Debian 12"
        reading.site_needs(
            f"services.databases.extensions: postgis needs its package on the database's host, {package}"
        )
    return found


def _database(reading: Reading, name: str) -> Database:
    databases = reading.value("DATABASES")
    default = databases.get("default") if isinstance(databases, dict) else databases
    others = [alias for alias in databases if alias != "default"] if isinstance(databases, dict) else []
    if others:
        reading.site_needs(
            f"services.databases: DATABASES has {', '.join(others)} too; name those that shall be on this server"
        )
    if isinstance(default, Variable):
        return _by_url(reading, name, default)
    if isinstance(default, dict):
        return _by_parts(reading, name, default)
    why = default.why if isinstance(default, Unknown) else UNKNOWN.why
    if why != UNKNOWN.why or "DATABASE_URL" not in reading.settings.variables:
        reading.lacks("DATABASES", why, _example(name))
    return Database(name)


def _by_url(reading: Reading, name: str, variable: Variable) -> Database:
    scheme = variable.default.split(":")[0] if isinstance(variable.default, str) else ""
    if scheme and not re.search("postg|psql|pgsql|sqlite", scheme):
        return _of_another_kind(reading, scheme)
    geographic = "postgis" in scheme
    return Database(name, geographic, {variable.name: f"{'postgis' if geographic else 'postgres'}:///{name}"})


def _by_parts(reading: Reading, name: str, parts: Mapping[str, Any]) -> Database:
    engine = parts.get("ENGINE")
    kind = engine.default if isinstance(engine, Variable) else engine
    ours = isinstance(kind, str) and bool(re.search("postgres|postgis|psycopg", kind))
    if isinstance(kind, str) and not ours and "sqlite3" not in kind:
        return _of_another_kind(reading, kind)
    if not ours and not isinstance(engine, Variable):
        why = engine.why if isinstance(engine, Unknown) else UNKNOWN.why
        said = "uses SQLite, in a directory that each release has anew" if isinstance(kind, str) else why
        reading.lacks("DATABASES", said, _example(name))
    called = name
    if ours:
        _by_socket_alone(reading, name, parts)
        called = wanted if _is_name(wanted := parts.get("NAME")) else name
    # Through its unix socket the database needs no host and no password.
    by_socket = {"HOST": "", "PASSWORD": "", "PORT": "5432", "USER": name, "NAME": called}
    if not ours:
        by_socket["ENGINE"] = ENGINE
    read = {part: parts[part] for part in by_socket if isinstance(parts.get(part), Variable)}
    return Database(called, ours and "postgis" in str(kind), {read[part].name: by_socket[part] for part in read})


def _by_socket_alone(reading: Reading, name: str, parts: Mapping[str, Any]) -> None:
    """Say what keeps the application from the socket, where it is known by its user."""
    host, user = parts.get("HOST"), parts.get("USER")
    if isinstance(host, str) and host:
        reading.need(f'DATABASES has the HOST {host}: "" takes the unix socket, without a password')
    if isinstance(user, str) and user not in ("", name):
        reading.need(f'DATABASES has the USER {user}: "" takes {name}, whom the unix socket knows')


def _is_name(wanted: Any) -> TypeGuard[str]:
    return isinstance(wanted, str) and bool(re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,62}", wanted))


def _of_another_kind(reading: Reading, kind: str) -> Database:
    reading.need(f"DATABASES uses {kind}, which Hostwright does not provide: it makes PostgreSQL databases")
    return Database()


def _example(name: str) -> str:
    return f'{{"default": {{"ENGINE": "{ENGINE}", "NAME": "{name}"}}}}'
