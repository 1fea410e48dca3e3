"""Partitioned tables: what differs from the spec, making it so, and looking after them."""

from __future__ import annotations

import contextlib
import datetime as dt
import json as json_
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from hostwright import console
from hostwright.errors import BadInput, HostwrightError
from hostwright.tasks import _fleet
from hostwright.tasks._task import task

if TYPE_CHECKING:
    from hostwright.partition.plan import Step
    from hostwright.partition.spec import PartitionSpec, Spec
    from hostwright.partition.status import Lines

PENDING = 3
"""Exit status of a plan that has something to do."""
FOLDED = "-- ({} lines that are the same for every table: templates/partition/library.sql.j2, or --json)\n"
"""What a person sees of the functions in the database, ahead of what is done to a table."""
ROUNDS = 3
"""Plans that follow one on the other: what a drain leaves is seen by the next."""

OPTIONS = {"table": "only this table", "dsn": "a database, instead of the site's own"}


@contextlib.contextmanager
def _databases(inventory: str, dsn: str, table: str) -> Iterator[list[tuple[Spec, Any]]]:
    """Each spec with a connection to its database."""
    import psycopg2

    from hostwright.partition import connection

    found = _fleet.inventory(inventory)
    specs = [spec for spec in found.site.partitions if not table or table in spec.names]
    if not specs:
        raise BadInput(f"no partition spec for {table}" if table else "the site has no partitions", "See `partitions`.")
    with contextlib.ExitStack() as stack:
        if dsn:
            given = stack.enter_context(connection.direct(dsn))
            databases = [(spec, given) for spec in specs]
        else:
            opened: dict[str, Any] = {}
            for database in {database.name: database for database in map(found.site.database_of, specs)}.values():
                remote = _fleet.remotes(found, [_fleet.database_host(found)])[0]
                role = found.site.database_owner(database)
                opened[database.name] = stack.enter_context(connection.through(remote, database.name, role))
            databases = [(spec, opened[found.site.database_of(spec).name]) for spec in specs]
        try:
            yield databases
        except psycopg2.Error as error:
            raise HostwrightError(f"the database: {str(error).strip()}", "What was done before stays.") from None


def _one(databases: list[tuple[Spec, Any]], verb: str) -> tuple[Spec, Any]:
    if len(databases) != 1:
        names = ", ".join(spec.table for spec, _ in databases)
        raise BadInput(f"{verb} takes one table", f"--table names it: {names}.")
    return databases[0]


def _divided(databases: list[tuple[Spec, Any]], verb: str) -> tuple[PartitionSpec, Any]:
    from hostwright.partition.spec import SplitSpec

    spec, connection = _one(databases, verb)
    if isinstance(spec, SplitSpec):
        raise BadInput(f"{spec.table} is split into columns, not divided", f"{verb} is for divided tables.")
    return spec, connection


def _now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


class _Found(NamedTuple):
    """A table as it is in the database, and what can be done with it: divided or split, as its spec says."""

    exists: bool
    plan: Callable[[], list[Step]]
    undo: Callable[[], list[Step]]
    problems: Callable[..., list[str]]
    """Takes `rows`: whether they are read too."""
    status: Callable[[list[str]], dict[str, Any]]
    """Takes the problems."""
    lines: Callable[[dict[str, Any]], Lines]
    """Takes the status."""


def _find(spec: Spec, connection: Any) -> _Found:
    from hostwright.partition import catalog, plan, status, undo, verify
    from hostwright.partition.archive import known
    from hostwright.partition.spec import SplitSpec
    from hostwright.partition.split import catalog as split_catalog
    from hostwright.partition.split import plan as split_plan
    from hostwright.partition.split import verify as split_verify

    if isinstance(spec, SplitSpec):
        split = split_catalog.read(connection, spec)
        return _Found(
            exists=bool(split.relations),
            plan=partial(split_plan.plan, spec, split),
            undo=partial(split_plan.undo, spec, split),
            problems=partial(split_verify.problems, connection, split),
            status=partial(status.of_split, spec, split),
            lines=status.lines_of_split,
        )
    table = catalog.read(connection, spec)
    now = _now()
    return _Found(
        exists=table.exists,
        plan=partial(plan.plan, spec, table, now),
        undo=partial(undo.plan, spec, table),
        problems=partial(verify.problems, connection, spec, table, now),
        status=lambda problems: status.of_divided(spec, table, problems, known.former(connection, spec)),
        lines=partial(status.lines_of_divided, table.kind),
    )


def _leaving(spec: Spec, steps: list[Step]) -> list[str]:
    """What of `steps` takes rows out of the table."""
    return [f"{spec.table}: {step.title}" for step in steps if step.destructive]


def _agree(leaving: list[str], yes: bool) -> None:
    """Ask before rows leave their tables."""
    if leaving:
        console.confirm(f"{'; '.join(leaving)}. These rows leave their table. Go on?", yes)


