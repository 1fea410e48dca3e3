"""Wide columns in a table of their own: the view gives what the plain table gave, and no row or update is lost."""

from __future__ import annotations

import contextlib
import json
import random
import re
import threading
import types
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg2
import pytest

from hostwright import config
from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import apply, render
from hostwright.partition.plan import Step
from hostwright.partition.spec import SplitSpec
from hostwright.partition.split import catalog, plan, verify
from hostwright.tasks import _fleet
from tests.postgres.conftest import RECORDING, SITE, Database, sessions, until_it_waits
from tests.postgres.test_django import django, plain, with_the_conflict

ARTICLES = """
CREATE TABLE tags (id serial PRIMARY KEY, name text);
INSERT INTO tags (name) VALUES ('red'), ('blue');
CREATE TABLE articles (
    id bigserial PRIMARY KEY,
    title varchar(40) COLLATE "C" NOT NULL,
    body text NOT NULL DEFAULT '{}',
    views int NOT NULL DEFAULT 0 CHECK (views >= 0),
    tag int REFERENCES tags DEFERRABLE INITIALLY DEFERRED,
    code text UNIQUE,
    history json,
    parent bigint REFERENCES articles ON DELETE SET NULL,
    price numeric(9, 2) CONSTRAINT priced CHECK (price > 0)
);
ALTER TABLE articles ALTER body SET STORAGE EXTERNAL, ALTER title SET STATISTICS 500;
ALTER TABLE articles SET (fillfactor = 90);
CREATE INDEX articles_recent ON articles (views DESC NULLS LAST) WHERE views > 3;
CREATE INDEX articles_body ON articles (lower(left(body, 20)));
COMMENT ON TABLE articles IS 'What the readers'' see';
COMMENT ON COLUMN articles.title IS 'Short';
CREATE TABLE notes (id serial PRIMARY KEY, article bigint NOT NULL REFERENCES articles ON DELETE CASCADE);
INSERT INTO articles (title, body, views, tag, code, history, price)
    SELECT 'title ' || n, repeat('long ', n % 50), n % 10, n % 2 + 1, n::text, NULL, n FROM generate_series(1, 2500) n;
UPDATE articles SET parent = id - 7, history = '[1, 2.0]' WHERE id > 7 AND id % 3 = 0;
INSERT INTO notes (article) SELECT n FROM generate_series(1, 50) n;
GRANT SELECT, INSERT, UPDATE, DELETE ON articles TO app;
GRANT USAGE ON SEQUENCE articles_id_seq TO app;
GRANT SELECT ON articles TO reader, PUBLIC;
"""


def spec(**values: Any) -> SplitSpec:
    return SplitSpec.model_validate({"table": "articles", "wide": ["body", "history"], **values})


def planned(database: Database, wanted: SplitSpec | None = None) -> list[Step]:
    wanted = wanted or spec()
    return plan.plan(wanted, catalog.read(database.connection, wanted))


def split(database: Database, wanted: SplitSpec | None = None) -> list[str]:
    """Plan and apply; returns the titles of the steps that were done."""
    return done(database, planned(database, wanted))


def undone(database: Database, wanted: SplitSpec | None = None) -> list[str]:
    wanted = wanted or spec()
    return done(database, plan.undo(wanted, catalog.read(database.connection, wanted)))


def done(database: Database, steps: list[Step]) -> list[str]:
    titles: list[str] = []
    apply.apply(database.connection, steps, lambda step, seconds: titles.append(step.title))
    return [title for title in titles if title not in RECORDING]


def problems(database: Database) -> list[str]:
    return verify.problems(database.connection, catalog.read(database.connection, spec()))


@pytest.fixture
def articles(database: Database) -> Database:
    database.run(ARTICLES)
    return database


def rows(database: Database) -> list[tuple[Any, ...]]:
    return database.run("SELECT a::text FROM articles a ORDER BY id")


def structure(database: Database) -> list[Any]:
    """All of the table that a person can see, without the names of NOT NULL constraints."""
    return [
        database.run(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation::regclass::text,"
            " a.attstorage, nullif(a.attstattarget, -1), pg_get_expr(d.adbin, d.adrelid),"
            " col_description(a.attrelid, a.attnum)"
            " FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
            " WHERE a.attrelid = 'articles'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
        ),
        database.run(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint"
            " WHERE 'articles'::regclass IN (conrelid, confrelid) AND contype <> 'n' ORDER BY 1, 2"
        ),
        database.run("SELECT indexdef FROM pg_indexes WHERE tablename = 'articles' ORDER BY 1"),
        database.run(
            "SELECT relkind, reloptions, relacl::text, obj_description(oid) FROM pg_class WHERE relname = 'articles'"
        ),
        database.run("SELECT pg_get_serial_sequence('articles', 'id')"),
        database.run("SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"),
        database.run("SELECT tgname FROM pg_trigger WHERE tgrelid = 'articles'::regclass AND NOT tgisinternal"),
    ]


