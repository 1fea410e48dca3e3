"""The database that the settings describe."""

from __future__ import annotations

import re

from hostwright.init.reading import Reading
from hostwright.init.settings import UNKNOWN, Unknown, Variable


def database(reading: Reading, name: str) -> str:
    databases = reading.value("DATABASES")
    default = databases.get("default") if isinstance(databases, dict) else databases
    why = default.why if isinstance(default, Unknown) else UNKNOWN.why
    by_url = why == UNKNOWN.why and default == UNKNOWN and "DATABASE_URL" in reading.settings.variables
    if isinstance(default, Variable) or by_url:
        return name
    default = default if isinstance(default, dict) else {}
    engine = default.get("ENGINE")
    if isinstance(engine, str) and re.search("postgres|postgis|psycopg", engine):
        if isinstance(default.get("HOST"), str) and default["HOST"]:
            reading.need(f'DATABASES has the HOST {default["HOST"]}: "" takes the unix socket, without a password')
        wanted = default.get("NAME")
        return wanted if isinstance(wanted, str) and re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,62}", wanted) else name
    if isinstance(engine, str) and "sqlite3" not in engine:
        reading.need(f"DATABASES uses {engine}, which Hostwright does not provide: it makes PostgreSQL databases")
        return ""
    said = "uses SQLite, in a directory that each release has anew" if isinstance(engine, str) else why
    reading.lacks("DATABASES", said, f'{{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": "{name}"}}}}')
    return name