def _run(spec: Spec, connection: Any, steps: list[Step], json: bool, rate: int) -> None:
    """Carry out `steps`, saying what is done as it is done."""
    from hostwright.partition import apply as applying

    shown = 0

    def say(**fields: Any) -> None:
        if json:
            print(json_.dumps({"schema": 1, "table": spec.table, **fields}), flush=True)
        elif "rows" in fields:
            print(f"{spec.table}: {fields['rows']:,} rows moved", flush=True)
        else:
            print(f"{spec.table}: {fields['step']}  {fields['seconds']:.2f} s", flush=True)

    def progress(step: Step, rows: int) -> None:
        nonlocal shown
        if rows - shown >= 100_000:
            shown = rows
            say(step=step.title, rows=rows)

    def done(step: Step, seconds: float) -> None:
        nonlocal shown
        shown = 0
        say(step=step.title, seconds=round(seconds, 3))

    try:
        applying.apply(connection, steps, done, progress, rate)
    except HostwrightError as error:
        raise type(error)(f"{spec.table}: {error.message}", error.hint) from None


@task(help=OPTIONS)
def plan(c: Any, inventory: str = "", table: str = "", dsn: str = "", json: bool = False) -> None:
    """Show what differs between spec and database, as SQL; status 3 while something does."""
    from invoke.exceptions import Exit

    from hostwright.partition import render

    pending = 0
    with _databases(inventory, dsn, table) as databases:
        for spec, connection in databases:
            steps = _find(spec, connection).plan()
            pending += len(steps)
            for step in steps:
                text = render.sql(step)
                if json:
                    print(json_.dumps({"schema": 1, "table": spec.table, "step": step.title, "sql": text}))
                else:
                    shown = FOLDED.format(text.count("\n")) if step.template == "library" else text
                    print(f"-- {spec.table}: {step.title}\n{shown}")
            if not steps and not json:
                print(f"-- {spec.table}: nothing to do")
    if pending:
        raise Exit(code=PENDING)


@task(help={**OPTIONS, "check": "plan only", "rate": "rows a second that are moved at most; 0: no limit"})
def apply(
    c: Any,
    inventory: str = "",
    table: str = "",
    dsn: str = "",
    check: bool = False,
    rate: int = 0,
    json: bool = False,
    yes: bool = False,
) -> None:
    """Make the database as the spec says; what is there already is left alone."""
    if check:
        plan(c, inventory=inventory, table=table, dsn=dsn, json=json)
        return
    with _databases(inventory, dsn, table) as databases:
        agreed = [one for spec, connection in databases for one in _leaving(spec, _find(spec, connection).plan())]
        _agree(agreed, yes)
        done: list[str] = []
        for spec, connection in databases:
            # Planned anew: it can be hours since.
            steps = _find(spec, connection).plan()
            if not steps and not json:
                print(f"{spec.table}: nothing to do")
            for _ in range(ROUNDS):
                if not steps:
                    break
                more = [one for one in _leaving(spec, steps) if one not in agreed]
                try:
                    _agree(more, yes)
                except HostwrightError:
                    raise HostwrightError(
                        f"nobody has agreed to this: {'; '.join(more)}. Done so far: {'; '.join(done) or 'nothing'}",
                        "Apply again, with --yes if that is what you want.",
                    ) from None
                _run(spec, connection, steps, json, rate)
                done += [f"{spec.table}: {step.title}" for step in steps]
                steps = _find(spec, connection).plan()
            if steps:
                raise HostwrightError(f"{spec.table}: still different after apply: {steps[0].title}")


@task(help={**OPTIONS, "rate": "rows a second that are moved at most; 0: no limit"})
def undo(
    c: Any, inventory: str = "", table: str = "", dsn: str = "", rate: int = 0, json: bool = False, yes: bool = False
) -> None:
    """Make a divided or split table one plain table again, with all its rows."""
    with _databases(inventory, dsn, table) as databases:
        spec, connection = _one(databases, "undo")
        steps = _find(spec, connection).undo()
        if not steps:
            if not json:
                print(f"{spec.table}: nothing to do")
            return
        console.confirm(f"{spec.table}: move all rows back into one table?", yes)
        _run(spec, connection, steps, json, rate)


