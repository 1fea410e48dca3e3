"""Seconds that Django takes for 1000 times save(), and for 20 times bulk_create() of 1000."""

import datetime as dt
import json
import sys
import time

import django
from django.conf import settings

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": sys.argv[1],
            "NAME": sys.argv[2],
            "USER": "postgres",
            "OPTIONS": {"options": "-c synchronous_commit=off"},
        }
    },
    USE_TZ=True,
)
django.setup()

from django.db import connection, models  # noqa: E402
from django.db.backends.postgresql.features import DatabaseFeatures  # noqa: E402

DatabaseFeatures.minimum_database_version = (9, 5)
MOMENT = dt.datetime.fromisoformat(sys.argv[3])


class Event(models.Model):
    id = models.BigAutoField(primary_key=True)
    created_at = models.DateTimeField()
    kind = models.TextField()
    payload = models.TextField()

    class Meta:
        app_label = "bench"
        db_table = "events"


connection.ensure_connection()
started = time.perf_counter()
for _ in range(1000):
    Event(created_at=MOMENT, kind="kind", payload="{}").save()
saved = time.perf_counter()
for _ in range(20):
    Event.objects.bulk_create([Event(created_at=MOMENT, kind="kind", payload="{}") for _ in range(1000)])
print(json.dumps({"save": saved - started, "bulk": time.perf_counter() - saved}))
