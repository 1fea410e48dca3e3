"""A Django project as its files show it. Nothing of it is imported or run."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeGuard

from hostwright import config
from hostwright.init.dependencies import HOST_PYTHONS, Dependencies, Required
from hostwright.init.settings import UNKNOWN, Settings, Unknown, Variable, parse
from hostwright.init.settings import read as read_settings
from hostwright.init.sources import SITE, TOP, VAULT, Need, Sources, manage_py, normal, shown

GENERIC = {"config", "conf", "core", "project", "server", "settings", "src", "app", "backend", "django"}
"""Names of packages that say nothing of a site."""
NOT_INSIDE = "is no directory of the project"


@dataclass(frozen=True)
class Directory:
    """A directory of files that nginx shows: relative to the release, or in a variable of the environment."""

    url: str
    path: str = ""
    variable: str = ""


@dataclass(frozen=True)
class Celery:
    app: str
    beat: bool = False
    scheduler: str = ""


@dataclass(frozen=True)
class Project:
    """What was found. `needs` says, place by place, what was not, and what has to change before it can be deployed."""

    name: str
    git: bool
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
    database: str
    """Its name; empty where the site has none of PostgreSQL's."""
    static: Directory | None
    media: Directory | None
    celery: Celery | None
    broker: Literal["redis", "amqp", ""]
    health: str
    needs: tuple[Need, ...]


def look(root: Path) -> Project:
    """Look at the project in `root`. Raises BadInput where no Django project is, or more than one."""
    sources = Sources(root)
    return _Look(sources, manage_py(sources).parent).project(root)


