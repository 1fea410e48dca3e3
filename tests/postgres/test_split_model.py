"""Any row of operations gives, through the view of a split table, what it gives on a plain one."""

from __future__ import annotations

from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostwright.partition.spec import SplitSpec
from tests.postgres.conftest import Database
from tests.postgres.test_split import split, undone

ids = st.integers(1, 8)
texts = st.one_of(st.none(), st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=8))
# Equal for `=`, and yet not the same.
numbers = st.sampled_from([None, "1", "1.0", "1.00", "-0.0", "NaN", "12345678901234567890.5"])
documents = st.sampled_from([None, "{}", "{ }", '{"a": 1}', '{"a": 1.0}', "[]", "null"])
large = st.sampled_from([None, "", "x" * 3000, "x" * 2999 + "y"])
operations = st.lists(
    st.one_of(
        st.tuples(
            st.just("INSERT INTO {t} (id, kind, body, amount) VALUES (%s, %s, %s, %s) RETURNING *"),
            ids,
            texts,
            texts,
            numbers,
        ),
        st.tuples(st.just("INSERT INTO {t} (id, document, body) VALUES (%s, %s, %s)"), ids, documents, large),
        st.tuples(st.just("INSERT INTO {t} (id) SELECT %s + n FROM generate_series(1, 3) n RETURNING id, kind"), ids),
        st.tuples(st.just("UPDATE {t} SET count = count + 1 WHERE id = %s RETURNING count, body"), ids),
        st.tuples(st.just("UPDATE {t} SET body = %s WHERE id <= %s"), texts, ids),
        st.tuples(
            st.just("UPDATE {t} SET body = %s, amount = %s, kind = %s WHERE id >= %s RETURNING *"),
            large,
            numbers,
            texts,
            ids,
        ),
        st.tuples(st.just("UPDATE {t} SET document = %s, amount = amount WHERE id = %s"), documents, ids),
        st.tuples(st.just("UPDATE {t} SET id = id + 10, body = body || 'z' WHERE id = %s"), ids),
        st.tuples(st.just("UPDATE {t} SET id = id - 10, count = 7 WHERE id = %s + 10"), ids),
        st.tuples(st.just("UPDATE {t} SET body = NULL, amount = NULL, document = NULL, count = 3 WHERE id = %s"), ids),
        st.tuples(st.just("UPDATE {t} SET count = count + length(body) WHERE body IS NOT NULL AND id < %s"), ids),
        st.tuples(st.just("DELETE FROM {t} WHERE id = %s RETURNING *"), ids),
        st.tuples(st.just("DELETE FROM {t} WHERE body = %s"), texts),
        st.tuples(st.just("SELECT body, count FROM {t} WHERE id = %s FOR UPDATE"), ids),
        st.just(("SAVEPOINT s",)),
        st.just(("ROLLBACK TO s",)),
        st.just(("RELEASE s",)),
        st.just(("COMMIT",)),
        st.just(("ROLLBACK",)),
        st.just(("there and back",)),
    ),
    max_size=25,
)

TABLE = """
CREATE TABLE {t} (id int PRIMARY KEY, kind text DEFAULT 'seen' CHECK (kind <> 'no'), body text DEFAULT 'b',
    count int NOT NULL DEFAULT 0, amount numeric, document json)"""
WIDE = SplitSpec(table="rows", wide=["body", "amount", "document"])


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations)
def test_the_same_rows_as_a_plain_table(database: Database, done: list[Any]) -> None:
    if not database.one("SELECT to_regclass('rows')"):
        for name in ("plain", "rows"):
            database.run(TABLE.format(t=name))
        split(database, WIDE)
    database.run("DELETE FROM plain; DELETE FROM rows")
    assert run(database, "plain", done) == run(database, "rows", done)


def run(database: Database, name: str, done: list[Any]) -> list[Any]:
    """The outcome of each operation, and the rows at the end."""
    outcomes: list[Any] = []
    saved = False
    with database.connection.cursor() as cursor:
        cursor.execute("BEGIN")
        for text, *values in done:
            if text == "there and back":
                cursor.execute("COMMIT")
                if name == "rows":
                    undone(database, WIDE)
                    split(database, WIDE)
                cursor.execute("BEGIN")
                saved = False
                continue
            if text in ("ROLLBACK TO s", "RELEASE s") and not saved:
                continue
            saved = {"SAVEPOINT s": True, "RELEASE s": False, "COMMIT": False, "ROLLBACK": False}.get(text, saved)
            if not values:
                cursor.execute(text)
                if text in ("COMMIT", "ROLLBACK"):
                    cursor.execute("BEGIN")
                continue
            cursor.execute("SAVEPOINT one")
            try:
                cursor.execute(text.format(t=name), values)
                # In no promised order: the view is a join.
                rows = sorted(map(repr, cursor.fetchall())) if cursor.description else []
                outcomes.append((text, cursor.rowcount, rows))
            except psycopg2.Error as error:
                cursor.execute("ROLLBACK TO one")
                outcomes.append((text, type(error).__name__))
            cursor.execute("RELEASE one")
        cursor.execute("COMMIT")
        cursor.execute(f"SELECT r::text FROM {name} r ORDER BY id")
        outcomes.append(cursor.fetchall())
    return outcomes


@pytest.mark.parametrize("value", ["x" * 100_000, "x" * 99_999 + "y"])
def test_values_out_of_line_come_back(database: Database, value: str) -> None:
    database.run(TABLE.format(t="rows"))
    database.run("INSERT INTO rows (id, body) VALUES (1, %s)", "x" * 100_000)
    split(database, WIDE)
    database.run("UPDATE rows SET body = %s, count = 2 WHERE id = 1", value)
    assert database.run("SELECT body, count FROM rows") == [(value, 2)]
    undone(database, WIDE)
    assert database.run("SELECT body, count FROM rows") == [(value, 2)]
