"""The site model: one typed description of an application and how it runs on its hosts.

It is the only place that knows a key, its type and its default. Ansible gets it through
`plugins/filter/site_model.py`, the hosts through the contract that `hostwright.contract` derives from it,
Fabric by import. `inventory/example` documents it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import pydantic
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from hostwright import oncalendar, refusal, tree
from hostwright.errors import BadInput
from hostwright.partition.spec import PartitionSpec, Spec, Whole

GROUPS = ("web", "worker", "beat", "db", "broker")


def _like(pattern: str, what: str) -> AfterValidator:
    """Text that `pattern` describes in full, and `what` in words."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {what}")
        return value

    return AfterValidator(check)


NAME = "small letters, digits and hyphens, a letter first, at most 24"
Name = Annotated[str, _like("[a-z][a-z0-9-]{0,23}", NAME)]
"""A site, process or timer: it becomes part of unit names, paths and user names."""

RESERVED = re.compile(
    # Users and groups of Debian and Ubuntu.
    "root|daemon|bin|sys|sync|games|man|lp|mail|news|uucp|proxy|backup|list|irc|gnats|nobody|nogroup|sshd?|messagebus|"
    "polkitd|systemd-.*|syslog|uuidd|tcpdump|tss|landscape|pollinate|lxd|docker|chrony|ntp|dnsmasq|usbmux|"
    "adm|tty|disk|kmem|dialout|fax|voice|cdrom|floppy|tape|sudo|wheel|audio|dip|operator|src|shadow|utmp|video|sasl|"
    "plugdev|staff|users|input|kvm|render|sgx|crontab|netdev|"
    # Those that come with an image.
    "admin|debian|ubuntu|vagrant|ec2-user|cloud-user|"
    # Those of services, and our own.
    "www-data|nginx|postgres|redis|rabbitmq|mysql|memcache|ssl-cert|deploy|hostwright|.*-build"
)
"""Users, groups and directories of others: a site is a user, a group and a directory of its name."""

ARGUMENT = 131072
"""Bytes of the longest argument or variable that Linux gives a program."""

IDENTIFIER = "letters, digits, _, $ and -, a letter or _ first, at most 63"
Identifier = Annotated[str, _like("[A-Za-z_][A-Za-z0-9_$-]{0,62}", IDENTIFIER)]
"""A database, database role or Redis name."""

QueueName = Annotated[
    str, _like("[A-Za-z_][A-Za-z0-9_.$-]{0,62}", "letters, digits, _, ., $ and -, a letter or _ first, at most 63")
]
SettingName = Annotated[
    str,
    _like(
        r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?", "a setting such as work_mem or auto_explain.log_timing"
    ),
]

