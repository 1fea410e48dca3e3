"""Migrations of a table, as one program: its output is compared between a plain and a divided table.

    python django_migrations.py create|run "DSN"

`create` makes the tables as a first migration would; `run` does one operation after the other, and prints a JSON line
for each: its name, and what a new row and a late one give after it, or the exception. It runs on Django 2.2 and newer.
"""

import datetime as dt
import json
import sys

import django
from django.conf import settings

UTC = dt.timezone.utc
DSN = dict(part.split("=", 1) for part in sys.argv[2].split())

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": DSN["host"],
            "NAME": DSN["dbname"],
            "USER": DSN["user"],
        }
    },
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from django.db.backends.postgresql.features import DatabaseFeatures  # noqa: E402

# Whether Django supports a server of that age is not the question here.
DatabaseFeatures.minimum_database_version = (9, 5)
if django.VERSION < (3, 0):
    from django.db.backends.postgresql import base

    base.utc_tzinfo_factory = lambda offset: UTC

from django.db import Error, connection, models  # noqa: E402
from django.db.migrations import operations  # noqa: E402
from django.db.migrations.state import ProjectState  # noqa: E402

CHECK = "condition" if django.VERSION >= (5, 1) else "check"
NUMBER = models.IntegerField

FIRST = [
    operations.CreateModel(
        "Kind", [("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=9))]
    ),
    operations.CreateModel(
        "Event",
        [
            ("id", models.AutoField(primary_key=True)),
            ("created_at", models.DateTimeField(db_index=True)),
            ("kind", models.CharField(max_length=40, db_index=True)),
            ("count", NUMBER(default=0)),
        ],
        {"db_table": "events", "indexes": [models.Index(fields=["count"], name="event_count")]},
    ),
]
LATER = [
    operations.AddField("Event", "rank", NUMBER(default=7)),
    operations.AddField("Event", "note", models.TextField(null=True)),
    operations.AlterField("Event", "kind", models.CharField(max_length=80, db_index=True)),
    operations.AlterField("Event", "count", models.BigIntegerField(default=0)),
    operations.AlterField("Event", "id", models.BigAutoField(primary_key=True)),
    operations.AlterField("Event", "note", models.TextField(default="none")),
    operations.AddIndex("Event", models.Index(fields=["kind", "rank"], name="event_kind_rank")),
    operations.AlterField("Event", "rank", NUMBER(default=7, db_index=True)),
    operations.AddConstraint("Event", models.CheckConstraint(name="event_rank", **{CHECK: models.Q(rank__gte=0)})),
    operations.RemoveConstraint("Event", "event_rank"),
    operations.RemoveIndex("Event", "event_kind_rank"),
    operations.AddConstraint("Event", models.UniqueConstraint(fields=["id", "created_at"], name="event_both")),
    # Those that were there before the table was divided.
    operations.RemoveIndex("Event", "event_count"),
    operations.AlterField("Event", "kind", models.CharField(max_length=80)),
    operations.RenameField("Event", "note", "remark"),
    operations.AddField("Event", "of", models.ForeignKey("events.Kind", models.CASCADE, null=True)),
    operations.RemoveField("Event", "rank"),
    operations.AlterModelOptions("Event", {"ordering": ["id"]}),
]


def rows(state):
    """What a row of the current period and one of a past one give."""
    event = state.apps.get_model("events", "Event")
    made = [event.objects.create(created_at=dt.datetime(2026, month, 5, tzinfo=UTC), kind="new") for month in (3, 1)]
    found = [event.objects.get(pk=one.pk) for one in made]
    event.objects.filter(pk=made[1].pk).update(count=3)
    values = {
        name: [getattr(one, name) for one in found]
        for name in ("kind", "rank", "note", "remark", "of_id")
        if hasattr(found[0], name)
    }
    return [event.objects.count(), event.objects.filter(kind="new", count=3).count(), values]


def indexes():
    """The columns of each index, without the primary key's."""
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, "events")
    found = [one["columns"] for one in constraints.values() if one["index"] and not one["primary_key"]]
    return sorted(found)


def main():
    state = ProjectState()
    for operation in FIRST:
        state = done(state, operation, sys.argv[1] == "create")
    if sys.argv[1] == "create":
        return
    for operation in LATER:
        try:
            state = done(state, operation, True)
            result = [rows(state), indexes()]
        except Error as error:
            result = str(error)
        print(json.dumps([operation.describe(), result]))


def done(state, operation, really):
    after = state.clone()
    operation.state_forwards("events", after)
    if really:
        with connection.schema_editor(atomic=operation.atomic if hasattr(operation, "atomic") else True) as editor:
            operation.database_forwards("events", editor, state, after)
    return after


main()
