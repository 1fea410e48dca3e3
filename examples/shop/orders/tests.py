import json
import os
import tempfile

from django.test import TestCase, override_settings

from events.models import Event
from orders import tasks
from orders.models import Order
from outbox.models import Message

PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"


@override_settings(
    ALLOWED_HOSTS=["testserver"],
    STORAGES={
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": PLAIN},
    },
)
class Shop(TestCase):
    def test_page(self):
        answer = self.client.get("/")
        self.assertContains(answer, "0 orders, 0 events")

    def test_health(self):
        self.assertEqual(self.client.get("/healthz").status_code, 200)

    def test_an_order_has_an_event_and_a_message(self):
        answer = self.client.post("/api/orders", json.dumps({"customer": "Ann", "cents": 5}), "application/json")
        self.assertEqual(answer.status_code, 201)
        self.assertEqual(Order.objects.get().customer, "Ann")
        self.assertEqual(Event.objects.get().kind, "order")
        self.assertEqual(Message.objects.get().task, "orders.tasks.stamp")

    def test_a_bad_order(self):
        for body in ("", "[]", '{"cents": 1}', '{"customer": "x", "cents": -1}'):
            self.assertEqual(self.client.post("/api/orders", body, "application/json").status_code, 400)
        self.assertEqual(Order.objects.count(), 0)

    def test_a_task_leaves_its_start_and_end(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "log")
            os.environ["SHOP_TASK_LOG"] = path
            try:
                tasks.stamp("x")
            finally:
                del os.environ["SHOP_TASK_LOG"]
            with open(path) as lines:
                words = [line.split() for line in lines]
            self.assertEqual([line[:2] for line in words], [["start", "x"], ["end", "x"]])
            self.assertLessEqual(float(words[0][2]), float(words[1][2]))
