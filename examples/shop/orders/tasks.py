import logging
import os
import time

from celery import shared_task

from orders.models import Order

log = logging.getLogger(__name__)


@shared_task
def count_orders():
    log.info("%s orders", Order.objects.count())


@shared_task
def stamp(name, seconds=0.0):
    """Append the start and the end of this task to SHOP_TASK_LOG, where a checker compares them."""
    _append("start {}".format(name))
    time.sleep(seconds)
    _append("end {}".format(name))


def _append(line):
    path = os.environ.get("SHOP_TASK_LOG")
    if path:
        # One write with O_APPEND: lines of several processes do not mix.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, (line + "\n").encode("utf-8"))
        finally:
            os.close(descriptor)