def test_there_and_back(articles: Database) -> None:
    before, made = rows(articles), structure(articles)
    assert split(articles) == [
        "make articles_narrow, and keep it up to date",
        "copy the narrow columns to articles_narrow, in small batches",
        "index articles_code_key of articles_narrow",
        "index articles_recent of articles_narrow",
        "gather statistics of articles_narrow",
        "compare all rows with the copy",
        "make articles a view of articles_narrow and articles_wide",
        'prove hostwright_split of "public"."articles_wide"',
        'prove articles_parent_fkey of "public"."articles_narrow"',
        'prove articles_tag_fkey of "public"."articles_narrow"',
        "prove notes_article_fkey of public.notes",
    ]
    assert rows(articles) == before
    assert split(articles) == []
    assert problems(articles) == []
    assert articles.run("SELECT * FROM articles WHERE id = 7") == [
        (7, "title 7", "long " * 7, 7, 2, "7", None, None, 7)
    ]
    undone(articles)
    assert rows(articles) == before
    assert structure(articles) == made
    assert undone(articles) == []
    assert articles.one("INSERT INTO articles (title) VALUES ('next') RETURNING id") == 2501
    assert articles.one("SELECT count(*) FROM hostwright.split") == 0
    assert articles.one("SELECT count(*) FROM pg_proc WHERE proname LIKE 'public.articles%'") == 0


def test_the_sql_for_9_5(articles: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "version_of", lambda connection: 9.5)
    before, made = rows(articles), structure(articles)
    split(articles)
    assert (split(articles), problems(articles), rows(articles)) == ([], [], before)
    articles.run("UPDATE articles SET body = body, views = views; DELETE FROM articles WHERE id = 2500")
    articles.run(
        "INSERT INTO articles (id, title) VALUES (2500, 'new'); UPDATE articles SET body = 'b' WHERE id = 2500"
    )
    undone(articles)
    assert rows(articles)[:-1] == before[:-1]
    assert structure(articles) == made


def test_defaults_and_values_that_come_back(articles: Database) -> None:
    split(articles)
    assert articles.run("INSERT INTO articles (title) VALUES ('new') RETURNING *") == [
        (2501, "new", "{}", 0, None, None, None, None, None)
    ]
    assert articles.run("UPDATE articles SET body = 'b', price = 3.456 WHERE id = 2501 RETURNING body, price") == [
        ("b", Decimal("3.46"))
    ]
    assert articles.run("DELETE FROM articles WHERE id = 2501 RETURNING id, body") == [(2501, "b")]
    assert articles.one("SELECT count(*) FROM articles_wide") == 2500


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO articles (id, title) VALUES (1, 'x')", psycopg2.errors.UniqueViolation),
        ("INSERT INTO articles (title, code) VALUES ('x', '1')", psycopg2.errors.UniqueViolation),
        ("INSERT INTO articles (title) VALUES (NULL)", psycopg2.errors.NotNullViolation),
        ("INSERT INTO articles (title, body) VALUES ('x', NULL)", psycopg2.errors.NotNullViolation),
        ("UPDATE articles SET body = NULL WHERE id = 1", psycopg2.errors.NotNullViolation),
        ("UPDATE articles SET views = -1 WHERE id = 1", psycopg2.errors.CheckViolation),
        ("INSERT INTO articles (title) VALUES (repeat('x', 41))", psycopg2.errors.StringDataRightTruncation),
        ("INSERT INTO articles (title, tag) VALUES ('x', 99)", psycopg2.errors.ForeignKeyViolation),
        ("INSERT INTO notes (article) VALUES (9999)", psycopg2.errors.ForeignKeyViolation),
        ("DELETE FROM tags WHERE id = 1", psycopg2.errors.ForeignKeyViolation),
    ],
)
def test_what_a_plain_table_refuses_is_refused(articles: Database, statement: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        articles.run(statement)
    split(articles)
    with pytest.raises(error):
        articles.run(statement)
    assert (articles.one("SELECT count(*) FROM articles_narrow"), problems(articles)) == (2500, [])


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO articles (id, title) VALUES (1, 'x') ON CONFLICT DO NOTHING", psycopg2.errors.UniqueViolation),
        (
            "INSERT INTO articles (id, title) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET title = excluded.title",
            psycopg2.errors.InvalidColumnReference,
        ),
        (
            "UPDATE articles SET views = v FROM (VALUES (1), (2)) x(v) WHERE id = 3",
            psycopg2.errors.SerializationFailure,
        ),
        ("TRUNCATE articles", psycopg2.errors.WrongObjectType),
        ("ALTER TABLE articles ADD rank int", psycopg2.errors.WrongObjectType),
    ],
)
def test_what_a_view_does_not_do(articles: Database, statement: str, error: type[Exception]) -> None:
    split(articles)
    before = rows(articles)
    with pytest.raises(error):
        articles.run(statement)
    assert rows(articles) == before
    assert articles.run("INSERT INTO articles (id, title) VALUES (9999, 'x') ON CONFLICT DO NOTHING RETURNING id") == [
        (9999,)
    ]