@task(help=OPTIONS)
def maintain(c: Any, inventory: str = "", table: str = "", dsn: str = "", json: bool = False) -> None:
    """Do now what the database host's timer does: children ahead, rows of past periods, retention."""
    from hostwright.partition import apply as applying

    with _databases(inventory, dsn, table) as databases:
        # Without --table it is all that the database has, as for the timer.
        wanted = databases if table else {id(connection): (None, connection) for _, connection in databases}.values()
        for spec, connection in wanted:
            with applying.alone(connection):
                pass  # Maintenance rests while somebody else has the lock: that is said, and not taken for its end.
            one = (spec.schema_name, spec.table_name) if spec else None
            with connection.cursor() as cursor:
                _check_maintained(cursor, one)
                while True:
                    if one:
                        cursor.execute("SELECT hostwright.maintain_one(%s, %s)", one)
                    else:
                        cursor.execute("SELECT hostwright.maintain()")
                    step = cursor.fetchone()[0]
                    if step is None:
                        break
                    print(json_.dumps({"schema": 1, "step": step}) if json else step, flush=True)
                cursor.execute(
                    "SELECT schema_name, table_name, failure FROM hostwright.partitioned WHERE failure <> ''"
                )
                failed = [row for row in cursor.fetchall() if one in (None, row[:2])]
            if failed:
                raise HostwrightError("\n".join(f"{schema}.{name}: {failure}" for schema, name, failure in failed))


def _check_maintained(cursor: Any, one: tuple[str, str] | None) -> None:
    """Raises BadInput where the database has no maintenance of all its tables, or of the one."""
    cursor.execute(
        "SELECT to_regclass('hostwright.partitioned') IS NOT NULL,"
        " to_regprocedure('hostwright.maintain_one(text, text, timestamptz, int)') IS NOT NULL"
    )
    is_there, is_new = cursor.fetchone()
    if not is_there:
        raise BadInput("nothing is divided in the database", "`fab partition.apply` divides tables.")
    if not one:
        return
    if not is_new:
        raise BadInput("the functions in the database are of an older Hostwright", "`fab partition.apply` renews them.")
    cursor.execute("SELECT count(*) FROM hostwright.partitioned WHERE (schema_name, table_name) = (%s, %s)", one)
    if not cursor.fetchone()[0]:
        raise BadInput(f"{'.'.join(one)}: it is not divided", "`fab partition.apply` divides it.")


@task(help={**OPTIONS, "quick": "don't read the rows"})
def verify(c: Any, inventory: str = "", table: str = "", dsn: str = "", quick: bool = False) -> None:
    """Look for gaps, rows without a child, keys that are there twice and maintenance that fails."""
    bad = []
    with _databases(inventory, dsn, table) as databases:
        for spec, connection in databases:
            found = _find(spec, connection).problems(rows=not quick)
            bad += [f"{spec.table}: {problem}" for problem in found]
            if not found:
                print(f"{spec.table}: all is well")
    if bad:
        raise HostwrightError("\n".join(bad))


@task(
    help={
        **OPTIONS,
        "file": "CSV with a header line; -: standard input",
        "query": "SQL that gives the rows, with columns of the table's names; instead of a file",
        "source": "the database that the query is asked of (default: the table's own)",
    }
)
def load(
    c: Any, file: str = "", query: str = "", source: str = "", inventory: str = "", table: str = "", dsn: str = ""
) -> None:
    """Load a CSV file or the rows of a query, each row straight into its child, in one transaction."""
    from hostwright.partition import apply, catalog
    from hostwright.partition import load as loading

    if bool(file) == bool(query):
        raise BadInput("load takes --file or --query", "A CSV file, or SQL that gives the rows.")
    if source and not query:
        raise BadInput("--source is for --query", "It names the database that the query is asked of.")
    with _databases(inventory, dsn, table) as databases:
        spec, connection = _divided(databases, "load")
        with _rows(file, query, source, connection) as rows, apply.alone(connection):
            try:
                count = loading.load(
                    connection,
                    spec,
                    catalog.read(connection, spec),
                    rows,
                    lambda rows: print(f"{spec.table}: {rows:,} rows", flush=True),
                )
            except BadInput as error:
                where = "" if query else "standard input: " if file == "-" else f"{file}: "
                raise BadInput(f"{spec.table}: {where}{error.message}", error.hint) from None
        print(f"{spec.table}: {count:,} rows loaded")


@contextlib.contextmanager
def _rows(file: str, query: str, source: str, connection: Any) -> Iterator[BinaryIO]:
    """What is to be loaded."""
    from hostwright.partition import connection as connections
    from hostwright.partition import query as querying

    if query:
        asked = connections.direct(source, "--source: ", "It takes a DSN.") if source else connections.again(connection)
        with asked as opened, querying.rows(opened, query) as rows:
            yield rows
    elif file == "-":
        yield sys.stdin.buffer
    else:
        with contextlib.ExitStack() as stack:
            try:
                opened = stack.enter_context(Path(file).open("rb"))
            except OSError as error:
                raise BadInput(f"{file}: {error.strerror}", "--file names a CSV file.") from None
            yield opened


