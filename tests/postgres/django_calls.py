"""What Django does to a table, as one program: its output is compared between a plain and a partitioned table.

    python django_calls.py create|run|explain "DSN" [keyed]

`create` makes the table as a migration would; `run` prints one JSON line for each call: its name and its result, or the
exception that it raised; `explain` one for each filter: its name and the tables that PostgreSQL would read. Where it is
`keyed`, keys come from the application. It runs on Django 2.2 and newer, and on Python 3.5.
"""

import datetime as dt
import itertools
import json
import re
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
    TIME_ZONE="Europe/Vienna",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from django.db.backends.postgresql.features import DatabaseFeatures  # noqa: E402

# Whether Django supports a server of that age is not the question here.
DatabaseFeatures.minimum_database_version = (9, 5)
if django.VERSION < (3, 0):
    # It can't read the offset that psycopg2 2.9 gives it; older ones don't go with a newer Python.
    from django.db.backends.postgresql import base

    base.utc_tzinfo_factory = lambda offset: UTC

from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist  # noqa: E402
from django.db import Error, connection, models, transaction  # noqa: E402
from django.db.models.functions import Now, TruncMonth  # noqa: E402

NUMBERS = itertools.count(1)


def next_key():
    return next(NUMBERS)


class Event(models.Model):
    if "keyed" in sys.argv:
        id = models.BigIntegerField(primary_key=True, default=next_key)
    else:
        id = models.BigAutoField(primary_key=True)
    created_at = models.DateTimeField(db_index=True)
    kind = models.CharField(max_length=40)
    count = models.IntegerField(default=0)
    payload = models.TextField(default="{}")

    class Meta:
        app_label = "events"
        db_table = "events"


def month(number, day=5):
    """A moment in the month `number` of 2026; 0 and below are months of 2025."""
    year = 2026 if number > 0 else 2025
    return dt.datetime(year, number if number > 0 else number + 12, day, 12, tzinfo=UTC)


def save_new():
    event = Event(created_at=month(3), kind="save")
    event.save()
    return event.pk


def save_late():
    event = Event(created_at=month(-1), kind="late")
    event.save()
    return event.pk


def save_ahead():
    return Event.objects.create(created_at=month(5), kind="ahead").pk


def save_again():
    event = Event.objects.get(kind="save")
    event.payload = "changed"
    event.save()
    event.save(update_fields=["payload"])
    event.refresh_from_db()
    return [event.pk, event.payload, Event.objects.filter(kind="save").count()]


def save_late_again():
    event = Event.objects.get(kind="late")
    event.payload = "changed"
    event.save()
    return [event.pk, Event.objects.filter(kind="late", payload="changed").count()]


def save_with_a_key():
    event = Event(pk=1000, created_at=month(2), kind="keyed")
    event.save()
    event.save()
    return Event.objects.filter(pk=1000).count()


def the_same_key_twice():
    with transaction.atomic():
        Event(pk=1000, created_at=month(2), kind="keyed").save(force_insert=True)
    return "inserted"


def bulk_create():
    made = Event.objects.bulk_create(
        [Event(created_at=month(n % 7 - 1, n % 28 + 1), kind="bulk", count=n) for n in range(100)]
    )
    return [event.pk for event in made]


def bulk_update():
    events = list(Event.objects.filter(kind="bulk").order_by("pk")[:10])
    for event in events:
        event.count += 1000
    Event.objects.bulk_update(events, ["count"])
    return list(Event.objects.filter(count__gte=1000).order_by("pk").values_list("count", flat=True))


def get_or_create():
    made = [Event.objects.get_or_create(kind="once", defaults={"created_at": month(3)}) for _ in range(2)]
    return [[event.pk, created] for event, created in made]


def update_or_create():
    made = [
        Event.objects.update_or_create(kind="upsert", defaults={"created_at": month(n), "count": n}) for n in (3, -2, 4)
    ]
    return [[event.pk, created, Event.objects.get(pk=event.pk).count] for event, created in made]


def update_that_moves_a_row():
    moved = Event.objects.filter(kind="save").update(created_at=month(0))
    back = Event.objects.filter(kind="late").update(created_at=month(3))
    rows = Event.objects.filter(kind__in=["save", "late"]).order_by("kind").values_list("kind", "created_at__month")
    return [moved, back, list(rows)]


def save_that_moves_a_row():
    event = Event.objects.get(kind="once")
    moves = []
    for number in (-1, 0, 3, 5, 1, 3):
        event.created_at = month(number)
        event.save()
        moves.append(Event.objects.filter(kind="once").values_list("pk", "created_at__month").get())
    return moves


def update_of_many():
    return Event.objects.filter(kind="bulk").update(count=models.F("count") + 1)