def test_foreign_keys_act(articles: Database) -> None:
    split(articles)
    articles.run("DELETE FROM articles WHERE id = 5")
    assert articles.one("SELECT count(*) FROM notes") == 49
    assert articles.one("SELECT parent FROM articles WHERE id = 12") is None
    articles.run("UPDATE articles SET id = 5000, body = 'moved' WHERE id = 2500")
    assert articles.run("SELECT id, body FROM articles_wide WHERE id IN (2500, 5000)") == [(5000, "moved")]


def test_rights(articles: Database) -> None:
    split(articles)
    for user, may in (("app", True), ("reader", False)):
        connection = articles.connect(user)
        with connection.cursor() as cursor:
            cursor.execute("SELECT title, body FROM articles WHERE id = 3")
            assert cursor.fetchall() == [("title 3", "long " * 3)]
            for statement in (
                "INSERT INTO articles (title) VALUES ('x')",
                "UPDATE articles SET body = 'x', views = 4 WHERE id = 1",
                "DELETE FROM articles WHERE id = 2",
            ):
                with contextlib.nullcontext() if may else pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(statement)
        connection.close()
    owners = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relname ~ '^articles(_narrow|_wide|_rows)?$'"
    assert articles.run(owners) == [("shop",)]
    assert articles.run(
        "SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE proname LIKE 'public.articles split%'"
    ) == [("shop",)]


def test_rights_that_are_given_later(articles: Database) -> None:
    split(articles)
    articles.run("GRANT UPDATE, DELETE ON articles TO reader")
    connection = articles.connect("reader")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE articles SET views = 3, body = 'x' WHERE id = 9 RETURNING views, body")
        assert cursor.fetchall() == [(3, "x")]
        cursor.execute("DELETE FROM articles WHERE id = 9")
        assert cursor.rowcount == 1
    connection.close()
    assert split(articles) == []
    undone(articles)
    assert articles.one("SELECT has_table_privilege('reader', 'articles', 'DELETE')")


def test_a_superuser_splits_for_the_owner(articles: Database) -> None:
    articles.connection.close()
    articles.connection = articles.connect("postgres")
    with writers(articles) as did:
        split(articles)
    assert articles.one("SELECT count(*) FROM articles") == 2500 + did[1]
    owners = (
        "SELECT DISTINCT c.relowner::regrole::text FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace"
        " UNION SELECT proowner::regrole::text FROM pg_proc WHERE proname LIKE 'public.articles split%'"
    )
    assert articles.run(owners) == [("shop",)]
    undone(articles)
    assert articles.run(owners) == [("shop",)]


def test_only_what_is_asked_for_is_read_and_only_what_differs_is_written(articles: Database) -> None:
    split(articles)
    explained = "\n".join(line for (line,) in articles.run("EXPLAIN SELECT id, title FROM articles WHERE views > 5"))
    assert "articles_wide" not in explained
    explained = "\n".join(line for (line,) in articles.run("EXPLAIN SELECT count(*) FROM articles"))
    assert "articles_wide" not in explained
    if articles.major >= 10:  # By default it reads in parallel from then on.
        articles.run("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0")
        counted = "EXPLAIN SELECT count(*) FROM articles WHERE tag = 1"
        explained = "\n".join(line for (line,) in articles.run(counted))
        assert "Parallel Seq Scan on articles_narrow" in explained
    written = "SELECT xmin::text FROM articles_wide WHERE id = 9"
    first = articles.one(written)
    articles.run("UPDATE articles SET views = views + 1, body = body, history = history WHERE id = 9")
    assert articles.one(written) == first
    # Equal for `=`, but not the same.
    articles.run("UPDATE articles SET history = '[1, 2.00]' WHERE id = 9")
    assert articles.one("SELECT history::text FROM articles WHERE id = 9") == "[1, 2.00]"
    assert articles.one(written) != first


@pytest.fixture
def other(articles: Database) -> Iterator[Any]:
    connection = articles.connect()
    yield connection.cursor()
    connection.close()


