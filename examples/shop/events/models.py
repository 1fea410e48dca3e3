from django.db import models
from django.utils import timezone


class Event(models.Model):
    """The event log: it grows by the minute, and is partitioned by month."""

    id = models.BigAutoField(primary_key=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    kind = models.CharField(max_length=40)
    payload = models.TextField(default="{}")
