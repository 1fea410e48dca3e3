import json
import os

from django.db import connection, transaction
from django.http import JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt

from events.models import Event
from orders.models import Order
from outbox.models import Message


def index(request):
    context = {
        "orders": Order.objects.count(),
        "events": Event.objects.count(),
        "release": os.environ.get("HOSTWRIGHT_RELEASE", "none"),
    }
    return render(request, "shop/index.html", context)


def health(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JsonResponse({"ok": True, "release": os.environ.get("HOSTWRIGHT_RELEASE")})


@csrf_exempt
def orders(request):
    """GET: the newest orders. POST {"customer": ..., "cents": ...}: one more, its event, and a task in the outbox."""
    if request.method == "GET":
        newest = Order.objects.order_by("-id").values("id", "customer", "cents")[:10]
        return JsonResponse({"orders": list(newest), "release": os.environ.get("HOSTWRIGHT_RELEASE")})
    if request.method != "POST":
        return JsonResponse({"error": "GET or POST"}, status=405)
    try:
        data = json.loads(request.body.decode("utf-8"))
        customer, cents = str(data["customer"])[:100], int(data.get("cents", 0))
        if cents < 0:
            raise ValueError(cents)
    except (ValueError, KeyError, TypeError):
        return JsonResponse({"error": "a JSON object with customer and cents is needed"}, status=400)
    with transaction.atomic():
        order = Order.objects.create(customer=customer, cents=cents)
        Event.objects.create(kind="order", payload=json.dumps({"order": order.id}))
        Message.objects.create(task="orders.tasks.stamp", arguments=json.dumps(["order-{}".format(order.id)]))
    return JsonResponse({"id": order.id, "release": os.environ.get("HOSTWRIGHT_RELEASE")}, status=201)