def meanwhile(database: Database, first: str, cursor: Any, second: str) -> list[tuple[Any, ...]]:
    """Run `second` while `first` is not committed yet, then commit; gives what `second` gave."""
    result: list[Any] = []

    def run() -> None:
        try:
            cursor.execute(second)
            result.append(cursor.fetchall() if cursor.description else cursor.rowcount)
        except psycopg2.Error as error:
            result.append(type(error).__name__)

    database.run("BEGIN")
    database.run(first)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        until_it_waits(database, cursor.connection.get_backend_pid())
    finally:
        database.run("COMMIT")
        thread.join()
    return list(result)


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (
            "UPDATE articles SET views = 8 WHERE id = 1",
            "UPDATE articles SET views = views + 1 WHERE id = 1",
            "SerializationFailure",
        ),
        (
            "UPDATE articles SET body = 'b' WHERE id = 1",
            "UPDATE articles SET views = 2 WHERE id = 1",
            "SerializationFailure",
        ),
        (
            "UPDATE articles SET views = 8 WHERE id = 1",
            "UPDATE articles SET body = 'c' WHERE id = 1",
            "SerializationFailure",
        ),
        ("DELETE FROM articles WHERE id = 1", "UPDATE articles SET views = 2 WHERE id = 1", 0),
        ("UPDATE articles SET views = 8 WHERE id = 1", "DELETE FROM articles WHERE id = 1", 1),
        ("UPDATE articles SET views = 8 WHERE id = 1", "DELETE FROM articles WHERE id = 1 AND views = 1", 0),
        (
            "UPDATE articles SET body = 'b' WHERE id = 1",
            "DELETE FROM articles WHERE id = 1 AND body = 'long '",
            "SerializationFailure",
        ),
        # A row that is locked is read as it is by then; where its wide columns would be older ones, they are not given.
        (
            "UPDATE articles SET views = 8 WHERE id = 1",
            "SELECT views, body FROM articles WHERE id = 1 FOR UPDATE",
            [(8, "long ")],
        ),
        ("UPDATE articles SET body = 'b' WHERE id = 1", "SELECT views FROM articles WHERE id = 1 FOR UPDATE", [(1,)]),
        (
            "UPDATE articles SET body = 'b' WHERE id = 1",
            "SELECT body FROM articles WHERE id = 1 FOR UPDATE",
            "SerializationFailure",
        ),
        ("SELECT FROM articles WHERE id = 1 FOR UPDATE", "UPDATE articles SET views = views + 1 WHERE id = 1", 1),
    ],
)
def test_two_at_the_same_row(articles: Database, other: Any, first: str, second: str, outcome: Any) -> None:
    split(articles)
    assert meanwhile(articles, first, other, second) == [outcome]
    other.execute("UPDATE articles SET views = views + 1, body = body || '.' WHERE id = 1")
    assert problems(articles) == []


def test_generated_and_identity_columns(database: Database) -> None:
    database.server.needs("generated columns")
    database.run(
        "CREATE TABLE articles (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int,"
        " b int GENERATED ALWAYS AS (a * 2) STORED, body text, size int GENERATED ALWAYS AS (length(body)) STORED);"
        "INSERT INTO articles (a, body) SELECT n, repeat('x', n) FROM generate_series(1, 20) n"
    )
    wanted = spec(wide=["body", "size"])
    split(database, wanted)
    assert split(database, wanted) == []
    assert database.run("INSERT INTO articles (a, body) VALUES (3, 'four') RETURNING *") == [(21, 3, 6, "four", 4)]
    assert database.run("UPDATE articles SET a = 5 WHERE id = 21 RETURNING *") == [(21, 5, 10, "four", 4)]
    assert database.run("UPDATE articles SET body = 'seven!!' WHERE id = 21 RETURNING *") == [(21, 5, 10, "seven!!", 7)]
    for statement in (
        "INSERT INTO articles (id) VALUES (99)",
        "INSERT INTO articles (size) VALUES (99)",
        "UPDATE articles SET id = 99 WHERE id = 1",
        "UPDATE articles SET b = 99 WHERE id = 1",
    ):
        with pytest.raises(psycopg2.errors.GeneratedAlways):
            database.run(statement)
    undone(database, wanted)
    assert database.run("INSERT INTO articles (a, body) VALUES (3, 'four') RETURNING *") == [(23, 3, 6, "four", 4)]
    assert database.one("SELECT pg_get_serial_sequence('articles', 'id')") == "public.articles_id_seq"
    with pytest.raises(psycopg2.errors.GeneratedAlways):
        database.run("INSERT INTO articles (id) VALUES (99)")
    assert split(database, wanted) != []


