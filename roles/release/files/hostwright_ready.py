"""Imported by a Celery worker (`-I hostwright_ready`): tells systemd when the worker consumes."""

import os
import socket

from celery import signals


def notify(text):
    """sd_notify(3), for a unit with Type=notify; nothing elsewhere."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(text.encode("ascii"), address)


@signals.worker_ready.connect(weak=False)
def ready(**_):
    notify("READY=1")


@signals.worker_shutting_down.connect(weak=False)
def stopping(**_):
    notify("STOPPING=1")
