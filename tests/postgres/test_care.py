"""Looking after divided tables: maintenance and its failures, verify, load."""

from __future__ import annotations

import datetime as dt
import io
import time
import zoneinfo
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import apply, catalog, load, periods, query, render
from tests.postgres.conftest import NOW, UTC, Database, spec

SLEPT = dt.datetime(2026, 7, 20, tzinfo=UTC)


@pytest.fixture(params=["declarative", "landing"])
def wanted(request: pytest.FixtureRequest, events: Database) -> Any:
    if request.param == "declarative":
        events.server.needs("declarative")
    return spec(strategy=request.param)


def test_a_host_that_slept_catches_up_by_itself(events: Database, wanted: Any) -> None:
    events.apply(wanted)
    done = events.maintain(SLEPT)
    assert [step for step in done if "made" in step] == [
        f"public.events: made events_p2026{month:02}" for month in (7, 8, 9, 10)
    ]
    assert events.plan(wanted, SLEPT) == []
    assert events.problems(wanted, SLEPT) == []


def test_what_an_older_hostwright_has_left_is_renewed(events: Database, wanted: Any) -> None:
    events.apply(wanted)
    events.run(
        "ALTER TABLE hostwright.partitioned DROP archive_schema, DROP subpartition, DROP leaving;"
        "CREATE OR REPLACE FUNCTION hostwright.stamp() RETURNS text LANGUAGE sql AS $$ SELECT 'older'::text $$"
    )
    assert [step.title for step in events.plan(wanted)] == [
        "install the functions in schema hostwright",
        "write down the spec",
    ]
    events.apply(wanted)
    assert events.plan(wanted) == []
    assert events.maintain() == []


@pytest.mark.parametrize("keep", [1, None])
def test_a_row_far_ahead_of_the_others_moves_nothing(events: Database, wanted: Any, keep: int | None) -> None:
    ranges = spec(strategy=wanted.strategy, key="id", interval=20, keep=keep, overflow="default")
    events.apply(ranges)
    events.maintain()
    before = events.counts()
    events.run("INSERT INTO events (id) VALUES (2000)")
    far = "events_default" if wanted.strategy == "declarative" else "events"
    assert events.maintain() == []
    assert events.plan(ranges) == []
    assert events.counts() == {**before, far: before.get(far, 0) + 1}
    # Those that come one after the other take the children along, also past the last one of them.
    events.run("INSERT INTO events (id) SELECT generate_series(51, 250)")
    assert "public.events: made events_p300" in events.maintain()
    assert events.plan(ranges) == []
    assert [child.name for child in catalog.read(events.connection, ranges).children if child.upper == 320]
    assert events.one("SELECT tableoid::regclass::text FROM events WHERE id = 2000") == far


def test_maintenance_that_fails_says_so_and_goes_on_later(events: Database, wanted: Any) -> None:
    events.apply(wanted)
    events.run("CREATE TABLE events_p202607 ()")
    assert events.maintain(SLEPT) == []
    failure = events.one("SELECT problem FROM hostwright.health")
    assert failure == 'relation "events_p202607" already exists'
    assert any("maintenance fails since" in problem for problem in events.problems(wanted, NOW))
    events.run("DROP TABLE events_p202607")
    assert events.maintain(SLEPT) == []  # A minute has not passed yet.
    events.run("UPDATE hostwright.partitioned SET failed_at = failed_at - interval '61 s'")
    assert len(events.maintain(SLEPT)) >= 4
    assert events.one("SELECT problem FROM hostwright.health") is None


def test_maintenance_waits_little_for_a_lock(events: Database, wanted: Any) -> None:
    events.apply(wanted)
    holder = events.connect()
    holder.autocommit = False
    holder.cursor().execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
    started = time.monotonic()
    assert events.maintain(SLEPT) == []
    assert time.monotonic() - started < 10
    holder.close()
    assert "lock timeout" in events.one("SELECT failure FROM hostwright.partitioned")