@pytest.mark.parametrize("kind", ["ALWAYS", "BY DEFAULT"])
def test_an_identity_keeps_its_options(database: Database, kind: str) -> None:
    database.server.needs("identity columns")
    database.run(
        f"CREATE TABLE articles (id int GENERATED {kind} AS IDENTITY"
        " (START WITH 7 INCREMENT BY 3 MINVALUE 4 MAXVALUE 999 CACHE 2 CYCLE) PRIMARY KEY, a int, body text);"
        "INSERT INTO articles (a, body) SELECT n, repeat('x', n) FROM generate_series(1, 20) n"
    )

    def options() -> Any:
        return database.run(
            "SELECT attidentity, seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle"
            " FROM pg_sequence, pg_attribute WHERE attrelid = 'articles'::regclass AND attname = 'id'"
            " AND seqrelid = pg_get_serial_sequence('articles', 'id')::regclass"
        )

    before, wanted = options(), spec(wide=["body"])
    assert len(before) == 1
    split(database, wanted)
    undone(database, wanted)
    assert options() == before
    assert database.one("INSERT INTO articles (a) VALUES (3) RETURNING id") == 7 + 20 * 3


def test_numbers_by_default_need_no_right_on_their_sequence(database: Database) -> None:
    database.server.needs("identity columns")
    database.run("CREATE TABLE articles (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a int, body text)")
    database.run("GRANT INSERT, SELECT ON articles TO app")
    split(database, spec(wide=["body"]))
    connection = database.connect("app")
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO articles (id, body) VALUES (DEFAULT, 'a'), (7, 'b') RETURNING id")
        assert cursor.fetchall() == [(1,), (7,)]
    connection.close()


def test_a_key_of_several_columns_and_names_that_need_quotes(database: Database) -> None:
    name, wide = 'an "Old" $body$ table' + "é" * 18, "it's $$ 100%"
    table, column = render.identifier(name), render.identifier(wide)
    database.run(f'CREATE TABLE {table} (a int, "B" timestamptz, {column} text, n int DEFAULT 1, PRIMARY KEY ("B", a))')
    database.run(
        f"INSERT INTO {table} SELECT n % 7, now() - n * interval '1 hour', n::text FROM generate_series(1, 2500) n"
    )
    wanted = spec(table=name, wide=[wide])
    everything = f'SELECT a, extract(epoch FROM "B")::int, {column}, n FROM {table} ORDER BY 2, 1'
    before = database.run(everything)
    split(database, wanted)
    assert split(database, wanted) == []
    assert database.run(everything) == before
    changed = database.run(f"UPDATE {table} SET n = 2, {column} = 'z' WHERE a = 3 RETURNING n")
    assert changed == [(2,)] * 357
    undone(database, wanted)
    assert database.one(f"SELECT count(*) FROM {table} WHERE n = 2") == 357


def test_a_column_that_came_later(articles: Database) -> None:
    split(articles)
    articles.run("ALTER TABLE articles_narrow ADD rank int NOT NULL DEFAULT 4")
    articles.run("ALTER TABLE articles_narrow ALTER views SET DEFAULT 2")
    assert split(articles) == ["renew the views"]
    assert split(articles) == []
    assert articles.run("INSERT INTO articles (title) VALUES ('new') RETURNING views, rank") == [(2, 4)]
    assert articles.run("UPDATE articles SET rank = 5 WHERE id = 1 RETURNING rank") == [(5,)]
    assert articles.one("SELECT has_table_privilege('app', 'articles', 'INSERT')")
    undone(articles)
    assert articles.one("SELECT rank FROM articles WHERE id = 1") == 5


# --- With writers on


@contextlib.contextmanager
def writers(database: Database) -> Iterator[list[int]]:
    """Two writers with rows of their own: they count up, write both parts, insert and delete; gives what they did."""
    did = [0, 0]

    def write(cursor: Any, dice: random.Random, number: int) -> None:
        row = dice.randrange(101, 2001, 2) + number
        narrow = f"UPDATE articles SET price = price + 1 WHERE id = {row}"
        both = f"UPDATE articles SET price = price + 1, body = body || '+' WHERE id = {row}"
        cursor.execute(dice.choice([narrow, both]))
        did[0] += cursor.rowcount
        assert cursor.rowcount == 1, f"an update of row {row} was lost"
        cursor.execute("INSERT INTO articles (title, body) VALUES ('w', 'w') RETURNING id")
        (new,) = cursor.fetchone()
        if dice.random() < 0.5:
            cursor.execute(f"DELETE FROM articles WHERE id = {new}")
            assert cursor.rowcount == 1
        else:
            did[1] += 1

    with sessions(database, write):
        yield did


