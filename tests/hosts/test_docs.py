"""Every command that README and tutorial show, typed as it stands on a clean machine, with a bare server beside it."""

from __future__ import annotations

import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostwright.lab import machine, plan
from tests import documents
from tests.conftest import need
from tests.hosts.clean import Machine, clean, offer, on_debian_12
from tests.hosts.conftest import ROOT, git
from tests.hosts.labs import all_hosts

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(3600), on_debian_12, all_hosts]

EDITOR = """\
#!/bin/sh
# What somebody types into the file of the inventory that the README opens.
exec cp "/root/answers/$(basename "$1")" "$1"
"""

MIGRATION = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]
    operations = [migrations.AddField("order", "note", models.TextField(default=""))]
"""


@pytest.fixture(scope="module")
def yours() -> Iterator[Machine]:
    with clean("docs") as made:
        yield made


def blocks_run(printed: str, page: Path) -> list[int]:
    return [int(line) for line in re.findall(rf"^==> {page.name}:(\d+)$", printed, re.MULTILINE)]


def column(server: plan.Host, name: str) -> str:
    query = (
        f"SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders_order' AND column_name = '{name}'"
    )
    return machine.execute(server, ["runuser", "-u", "postgres", "--", "psql", "-XAtd", "shop", "-c", query]).strip()


def test_the_readme(yours: Machine, tmp_path: Path) -> None:
    server = yours.servers[0]
    yours.run("apt-get update -q && apt-get install -q -y git openssh-client openssl python3-venv")
    shop = tmp_path / "shop"
    shutil.copytree(ROOT / "examples" / "shop", shop, ignore=shutil.ignore_patterns("__pycache__", "deploy"))
    git(shop, "init", "-q")
    git(shop, "add", "-A")
    git(shop, "commit", "-q", "-m", "first")
    (shop / "orders" / "migrations" / "0002_note.py").write_text(MIGRATION)
    (shop / "orders" / "models.py").write_text(
        (shop / "orders" / "models.py").read_text() + '    note = models.TextField(default="")\n'
    )
    git(shop, "add", "-A")
    git(shop, "commit", "-q", "-m", "a column more")
    git(shop, "tag", "v2.4.0")
    git(shop, "commit", "-q", "--allow-empty", "-m", "nothing more")
    git(shop, "tag", "v2.4.1")
    git(shop, "branch", "first", "HEAD~2")
    yours.clone(shop, "/root/shop.git")
    yours.clone(ROOT, "/root/hostwright.git")

    example = ROOT / "examples" / "shop" / "deploy"
    site = (
        (example / "site.yml").read_text().replace("{{ shop_repository | default('examples/shop') }}", "/root/shop.git")
    )
    answers = {
        "hosts.yml": (ROOT / "inventory/minimal/hosts.yml").read_text().replace("192.0.2.11", server.address),
        "site.yml": site.replace('shop.git"', 'shop.git"\n    ref: first'),
        "vault.yml": (example / "vars.yml").read_text(),
    }
    for name, text in answers.items():
        yours.put(f"/root/answers/{name}", text)
    yours.put("/root/editor", EDITOR, "755")
    yours.put("/root/.ssh/known_hosts", yours.known_hosts)
    printed = yours.run(documents.script(documents.README), {"EDITOR": "/root/editor"}, timeout=1800)

    page = documents.README
    assert blocks_run(printed, page) == [block.line for block in documents.blocks(page)]
    assert "migrations undone: orders.0002_note" in printed
    assert column(server, "note") == "0"
    assert "events_event_p2" in printed
    assert re.findall(r"^maintenance is (on|off) on ", printed, re.MULTILINE) == ["on", "off"]
    with urllib.request.urlopen(f"http://{server.address}/", timeout=10) as answer:
        assert answer.status == 200


def test_the_tutorial(yours: Machine, tmp_path: Path) -> None:
    environment = {**offer(yours, tmp_path), "LAB_SERVER": yours.servers[1].address}
    page = documents.TUTORIAL
    printed = yours.run(documents.script(page), environment, timeout=1800)
    assert blocks_run(printed, page) == [block.line for block in documents.blocks(page)]
    said = re.findall(r"Hello from the (\w+) release", printed)
    assert said == ["first", "second", "first"]


def test_the_demo() -> None:
    """`make demo`, as the README begins, and `make demo-down`."""
    if (machine.CACHE / "lab").exists():
        need("make demo", "this checkout has a lab of its name", "fab lab.down", in_ci=False)
    try:
        done = subprocess.run(["make", "demo"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        address = re.findall(r"The site answers at (http://\S+/)", done.stdout)[0]
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert "release 3" in answer.read().decode()
    finally:
        subprocess.run(["make", "demo-down"], cwd=ROOT, capture_output=True, check=True)
    assert not (machine.CACHE / "lab").exists()
