import json

from celery import current_app, shared_task
from django.db import transaction

from outbox.models import Message


@shared_task
def send_outbox(limit=500):
    """Send what waits, oldest first; returns how many. What the broker did not take stays for the next run."""
    with transaction.atomic():
        waiting = list(Message.objects.select_for_update(skip_locked=True).order_by("id")[:limit])
        for message in waiting:
            current_app.send_task(message.task, args=json.loads(message.arguments))
        Message.objects.filter(id__in=[message.id for message in waiting]).delete()
    return len(waiting)