def test_writers_lose_nothing(articles: Database) -> None:
    first = articles.one("SELECT sum(price) FROM articles")
    with writers(articles) as did:
        split(articles)
    assert split(articles) == []
    assert problems(articles) == []
    assert articles.one("SELECT sum(price) FROM articles") == first + did[0]
    assert articles.one("SELECT count(*) FROM articles") == 2500 + did[1]
    with writers(articles) as more:
        undone(articles)
    assert articles.one("SELECT sum(price) FROM articles") == first + did[0] + more[0]
    assert articles.one("SELECT count(*) FROM ONLY articles") == 2500 + did[1] + more[1]


def test_what_changes_during_the_copy(articles: Database) -> None:
    """Deletions, other keys and values that change places, behind the copy and before it."""
    statements = [
        "DELETE FROM articles WHERE id IN (3, 1001, 2400)",
        "UPDATE articles SET id = id + 10000 WHERE id IN (64, 2401)",
        "UPDATE articles SET id = 3 WHERE id = 2403",
        "UPDATE articles SET code = NULL WHERE id = 10; UPDATE articles SET code = '10' WHERE id = 2410",
        "INSERT INTO articles (id, title) VALUES (-5, 'before'), (9999, 'behind')",
        "BEGIN; UPDATE articles SET views = 99; ROLLBACK",
    ]
    remaining = list(statements)

    def change(*_: Any) -> None:
        if remaining:
            articles.run("SELECT 1")
            cursor = articles.connect().cursor()
            cursor.execute(remaining.pop(0))
            cursor.connection.close()

    apply.apply(articles.connection, planned(articles), change, change)
    assert remaining == []
    assert split(articles) == []
    assert problems(articles) == []
    found = articles.run(
        "SELECT id, code FROM articles WHERE id IN (-5, 3, 64, 10, 2403, 2410, 9999, 10064, 12401) ORDER BY 1"
    )
    assert found == [(-5, None), (3, "2403"), (10, None), (2410, "10"), (9999, None), (10064, "64"), (12401, "2401")]
    assert articles.one("SELECT count(*) FROM articles") == 2499


def test_an_old_snapshot_that_would_miss_the_copy_is_refused(articles: Database) -> None:
    steps = planned(articles)
    begin = next(number for number, step in enumerate(steps) if step.template == "split/begin")
    apply.apply(articles.connection, steps[: begin + 1], lambda *_: None)
    old = articles.connect()
    old.set_session(isolation_level="REPEATABLE READ", autocommit=False)
    cursor = old.cursor()
    cursor.execute("SELECT 1 FROM tags")
    apply.apply(articles.connection, steps[begin + 1 : begin + 2], lambda *_: None)
    with pytest.raises(psycopg2.errors.SerializationFailure):
        cursor.execute("DELETE FROM articles WHERE id = 1")
    old.close()
    split(articles)
    assert problems(articles) == []


# --- Cut off


@pytest.mark.parametrize("after", [2, 4, 7, 10, 11, 12])
@pytest.mark.parametrize("back", [False, True])
def test_what_is_cut_off_goes_on(articles: Database, after: int, back: bool) -> None:
    before = rows(articles)
    if back:
        split(articles)
    wanted, calls = spec(), 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            admin = articles.server.connect(articles.name)
            admin.cursor().execute("SELECT pg_terminate_backend(%s)", (articles.connection.get_backend_pid(),))
            admin.close()

    steps = (plan.undo if back else plan.plan)(wanted, catalog.read(articles.connection, wanted))
    with contextlib.suppress(HostwrightError):
        apply.apply(articles.connection, steps, count, count)
    assert calls >= after
    articles.connection = articles.connect()
    assert rows(articles) == before
    articles.run("UPDATE articles SET views = views WHERE id = 1")
    (undone if back else split)(articles)
    assert (undone if back else split)(articles) == []
    assert rows(articles) == before
    undone(articles)
    assert articles.one("SELECT relkind FROM pg_class WHERE relname = 'articles'") == "r"
    assert (
        articles.one("SELECT count(*) FROM pg_class WHERE relname LIKE 'articles\\_%' AND relkind IN ('r', 'v')") == 0
    )


def test_a_copy_that_is_given_up(articles: Database) -> None:
    before, made = rows(articles), structure(articles)
    apply.apply(articles.connection, planned(articles)[:3], lambda *_: None)
    assert problems(articles) == ["it is copying: apply was cut off; run it again"]
    with pytest.raises(BadInput, match="wide has changed since it was begun: body, history"):
        planned(articles, spec(wide=["body"]))
    assert undone(articles) == ["give up the copy"]
    assert (rows(articles), structure(articles)) == (before, made)