class _Look:
    def __init__(self, sources: Sources, base: PurePosixPath) -> None:
        self.sources, self.base = sources, base
        self.needs: list[Need] = []
        self.settings = Settings()
        self.module, self.settings_file = self._settings_module()
        if self.settings_file:
            self.settings = read_settings(self.settings_file, sources.source)
        self.needs += [(shown(path), why) for path, why in self.settings.unread]
        self.required = Required(sources, base, self.needs)

    def project(self, root: Path) -> Project:
        name = _site_name(self.module, root.resolve().name)
        database = self._database(name)
        self._search(database)
        domain = self._domain(name)
        celery = self._celery()
        broker = self._broker() if celery else ""
        wsgi, asgi = self._applications()
        env, secrets, optional = self._environment(name, domain, database, broker)
        self._security()
        dependencies = self.required.dependencies(bool(asgi and not wsgi), bool(database))
        if dependencies.python:
            self.needs.append(
                (SITE, f"python.version: {dependencies.python}; 3 is what the hosts have, {HOST_PYTHONS}")
            )
        git = _git_says(root, "--is-inside-work-tree")
        if not git:
            self.needs.append(
                (SITE, "source: without git, all that lies in the directory is in each release, deploy/ as well")
            )
        elif not _git_says(root, "--verify", "--quiet", "HEAD"):
            self.needs.append((SITE, "source: the repository has no commit yet, and a release is one: git commit"))
        return Project(
            name=name,
            git=git,
            project_dir=shown(self.base),
            settings=self.module,
            wsgi=wsgi,
            asgi="" if wsgi else asgi,
            dependencies=dependencies,
            env=env,
            secrets=secrets,
            secret_key=self._read_from("SECRET_KEY"),
            optional=optional,
            domain=domain,
            database=database,
            static=self._static(),
            media=self._media(),
            celery=celery,
            broker=broker,
            health=self._health(),
            needs=tuple(self.needs),
        )

    def need(self, what: str) -> None:
        """Something that the settings must say."""
        self.needs.append((shown(self.settings_file) if self.settings_file else self.module, what))

    def lacks(self, name: str, said: str, mend: str) -> None:
        """A setting that is not as it must be. One that may be in what was not read is said with that, once."""
        if name in self.settings.values or self.settings.elsewhere or not self.settings.unread:
            self.need(f"{name} {said}: {mend}")

    def value(self, name: str) -> Any:
        return self.settings.get(name)

    # --- Modules

    def _path(self, module: str) -> PurePosixPath | None:
        below = self.base.joinpath(*module.split("."))
        for candidate in (below.with_name(below.name + ".py"), below / "__init__.py"):
            if self.sources.source(candidate) is not None:
                return candidate
        return None

    def _module(self, path: PurePosixPath) -> str:
        return ".".join(path.relative_to(self.base).with_suffix("").parts)

    def _settings_module(self) -> tuple[str, PurePosixPath | None]:
        """The settings for production: those that are called so, else those of the WSGI module or manage.py."""
        named = []
        for path in (*self.sources.named("wsgi.py", self.base, 2), self.base / "manage.py"):
            match = re.search(
                r"DJANGO_SETTINGS_MODULE['\"]\]?\s*[,=]\s*['\"]([\w.]+)['\"]", self.sources.text(path) or ""
            )
            named += [match[1]] if match else []
        named += [self._module(path) for path in self.sources.named("settings.py", self.base, 2)]
        for module in named:
            package = module.rpartition(".")[0]
            for other in (f"{module}.production", f"{module}.prod", f"{package}.production", f"{package}.prod"):
                if other.split(".")[-2:-1] == ["settings"] and self._path(other):
                    return other, self._path(other)
        for module in named:
            if self._path(module):
                return module, self._path(module)
        if not named:
            self.needs.append((SITE, "env.DJANGO_SETTINGS_MODULE: no settings module was found"))
            return f"{self.base.name}.settings", None
        self.settings.elsewhere.append(named[0])
        self.needs.append(
            (SITE, f"env.DJANGO_SETTINGS_MODULE: {named[0]} is not in this project: what it says was not read")
        )
        return named[0], None

    def _applications(self) -> tuple[str, str]:
        """(wsgi, asgi), each `module:object` or empty."""
        found = []
        for kind in ("WSGI", "ASGI"):
            said = self.value(f"{kind}_APPLICATION")
            if isinstance(said, str) and self._path(said.rpartition(".")[0]):
                found.append(":".join(said.rsplit(".", 1)))
            else:
                files = self.sources.named(f"{kind.lower()}.py", self.base, 2)
                found.append(f"{self._module(files[0])}:application" if files else "")
        wsgi, asgi = found
        if not wsgi and not asgi:
            said = "there is no wsgi.py and no asgi.py"
            if self.settings.elsewhere:
                wsgi = f"{self.settings.elsewhere[0].split('.')[0]}.wsgi:application"
                said += f" here; {wsgi} is a guess"
            self.needs.append((SITE, f"web.wsgi: {said}"))
        return wsgi, asgi

    # --- Settings

    def _read_from(self, setting: str) -> str:
        """The environment variable that a setting is read from, or should be."""
        value = self.value(setting)
        return value.name if isinstance(value, Variable) else setting

    def _environment(
        self, name: str, domain: str, database: str, broker: str
    ) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
        """(env, names of secrets, names that have a default)."""
        env = {"DJANGO_SETTINGS_MODULE": self.module}
        secrets, optional = [], []
        key = self._read_from("SECRET_KEY")
        wanted = {**self.settings.variables, key: True}
        given = {}
        if isinstance(self.value("ALLOWED_HOSTS"), Variable) or self._lets_nobody_in():
            given[self._read_from("ALLOWED_HOSTS")] = domain
        debug = self.value("DEBUG")
        if isinstance(debug, Variable) and debug.needed:
            given[debug.name] = "False"
        wanted |= dict.fromkeys(given, True)
        for directory in ("STATIC_ROOT", "MEDIA_ROOT"):
            wanted.pop(self._read_from(directory), None)  # The deploy itself sets it.
        for variable, needed in wanted.items():
            guess = given.get(variable, _guess(variable, name, database, broker))
            if variable == key or (needed and guess is None and re.search("SECRET|KEY|PASSWORD|TOKEN|DSN", variable)):
                secrets.append(variable)
                if variable != key:
                    self.needs.append((VAULT, f"vault_{variable.lower()}"))
            elif needed or guess:
                env[variable] = guess or ""
                if guess is None:
                    self.needs.append((SITE, f"env.{variable}: the settings read it, and have no default"))
            else:
                optional.append(variable)
        return env, tuple(secrets), tuple(optional)

    def _lets_nobody_in(self) -> bool:
        return self.value("ALLOWED_HOSTS") in (None, [])

    def _security(self) -> None:
        """What a server must not have."""
        # What a module outside of the project says of these is its own business.
        key, hosts, debug = map(self.settings.values.get, ("SECRET_KEY", "ALLOWED_HOSTS", "DEBUG"))
        if isinstance(self.value("SECRET_KEY"), str | None) or isinstance(key, Unknown):
            said = key.why if isinstance(key, Unknown) else "is not read from the environment"
            self.need(f'SECRET_KEY {said}: SECRET_KEY = os.environ["SECRET_KEY"]')
        unsure = [host for host in (hosts if isinstance(hosts, list) else [hosts]) if isinstance(host, Unknown)]
        if unsure:
            self.need(f"ALLOWED_HOSTS {unsure[0].why}: see that it has the names of web.domains")
        if self._lets_nobody_in():
            self.need('ALLOWED_HOSTS lets nobody in: ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")')
        if debug is True:
            self.need("DEBUG is True: DEBUG = False")
        elif isinstance(debug, Unknown):
            self.need(f"DEBUG {debug.why}: see that it is off")
        elif isinstance(debug, Variable) and debug.default is not False:
            self.need(f"DEBUG depends on the variable {debug.name}: see that it is off with what site.yml gives that")

    def _domain(self, name: str) -> str:
        hosts = self.value("ALLOWED_HOSTS")
        texts = [host for host in hosts if isinstance(host, str)] if isinstance(hosts, list) else []
        own = [host for host in texts if _DOMAIN.fullmatch(host)]
        if not own:
            self.needs.append((SITE, "web.domains: the names that the site answers for"))
        return own[0] if own else f"{name}.example.com"

    def _database(self, name: str) -> str:
        databases = self.value("DATABASES")
        default = databases.get("default") if isinstance(databases, dict) else databases
        why = default.why if isinstance(default, Unknown) else UNKNOWN.why
        by_url = why == UNKNOWN.why and default == UNKNOWN and "DATABASE_URL" in self.settings.variables
        if isinstance(default, Variable) or by_url:
            return name
        default = default if isinstance(default, dict) else {}
        engine = default.get("ENGINE")
        if isinstance(engine, str) and re.search("postgres|postgis|psycopg", engine):
            if isinstance(default.get("HOST"), str) and default["HOST"]:
                self.need(f'DATABASES has the HOST {default["HOST"]}: "" takes the unix socket, without a password')
            wanted = default.get("NAME")
            return wanted if isinstance(wanted, str) and re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,62}", wanted) else name
        if isinstance(engine, str) and "sqlite3" not in engine:
            self.need(f"DATABASES uses {engine}, which Hostwright does not provide: it makes PostgreSQL databases")
            return ""
        said = "uses SQLite, in a directory that each release has anew" if isinstance(engine, str) else why
        self.lacks("DATABASES", said, f'{{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": "{name}"}}}}')
        return name

    def _inside(self, value: Any) -> str:
        """`value`, a directory, relative to the project; empty where it is none inside of it."""
        if not isinstance(value, str | PurePosixPath) or not str(value):
            return ""
        path = normal(self.base / value)
        return shown(path) if path.is_relative_to(TOP) and path != TOP else ""

    def _search(self, database: str) -> None:
        """Wagtail's search on PostgreSQL fails Django's checks where this application is not there."""
        apps = self.value("INSTALLED_APPS")
        if database and isinstance(apps, list) and "wagtail.search" in apps and "django.contrib.postgres" not in apps:
            self.need("INSTALLED_APPS lacks django.contrib.postgres, which wagtail.search needs with PostgreSQL")

    def _static(self) -> Directory | None:
        apps = self.value("INSTALLED_APPS")
        if isinstance(apps, list) and UNKNOWN not in apps and "django.contrib.staticfiles" not in apps:
            return None
        url, root = _url(self.value("STATIC_URL"), "/static/"), self.value("STATIC_ROOT")
        if isinstance(root, Variable):
            return Directory(url, "staticfiles", root.name)
        inside = self._inside(root)
        if not inside:
            inside = shown(self.base / "staticfiles")
            said = "is not set" if root is None else root.why if isinstance(root, Unknown) else NOT_INSIDE
            self.lacks("STATIC_ROOT", said, 'STATIC_ROOT = BASE_DIR / "staticfiles"')
        return Directory(url, inside)

    def _media(self) -> Directory | None:
        root = self.value("MEDIA_ROOT")
        url = _url(self.value("MEDIA_URL"), "/media/")
        if isinstance(root, Variable):
            return Directory(url, "", root.name)
        if root in (None, ""):
            return None
        inside = self._inside(root)
        if not inside:
            said = root.why if isinstance(root, Unknown) else NOT_INSIDE
            self.lacks("MEDIA_ROOT", said, 'MEDIA_ROOT = BASE_DIR / "media"')
        return Directory(url, inside or shown(self.base / "media"))

    # --- Beside the web server

    def _celery(self) -> Celery | None:
        apps = self.value("INSTALLED_APPS")
        beat_app = isinstance(apps, list) and "django_celery_beat" in apps
        for path in [p for name in ("celery.py", "celery_app.py") for p in self.sources.named(name, self.base, 3)]:
            text = self.sources.text(path) or ""
            if not re.search(r"\bCelery\(", text):
                continue
            module = self._module(path).removesuffix(".celery")
            scheduled = "beat_schedule" in text or any(name.endswith("BEAT_SCHEDULE") for name in self.settings.values)
            scheduler = "django_celery_beat.schedulers:DatabaseScheduler" if beat_app else ""
            return Celery(module, scheduled or beat_app, scheduler)
        if "celery" in self.required.names:
            self.needs.append((SITE, "celery: it is required, and no celery.py was found"))
        return None

    def _broker(self) -> Literal["redis", "amqp", ""]:
        url = str(self.value("CELERY_BROKER_URL") or self.value("BROKER_URL") or "")
        if url.startswith(("amqp", "pyamqp")):
            return "amqp"
        if (
            url.startswith("redis")
            or "redis" in self.required.names
            or "redis" in self.required.names.get("celery", "")
        ):
            return "redis"
        self.needs.append((SITE, "services: which broker Celery uses; redis: {} or amqp describes it"))
        return ""

    def _health(self) -> str:
        routes = set(self._routes(self.value("ROOT_URLCONF")))
        if "" in routes:
            return "/"
        if "admin/" in routes:
            return "/admin/login/"
        self.needs.append((SITE, "health.path: a page that answers 200 without a login"))
        return "/"

    def _routes(self, module: Any, within: tuple[str, ...] = ()) -> Iterator[str]:
        """The routes of a URL configuration, with those that it includes by the name of a module of the project."""
        if not isinstance(module, str) or not module or module in within:
            return
        path = self._path(module)
        for route, included in _routes(self.sources.source(path) if path else None):
            if included is None:
                yield route
            else:
                yield from (route + inner for inner in self._routes(included, (*within, module)))


