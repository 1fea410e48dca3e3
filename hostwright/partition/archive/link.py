"""What the archive's server is to the database: a foreign server with the password that its tables are read with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

import psycopg2

from hostwright.errors import BadInput
from hostwright.partition import render
from hostwright.partition.archive.known import said
from hostwright.partition.connection import transaction
from hostwright.partition.spec import ArchiveServer, PartitionSpec


def is_there(far: Any, spec: PartitionSpec, server: ArchiveServer, values: Mapping[str, Any]) -> bool:
    """Whether the archive has the child already: a run before this one was cut off."""
    with far.cursor() as cursor:
        cursor.execute(render.query("archive/there", **values))
        has_schema, may_make, has_it, comment = cursor.fetchone()
    if not has_schema:
        raise BadInput(f"{spec.table}: the archive at {server.server} has no schema {server.in_schema}", "Make it.")
    if has_it and not (comment or "").startswith(f'{{"table":{json.dumps(values["whole"], ensure_ascii=False)},'):
        raise BadInput(
            f"{spec.table}: the archive at {server.server} has a table {values['child']} that is none of this table's",
            "Rename it there, or give archive.in_schema.",
        )
    if not (may_make or has_it):
        raise BadInput(
            f"{spec.table}: {server.user} may not make tables in schema {server.in_schema} of the archive",
            "GRANT CREATE ON SCHEMA, there.",
        )
    return bool(has_it)


def make(connection: Any, spec: PartitionSpec, server: ArchiveServer, values: Mapping[str, Any], is_used: bool) -> None:
    """Name the archive's server and the password in the database, and read something from there, to see that it works.

    Raises BadInput where it does not; nothing has changed then.
    """
    with connection.cursor() as cursor:
        cursor.execute(render.query("archive/ready", link=values["link"]))
        is_there, may_use, has = cursor.fetchone()
    if not is_there or not may_use:
        raise BadInput(
            f"{spec.table}: the database has no extension postgres_fdw that its owner may use",
            "Add it to the database's `extensions` and run playbooks/site.yml; or, as a superuser:"
            f" CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO {values['owner']}.",
        )
    options = {"host": server.server, "port": str(server.port), "dbname": server.name}
    before = dict(option.split("=", 1) for option in has or [])
    if is_used and {name: before.get(name) for name in options} != options:
        raise BadInput(
            f"{spec.table}: children are archived at {before.get('host')}:{before.get('port')}/{before.get('dbname')}",
            "Bring them back first; or, if that server has moved: ALTER SERVER"
            f" {render.identifier(values['link'])} OPTIONS (SET host ...).",
        )
    options["connect_timeout"] = "10"
    if not server.server.startswith("/"):
        options["sslmode"] = server.sslmode
    if values["version"] >= 9.6:
        options["fetch_size"] = "10000"
    if values["version"] >= 14:
        options["batch_size"] = "1000"
    password = io.StringIO()
    csv.writer(password, quoting=csv.QUOTE_ALL).writerow([server.password.get_secret_value()])
    password.seek(0)
    with transaction(connection, f"{spec.table}: nothing was changed") as cursor:
        try:
            cursor.execute("CREATE TEMPORARY TABLE hostwright_password (password text) ON COMMIT DROP")
            cursor.copy_expert("COPY pg_temp.hostwright_password FROM STDIN WITH (FORMAT csv)", password)
            cursor.execute(render.query("archive/link", **values, options=options))
        except psycopg2.Error as error:
            old = " Before PostgreSQL 10 it knows passwords that are kept as md5 alone: there,"
            old += f" SET password_encryption = 'md5'; ALTER ROLE {render.identifier(server.user)} PASSWORD ..."
            raise BadInput(
                f"{spec.table}: the database can't read from the archive at {server.server}: {said(error)}",
                "It has to reach that server, and to be asked for the password there."
                + (old if values["version"] < 10 else ""),
            ) from None