def test_a_copy_that_differs_is_found(articles: Database) -> None:
    steps = planned(articles)
    compare = next(number for number, step in enumerate(steps) if step.template == "split/compare")
    apply.apply(articles.connection, steps[:compare], lambda *_: None)
    articles.run("UPDATE articles_narrow SET views = views + 1 WHERE id = 77")
    with pytest.raises(HostwrightError, match="the copy has other rows than the table; nothing was changed"):
        split(articles)
    assert articles.one("SELECT relkind FROM pg_class WHERE relname = 'articles'") == "r"
    undone(articles)
    split(articles)


def test_a_table_that_is_changed_during_the_copy(articles: Database) -> None:
    """By a migration, say: its column is not forgotten."""
    steps = planned(articles)
    turn = next(number for number, step in enumerate(steps) if step.template == "split/turn")
    apply.apply(articles.connection, steps[:turn], lambda *_: None)
    articles.run("ALTER TABLE articles ADD rank int DEFAULT 3; CREATE INDEX articles_rank ON articles (rank)")
    with pytest.raises(HostwrightError, match="articles has got or lost a column, an index"):
        apply.apply(articles.connection, steps[turn:], lambda *_: None)
    assert split(articles)[:2] == [
        "give up a copy that has other columns",
        "make articles_narrow, and keep it up to date",
    ]
    assert articles.one("SELECT rank FROM articles WHERE id = 1") == 3

    steps = plan.undo(spec(), catalog.read(articles.connection, spec()))
    turn = next(number for number, step in enumerate(steps) if step.template == "split/unturn")
    apply.apply(articles.connection, steps[:turn], lambda *_: None)
    articles.run("ALTER TABLE articles_wide ADD more text DEFAULT 'm'")
    with pytest.raises(HostwrightError, match="articles_wide has got or lost a column, an index"):
        apply.apply(articles.connection, steps[turn:], lambda *_: None)
    assert undone(articles)[0] == "give up a copy that has other columns"
    assert articles.run("SELECT rank, more FROM articles WHERE id = 1") == [(3, "m")]
    assert articles.one("SELECT count(*) FROM pg_indexes WHERE indexname = 'articles_rank'") == 1


def test_a_reader_in_the_way_of_the_last_step(articles: Database) -> None:
    reader = articles.connect()
    reader.autocommit = False
    cursor = reader.cursor()
    cursor.execute("SELECT 1 FROM articles")
    timer = threading.Timer(0.5, reader.close)
    timer.start()
    split(articles)
    timer.join()
    assert problems(articles) == []


# --- What can't be


@pytest.mark.parametrize(
    ("before", "wanted", "message"),
    [
        ("", {"table": "nowhere"}, "nowhere: there is no such table"),
        ("", {"wide": ["bdy"]}, "it has no column bdy"),
        ("", {"wide": ["id", "body"]}, "wide: id is in the primary key"),
        (
            "",
            {"wide": ["title", "body", "views", "tag", "code", "history", "parent", "price"]},
            "nothing but the primary key would stay",
        ),
        ("CREATE TABLE t (a int, body text)", {"table": "t", "wide": ["body"]}, "t: it has no primary key"),
        ("CREATE VIEW v AS SELECT * FROM articles", {"table": "v"}, "v: it is no plain table"),
        ("CREATE VIEW v AS SELECT * FROM articles", {}, "the view public.v would not do"),
        ("CREATE TABLE articles_wide ()", {}, "articles_wide is there already"),
        (
            "CREATE INDEX pair ON articles (views, lower(body))",
            {},
            "the index pair has columns of both parts (body, views)",
        ),
        ("CREATE INDEX partly ON articles (views) WHERE body <> ''", {}, "the index partly has columns of both parts"),
        (
            "ALTER TABLE articles ADD CONSTRAINT sane CHECK (views < length(body) + 99)",
            {},
            "the constraint sane has columns of both parts",
        ),
        (
            "ALTER TABLE articles ADD CONSTRAINT sane CHECK (views < 99) NOT VALID",
            {},
            "the constraint sane is not proved",
        ),
        ("", {"wide": ["body", "tag"]}, "the foreign key articles_tag_fkey begins at a wide column"),
        (
            "CREATE TABLE t (a text REFERENCES articles (code))",
            {"wide": ["code"]},
            "the foreign key public.t (t_a_fkey) points to a wide column",
        ),
        ("ALTER TABLE articles ENABLE ROW LEVEL SECURITY", {}, "row level security would not do"),
        ("GRANT UPDATE (views) ON articles TO reader", {}, "rights on the column views alone would not do"),
        ("CREATE RULE r AS ON DELETE TO articles DO ALSO SELECT 1", {}, "the rule r would not do"),
        ("CREATE PUBLICATION p FOR TABLE articles", {}, "the publication p would not do"),
        ("CREATE STATISTICS s ON views, tag FROM articles", {}, "the statistics s would not do"),
        ("CREATE TABLE c () INHERITS (articles)", {}, "inheritance would not do"),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TRIGGER mine BEFORE INSERT ON articles FOR EACH ROW EXECUTE PROCEDURE f()",
            {},
            "the trigger mine would not do",
        ),
        (
            "ALTER TABLE articles DROP CONSTRAINT articles_pkey CASCADE, ADD PRIMARY KEY (id) DEFERRABLE",
            {},
            "its primary key is deferrable",
        ),
        ("ALTER TABLE articles ADD hostwright_version int", {}, "the name of the column hostwright_version is taken"),
        ("CREATE TABLE p (id int, body text) PARTITION BY RANGE (id)", {"table": "p"}, "p: it is partitioned"),
    ],
)
def test_a_table_that_cannot_be_split(articles: Database, before: str, wanted: dict[str, Any], message: str) -> None:
    if re.search("PUBLICATION|STATISTICS|PARTITION", before):
        articles.server.needs("publications")  # and the two others
    if before:
        articles.run(before)
    snapshot = articles.snapshot()
    with pytest.raises(BadInput, match=re.escape(message)):
        planned(articles, spec(**wanted))
    assert articles.snapshot() == snapshot


