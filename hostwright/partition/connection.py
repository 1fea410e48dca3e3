"""A connection to the site's database: given as a DSN, or through ssh to the database host's unix socket."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition.spec import ArchiveServer
from hostwright.remote import CONNECT_TIMEOUT, PROVISION, Remote

PATIENT = (
    "SELECT pg_catalog.set_config(s.name, '0', true) FROM pg_catalog.pg_settings s WHERE s.name IN"
    " ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')"
)
"""Let this transaction take as long as it takes, whatever the role's settings say; not each server has all of them."""
SOCKET = "/var/run/postgresql/.s.PGSQL.5432"


@contextlib.contextmanager
def direct(dsn: str, where: str = "", hint: str = "--dsn names it.") -> Iterator[Any]:
    """The database that `dsn` names. A password belongs into PGPASSWORD or ~/.pgpass.

    Raises BadInput, which begins with `where` and ends with `hint`, if it can't be reached.
    """
    try:
        connection = psycopg2.connect(dsn, connect_timeout=CONNECT_TIMEOUT, application_name="hostwright")
    except (psycopg2.Error, UnicodeError) as error:
        raise BadInput(f"{where}the database can't be reached: {' '.join(str(error).split())}", hint) from None
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def again(connection: Any) -> Iterator[Any]:
    """Another connection to where `connection` leads."""
    parameters = {**connection.info.dsn_parameters, "password": connection.info.password}
    with direct(psycopg2.extensions.make_dsn(**parameters)) as other:
        yield other


@contextlib.contextmanager
def through(remote: Remote, database: str, role: str) -> Iterator[Any]:
    """`database` on `remote`, as `role`: the server knows the deploy user by its system name, without a password."""
    with tempfile.TemporaryDirectory(prefix="hostwright-") as directory:
        local = Path(directory) / ".s.PGSQL.5432"
        with _tunnel(remote, str(local), SOCKET, local.exists):
            dsn = f"host={directory} dbname={database} user={role}"
            with direct(dsn, f"{remote.name}: ", PROVISION) as connection:
                yield connection


@contextlib.contextmanager
def archive(server: ArchiveServer, remote: Remote | None) -> Iterator[Any]:
    """The database where children are archived, reached through the database host `remote`; None: from here."""
    at: dict[str, Any] = {"host": server.server, "port": server.port, "sslmode": server.sslmode}
    with contextlib.ExitStack() as stack:
        if remote:
            is_socket = server.server.startswith("/")
            host = f"[{server.server}]" if ":" in server.server else server.server
            target = f"{host}/.s.PGSQL.{server.port}" if is_socket else f"{host}:{server.port}"
            port = _free_port()
            stack.enter_context(_tunnel(remote, f"127.0.0.1:{port}", target, lambda: _listens(port)))
            # With its own name, that its certificate is compared with.
            at |= {"hostaddr": "127.0.0.1", "port": port}
            at |= {"host": "localhost", "sslmode": "disable"} if is_socket else {}
        try:
            connection = psycopg2.connect(
                **at,
                dbname=server.name,
                user=server.user,
                password=server.password.get_secret_value(),
                connect_timeout=CONNECT_TIMEOUT,
                application_name="hostwright",
            )
        except psycopg2.Error as error:
            raise BadInput(
                f"the archive at {server.server} can't be reached: {' '.join(str(error).split())}",
                "`archive` of the spec says where it is, and who may.",
            ) from None
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()


@contextlib.contextmanager
def _tunnel(remote: Remote, near: str, far: str, is_open: Callable[[], bool]) -> Iterator[None]:
    """`near`, on this machine, leads to `far` as `remote` sees it. Raises HostwrightError where it does not open."""
    try:
        opening = subprocess.Popen(
            remote.ssh_command("-o", "ExitOnForwardFailure=yes", "-N", "-L", f"{near}:{far}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError:
        raise BadInput("ssh is not installed", "Install it: apt-get install openssh-client") from None
    with opening as tunnel:
        try:
            _await(tunnel, is_open, remote)
            yield
        finally:
            tunnel.terminate()


def _await(tunnel: subprocess.Popen[bytes], is_open: Callable[[], bool], remote: Remote) -> None:
    deadline = time.monotonic() + CONNECT_TIMEOUT
    while not is_open():
        if tunnel.poll() is not None or time.monotonic() > deadline:
            tunnel.kill()
            said = tunnel.communicate()[1].decode(errors="replace").strip()
            remote.connect()  # It raises what is wrong with the host, and what to do.
            remote.close()
            raise HostwrightError(f"{remote.name}: no tunnel to the database: {said[-300:] or 'no answer'}")
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
