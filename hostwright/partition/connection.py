"""A connection to the site's database: given as a DSN, or through ssh to the database host's unix socket."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2

from hostwright.errors import BadInput, HostwrightError
from hostwright.remote import CONNECT_TIMEOUT, PROVISION, Remote

SOCKET = "/var/run/postgresql/.s.PGSQL.5432"


@contextlib.contextmanager
def direct(dsn: str, where: str = "", hint: str = "--dsn names it.") -> Iterator[Any]:
    """The database that `dsn` names. A password belongs into PGPASSWORD or ~/.pgpass.

    Raises BadInput, which begins with `where` and ends with `hint`, if it can't be reached.
    """
    try:
        connection = psycopg2.connect(dsn, connect_timeout=CONNECT_TIMEOUT, application_name="hostwright")
    except psycopg2.Error as error:
        raise BadInput(f"{where}the database can't be reached: {' '.join(str(error).split())}", hint) from None
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def through(remote: Remote, database: str, role: str) -> Iterator[Any]:
    """`database` on `remote`, as `role`: the server knows the deploy user by its system name, without a password."""
    with tempfile.TemporaryDirectory(prefix="hostwright-") as directory:
        local = Path(directory) / ".s.PGSQL.5432"
        with subprocess.Popen(
            [*command(remote), "-N", "-L", f"{local}:{SOCKET}", f"{remote.user}@{remote.address}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as tunnel:
            try:
                _await(tunnel, local, remote)
                dsn = f"host={directory} dbname={database} user={role}"
                with direct(dsn, f"{remote.name}: ", PROVISION) as connection:
                    yield connection
            finally:
                tunnel.terminate()


def _await(tunnel: subprocess.Popen[bytes], local: Path, remote: Remote) -> None:
    """Wait until the tunnel's socket is there. Raises HostwrightError where it does not come."""
    deadline = time.monotonic() + CONNECT_TIMEOUT
    while not local.exists():
        if tunnel.poll() is not None or time.monotonic() > deadline:
            tunnel.kill()
            said = tunnel.communicate()[1].decode(errors="replace").strip()
            remote.connect()  # It raises what is wrong with the host, and what to do.
            remote.close()
            raise HostwrightError(f"{remote.name}: no tunnel to the database: {said[-300:] or 'no answer'}")
        time.sleep(0.02)


@contextlib.contextmanager
def transaction(connection: Any, failed: str) -> Iterator[Any]:
    """A cursor on `connection` (autocommit) whose work is committed as a whole, or not at all.

    Raises HostwrightError with `failed` and what the database said, where it refused something.
    """
    connection.autocommit = False
    try:
        with connection.cursor() as cursor:
            yield cursor
        connection.commit()
    except psycopg2.Error as error:
        raise HostwrightError(f"{failed}: {str(error).strip()}") from None
    finally:
        if not connection.closed:
            connection.rollback()  # Nothing is left to take back after a commit.
            connection.autocommit = True


def command(remote: Remote) -> list[str]:
    """The ssh client's command line for `remote`, with its host key checked."""
    options = [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "ExitOnForwardFailure=yes",
        f"UserKnownHostsFile={remote.known_hosts}",
        f"ConnectTimeout={CONNECT_TIMEOUT}",
    ]
    argv = ["ssh", "-p", str(remote.port)]
    for option in options:
        argv += ["-o", option]
    if remote.key:
        argv += ["-i", remote.key]
    if remote.jump:
        argv += ["-J", remote.jump]
    return argv