def test_a_split_table_with_another_spec(articles: Database) -> None:
    split(articles)
    with pytest.raises(BadInput, match="wide: the spec has body, and articles_wide has body, history"):
        planned(articles, spec(wide=["body"]))
    articles.run("CREATE VIEW mine AS SELECT id FROM articles")
    with pytest.raises(BadInput, match=r"the view public\.mine would not do"):
        undone(articles)


def test_a_role_without_rights(articles: Database) -> None:
    articles.connection.close()
    articles.connection = articles.connect("reader")
    with pytest.raises(BadInput, match="it belongs to shop, and you are not"):
        planned(articles)


# --- Django


@pytest.mark.parametrize("table", ["articles_narrow", "articles"])
def test_counters_that_many_count_up(articles: Database, table: str) -> None:
    """A model of the narrow table counts as a plain table does; through the view, whoever is too late tries again."""
    split(articles)
    refused: list[int] = []

    def count() -> None:
        connection = articles.connect("app")
        with connection.cursor() as cursor:
            for _ in range(100):
                while True:
                    try:
                        cursor.execute(f"UPDATE {table} SET views = views + 1 WHERE id = 10")
                        break
                    except psycopg2.errors.SerializationFailure:
                        refused.append(1)
        connection.close()

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert articles.one("SELECT views FROM articles WHERE id = 10") == 300
    assert refused == [] or table == "articles"


def test_django_gets_what_it_gets_on_a_plain_table(database: Database, library: str) -> None:
    expected = plain(database, library)
    split(database, SplitSpec(table="events", wide=["payload"]))
    # INSERT ... ON CONFLICT DO NOTHING reaches the view's trigger as a plain INSERT.
    assert django("run", database, library) == with_the_conflict(expected)


# --- The tasks


def test_the_same_verbs(fab: Any, events: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def declared(**table: Any) -> None:
        site = config.load({**SITE, "partitions": [{"table": "events", **table}]})
        monkeypatch.setattr(_fleet, "inventory", lambda name: types.SimpleNamespace(site=site))

    declared(wide=["paylod"])
    printed, status = fab("apply")
    assert (printed.splitlines()[0], status) == ("error: partitions: events: it has no column paylod", 2)
    declared(wide=["payload"])
    printed, status = fab("plan")
    assert status == 3
    assert "-- events: compare all rows with the copy\n" in printed
    assert fab("verify") == ("error: events: it is not split", 1)
    printed, status = fab("apply", rate=1000)
    assert "events: make events a view of events_narrow and events_wide  0." in printed
    assert fab("plan") == ("-- events: nothing to do\n", 0)
    assert fab("verify") == ("events: all is well\n", 0)
    printed, status = fab("status")
    assert "events: split" in printed
    assert "events_wide" in printed
    shown = json.loads(fab("status", json=True)[0])
    assert (shown["state"], shown["problems"]) == ("split", [])
    assert [table["table"] for table in shown["tables"]] == ["events_narrow", "events_wide"]
    assert fab("archive", child="x", to=".")[1] == 2
    events.run("DELETE FROM events_wide WHERE id = 1")
    assert fab("verify") == ("error: events: 1 rows have no line in events_wide", 1)
    events.run("INSERT INTO events_wide (id, payload) VALUES (1, '{}')")
    assert fab("undo", yes=True)[1] == 0
    assert fab("undo", yes=True) == ("events: nothing to do\n", 0)
    assert events.one("SELECT count(*) FROM ONLY events") == 50