EnvName = Annotated[str, _like("[A-Za-z_][A-Za-z0-9_]*", "letters, digits and _, no digit first")]
Mode = Annotated[str, _like("0[0-7]{3}", 'a mode in quotes, such as "0640"')]
Size = Annotated[str, _like("[0-9]+[kmg]?", "a size such as 10m, with k, m, g or nothing after the number")]
Port = Annotated[Whole, Field(ge=1, le=65535)]
Seconds = Annotated[Whole, Field(ge=1, le=86400)]
Count = Annotated[Whole, Field(ge=1, le=256)]
Module = Annotated[str, _like(r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?", "a module such as shop.wsgi, or module:object")]
Package = Annotated[str, _like("[a-z0-9][a-z0-9+.-]*", "the name of a distribution's package")]


_SYNTAX = re.compile(r"""[\s\x00-\x1f\x7f"'\\;{}$%*?#]""")
"""What nginx or systemd would not take as part of a path."""


def _relative(path: str) -> str:
    unlike = not path or path.startswith("/") or ".." in PurePosixPath(path).parts or not _is_utf8(path)
    if unlike or re.search(r"[\x00-\x1f\x7f]", path):
        raise ValueError("must be a path inside the release, without '..' or a leading '/'")
    return path


def _below(path: str) -> str:
    if str(PurePosixPath(path)) == ".":
        raise ValueError("must be something inside of the directory, not the directory itself")
    return path


def _plain(path: str) -> str:
    if _SYNTAX.search(path):
        raise ValueError("must have no spaces, quotes or characters such as ; { } $ % * ? #")
    return path


def _printable(value: str) -> str:
    if "\0" in value or "\n" in value or "\r" in value or not _is_utf8(value):
        raise ValueError("must be a single line without NUL")
    return value


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _calendar(expression: str) -> str:
    if not oncalendar.is_valid(expression):
        raise ValueError("must be a calendar expression of systemd, such as `daily` or `Mon..Fri 03:15`")
    return expression


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("must be an IP address or network such as 10.0.0.5 or 10.0.0.0/8") from None
    return text


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in PurePosixPath(path).parts or not _is_utf8(path):
        raise ValueError("must be an absolute path without '..'")
    return _plain(path)


RelativePath = Annotated[str, AfterValidator(_relative)]
InnerPath = Annotated[RelativePath, AfterValidator(_below)]
"""Inside of its directory, and not that directory itself."""
PlainPath = Annotated[InnerPath, AfterValidator(_plain)]
"""One that is written into the files of nginx and systemd."""
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Network = Annotated[str, AfterValidator(_network)]
Line = Annotated[str, AfterValidator(_printable)]
Header = Annotated[str, _like("[ -~]*", "text in ASCII, on one line")]
SERVER = "a host name such as shop.example.com or *.example.com (others than ASCII in punycode: xn--...)"
ServerName = Annotated[str, _like(r"(\*\.|\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", SERVER)]
"""A host name in ASCII (punycode for others), or `*.example.com` or `.example.com` for all below it."""
Calendar = Annotated[str, AfterValidator(_calendar)]
Url = Annotated[str, _like(r"/[\w./-]*/", "a URL path that begins and ends with /, such as /static/")]
Setting = str | int | float | bool
Command = Annotated[list[Line], Field(min_length=1)]
"""A program and its arguments, never a shell line. `{venv}`, `{release}` and `{project}` stand for paths."""


SECRET = 6
"""Characters of a secret that is looked for in other texts: shorter ones are words too."""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Source(Model):
    """Where the code comes from; exactly one of `git`, `path`, `pypi` and `archive`."""

    git: Line | None = None
    """A repository: a URL, or a path on the machine where `fab` runs (`.`: where it runs). Submodules are left out."""
    ref: Line = "HEAD"
    """The branch, tag or commit that is deployed unless `--ref` names another."""
    path: Line | None = None
    """A directory on the machine where `fab` runs, deployed as it is."""
    pypi: Line | None = None
    """A project on the package index whose sdist is the source tree; needs `version`."""
    version: Line | None = None
    archive: Line | None = None
    """A tar archive: a path on the machine where `fab` runs, or an https URL; needs `sha256`."""
    sha256: Annotated[str, _like("[0-9a-f]{64}", "64 hexadecimal digits")] | None = None
    subdir: RelativePath = "."
    """The directory inside the source that becomes the release."""

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        given = [kind for kind in ("git", "path", "pypi", "archive") if getattr(self, kind)]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of git, path, pypi, archive (has {', '.join(given) or 'none'})")
        if self.pypi and not self.version:
            raise ValueError("pypi needs version")
        if self.archive and not self.sha256:
            raise ValueError("archive needs sha256")
        return self


class Python(Model):
    """The interpreter of the virtualenv."""

    version: Annotated[str, _like(r"3(\.[0-9]+)?", "3, or a version such as 3.12, in quotes")] = "3"
    """`3` is the distribution's own; `3.12` needs the package python3.12 to be installable."""
    interpreter: AbsolutePath | None = None
    """An interpreter that is on the hosts already; wins over `version`."""


class Packages(Model):
    """Distribution packages that the application needs."""

    build: list[Package] = []
    """What wheels are built with, such as compilers and headers."""
    run: list[Package] = []
    """What the application needs when it runs, such as shared libraries."""


class Dependencies(Model):
    """Python packages, resolved together in one pip call."""

    requirements: list[RelativePath] = ["requirements.txt"]
    """Requirements files, relative to the release."""
    constraints: list[RelativePath] = []
    """Constraints files, relative to the release."""
    project: RelativePath | None = None
    """A directory with a pyproject.toml or setup.py to install (`.` for the release itself)."""
    extras: list[Identifier] = []
    """Extras of `project`."""
    groups: list[Identifier] = []
    """Dependency groups of `pyproject.toml` (needs pip 25.1 in the virtualenv)."""
    packages: list[Line] = []
    """Further requirement specifiers, such as `gunicorn==23.0.0`."""
    require_hashes: bool = False
    """Take nothing whose hash is not in the requirements."""


class File(Model):
    """A configuration file that the application reads, rendered by Ansible. It may hold secrets; no build sees it."""

    path: InnerPath
    """Relative to `/etc/hostwright/SITE/files`."""
    content: SecretStr
    mode: Mode = "0640"
    link: InnerPath | None = None
    """Where in each release a symbolic link to it is made."""


class Hook(Model):
    """A command that runs on a host at a stage of a deploy."""

    name: Name
    stage: Literal["build", "before_migrate", "after_migrate", "after_deploy"]
    """Those before and after migrate run on the host that migrates, whether there is something to migrate or not."""
    command: Command
    once: bool = False
    """On one host of the fleet only; otherwise on every host that has a release."""
    timeout: Seconds = 300
    """A hook that takes longer is killed, and has failed."""


class Static(Model):
    """Static files, which nginx serves: those of the current release, then those of the one before."""

    root: PlainPath | None = "static"
    """Where `collectstatic` puts its files, relative to the release (STATIC_ROOT); null: no static files."""
    url: Url = "/static/"
    collect: Command | None = ["collectstatic", "--noinput", "--verbosity=0"]
    """Arguments of the manage command; null where the release carries its files already."""
    env: EnvName | None = None
    """An environment variable that is given the absolute path of `root`."""


class Media(Model):
    """Uploaded files, which outlive releases; nginx serves them."""

    url: Url = "/media/"
    env: EnvName | None = None
    """An environment variable that is given the absolute path, /srv/SITE/shared/media."""


class Web(Model):
    """gunicorn behind nginx."""

    wsgi: Module | None = None
    """The WSGI application, such as `shop.wsgi:application`."""
    asgi: Module | None = None
    """Or the ASGI application, run by uvicorn's worker, which the requirements must have."""
    workers: Count = 2
    """Processes of a slot."""
    threads: Count = 4
    """Of each worker; WSGI only."""
    timeout: Seconds = 30
    """After which a worker that hangs is replaced, and nginx gives a request up."""
    args: list[Line] = []
    """Further gunicorn arguments."""
    domains: list[ServerName] = []
    """Server names; none: the default server."""
    port: Port = 80
    tls: Literal["none", "self_signed", "files"] = "none"
    """`files` needs `tls_certificate` and `tls_key`, or both contents."""
    tls_port: Port = 443
    tls_certificate: AbsolutePath | None = None
    """On the hosts, kept there by another tool, or written there from `tls_certificate_pem`."""
    tls_key: AbsolutePath | None = None
    """Likewise, from `tls_key_pem`."""
    tls_certificate_pem: str | None = None
    """Contents without a path go to a place of their own, and away with TLS."""
    tls_key_pem: SecretStr | None = None
    redirect_to_tls: bool = True
    """Answer plain http with a redirect; without TLS it does nothing."""
    hsts_seconds: Annotated[Whole, Field(ge=0)] = 0
    """Of Strict-Transport-Security; 0: no such header."""
    upload_limit: Size = "10m"
    """Of a request; a larger one gets 413."""
    rate_limit: Annotated[str, _like("[0-9]+r/[sm]", "a rate such as 20r/s or 100r/m")] | None = None
    """Requests from one address, such as `20r/s`; null: no limit."""
    rate_burst: Count = 40
    """Requests above the rate that are let through at once; further ones get 429."""
    locations: dict[Annotated[str, _like(r"/[\w./-]*", "a URL path that begins with /")], AbsolutePath] = {}
    """Further URL prefixes, and the directories on the host that nginx serves below them."""
    memory_deny_write_execute: bool = True
    """Switch off for applications that make code at run time (cffi closures, JITs)."""

    @model_validator(mode="after")
    def _one_interface(self) -> Web:
        if bool(self.wsgi) == bool(self.asgi):
            raise ValueError("needs exactly one of wsgi, asgi")
        paths = bool(self.tls_certificate), bool(self.tls_key)
        contents = bool(self.tls_certificate_pem), bool(self.tls_key_pem and self.tls_key_pem.get_secret_value())
        halves = paths[0] != paths[1] or contents[0] != contents[1]
        if self.tls == "files" and (halves or not (paths[0] or contents[0])):
            raise ValueError("tls: files needs tls_certificate and tls_key, or tls_certificate_pem and tls_key_pem")
        if self.tls != "none" and self.port == self.tls_port:
            raise ValueError("port and tls_port must be two")
        if "/" in self.locations:
            raise ValueError("locations: / is the application's own")
        return self


class Health(Model):
    """What a standby slot is asked before it gets a request."""

    path: Annotated[str, _like("/[!-~]*", "a URL path that begins with /, in ASCII without spaces")] = "/"
    host: Header | None = None
    """The Host header; default: the first of `web.domains`, else localhost."""
    scheme: Literal["http", "https"] = "http"
    """Sent as X-Forwarded-Proto."""
    headers: dict[Annotated[str, _like("[A-Za-z0-9-]+", "letters, digits and -")], Header] = {}
    status: Annotated[list[Annotated[Whole, Field(ge=100, le=599)]], Field(min_length=1)] = [200]
    """Those that count as healthy."""
    deadline: Seconds = 30
    """For the start and all tries."""
    timeout: Seconds = 5
    """For one request."""


class Process(Model):
    """A long-running process beside the web server, from a release."""

    name: Name
    command: Command
    count: Count = 1
    """On each of its hosts."""
    group: Literal["web", "worker", "beat"] = "worker"
    """The hosts that it runs on."""
    singleton: bool = False
    """One in the fleet, on the first host of the group; the old one stops before the new one starts."""
    stop_signal: Literal["TERM", "INT", "QUIT", "HUP", "USR1", "USR2"] = "TERM"
    stop_timeout: Seconds = 60
    """After which it is killed."""
    notify: bool = False
    """It tells systemd when it is ready (sd_notify); otherwise it is taken as started once it stays up."""


class Queue(Model):
    """A Celery worker: the queues that it consumes, and how."""

    name: Name = "default"
    queues: Annotated[list[QueueName], Field(min_length=1)] = ["celery"]
    count: Count = 1
    """Workers on each host of the group worker."""
    pool: Literal["prefork", "threads", "solo", "gevent", "eventlet"] = "prefork"
    concurrency: Count = 2
    """Tasks at the same time."""
    max_tasks_per_child: Count | None = None
    """After which a process of the pool is replaced; null: never."""
    args: list[Line] = []
    """Further arguments of `celery worker`."""
    stop_timeout: Seconds = 300
    """Longer than the longest task may take: a worker that is replaced finishes its tasks first."""


class Celery(Model):
    """Celery's workers, and its scheduler."""

    app: Module
    """What `celery -A` takes."""
    workers: list[Queue] = [Queue()]
    """One of them with its defaults, unless others are named."""
    beat: bool = False
    """One scheduler in the fleet, on the first host of the group beat."""
    scheduler: Line | None = None
    """Such as `django_celery_beat.schedulers:DatabaseScheduler`; null: Celery's own."""
    loglevel: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Timer(Model):
    """A command on a schedule, from the current release, on one host."""

    name: Name
    command: Command
    calendar: Calendar
    """systemd's OnCalendar, such as `daily` or `*-*-* 03:15:00`."""
    group: Literal["web", "worker", "beat"] = "beat"
    """It runs on the first host of this group."""
    timeout: Seconds = 3600
    """After which it is killed."""


class Database(Model):
    """A PostgreSQL database on the host of the group db."""

    name: Identifier
    owner: Identifier | None = None
    """Default: the site's name."""
    password: SecretStr | None = None
    """Needed where the application is on another host than the database."""
    extensions: list[Identifier] = []


class Redis(Model):
    """Redis on the host of the group broker."""

    databases: dict[Identifier, Annotated[Whole, Field(ge=0, le=63)]] = {"broker": 0}
    """Its databases by use, so that one may be flushed without the others: name -> number."""
    password: SecretStr | None = None
    """Without one, Redis listens on 127.0.0.1 only."""
    maxmemory: Size | None = None
    """null: no limit."""


class Amqp(Model):
    """RabbitMQ on the host of the group broker: a virtual host, and a user who may do everything on it."""

    vhost: Annotated[str, _like(r"[\w./-]+", "letters, digits and _ . / -")]
    user: Identifier
    password: SecretStr


class Services(Model):
    """What the site uses beside Python; leave out what it does not use, or uses elsewhere."""

    databases: list[Database] = []
    postgresql_version: Annotated[str, _like(r"9\.[56]|[1-9][0-9]", "a version such as 15, in quotes")] | None = None
    """null: the distribution's."""
    postgresql_settings: dict[SettingName, Setting] = {}
    """Settings of postgresql.conf that win over those sized from the host's memory."""
    redis: Redis | None = None
    amqp: Amqp | None = None


class Releases(Model):
    """How a release goes live, and how long it stays."""

    keep: Count = 5
    """Good releases on a host; the current one and the one before are kept in any case."""
    migrate: Literal["auto", "never"] = "auto"
    """`never` refuses to deploy while migrations are not applied."""
    lock_timeout: Seconds = 5
    """PostgreSQL's lock_timeout while migrations run."""
    migrate_timeout: Seconds = 1800
    """For all migrations of a deploy."""
    dump_before_migrate: bool = False
    """Dump the database `default` of the settings to /var/lib/hostwright/SITE/dumps, on the host that migrates."""
    build_timeout: Seconds = 900
    """For each of wheels, virtualenv, collectstatic and checks."""
    confirm_timeout: Seconds = 60
    """A host that is not told to keep the new release in this time goes back to the old one."""
    drain_timeout: Seconds = 30
    """In which the old slot may end its requests; then it is stopped."""


class Site(Model):
    """One application. `inventory/example/group_vars/all/site.yml` shows every key."""

    name: Name
    source: Source
    project_dir: RelativePath = "."
    """The directory, inside the release, where commands run (that of manage.py)."""
    python: Python = Python()
    packages: Packages = Packages()
    dependencies: Dependencies = Dependencies()
    manage: Command = ["python", "manage.py"]
    """How Django's management commands are called; `python` is the virtualenv's."""
    web: Web | None = None
    """null: no web server."""
    env: dict[EnvName, str] = {}
    """The application's environment, for every process and command."""
    secrets: dict[EnvName, SecretStr] = {}
    """Like `env`, but never shown."""
    files: list[File] = []
    hooks: list[Hook] = []
    static: Static = Static()
    media: Media | None = None
    shared: dict[PlainPath, Literal[""] | InnerPath] = {}
    """Directories that outlive a release: name below /srv/SITE/shared -> link in the release ('': none)."""
    allowed_addresses: list[Network] | None = None
    """What it may talk to while it runs, beside localhost; null: everything. Needs systemd 235 and cgroups v2."""
    processes: list[Process] = []
    celery: Celery | None = None
    timers: list[Timer] = []
    services: Services = Services()
    health: Health = Health()
    releases: Releases = Releases()
    partitions: list[Spec] = []

    @model_validator(mode="after")
    def _consistent(self) -> Site:
        both = sorted(set(self.env) & set(self.secrets))
        if both:
            raise ValueError(f"in env and in secrets at once: {', '.join(both)}")
        reserved = sorted(k for k in (*self.env, *self.secrets) if k.startswith("HOSTWRIGHT_"))
        if reserved:
            raise ValueError(f"names that begin with HOSTWRIGHT_ are set by the deploy itself: {', '.join(reserved)}")
        if RESERVED.fullmatch(self.name):
            raise ValueError(f"name: {self.name} is a user or group of others, and the site would be that one")
        values = {f"env.{key}": value for key, value in self.env.items()}
        values |= {f"secrets.{key}": secret.get_secret_value() for key, secret in self.secrets.items()}
        for path, value in values.items():
            if "\0" in value:
                raise ValueError(f"{path} holds a NUL character, which no environment can")
            if not _is_utf8(value):
                raise ValueError(f"{path} holds half a character (a lone surrogate), which can't be written")
            if len(path.encode()) + len(value.encode()) >= ARGUMENT:
                raise ValueError(f"{path} is longer than the {ARGUMENT // 1024} KiB that a program can be given")
        writable = {*self.shared, *(["media"] if self.media else []), *(["beat"] if self.celery else [])}
        inside = sorted(n for n in writable if writable & {str(above) for above in PurePosixPath(n).parents})
        if inside:
            raise ValueError(f"shared: {inside[0]} lies in another one, which the application could replace by a link")
        for process in self.processes:
            if process.singleton and process.count > 1:
                raise ValueError(f"the process {process.name} is a singleton, so its count must be 1")
        databases = [database.name for database in self.services.databases]
        for spec in self.partitions:
            # A site without databases of its own has them elsewhere, and names them by --dsn.
            if databases and spec.database and spec.database not in databases:
                raise ValueError(f"partitions: {spec.table}: services.databases has no {spec.database}")
        for what, names in self._names():
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what}: {', '.join(twice)}")
        return self

    def _names(self) -> Iterator[tuple[str, list[str]]]:
        """(what is wrong where one of these is there twice, names)."""
        web, databases = self.web, [database.name for database in self.services.databases]
        first = databases[0] if databases else ""
        units = ["web", *(p.name for p in self.processes), *(f"timer-{t.name}" for t in self.timers)]
        if self.celery:
            units += [f"worker-{w.name}" for w in self.celery.workers] + (["beat"] if self.celery.beat else [])
        links = [link for link in (*(file.link for file in self.files), *self.shared.values()) if link]
        urls = [f"{url.rstrip('/')}/" for url in web.locations] if web else []
        urls += [self.static.url] if web and self.static.root else []
        urls += [self.media.url] if web and self.media else []
        yield (
            "partitions: there twice",
            [f"{p.database or first} {p.schema_name}.{p.table_name}".strip() for p in self.partitions],
        )
        yield (
            "partitions: children of two tables would have one name in archive_schema",
            [
                f"{p.database or first} {p.archive_schema}.{p.table_name}".strip()
                for p in self.partitions
                if isinstance(p, PartitionSpec) and p.retention == "archive"
            ],
        )
        yield "two processes or timers would share a unit's name", units
        yield "files: two have the path", [str(PurePosixPath(file.path)) for file in self.files]
        yield "files and shared: two have the link", [str(PurePosixPath(link)) for link in links]
        yield "shared: there twice", [str(PurePosixPath(name)) for name in self.shared]
        yield "hooks: two have the name", [hook.name for hook in self.hooks]
        yield "services.databases: two have the name", databases
        yield "web.locations, static.url and media.url: two are", urls

    def database_of(self, spec: Spec) -> Database:
        """The database that the table of `spec` is in. Raises BadInput where the site has none."""
        own = self.services.databases
        found = next((database for database in own if database.name == (spec.database or own[0].name)), None)
        if found is None:
            raise BadInput(
                f"partitions: {spec.table}: the site has no database {spec.database or 'of its own'}",
                "services.databases describes it; --dsn names one that is elsewhere.",
            )
        return found

    def database_owner(self, database: Database) -> str:
        """The database role that owns `database`."""
        return database.owner or self.name


def load(data: Any, origin: str = "site") -> Site:
    """The site model of `data` (a mapping, as YAML gives it).

    Raises BadInput that names every wrong key by its path below `origin`, without its value: that may be
    a secret.
    """
    if not isinstance(data, dict):
        raise BadInput(f"{origin}: must be a mapping of keys, not {type(data).__name__}", tree.EVERY_KEY)
    try:
        return Site.model_validate(data)
    except pydantic.ValidationError as error:
        said = refusal.lines(Site, error, origin)
        raise BadInput("\n".join(said), tree.EVERY_KEY) from None


def shown(site: Site) -> dict[str, Any]:
    """The resolved model as plain data, with secrets replaced by asterisks, also within other texts, such as URLs."""
    shorter = sorted(_secrets(site.model_dump(mode="python")), key=len, reverse=True)

    def hidden(value: Any) -> Any:
        if isinstance(value, str):
            for secret in shorter:
                value = value.replace(secret, "**********")
            return value
        if isinstance(value, dict):
            return {key: hidden(item) for key, item in value.items()}
        return [hidden(item) for item in value] if isinstance(value, list) else value

    dumped: dict[str, Any] = hidden(site.model_dump(mode="json"))
    for key in ("git", "archive"):
        dumped["source"][key] = without_credentials(dumped["source"][key] or "") or None
    for key in ("packages", "requirements"):
        dumped["dependencies"][key] = [without_credentials(line) for line in dumped["dependencies"][key]]
    return dumped


def without_credentials(text: str) -> str:
    """`text` without what says who one is in its URLs; the user that ssh needs stays."""
    return re.sub(r"(?<=://)(?<!ssh://)[^/\s]*@|(?<=://)[^/\s:]*:[^/\s]*@", "**********@", text)


def _secrets(value: Any) -> set[str]:
    """All secrets in `value` that are long enough to be one and nothing else."""
    if isinstance(value, SecretStr):
        return {value.get_secret_value()} if len(value) >= SECRET else set()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {secret for item in inner for secret in _secrets(item)}


def revealed(site: Site) -> dict[str, Any]:
    """The resolved model as plain data, secrets in the clear, for Ansible, which marks their use no_log."""

    def plain(value: Any) -> Any:
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    return {key: plain(value) for key, value in site.model_dump(mode="python").items()}
