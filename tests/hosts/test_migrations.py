"""Releases with every kind of migration, in order: gone back from with and without them, and cut off on the way."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.conftest import ROOT, Start, eventually
from tests.hosts.faults.lab import add_pause
from tests.hosts.labs import Fleet, all_hosts, fleet

pytestmark = [pytest.mark.hosts, all_hosts]

HEAD = "from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n"
NOTE = (
    HEAD
    + """\
    dependencies = [("orders", "0001_initial")]
    operations = [migrations.AddField("order", "note", models.TextField(default=""))]
"""
)
STOCK = (
    HEAD
    + """\
    initial = True
    dependencies = [("orders", "0002_note")]
    operations = [migrations.CreateModel("Item", [
        ("id", models.BigAutoField(primary_key=True, serialize=False)),
        ("order", models.ForeignKey("orders.Order", models.CASCADE)),
    ])]
"""
)
SOURCE = (
    HEAD
    + """\
    dependencies = [("events", "0001_initial"), ("stock", "0001_initial")]
    operations = [migrations.AddField("event", "source", models.TextField(default="shop"))]
"""
)
FILL = """\
from django.db import migrations


def fill(apps, editor):
    apps.get_model("orders", "Order").objects.update(note="filled")
    for order in apps.get_model("orders", "Order").objects.all():
        apps.get_model("stock", "Item").objects.create(order=order)


def empty(apps, editor):
    apps.get_model("orders", "Order").objects.update(note="")
    apps.get_model("stock", "Item").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("orders", "0002_note"), ("events", "0002_source")]
    operations = [migrations.RunPython(fill, empty)]
"""
DROP = (
    HEAD
    + """\
    dependencies = [("orders", "0003_fill")]
    operations = [migrations.RemoveField("order", "note")]
"""
)
SCRUB = (
    HEAD
    + """\
    dependencies = [("orders", "0004_drop")]
    operations = [migrations.RunSQL("DELETE FROM stock_item; DELETE FROM orders_order WHERE id % 2 = 0")]
"""
)
SEEN = (
    HEAD
    + """\
    dependencies = [("events", "0002_source"), ("orders", "0005_scrub")]
    operations = [migrations.AddField("event", "seen", models.BooleanField(default=False))]
"""
)
SLOW = (
    HEAD
    + """\
    dependencies = [("events", "0003_seen")]
    operations = [
        migrations.AddField("event", "late", models.BooleanField(default=False)),
        migrations.RunSQL("SELECT 1", "SELECT pg_sleep(2)"),
    ]
"""
)

STOCK_MODEL = """\
from django.db import models

from orders.models import Order


class Item(models.Model):
    id = models.BigAutoField(primary_key=True)
    order = models.ForeignKey(Order, models.CASCADE)
