"""A Django project as its files show it. Nothing of it is imported or run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hostwright import config
from hostwright.init import directories, tasks, web
from hostwright.init.database import Database
from hostwright.init.database import database as find_database
from hostwright.init.dependencies import HOST_PYTHONS, Dependencies
from hostwright.init.directories import Directory
from hostwright.init.environment import environment, lets_nobody_in, read_from
from hostwright.init.reading import Reading
from hostwright.init.repository import NO_REPOSITORY, has_commit, why_no_repository
from hostwright.init.sources import Need, Sources, manage_py, shown
from hostwright.init.tasks import Broker, Celery
from hostwright.init.values import Unknown, Variable, items
from hostwright.init.web import Health

GENERIC = {"config", "conf", "core", "project", "server", "settings", "src", "app", "backend", "django"}
"""Names of packages that say nothing of a site."""


@dataclass(frozen=True)
class Project:
    """What was found. `needs` says, place by place, what was not, and what has to change before it can be deployed."""

    name: str
    no_git: str
    """Why it is no repository; empty where it is one."""
    project_dir: str
    settings: str
    wsgi: str
    asgi: str
    dependencies: Dependencies
    env: Mapping[str, str]
    secrets: tuple[str, ...]
    secret_key: str
    """The one of them that is Django's SECRET_KEY."""
    optional: tuple[str, ...]
    """Environment variables that the settings have a default for."""
    domain: str
    database: Database
    static: Directory | None
    media: Directory | None
    celery: Celery | None
    broker: Broker
    health: Health
    needs: tuple[Need, ...]


def look(root: Path) -> Project:
    """Look at the project in `root`. Raises BadInput where no Django project is, or more than one."""
    sources = Sources(root)
    reading = Reading(sources, manage_py(sources).parent)
    name = _site_name(reading.module, root.resolve().name)
    database = find_database(reading, name)
    _search(reading, database.name)
    domain = web.domain(reading, name)
    celery = tasks.celery(reading)
    broker = tasks.broker(reading) if celery else Broker()
    tasks.other_redis(reading, broker)
    wsgi, asgi = web.applications(reading)
    env, secrets, optional = environment(reading, name, domain, database, bool(celery), broker)
    _security(reading)
    dependencies = reading.required.dependencies(bool(asgi), bool(database.name), database.geographic)
    if dependencies.python:
        reading.site_needs(f"python.version: {dependencies.python}; 3 is what the hosts have, {HOST_PYTHONS}")
    no_git = why_no_repository(root)
    if no_git:
        reason = "" if no_git == NO_REPOSITORY else f"{no_git}; "
        all_of_it = "without git, all that lies in the directory is in each release, deploy/ as well"
        reading.site_needs(f"source: {reason}{all_of_it}")
    elif not has_commit(root):
        reading.site_needs("source: the repository has no commit yet, and a release is one: git commit")
    return Project(
        name=name,
        no_git=no_git,
        project_dir=shown(reading.base),
        settings=reading.module,
        wsgi=wsgi,
        asgi=asgi,
        dependencies=dependencies,
        env=env,
        secrets=secrets,
        secret_key=read_from(reading, "SECRET_KEY"),
        optional=optional,
        domain=domain,
        database=database,
        static=directories.static(reading),
        media=directories.media(reading),
        celery=celery,
        broker=broker,
        health=web.health(reading),
        needs=tuple(reading.needs),
    )


def _security(reading: Reading) -> None:
    """What a server must not have."""
    # What a module outside of the project says of these is its own business.
    key, hosts, debug = map(reading.settings.values.get, ("SECRET_KEY", "ALLOWED_HOSTS", "DEBUG"))
    if isinstance(reading.value("SECRET_KEY"), str | None) or isinstance(key, Unknown):
        said = key.why if isinstance(key, Unknown) else "is not read from the environment"
        reading.need(f'SECRET_KEY {said}: SECRET_KEY = os.environ["SECRET_KEY"]')
    unsure = [host for host in items(hosts) if isinstance(host, Unknown)]
    if unsure:
        reading.need(f"ALLOWED_HOSTS {unsure[0].why}: see that it has the names of web.domains")
    if lets_nobody_in(reading):
        reading.need('ALLOWED_HOSTS lets nobody in: ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")')
    if debug is True:
        reading.need("DEBUG is True: DEBUG = False")
    elif isinstance(debug, Unknown):
        reading.need(f"DEBUG {debug.why}: see that it is off")
    elif isinstance(debug, Variable) and debug.default is not False:
        reading.need(f"DEBUG depends on the variable {debug.name}: see that it is off with what site.yml gives that")


def _search(reading: Reading, database: str) -> None:
    """Wagtail's search on PostgreSQL fails Django's checks where this application is not there."""
    apps = reading.value("INSTALLED_APPS")
    if database and isinstance(apps, list) and "wagtail.search" in apps and "django.contrib.postgres" not in apps:
        reading.need("INSTALLED_APPS lacks django.contrib.postgres, which wagtail.search needs with PostgreSQL")


def _site_name(module: str, directory: str) -> str:
    package = module.split(".")[0]
    said = directory if package in GENERIC or not package else package
    text = re.sub(r"[^a-z0-9]+", "-", said.lower()).strip("-0123456789")
    name = text[:24].rstrip("-") or "site"
    return f"{name[:19]}-site" if config.RESERVED.fullmatch(name) else name