@contextlib.contextmanager
def _archive(inventory: str, dsn: str, spec: PartitionSpec, otherwise: str) -> Iterator[Any]:
    """A connection to the archive's server, through the database host unless `dsn` is given.

    `otherwise` says what there is for a spec without one.
    """
    import psycopg2

    from hostwright.partition import connection

    if spec.archive is None:
        raise BadInput(f"partitions: {spec.table}: it has no archive.server", f"Give one in the spec; {otherwise}.")
    remote = None
    if not dsn:
        found = _fleet.inventory(inventory)
        remote = _fleet.remotes(found, [_fleet.database_host(found)])[0]
    with connection.archive(spec.archive, remote) as far:
        try:
            yield far
        except psycopg2.Error as error:
            raise HostwrightError(f"{spec.table}: {str(error).strip()}", "What was done before stays.") from None


@task(
    help={
        **OPTIONS,
        "child": "the child table; to the spec's server: all that are older than keep, unless it is given",
        "to": "a directory on this machine, instead of the spec's server",
        "drop": "with --to: drop it afterwards",
    }
)
def archive(
    c: Any,
    child: str = "",
    to: str = "",
    inventory: str = "",
    table: str = "",
    dsn: str = "",
    drop: bool = False,
    yes: bool = False,
) -> None:
    """Move children to the archive's server; or write one to a compressed file with a manifest, here."""
    from hostwright.partition import catalog
    from hostwright.partition.archive import file, known, server

    with _databases(inventory, dsn, table) as databases:
        spec, connection = _divided(databases, "archive")
        if to:
            if not child:
                raise BadInput("--to takes one child", "--child names it; `fab partition.status` lists them.")
            if drop:
                console.confirm(f"{spec.table}: drop {child} once it is archived?", yes)
            print(file.write(connection, spec, child, Path(to), drop, _now()))
            return
        with _archive(inventory, dsn, spec, "or --to a directory") as far:
            past = known.former(connection, spec)
            children = [child] if child else known.due(spec, catalog.read(connection, spec), past, _now())
            there = [one.name for one in past if one.is_archived]
            children = [name for name in children if name not in there]
            if not children:
                print(f"{spec.table}: nothing to do")
                return
            console.confirm(f"{spec.table}: move {', '.join(children)} to the archive, and drop them here?", yes)
            for name in children:
                server.move(connection, far, spec, name, _now(), _said(spec, name))


@task(
    help={
        **OPTIONS,
        "manifest": "the manifest that archive wrote, with its file beside it",
        "child": "a child that was detached, or is in the archive of the spec's server, instead",
        "drop": "with --child: drop it there afterwards",
    }
)
def restore(
    c: Any,
    manifest: str = "",
    child: str = "",
    inventory: str = "",
    table: str = "",
    dsn: str = "",
    drop: bool = False,
    yes: bool = False,
) -> None:
    """Make an archived child again, with its rows; retention takes it again unless `keep` is longer by then."""
    from hostwright.partition.archive import file, near, server

    if bool(manifest) == bool(child):
        raise BadInput("restore takes --manifest or --child", "A file's manifest, or a child in the archive.")
    with _databases(inventory, dsn, table) as databases:
        spec, connection = _divided(databases, "restore")
        if manifest:
            found = file.read(connection, spec, Path(manifest))
            print(f"{spec.table}: {found.child} is back, {found.rows:,} rows")
            return
        if near.is_here(connection, spec, child):
            if drop:
                raise BadInput(
                    f"{spec.table}: {child} is detached, and not in the archive", "Restore it without --drop."
                )
            near.bring_back(connection, spec, child, _said(spec, child))
            print(f"{spec.table}: {child} is back")
            return
        if drop:
            console.confirm(f"{spec.table}: drop {child} in the archive once it is back?", yes)
        with _archive(inventory, dsn, spec, f"{child} is not detached, and --manifest takes a file") as far:
            rows = server.bring_back(connection, far, spec, child, drop, _now(), _said(spec, child))
            print(f"{spec.table}: {child} is back, {rows:,} rows")


def _said(spec: PartitionSpec, child: str) -> Any:
    return lambda title, seconds: print(f"{spec.table}: {child}: {title}  {seconds:.3f} s", flush=True)


@task(help=OPTIONS)
def status(c: Any, inventory: str = "", table: str = "", dsn: str = "", json: bool = False) -> None:
    """Show the children of each table with their bounds, rows and sizes, and how maintenance goes."""
    missing = []
    with _databases(inventory, dsn, table) as databases:
        for spec, connection in databases:
            found = _find(spec, connection)
            if not found.exists:
                missing.append(spec.table)
                continue
            shown = found.status(found.problems(rows=False))
            if json:
                print(json_.dumps(shown))
                continue
            console.table(*found.lines(shown))
            for problem in shown["problems"]:
                print(f"! {problem}")
    if missing:
        said = "\n".join(f"partitions: {name}: there is no such table" for name in missing)
        raise BadInput(said, "Deploy first: Django's migrations make it.")