@pytest.mark.parametrize("name", ["events_p202604", "events_p202604_pkey"])
def test_a_name_that_the_archive_has_already_is_said(events: Database, wanted: Any, name: str) -> None:
    events.apply(wanted)
    events.run(f"CREATE SCHEMA archive; CREATE TABLE archive.{name} ()")
    short = wanted.model_copy(update={"keep": 2, "retention": "archive"})
    said = f"archive.{name} is there already, so that public.events_p202604 can not move to its schema: rename or drop"
    try:
        with pytest.raises(HostwrightError, match=said):
            events.apply(short, SLEPT)
        assert "events_p202604" in [child.name for child in catalog.read(events.connection, short).children]
        assert events.one("SELECT leaving::text FROM hostwright.partitioned") is None
        events.maintain(SLEPT)
        assert said in events.one("SELECT problem FROM hostwright.health")
        events.run(f"DROP TABLE archive.{name}")
        events.apply(short, SLEPT)
        assert events.plan(short, SLEPT) == []
        assert events.one("SELECT to_regclass('archive.events_p202604')") is not None
    finally:
        events.run("DROP SCHEMA archive CASCADE")


def test_two_at_once_are_one(events: Database, wanted: Any) -> None:
    events.apply(wanted)
    other = events.connect()
    other.autocommit = False
    with other.cursor() as cursor:
        cursor.execute("SELECT hostwright.maintain(%s)", (SLEPT,))
        assert cursor.fetchone() is not None
        assert events.maintain(SLEPT) == []
        other.commit()
        assert events.maintain(SLEPT) != []
    other.close()


def test_verify_sees_gaps_keys_twice_and_a_horizon_that_ends(events: Database, wanted: Any) -> None:
    events.apply(wanted)
    assert events.problems(wanted) == []
    assert events.problems(wanted, dt.datetime(2026, 6, 2, tzinfo=UTC)) == [
        "the last child ends at 2026-07-01 00:00:00+00, with this period: run maintenance"
    ]
    events.run("DROP TABLE events_p202605")
    events.run("INSERT INTO events (id, created_at) VALUES (1, '2026-04-01+00')")
    assert events.problems(wanted) == [
        "no child for rows from 2026-05-01 00:00:00+00 up to 2026-06-01 00:00:00+00",
        "(id) = (1) is there more than once",
    ]
    events.run("ALTER TABLE events_p202604 ADD CONSTRAINT odd CHECK (id > 0) NOT VALID")
    assert (
        "events_p202604: the constraint odd was never proved: ALTER TABLE ... VALIDATE CONSTRAINT"
        in events.problems(wanted)
    )
    events.run("DROP TABLE events CASCADE; CREATE TABLE events (id int, created_at timestamptz NOT NULL)")
    assert events.problems(wanted) == ["it is not divided"]


LINES = """created_at,kind,payload
2026-03-05 12:00:00+00,one,"a ""quoted"" text, with
two lines"
2026-04-05T12:00:00Z,two,
2025-12-31T23:59:59.999999-01:00,three,x
2025-12-05,four,x
"""


def loaded(events: Database, wanted: Any, text: str) -> int:
    table = catalog.read(events.connection, wanted)
    return load.load(events.connection, wanted, table, io.BytesIO(text.encode()), lambda rows: None)


def test_load(events: Database, wanted: Any) -> None:
    events.apply(wanted)
    events.run("ALTER TABLE events ALTER payload DROP NOT NULL")
    assert loaded(events, wanted, LINES) == 4
    old = "events_pmin" if wanted.strategy == "declarative" else None
    homes = dict(events.run("SELECT kind, tableoid::regclass::text FROM events WHERE kind NOT IN ('old')"))
    assert homes == {
        "one": old or "events",
        "two": "events_p202604",
        "three": old or "events_p202601",
        "four": old or "events_p202512",
    }
    assert events.run("SELECT payload FROM events WHERE kind IN ('one', 'two') ORDER BY kind") == [
        ('a "quoted" text, with\ntwo lines',),
        (None,),
    ]
    assert events.problems(wanted) == []


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", BadInput, "the file's columns are none"),
        ("id,kind\n", BadInput, "created_at, by which rows find their child, is not there"),
        ("created_at,knd\n", BadInput, "Unknown: knd"),
        ("created_at,kind\n2026-03-01,a\nyesterday,b\n", BadInput, "line 3: no value of the key in"),
        ("created_at,kind\n2026-03-01,a\n\n", BadInput, "line 3: no value of the key in"),
        ("created_at,kind\n2026-01-09 01:00,a\n2026-01-09 x,b\n", HostwrightError, "nothing was loaded: invalid input"),
        (f"created_at,kind\n2026-03-01,{'x' * 41}\n", HostwrightError, "nothing was loaded: value too long"),
    ],
)
def test_a_file_that_cannot_be_loaded_changes_nothing(
    events: Database, wanted: Any, text: str, error: type[Exception], message: str
) -> None:
    events.apply(wanted)
    with pytest.raises(error, match=message):
        loaded(events, wanted, text)
    assert events.one("SELECT count(*) FROM events") == 50


