"""The site's database: dump, restore, a shell."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from hostwright import console
from hostwright.errors import BadInput, Busy, HostwrightError
from hostwright.remote import Remote
from hostwright.tasks import _fleet
from hostwright.tasks._task import task


def _remote(inventory: str) -> Remote:
    found = _fleet.inventory(inventory)
    return _fleet.remotes(found, [_fleet.database_host(found)])[0]


@task(help={"to": "file to write; it must not be there yet", "database": "default: the site's first"})
def dump(c: Any, to: str, inventory: str = "", database: str = "") -> None:
    """Write a dump of the database to a file here."""
    from hostwright.terminal import copy

    path = Path(to)
    part = path.with_name(path.name + ".part")
    try:
        if path.exists():
            raise BadInput(f"--to: {to} is there already", "Name another file.")
        if not path.parent.is_dir():
            raise BadInput(f"--to: there is no directory {path.parent}", "Make it, or name another.")
        out = part.open("xb")
    except FileExistsError:
        raise BadInput(
            f"--to: {part} is there: another dump is written, or was cut off", "Remove it, or wait."
        ) from None
    except OSError as error:
        raise BadInput(f"--to: {part} can't be written: {error.strerror}", "Name another place.") from None
    try:
        with out:
            part.chmod(0o600)
            remote = _remote(inventory)
            status = copy(remote, {"verb": "db", "do": "dump", "database": database or None}, None, out)
        if status:
            raise HostwrightError(f"{remote.name}: pg_dump failed with status {status}")
        part.rename(path)
    except OSError as error:
        raise HostwrightError(f"{part} can't be written: {error.strerror}", "--to names another place.") from None
    finally:
        part.unlink(missing_ok=True)
    print(f"{path}: {path.stat().st_size} bytes")


@task(help={"source": "a file that db.dump wrote", "database": "default: the site's first"})
def restore(c: Any, source: str, inventory: str = "", database: str = "", yes: bool = False) -> None:
    """Replace what is in the database by a dump, in one transaction."""
    path = Path(source)
    try:
        if not path.is_file():
            raise BadInput(f"--source: there is no file {source}", "fab db.dump writes one.")
        dumped = path.open("rb")
    except OSError as error:
        raise BadInput(f"--source: {source} can't be read: {error.strerror}", "fab db.dump writes one.") from None
    with dumped:
        _restore(inventory, database, source, dumped, yes)


def _restore(inventory: str, database: str, source: str, dumped: BinaryIO, yes: bool) -> None:
    from hostwright.terminal import copy

    found = _fleet.inventory(inventory)
    from hostwright.contract import app_hosts

    remote = _fleet.remotes(found, [_fleet.database_host(found)])[0]
    _refuse_beside_a_deploy(_fleet.ask_all(found, app_hosts(found.groups), {"verb": "status"}))
    console.confirm(f"Replace the tables of {database or 'the database'} on {remote.name} by those in {source}?", yes)
    status = copy(remote, {"verb": "db", "do": "restore", "database": database or None}, dumped, sys.stdout.buffer)
    if status:
        raise HostwrightError(f"{remote.name}: pg_restore failed with status {status}; nothing was changed")
    print(f"{remote.name}: {database or 'the database'} is that of {source}")


def _refuse_beside_a_deploy(answers: Mapping[str, dict[str, Any] | HostwrightError]) -> None:
    """Raise Busy where a host's status has a deploy under way: the new release would get the old tables."""
    for host, answer in answers.items():
        if isinstance(answer, HostwrightError):
            print(f"note: whether a deploy is under way on {host} is not known: {answer.message}", file=sys.stderr)
        elif answer["lock"] is not None:
            owner, release, since = (answer["lock"].get(key) for key in ("owner", "release", "since"))
            what = f"{owner or 'someone'} is deploying {release or '?'} since {since or '?'}"
            raise Busy(f"{host}: {what}", "Restore once fab status shows no deploy.")
        elif answer["transaction"]:
            owner, release, since = (answer["transaction"].get(key) for key in ("owner", "release", "since"))
            what = f"a deploy of {release or '?'} by {owner or 'someone'} since {console.since(since)} was interrupted"
            raise Busy(f"{host}: {what}", "The next fab deploy ends it; restore then.")


@task(help={"database": "default: the site's first"})
def shell(c: Any, inventory: str = "", database: str = "") -> None:
    """Open psql as the application's user."""
    from hostwright.terminal import attach

    remote = _remote(inventory)
    do = "shell" if sys.stdin.isatty() else "psql"
    status = attach(remote, {"verb": "db", "do": do, "database": database or None})
    if status:
        raise HostwrightError(f"{remote.name}: psql ended with status {status}")