_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}")


def _routes(source: bytes | None) -> Iterator[tuple[str, Any]]:
    """The routes of a URL configuration's own path() and re_path(), with what they include: None where a view is."""
    try:
        tree = parse(source or b"")
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if _calls(node, "path", "re_path", "url") and len(node.args) > 1:
            first, view = node.args[:2]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value.strip("^$"), _included(view) if _calls(view, "include") else None


def _calls(node: ast.AST, *names: str) -> TypeGuard[ast.Call]:
    """Whether `node` calls a function of one of these names."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _included(call: ast.Call) -> Any:
    """What include() names, alone or in a pair with an application's name; empty where that is not written there."""
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Tuple) and first.elts:
        first = first.elts[0]
    return first.value if isinstance(first, ast.Constant) else ""


def _url(value: Any, otherwise: str) -> str:
    """A URL prefix as nginx is told it."""
    if isinstance(value, str) and re.fullmatch(r"/?[\w./-]*[\w-][\w./-]*", value):
        return f"/{value.strip('/')}/"
    return otherwise


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
        known["(CELERY_)?(BROKER|RESULT_BACKEND)(_URL)?|REDIS_URL"] = "redis://127.0.0.1:6379/0"
    return next((value for pattern, value in known.items() if re.fullmatch(pattern, variable)), None)


def _site_name(module: str, directory: str) -> str:
    package = module.split(".")[0]
    text = re.sub(r"[^a-z0-9]+", "-", (directory if package in GENERIC else package).lower()).strip("-0123456789")
    name = text[:24].rstrip("-") or "site"
    return f"{name[:19]}-site" if config.RESERVED.fullmatch(name) else name


def _git_says(root: Path, *asked: str) -> bool:
    """Whether `git rev-parse` finds what it is asked for."""
    try:
        done = subprocess.run(["git", "-C", str(root), "rev-parse", *asked], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0