OLD = """
CREATE TABLE old (created_at timestamp, kind text, payload bytea);
INSERT INTO old
SELECT timestamp '2025-11-01' + n * interval '4 hours', 'q"uoted, ' || n, decode(md5(n::text), 'hex')
  FROM generate_series(1, 700) n
"""


def test_load_of_a_query(events: Database, wanted: Any) -> None:
    events.apply(wanted)
    events.run(OLD)
    asking = events.connect()

    def asked(text: str) -> int:
        with query.rows(asking, text) as rows, apply.alone(events.connection):
            table = catalog.read(events.connection, wanted)
            return load.load(events.connection, wanted, table, rows, lambda rows: None)

    assert asked("SELECT created_at, kind, payload::text FROM old -- all;\n") == 700
    same = (
        "SELECT count(*) FROM old o JOIN events e ON e.kind = o.kind AND e.created_at = o.created_at AT TIME ZONE 'UTC'"
    )
    assert events.one(f"{same} AND e.payload = '\\x' || encode(o.payload, 'hex')") == 700
    before = events.one("SELECT count(*) FROM events")
    events.run("CREATE TABLE many AS SELECT created_at, row_number() OVER (ORDER BY kind)::int AS n FROM old")
    for text, message in (
        ("SELECT created_at FROM nowhere", 'the query: relation "nowhere" does not exist'),
        ("SELECT created_at, 1 / (kind = 'x')::int AS id FROM old", "the query: division by zero"),
        ("WITH a AS (DELETE FROM old RETURNING created_at) SELECT * FROM a", "the query: .*cannot execute"),
        ("SELECT kind FROM old", "created_at, by which rows find their child, is not there"),
        # It fails when rows have been sent already.
        (
            "SELECT created_at, repeat('x', 9999) AS payload, n + 5000 + 0 / (n - 690) AS id FROM many",
            "division by zero",
        ),
    ):
        with pytest.raises(BadInput, match=message):
            asked(text)
        assert events.one("SELECT count(*) FROM events") == before
    asking.close()