"""
NOTE_FIELD = '    note = models.TextField(default="")\n'
SOURCE_FIELD = '    source = models.TextField(default="shop")\n'
SEEN_FIELD = "    seen = models.BooleanField(default=False)\n"
LATE_FIELD = "    late = models.BooleanField(default=False)\n"


class Shop(Fleet):
    """The host, and the releases that are on it: their names by the names that the tests give them."""

    known: dict[str, str]

    def original(self, path: str) -> str:
        return (ROOT / "examples" / "shop" / path).read_text(encoding="utf-8")

    def release(self, name: str, changes: dict[str, str] | None = None) -> str:
        """Deploy a release with these files changed."""
        self.commit({**(changes or {}), "shop/templates/banner.txt": f"{name}\n"}, name)
        printed = self.fab("deploy")
        self.known[name] = self.current()
        return printed

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.on("host1", "cat", "/var/lib/hostwright/shop/state.json")))

    def current(self) -> str:
        return str(self.state()["current"]["release"])

    def sql(self, statement: str) -> str:
        return self.on("host1", "runuser", "-u", "postgres", "--", "psql", "-XAtd", "shop", "-c", statement).strip()

    def applied(self) -> set[str]:
        """The migrations of the site's own applications that are applied, but for the first ones."""
        own = "app IN ('orders', 'events', 'stock') AND (app = 'stock' OR name <> '0001_initial')"
        return set(self.sql(f"SELECT app || '.' || name FROM django_migrations WHERE {own}").split())

    def columns(self, table: str) -> set[str]:
        return set(self.sql(f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'").split())

    def rows(self) -> dict[str, int]:
        return {table: int(self.sql(f"SELECT count(*) FROM {table}")) for table in ("orders_order", "events_event")}

    def works(self, name: str) -> None:
        """The release `name` serves, and what it asks of the database is there."""
        assert self.serving() == (name, self.known[name])
        assert self.known[name] in self.page("/api/orders")


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with fleet("migrations", "one") as hosts:

        def site(site: dict[str, Any]) -> None:
            site["releases"] = {"keep": 20, "confirm_timeout": 8, "drain_timeout": 5, "dump_before_migrate": True}

        hosts.change_site(site)
        add_pause(hosts.host)
        hosts.run("ansible-playbook", "playbooks/bootstrap.yml")
        hosts.run("ansible-playbook", "playbooks/site.yml")
        made = Shop(hosts.hosts, hosts.repository)
        made.known = {}
        made.release("first")
        made.sql(
            "INSERT INTO orders_order (created_at, customer, cents) SELECT now(), n, n FROM generate_series(1, 10) n"
        )
        yield made


ADDED = {"orders.0002_note", "stock.0001_initial", "events.0002_source"}


def test_additive_over_three_applications(shop: Shop) -> None:
    changes = {
        "orders/migrations/0002_note.py": NOTE,
        "orders/models.py": shop.original("orders/models.py") + NOTE_FIELD,
        "stock/migrations/0001_initial.py": STOCK,
        "stock/migrations/__init__.py": "",
        "stock/__init__.py": "",
        "stock/models.py": STOCK_MODEL,
        "events/migrations/0002_source.py": SOURCE,
        "events/models.py": shop.original("events/models.py") + SOURCE_FIELD,
        "shop/settings.py": shop.original("shop/settings.py").replace('"outbox",', '"outbox", "stock",'),
    }
    shop.release("additive", changes)
    assert shop.applied() == ADDED
    shop.works("additive")


def test_back_by_one_without_them(shop: Shop) -> None:
    """They stay, and the release before can live with them."""
    message = shop.fab("rollback", "--yes")
    assert "these migrations stay applied" in message
    assert all(name in message for name in ADDED)
    assert shop.applied() == ADDED
    shop.works("first")
    shop.fab("rollback", "--release", shop.known["additive"], "--yes")
    shop.works("additive")


def test_back_by_one_with_them(shop: Shop) -> None:
    message = shop.fab("rollback", "--migrations", "--yes")
    assert all(name in message for name in ADDED)
    assert shop.applied() == set()
    assert "note" not in shop.columns("orders_order")
    assert shop.columns("stock_item") == set()
    assert shop.rows()["orders_order"] == 10
    shop.works("first")


def test_not_forward_to_what_lacks_its_migrations(shop: Shop) -> None:
    message = shop.fab("rollback", "--release", shop.known["additive"], "--yes", status=2)
    assert "needs migrations that are not applied: " in message
    assert all(name in message for name in ADDED)
    shop.works("first")
    shop.release("additive again")
    assert shop.applied() == ADDED
    shop.works("additive again")


def test_data_and_back_by_two_with_them(shop: Shop) -> None:
    shop.release("data", {"orders/migrations/0003_fill.py": FILL})
    assert shop.sql("SELECT count(*) FROM orders_order WHERE note = 'filled'") == "10"
    assert shop.sql("SELECT count(*) FROM stock_item") == "10"
    shop.fab("rollback", "--migrations", "--release", shop.known["first"], "--yes")
    assert shop.applied() == set()
    assert shop.rows()["orders_order"] == 10
    shop.works("first")
    shop.release("data again")
    assert shop.applied() == {*ADDED, "orders.0003_fill"}
    shop.works("data again")


def test_destructive_and_back(shop: Shop) -> None:
    """The column comes back, what was in it does not; the code before serves all the same."""
    model = shop.original("orders/models.py")
    shop.release("destructive", {"orders/migrations/0004_drop.py": DROP, "orders/models.py": model})
    assert "note" not in shop.columns("orders_order")
    shop.works("destructive")
    shop.fab("rollback", "--migrations", "--yes")
    assert shop.applied() == {*ADDED, "orders.0003_fill"}
    assert shop.sql("SELECT count(*) FROM orders_order WHERE note = ''") == "10"
    shop.works("data again")
    shop.release("destructive again")


def test_irreversible_is_refused_by_name(shop: Shop) -> None:
    message = shop.release("irreversible", {"orders/migrations/0005_scrub.py": SCRUB})
    assert "orders.0005_scrub (can't be undone)" in message
    assert shop.rows()["orders_order"] == 5
    message = shop.fab("rollback", "--migrations", "--yes", status=1)
    assert "these migrations can't be undone: orders.0005_scrub" in message
    shop.works("irreversible")
    shop.fab("rollback", "--yes")
    shop.works("destructive again")
    shop.fab("rollback", "--release", shop.known["irreversible"], "--yes")


def test_irreversible_in_the_middle(shop: Shop) -> None:
    """What comes after it can be undone; what comes before it can't, and nothing is."""
    model = shop.original("events/models.py") + SOURCE_FIELD + SEEN_FIELD
    shop.release("seen", {"events/migrations/0003_seen.py": SEEN, "events/models.py": model})
    before = shop.applied()
    message = shop.fab("rollback", "--migrations", "--release", shop.known["data again"], "--yes", status=1)
    assert "these migrations can't be undone: orders.0005_scrub" in message
    assert "events.0003_seen" not in message.split("can't be undone:")[1]
    assert shop.applied() == before
    shop.works("seen")
    shop.fab("rollback", "--migrations", "--yes")
    assert shop.applied() == before - {"events.0003_seen"}
    shop.works("irreversible")
    shop.release("seen again")


def test_the_dump_that_a_deploy_takes_is_restored(shop: Shop, tmp_path: Path) -> None:
    """Rows that a migration deleted come back with the release that knew them."""
    dump = f"/var/lib/hostwright/shop/dumps/{shop.known['irreversible']}.dump"
    assert shop.on("host1", "stat", "-c", "%a %U", dump).strip() == "600 root"
    (tmp_path / "before.dump").write_bytes(base64.b64decode(shop.on("host1", "base64", dump)))
    assert shop.rows()["orders_order"] == 5
    shop.fab("rollback", "--release", shop.known["destructive again"], "--yes")
    shop.fab("db.restore", "--source", str(tmp_path / "before.dump"), "--yes")
    assert shop.rows()["orders_order"] == 10
    assert shop.applied() == {*ADDED, "orders.0003_fill", "orders.0004_drop"}
    shop.works("destructive again")
    shop.release("after the restore")
    assert shop.rows()["orders_order"] == 5
    assert "events.0003_seen" in shop.applied()


@pytest.fixture
def slow(shop: Shop) -> Iterator[set[str]]:
    """A release whose migration takes its time to be undone is live; returns what is applied with it."""
    if "slow" not in shop.known:
        model = shop.original("events/models.py") + SOURCE_FIELD + SEEN_FIELD + LATE_FIELD
        shop.release("slow", {"events/migrations/0004_slow.py": SLOW, "events/models.py": model})
    elif "events.0004_slow" not in shop.applied():
        shop.release("slow")
    shop.works("slow")
    yield shop.applied()
    shop.says("host1", "rm -rf /run/faults")


def back(shop: Shop) -> list[str]:
    """The command that goes back to the release before the slow one, and takes its migration along."""
    release = shop.known["after the restore"]
    return ["fab", "rollback", "--migrations", "--release", release, "--yes"]


def stopped(shop: Shop, started: Start, point: str) -> subprocess.Popen[str]:
    """That command, with the engine waiting at `point`."""
    shop.says("host1", f"mkdir -p /run/faults && echo '{point}' > /run/faults/pause")
    run = started(*back(shop), "-i", f"inventory/{shop.host.lab}")
    eventually(point, lambda: shop.says("host1", "ls /run/faults/reached") == "/run/faults/reached", 60)
    return run


def kill_engine(shop: Shop) -> None:
    shop.on("host1", "systemctl", "kill", "-s", "KILL", "--kill-who=main", "hostwright-shop-transaction")


def ends(shop: Shop) -> None:
    eventually("the end of the transaction", lambda: shop.state()["transaction"] is None, 60)


POINTS = ("standby ok", "unmigrate start", "unmigrate ok", "flip ok")


@pytest.mark.parametrize("killed", ["engine", "controller"])
@pytest.mark.parametrize("point", POINTS)
def test_cut_off(shop: Shop, slow: set[str], started: Start, point: str, killed: str) -> None:
    """The newer release serves on with its migrations, and the next command does what this one did not."""
    run = stopped(shop, started, point)
    if point == "unmigrate start":
        # Not before the first statement, but in the middle of it.
        shop.says("host1", "touch /run/faults/go")
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
        eventually("the migration's statement", lambda: shop.sql(asleep) == "1")
    if killed == "engine":
        kill_engine(shop)
    else:
        run.send_signal(signal.SIGKILL)
    shop.says("host1", "touch /run/faults/go")
    run.communicate(timeout=90)
    assert run.returncode in (1, -signal.SIGKILL)
    ends(shop)
    assert shop.applied() == slow
    shop.works("slow")
    shop.run(*back(shop))
    assert shop.applied() == slow - {"events.0004_slow"}
    shop.works("after the restore")


def test_cut_off_after_it_is_kept(shop: Shop, slow: set[str], started: Start) -> None:
    """From `confirmed` on the engine finishes by itself."""
    run = stopped(shop, started, "drain ok")
    run.send_signal(signal.SIGKILL)
    kill_engine(shop)
    shop.says("host1", "touch /run/faults/go")
    ends(shop)
    assert shop.applied() == slow - {"events.0004_slow"}
    shop.works("after the restore")


def test_the_next_command_ends_what_the_engine_could_not(shop: Shop, slow: set[str], started: Start) -> None:
    """Killed, and without a database when it is started again: the next deploy ends it first."""
    run = stopped(shop, started, "unmigrate ok")
    shop.on("host1", "systemctl", "stop", "postgresql@*")
    kill_engine(shop)
    run.send_signal(signal.SIGKILL)
    unit = "systemctl is-failed hostwright-shop-transaction"
    eventually("the engine gives up", lambda: shop.says("host1", unit) == "failed", 60)
    shop.says("host1", "rm -rf /run/faults; systemctl start postgresql")
    assert "was interrupted" in shop.fab("status", status=1)
    shop.release("the last")
    assert shop.applied() == slow
    shop.works("the last")
