"""The environment that the settings read, and values for it."""

from __future__ import annotations

import re

from hostwright.init.database import Database
from hostwright.init.reading import Reading
from hostwright.init.sources import VAULT
from hostwright.init.tasks import Broker
from hostwright.init.values import Variable, items


def read_from(reading: Reading, setting: str) -> str:
    """The environment variable that a setting is read from, or should be."""
    value = reading.value(setting)
    return value.name if isinstance(value, Variable) else setting


SECRETS = "SECRET|KEY|PASS|PWD|CREDENTIAL|TOKEN|DSN|EMAIL_URL"
"""What is in the names of variables that nobody else may see."""


def environment(
    reading: Reading, name: str, domain: str, database: Database, celery: bool, broker: Broker
) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """(env, names of secrets, names that have a default)."""
    env = {"DJANGO_SETTINGS_MODULE": reading.module}
    secrets, optional = [], []
    key = read_from(reading, "SECRET_KEY")
    wanted = {**reading.settings.variables, key: True}
    given = dict(database.variables)
    hosts = [host for host in items(reading.value("ALLOWED_HOSTS")) if isinstance(host, Variable)]
    given |= {host.name: domain for host in hosts[:1]}
    if lets_nobody_in(reading):
        given["ALLOWED_HOSTS"] = domain
    debug = reading.value("DEBUG")
    if isinstance(debug, Variable) and debug.needed:
        given[debug.name] = "False"
    if reading.start != reading.base:
        # Celery's workers have a module of Hostwright's as well.
        hostwrights = ["/usr/local/lib/hostwright"] if celery else []
        given["PYTHONPATH"] = ":".join([*hostwrights, str(reading.start.relative_to(reading.base))])
    if broker.kind == "redis" and broker.variable:
        given[broker.variable] = REDIS
    wanted |= dict.fromkeys(given, True)
    if broker.kind == "amqp":
        wanted.pop(broker.variable, None)  # It has the password in it.
    for directory in ("STATIC_ROOT", "MEDIA_ROOT"):
        wanted.pop(read_from(reading, directory), None)  # The deploy itself sets it.
    for variable, needed in wanted.items():
        guess = given.get(variable, _guess(variable, name, database.name, broker.kind))
        if variable == key or (needed and guess is None and re.search(SECRETS, variable)):
            secrets.append(variable)
            if variable != key:
                reading.needs.append((VAULT, f"vault_{variable.lower()}"))
        elif needed or guess is not None:
            env[variable] = guess or ""
            if guess is None:
                reading.site_needs(f"env.{variable}: the settings read it, and have no default")
        else:
            optional.append(variable)
    return env, tuple(secrets), tuple(optional)


REDIS = "redis://127.0.0.1:6379/0"
_DATABASE = "(DB|DATABASE|POSTGRES|POSTGRESQL|PG|SQL)_?"


def _guess(variable: str, name: str, database: str, broker: str) -> str | None:
    """A value for an environment variable that is known by its name."""
    by_socket = {
        _DATABASE + "(NAME|DB|DATABASE)": database,
        _DATABASE + "USER(NAME)?": name,
        # Through its unix socket the database needs no host and no password.
        _DATABASE + "(HOST|PASSWORD|PASS)": "",
        _DATABASE + "PORT": "5432",
        "DATABASE_URL": f"postgres:///{database}",
    }
    known = by_socket if database else {}
    if broker == "redis":
        known["(CELERY_)?(BROKER|RESULT_BACKEND)(_URL)?|REDIS_URL"] = REDIS
    return next((value for pattern, value in known.items() if re.fullmatch(pattern, variable)), None)


def lets_nobody_in(reading: Reading) -> bool:
    return reading.value("ALLOWED_HOSTS") in (None, [])
