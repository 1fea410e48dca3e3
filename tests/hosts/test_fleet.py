"""Two web hosts and a database host, in order: provisioned, deployed to, hardened, changed, and changed back."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hosts.conftest import eventually
from tests.hosts.labs import Fleet, all_hosts, certificate, fleet

pytestmark = [pytest.mark.hosts, all_hosts]


@pytest.fixture(scope="module")
def two() -> Iterator[Fleet]:
    with fleet("fleet", "two") as hosts:
        hosts.run("ansible-playbook", "playbooks/bootstrap.yml")
        hosts.provision()
        hosts.deploy_text("the fleet's first release")
        yield hosts


def ask(
    address: str, path: str = "/", *, body: str | None = None, authority: str | None = None
) -> tuple[int, dict[str, str], str]:
    """(status, headers, body) of a request; over TLS with `authority`, the PEM that is trusted ('': any)."""
    connection: http.client.HTTPConnection
    if authority is None:
        connection = http.client.HTTPConnection(address, timeout=10)
    else:
        trust = ssl.create_default_context(cadata=authority) if authority else ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(address, timeout=10, context=trust)
    with contextlib.closing(connection):
        connection.request("GET" if body is None else "POST", path, body)
        answer = connection.getresponse()
        names = {name.lower() for name, _ in answer.getheaders()}
        headers = {name: ", ".join(answer.headers.get_all(name, [])) for name in names}
        return answer.status, headers, answer.read().decode()


def opens(address: str, port: int) -> bool:
    """Whether this machine, which is no host of the site, gets a connection."""
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


def order_is_stamped(two: Fleet) -> None:
    """An order on the second web host becomes a task that the worker on the first one does."""
    status, _, body = ask(two.address("web2"), "/api/orders", body=json.dumps({"customer": "fleet", "cents": 5}))
    assert status == 201, body
    done = f"end order-{json.loads(body)['id']}"
    eventually("the order's task", lambda: done in two.says("web1", "cat /srv/shop/shared/tasks/log"), 60)


def test_the_release_is_on_both(two: Fleet) -> None:
    for name in ("web1", "web2"):
        assert "the fleet's first release" in ask(two.address(name))[2]
    status = two.fab("status")
    assert re.search(r"web1\s+shop-beat", status)
    assert not re.search(r"web2\s+shop-beat", status)
    order_is_stamped(two)


def test_services_let_in_the_site_alone(two: Fleet) -> None:
    db, web = two.address("db1"), "web1"
    assert not opens(db, 5432)
    assert not opens(db, 6379)
    assert not opens(two.address(web), 5432)
    assert "NOAUTH" in two.says("db1", f"redis-cli -h {db} ping")
    ask_python = "import socket; print(socket.create_connection(('{}', {}), 5).getpeername()[1])"
    for port in (5432, 6379):
        assert two.says("web2", f'python3 -c "{ask_python.format(db, port)}"') == str(port)
    postgres = ("runuser", "-u", "postgres", "--", "psql", "-XAtc")
    stored = "SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'shop'"
    assert two.on("db1", *postgres, stored).strip() == "t"
    assert "scram-sha-256" in two.says("db1", "grep ^host.*shop /etc/postgresql/*/main/pg_hba.conf")


def test_rollback(two: Fleet) -> None:
    two.deploy_text("the second release")
    assert "the second release" in ask(two.address("web2"))[2]
    two.fab("rollback", "--yes")
    for name in ("web1", "web2"):
        assert "the fleet's first release" in ask(two.address(name))[2]


def test_static_media_and_limits(two: Fleet) -> None:
    web = two.address("web2")
    _, headers, page = ask(web)
    assert headers["x-content-type-options"] == "nosniff"  # once: Django sets it too
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["server"] == "nginx"
    status, headers, _ = ask(web, re.findall(r'href="(/static/[^"]+)"', page)[0])
    assert (status, headers["cache-control"]) == (200, "max-age=86400")
    two.says("web2", "echo picture > /srv/shop/shared/media/a.txt; chown shop: /srv/shop/shared/media/a.txt")
    status, headers, body = ask(web, "/media/a.txt")
    assert (status, headers["x-content-type-options"], body) == (200, "nosniff", "picture\n")
    assert ask(web, "/media/../../venvs/")[0] in (400, 404)
    assert ask(web, "/api/orders", body=" " * (6 * 2**20))[0] == 413


def test_maintenance_on_both(two: Fleet) -> None:
    two.fab("maintenance.on")
    for name in ("web1", "web2"):
        status, headers, body = ask(two.address(name))
        assert (status, headers["retry-after"]) == (503, "30")
        assert "not available right now" in body
    two.fab("maintenance.off")
    assert ask(two.address("web1"))[0] == 200


def test_others_keep_their_files(two: Fleet) -> None:
    """What somebody else wrote into the same directories and files stays as it is."""
    others = {
        "web1": "/etc/nginx/conf.d/other.conf",
        "db1": "$(ls -d /etc/postgresql/*/main)/pg_hba.conf",
    }
    two.says("web1", f"echo '# of somebody else' > {others['web1']}")
    two.says("db1", f"echo '# of somebody else' >> {others['db1']}; systemctl reload postgresql")
    two.changes_nothing("playbooks/site.yml", "--tags", "nginx,postgresql")
    for name, path in others.items():
        assert "# of somebody else" in two.says(name, f"cat {path}")


def test_one_host_alone(two: Fleet) -> None:
    for name in ("web2", "db1"):
        two.changes_nothing("playbooks/site.yml", "--limit", name)


def test_more_in_the_model(two: Fleet) -> None:
    def more(site: dict[str, Any]) -> None:
        site["web"].update(tls="self_signed", hsts_seconds=3600, rate_limit="2r/s", rate_burst=3)
        site["celery"]["workers"].append({"name": "mail", "queues": ["mail"]})
        site["timers"].append({"name": "extra", "command": ["true"], "calendar": "daily"})

    two.change_site(more)
    two.provision()
    two.deploy_text("with more")
    web = two.address("web1")
    status, headers, _ = ask(web)
    assert (status, headers["location"]) == (301, f"https://{web}/")
    statuses = [ask(web, authority="") for _ in range(20)]
    assert statuses[0][1]["strict-transport-security"] == "max-age=3600"
    assert {status for status, *_ in statuses} == {200, 429}
    assert re.search(r"web1\s+shop-worker-mail\s+\S+\s+active", two.fab("status"))
    assert two.says("web1", "systemctl is-active shop-timer-extra.timer") == "active"


def test_less_in_the_model(two: Fleet) -> None:
    """Taken out of the model, it is taken away on the hosts; RabbitMQ takes the tasks instead of Redis."""
    pem, key = certificate(f"IP:{two.address('web1')}")

    def less(site: dict[str, Any]) -> None:
        site["web"].update(
            tls="files",
            tls_certificate="/etc/ssl/certs/given.pem",
            tls_key="/etc/ssl/private/given.key",
            tls_certificate_pem=pem,
            tls_key_pem=key,
            redirect_to_tls=False,
            rate_limit=None,
        )
        site["celery"]["workers"].pop()
        site["timers"].pop()
        site["services"].pop("redis")
        site["services"]["amqp"] = {"vhost": "shop", "user": "shop", "password": "{{ shop_redis_password }}"}
        broker = "{{ hostvars[groups.broker[0]].ansible_host }}"
        site["secrets"]["BROKER_URL"] = "amqp://shop:{{ shop_redis_password }}@" + broker + ":5672/shop"

    two.change_site(less)
    two.provision()
    two.deploy_text("with less")
    assert "with less" in ask(two.address("web1"), authority=pem)[2]
    assert ask(two.address("web1"))[0] == 200
    assert two.says("web1", "stat -c %a /etc/ssl/private/given.key") == "600"
    assert two.says("web1", "ls /etc/systemd/system | grep -e extra -e mail") == ""
    assert "mail" not in two.says("web1", "systemctl list-units --all 'shop-*' --plain --no-legend")
    order_is_stamped(two)
    assert "celery\tquorum" in two.says("db1", "rabbitmqctl -q list_queues -p shop name type")
    assert "guest" not in two.says("db1", "rabbitmqctl -q list_users")
    assert not opens(two.address("db1"), 5672)


def test_tls_taken_away(two: Fleet) -> None:
    def plain(site: dict[str, Any]) -> None:
        site["web"] = {"wsgi": "shop.wsgi:application", "upload_limit": "5m"}

    two.change_site(plain)
    two.provision("--tags", "nginx,firewall")
    assert ask(two.address("web1"))[0] == 200
    assert not opens(two.address("web1"), 443)
