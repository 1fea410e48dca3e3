import json

from celery import current_app, shared_task
from django.db import transaction

from outbox.models import Message


@shared_task
def send_outbox(limit=500):
    """Send what waits, oldest first; returns how many. What the broker did not take stays for the next run."""
    sent = 0
    while sent < limit and send_next():
        sent += 1
    return sent


@transaction.atomic
def send_next():
    """Send one message, in a transaction of its own: who is killed here sends one twice, but never loses one."""
    message = Message.objects.select_for_update(skip_locked=True).order_by("id").first()
    if message is None:
        return False
    current_app.send_task(message.task, args=json.loads(message.arguments))
    message.delete()
    return True
