import logging
import os
import time

from celery import shared_task

from orders.models import Order

log = logging.getLogger(__name__)


@shared_task
def count_orders():
    log.info("%s orders", Order.objects.count())


@shared_task(bind=True)
def stamp(self, name, seconds=0.0):
    """Append the start and the end of this task to SHOP_TASK_LOG, where a checker compares them."""
    _append("start", name, self.request.id)
    time.sleep(seconds)
    _append("end", name, self.request.id)


def _append(what, name, task):
    path = os.environ.get("SHOP_TASK_LOG")
    if path:
        line = "{} {} {:.3f} {}\n".format(what, name, time.time(), task)
        # One write with O_APPEND: lines of several processes do not mix.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode("utf-8"))
        finally:
            os.close(descriptor)
