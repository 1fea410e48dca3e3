"""What the database says of a table: read in a handful of queries, whatever the number of children."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

from hostwright.errors import BadInput
from hostwright.partition.spec import PartitionSpec

KEY_TYPES = ("date", "timestamp without time zone", "timestamp with time zone")


@dataclass(frozen=True)
class Child:
    """A child table and its bounds; None where there is none on that side (MINVALUE, MAXVALUE, DEFAULT)."""

    name: str
    lower: dt.datetime | None
    upper: dt.datetime | None
    default: bool = False


@dataclass(frozen=True)
class Table:
    """A table as it is. `primary_key` and `children` are in order; `identity` and `serial` are columns."""

    version: int
    exists: bool
    kind: str = ""
    owner: str = ""
    may_change: bool = False
    partition_key: str = ""
    columns: tuple[tuple[str, str, bool], ...] = ()
    primary_key: tuple[str, ...] = ()
    primary_key_name: str = ""
    unique: tuple[tuple[str, tuple[str, ...]], ...] = ()
    references: tuple[str, ...] = ()
    serial: tuple[tuple[str, str], ...] = ()
    identity: tuple[str, ...] = ()
    in_the_way: tuple[str, ...] = ()
    children: tuple[Child, ...] = ()
    rows: int = 0


def read(connection: Any, spec: PartitionSpec) -> Table:
    """The table that `spec` names, in the database of `connection` (psycopg2)."""
    version = connection.server_version // 10000
    with connection.cursor() as cursor:
        cursor.execute(_TABLE, (spec.schema_name, spec.table_name))
        row = cursor.fetchone()
        if row is None:
            return Table(version, exists=False)
        oid, kind, owner, may_change, key, rows = row
        cursor.execute(_COLUMNS, (oid,))
        columns = tuple(cursor.fetchall())
        cursor.execute(_CONSTRAINTS, (oid,))
        constraints = cursor.fetchall()
        cursor.execute(_REFERENCES, (oid,))
        references = tuple(name for (name,) in cursor.fetchall())
        cursor.execute(_SEQUENCES, (oid,))
        serial = tuple(cursor.fetchall())
        cursor.execute(_IN_THE_WAY, (oid, oid, oid))
        in_the_way = tuple(text for (text,) in cursor.fetchall())
        cursor.execute(_CHILDREN, (oid,))
        children = tuple(_child(*found) for found in cursor.fetchall())
    primary = next(((name, tuple(cols)) for kind_, name, cols in constraints if kind_ == "p"), ("", ()))
    return Table(
        version,
        True,
        {"r": "plain", "p": "partitioned"}.get(kind, "other"),
        owner,
        may_change,
        key or "",
        tuple((name, type_, bool(required)) for name, type_, required, _ in columns),
        primary[1],
        primary[0],
        tuple((name, tuple(cols)) for kind_, name, cols in constraints if kind_ == "u"),
        references,
        serial,
        tuple(name for name, _, _, identity in columns if identity),
        in_the_way,
        tuple(sorted(children, key=lambda child: (child.lower is not None, child.lower or 0, child.name))),
        max(rows, 0),
    )


def _child(name: str, bound: str) -> Child:
    if bound == "DEFAULT":
        return Child(name, None, None, default=True)
    found = re.fullmatch(r"FOR VALUES FROM \((.*)\) TO \((.*)\)", bound)
    if not found:
        raise BadInput(f"{name} is no range partition: {bound}", "Only tables divided by range of one key are handled.")
    return Child(name, _moment(found[1]), _moment(found[2]))


def _moment(text: str) -> dt.datetime | None:
    if text in ("MINVALUE", "MAXVALUE"):
        return None
    moment = dt.datetime.fromisoformat(re.sub(r"([+-]\d\d)$", r"\1:00", text.strip("'")))
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)


_TABLE = r"""
SELECT c.oid, c.relkind, pg_catalog.pg_get_userbyid(c.relowner), pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       CASE WHEN c.relkind = 'p' AND pg_catalog.pg_get_partkeydef(c.oid) IN
                 (SELECT format('RANGE (%%I)', a.attname) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid)
            THEN regexp_replace(replace(pg_catalog.pg_get_partkeydef(c.oid), '""', '"'),
                                '^RANGE \("?(.*?)"?\)$', 'RANGE (\1)')
            ELSE pg_catalog.pg_get_partkeydef(c.oid) END, c.reltuples::bigint
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s"""

_COLUMNS = """
SELECT a.attname, pg_catalog.format_type(a.atttypid, NULL), a.attnotnull, a.attidentity <> ''
  FROM pg_catalog.pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""

_CONSTRAINTS = """
SELECT k.contype, k.conname,
       (SELECT array_agg(a.attname::text ORDER BY u.position)
          FROM unnest(k.conkey) WITH ORDINALITY AS u(attnum, position)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum)
  FROM pg_catalog.pg_constraint k WHERE k.conrelid = %s AND k.contype IN ('p', 'u') ORDER BY k.conname"""

_REFERENCES = """
SELECT format('%%s (%%s)', k.conrelid::regclass, k.conname)
  FROM pg_catalog.pg_constraint k WHERE k.confrelid = %s AND k.contype = 'f' ORDER BY 1"""

_SEQUENCES = """
SELECT a.attname, s.oid::regclass::text
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE d.refobjid = %s AND d.deptype IN ('a', 'i') AND d.classid = 'pg_class'::regclass"""

_IN_THE_WAY = """
SELECT format('the view %%s', r.ev_class::regclass) FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
 WHERE d.refobjid = %s AND d.classid = 'pg_rewrite'::regclass AND r.ev_class <> d.refobjid
UNION SELECT format('the trigger %%s', t.tgname)
  FROM pg_catalog.pg_trigger t WHERE t.tgrelid = %s AND NOT t.tgisinternal
UNION SELECT format('the rule %%s', r.rulename)
  FROM pg_catalog.pg_rewrite r WHERE r.ev_class = %s AND r.rulename <> '_RETURN'
ORDER BY 1"""

_CHILDREN = """
SELECT c.relname, pg_catalog.pg_get_expr(c.relpartbound, c.oid)
  FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
 WHERE i.inhparent = %s AND c.relpartbound IS NOT NULL"""