def update_that_moves_many():
    moved = Event.objects.filter(kind="bulk", created_at__lt=month(1, 1)).update(created_at=month(1, 2))
    return [moved, Event.objects.filter(kind="bulk").count()]


def savepoints():
    with transaction.atomic():
        kept = Event.objects.create(created_at=month(3), kind="kept")
        try:
            with transaction.atomic():
                Event.objects.filter(pk=kept.pk).update(created_at=month(-1))
                Event.objects.create(created_at=month(-1), kind="rolled back")
                raise ValueError
        except ValueError:
            pass
        with transaction.atomic():
            Event.objects.filter(pk=kept.pk).update(created_at=month(0))
            Event.objects.filter(pk=kept.pk).update(created_at=month(2))
    return list(Event.objects.filter(kind__in=["kept", "rolled back"]).values_list("kind", "created_at__month"))


def ignore_conflicts():
    Event.objects.bulk_create(
        [Event(pk=pk, created_at=month(2), kind="conflict") for pk in (1000, 2000)], ignore_conflicts=True
    )
    return list(Event.objects.filter(kind="conflict").values_list("pk", flat=True))


def select_for_update():
    with transaction.atomic():
        event = Event.objects.select_for_update().get(kind="kept")
        event.count += 7
        event.save()
    return Event.objects.get(kind="kept").count


def iterator():
    return sum(event.count for event in Event.objects.filter(kind="bulk").order_by("pk").iterator(chunk_size=7))


def by_month():
    found = Event.objects.annotate(month=TruncMonth("created_at", tzinfo=UTC)).values("month")
    return [
        [row["month"].strftime("%Y-%m"), row["n"]] for row in found.annotate(n=models.Count("pk")).order_by("month")
    ]


def ranges():
    return [
        Event.objects.filter(created_at__gte=month(1, 1), created_at__lt=month(2, 1)).count(),
        Event.objects.filter(created_at__range=(month(1, 1), month(2, 1))).count(),
        Event.objects.filter(created_at__year=2025).count(),
        Event.objects.filter(created_at__month=1).count(),
    ]


def delete_one():
    event = Event.objects.get(kind="upsert")
    return [event.delete()[0], Event.objects.filter(kind="upsert").count()]


def delete_many():
    deleted = Event.objects.filter(kind="bulk", created_at__lt=month(2, 1)).delete()[0]
    return [deleted, Event.objects.filter(kind="bulk").count()]


def in_bulk():
    return sorted(Event.objects.in_bulk([1, 2, 1000]))


def too_long():
    with transaction.atomic():
        Event.objects.create(created_at=month(-1), kind="x" * 41)


def all_rows():
    rows = Event.objects.order_by("pk").values_list("pk", "kind", "count", "payload", "created_at")
    return [[*row[:4], row[4].isoformat()] for row in rows]


CALLS = [
    save_new,
    save_late,
    save_ahead,
    save_again,
    save_late_again,
    save_with_a_key,
    the_same_key_twice,
    bulk_create,
    bulk_update,
    get_or_create,
    update_or_create,
    update_that_moves_a_row,
    save_that_moves_a_row,
    update_of_many,
    update_that_moves_many,
    savepoints,
    ignore_conflicts,
    select_for_update,
    iterator,
    by_month,
    ranges,
    delete_one,
    delete_many,
    in_bulk,
    too_long,
    all_rows,
]

FILTERS = {
    "gte and lt": {"created_at__gte": month(1, 1), "created_at__lt": month(1, 20)},
    "range": {"created_at__range": (month(1, 1), month(1, 20))},
    "exact": {"created_at": month(1, 7)},
    "in": {"created_at__in": [month(1, 7), month(1, 8)]},
    "year": {"created_at__year": 2025},
    "year__gte": {"created_at__year__gte": 2026},
    "month": {"created_at__month": 1},
    "date": {"created_at__date": dt.date(2026, 1, 7)},
    "gte, python's now": {"created_at__gte": month(2, 5)},
    "gte, Now()": {"created_at__gte": Now() - dt.timedelta(days=1)},
    "pk": {"pk": 7},
    "pk and range": {"pk": 7, "created_at__range": (month(1, 1), month(1, 20))},
}


def explain():
    for name, condition in sorted(FILTERS.items()):
        plan = Event.objects.filter(**condition).explain()
        tables = re.findall(r"(?:Scan|using \S+) on (events(?:_pmin|_p\d{6})?)(?: |$)", plan, re.M)
        print(json.dumps([name, sorted(set(tables))]))


if __name__ == "__main__":
    if sys.argv[1] == "create":
        with connection.schema_editor() as editor:
            editor.create_model(Event)
    elif sys.argv[1] == "explain":
        explain()
    else:
        for call in CALLS:
            try:
                result = call()
            except (Error, ObjectDoesNotExist, MultipleObjectsReturned) as error:
                result = type(error).__name__
            print(json.dumps([call.__name__, result]))