def test_a_load_whose_connection_is_lost_loads_nothing(events: Database, wanted: Any) -> None:
    events.apply(wanted)

    class Lost(io.BytesIO):
        """A file, when most of which was read the connection is lost."""

        def readline(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 1_000_000:
                admin = events.server.connect(events.name)
                admin.cursor().execute("SELECT pg_terminate_backend(%s)", (events.connection.get_backend_pid(),))
                admin.close()
            return super().readline(size)

    rows = Lost(b"created_at,kind\n" + b"2026-01-05 12:00:00+00,x\n" * 80_000)
    with pytest.raises(HostwrightError, match="nothing was loaded: "), apply.alone(events.connection):
        load.load(events.connection, wanted, catalog.read(events.connection, wanted), rows, lambda rows: None)
    events.connection = events.connect()
    assert events.one("SELECT count(*) FROM events") == 50


def test_a_load_takes_longer_than_the_role_s_settings_allow(events: Database, wanted: Any) -> None:
    events.apply(wanted)
    timeouts = {"statement_timeout": 9.5, "idle_in_transaction_session_timeout": 9.6, "transaction_timeout": 17}
    for name in (name for name, since in timeouts.items() if events.major >= since):
        events.run(f"SET {name} = '300ms'")

    class Slow(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 100:
                time.sleep(0.4)
            return super().readline(size)

    rows = Slow(b"created_at,kind\n" + b"2026-01-05 12:00:00+00,x\n" * 3000)
    table = catalog.read(events.connection, wanted)
    assert load.load(events.connection, wanted, table, rows, lambda rows: None) == 3000


def test_maintenance_rests_while_rows_are_loaded(events: Database, wanted: Any) -> None:
    events.apply(wanted)
    other = events.connect()
    with apply.alone(events.connection), other.cursor() as cursor:
        cursor.execute("SELECT hostwright.maintain(%s)", (SLEPT,))
        assert cursor.fetchone() == (None,)
        with pytest.raises(HostwrightError, match="someone else is applying"):
            apply.apply(other, [], lambda *_: None)
    other.close()
    assert events.maintain(SLEPT) != []


def test_load_into_a_table_that_numbers_its_rows(events: Database, wanted: Any) -> None:
    events.server.needs("identity columns")
    events.run(
        "CREATE TABLE log (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, created_at timestamptz NOT NULL);"
        "CREATE INDEX ON log (created_at); INSERT INTO log (created_at) VALUES ('2026-01-01+00')"
    )
    mine = wanted.model_copy(update={"table": "log"})
    events.apply(mine)
    for text, count in (
        ("created_at\n2026-03-01\n2026-01-05\n2026-05-05\n", 4),
        ("id,created_at\n90,2026-03-01\n91,2026-01-05\n92,2026-05-05\n", 7),
    ):
        assert loaded(events, mine, text) == 3
        assert events.one("SELECT count(DISTINCT id) FROM log") == count
        assert events.problems(mine) == []
    events.apply(mine)
    assert events.plan(mine) == []


def test_a_table_that_is_gone_is_said_and_others_are_looked_after(events: Database, wanted: Any) -> None:
    events.run("CREATE TABLE log (LIKE events INCLUDING ALL)")
    events.apply(wanted)
    events.apply(wanted.model_copy(update={"table": "log"}))
    events.run("DROP TABLE events CASCADE")
    assert "public.log: made events_p202607" not in events.maintain(SLEPT)
    assert events.one("SELECT to_regclass('log_p202607')") is not None
    assert events.run("SELECT table_name, problem FROM hostwright.health ORDER BY 1") == [
        ("events", "the table is gone, and its line in hostwright.partitioned is not"),
        ("log", None),
    ]


@pytest.mark.parametrize("method", ["list", "hash"])
def test_what_has_nothing_to_maintain_is_well(events: Database, method: str) -> None:
    events.server.needs("declarative")
    events.apply(spec(key="kind", method=method, adopt="copy", values={"old": ["old"]} if method == "list" else {}))
    assert events.maintain() == []
    assert events.run("SELECT worked_at, horizon, problem FROM hostwright.health") == [(None, None, None)]


INTERVALS = ["hour", "day", "week", "month", "quarter", "year"]
# In some of them a midnight did not happen, or happened twice.
ZONES = [
    "UTC",
    "Europe/Vienna",
    "America/Havana",
    "Atlantic/Azores",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Asia/Kolkata",
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    # What is older is told otherwise by older data of time zones, which a server can have.
    st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2037, 12, 1), timezones=st.just(UTC)),
    st.sampled_from(INTERVALS),
    st.sampled_from(ZONES),
    st.integers(-30, 30),
    st.booleans(),
    st.text(st.characters(exclude_characters="\0.", exclude_categories=("Cs",)), min_size=1, max_size=63),
)
def test_the_database_and_the_plan_agree_on_every_period(
    events: Database, moment: dt.datetime, interval: Any, zone: str, count: int, zoned: bool, name: str
) -> None:
    if not events.one("SELECT to_regclass('hostwright.partitioned')"):
        events.apply(spec(strategy="landing"))
    wanted = spec(table=name, interval=interval, timezone="UTC" if interval == "hour" else zone)
    calendar = periods.Periods(wanted, zoned)
    zone = wanted.timezone
    at = moment if zoned else moment.astimezone(zoneinfo.ZoneInfo(zone)).replace(tzinfo=None)
    expected = calendar.period(calendar.step(calendar.position(moment), count))
    assert events.run(
        "SELECT name, lower, upper FROM hostwright.period(ROW('public', %s, 'k', %s, NULL, %s, '', 1, 1, '', '', true,"
        " NULL, NULL, NULL, NULL, NULL, NULL, NULL)::hostwright.partitioned, %s, %s, %s)",
        name,
        interval,
        zone,
        "timestamp with time zone" if zoned else "timestamp without time zone",
        at.isoformat(" "),
        count,
    ) == [(expected.name, render.bound(expected.lower), render.bound(expected.upper))]


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6), st.integers(-5, 5))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_database_and_the_plan_agree_on_ranges_of_integers(
    events: Database, value: int, width: int, count: int
) -> None:
    if not events.one("SELECT to_regclass('hostwright.partitioned')"):
        events.apply(spec(strategy="landing"))
    calendar = periods.Periods(spec(interval=width))
    expected = calendar.period(calendar.step(calendar.position(value), count))
    assert events.run(
        "SELECT name, lower, upper FROM hostwright.period(ROW('public', 'events', 'k', 'integer', %s::bigint, '', '',"
        " 1, 1, '', '', true, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::hostwright.partitioned, 'bigint', %s, %s)",
        width,
        str(value),
        count,
    ) == [(expected.name, str(expected.lower), str(expected.upper))]
