"""One host's whole life, in order: bare, provisioned, deployed to, rolled back, broken, killed."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hostwright.lab import machine
from tests.hosts.conftest import LAB, ROOT, Start, World, eventually
from tests.hosts.load import Load

pytestmark = pytest.mark.hosts


def leftovers(world: World) -> None:
    """Nothing of a transaction is left on the host."""
    state = json.loads(world.on_host("cat", "/var/lib/hostwright/shop/state.json"))
    assert state["transaction"] is None
    assert set(world.releases()) == set(state["releases"])
    assert world.on_host("ls", "-A", "/srv/shop/incoming") == ""
    used = {record["venv"] for record in state["releases"].values()}
    assert set(world.on_host("ls", "/srv/shop/venvs").split()) >= used
    for venv in world.on_host("ls", "/srv/shop/venvs").split():
        world.on_host("test", "-e", f"/srv/shop/venvs/{venv}/.hostwright-ready")
    idle = "b" if state["current"]["slot"] == "a" else "a"
    assert world.on_host("sh", "-c", f"systemctl is-active shop-web@{idle}.service || true").strip() == "inactive"


def test_check_mode_from_a_bootstrapped_host(world: World) -> None:
    world.run("ansible-playbook", "playbooks/bootstrap.yml")
    world.run("ansible-playbook", "playbooks/site.yml", "--check", "--diff")
    assert world.on_host("sh", "-c", "ls /srv").strip() == ""


def test_a_host_that_is_not_set_up_is_said_to_be(world: World) -> None:
    message = world.fab("deploy", status=2)
    assert "is not set up for shop" in message
    assert "playbooks/site.yml" in message


def test_provision_and_again_without_a_change(provisioned: World) -> None:
    again = provisioned.run("ansible-playbook", "playbooks/site.yml")
    assert re.search(r"changed=0 .*failed=0", again), again[-3000:]
    assert "DEPRECATION" not in again


def test_before_the_first_deploy_nginx_has_nothing_to_show(provisioned: World) -> None:
    status = provisioned.on_host(
        "python3",
        "-c",
        "import http.client as h; c = h.HTTPConnection('localhost'); c.request('GET', '/'); "
        "print(c.getresponse().status)",
    )
    assert status.strip() == "502"


def test_dry_run_changes_nothing(provisioned: World) -> None:
    shown = provisioned.fab("deploy", "--dry-run")
    assert "flip" in shown
    assert "host1" in shown
    assert provisioned.releases() == []


def test_first_deploy(deployed: World) -> None:
    assert "the first release" in deployed.page()
    assert deployed.releases()[0] in deployed.page()
    assert "/static/shop/shop." in deployed.page()
    deployed.page(re.findall(r'href="(/static/[^"]+)"', deployed.page())[0])
    eventually("beat and worker", lambda: "succeeded" in deployed.fab("logs", "--process", "worker-default"))
    leftovers(deployed)


def test_status_releases_and_other_looks(deployed: World) -> None:
    assert re.search(r"host1\s+shop-beat\s+\S+\s+active", deployed.fab("status"))
    events = [json.loads(line) for line in deployed.fab("status", "--json").splitlines()]
    assert events[0]["current"]["release"] == deployed.releases()[0]
    assert "current" in deployed.fab("releases")
    assert "no issues" in deployed.fab("manage", "check")
    assert "uid=" in deployed.fab("run", "id")
    assert "(shop)" in deployed.fab("run", "id")


def test_partitions(deployed: World) -> None:
    assert "PARTITION BY RANGE" in deployed.fab("partition.plan", status=3)
    deployed.fab("partition.apply")
    assert "nothing to do" in deployed.fab("partition.plan")
    assert "nothing to do" in deployed.fab("partition.apply")
    with Load(deployed.host.address) as load:
        time.sleep(1)
    assert not load.failed
    assert re.search(r"events_event_p\d{6}", deployed.fab("partition.status"))


def test_deploys_and_rollbacks_under_load(deployed: World) -> None:
    with Load(deployed.host.address) as load:
        for number in range(3):
            deployed.deploy_text(f"release {number}")
            assert f"release {number}" in deployed.page()
        deployed.fab("rollback", "--yes")
        assert "release 1" in deployed.page()
        deployed.fab("restart")
        assert "release 1" in deployed.page()
    assert load.done > 500
    assert load.failed == []
    assert len(load.releases) >= 4
    leftovers(deployed)


MIGRATION = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]
    operations = """

BROKEN = {
    "syntax error": ({"orders/views.py": "def broken(:\n"}, "check", "SyntaxError"),
    "import error when the worker boots": ({"shop/wsgi.py": "import no_such_module\n"}, "check", "no_such_module"),
    "health check 500": (
        {"orders/views.py": "\ndef health(request):\n    raise RuntimeError('health is broken')\n"},
        "standby",
        "status 500",
    ),
    "health check hangs": (
        {"orders/views.py": "\ndef health(request):\n    import time\n    time.sleep(600)\n"},
        "standby",
        "timed out",
    ),
    "wrong release id": (
        {
            "orders/views.py": "\ndef health(request):\n    answer = JsonResponse({})\n"
            "    answer['X-Hostwright-Release'] = 'another'\n    return answer\n"
        },
        "standby",
        "answers for release another",
    ),
    "failing migration": (
        {"orders/migrations/0002_broken.py": MIGRATION + "[migrations.RunSQL('SELECT no_such_column')]\n"},
        "migrate",
        "no_such_column",
    ),
    "failing collectstatic": (
        {"shop/static/shop/broken.css": "body { background: url(no-such-file.png) }\n"},
        "collectstatic",
        "no-such-file.png",
    ),
    "missing dependency": (
        {"requirements.txt": "Django==4.2.16\npsycopg2-binary==2.9.10\ncelery==5.5.3\nredis==5.2.1\n"},
        "check",
        "the virtualenv lacks gunicorn",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_release_never_gets_a_request(deployed: World, kind: str) -> None:
    changes, step, cause = BROKEN[kind]
    before, releases = deployed.serving(), deployed.releases()
    appended = {
        path: (deployed.repository / path).read_text() + text if text.startswith("\n") else text
        for path, text in changes.items()
    }
    deployed.commit(appended, kind)
    try:
        with Load(deployed.host.address, rate=20) as load:
            message = deployed.fab("deploy", status=1)
    finally:
        deployed.undo_commit()
    assert f"host1: {step}" in message, message[-3000:]
    assert cause in message, message[-3000:]
    assert load.failed == []
    assert deployed.serving() == before
    assert deployed.releases() == releases
    leftovers(deployed)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["deploy", "--ref", "no-such-ref"], "has no branch, tag or commit 'no-such-ref'"),
        (["deploy", "--ref", "--upload-pack=x"], "has no branch, tag or commit"),
        (["deploy", "--limit", "nobody"], "no host or group matches 'nobody'"),
        (["deploy", "-i", "no/such/inventory"], f"there is no inventory {ROOT}/no/such/inventory"),
        (["rollback", "--release", "../x", "--yes"], "'../x' is no release name"),
        (["rollback", "--release", "20000101T000000-aaaaaaa", "--yes"], "there is no release 20000101T000000-aaaaaaa"),
    ],
)
def test_bad_input_changes_nothing(deployed: World, argv: list[str], message: str) -> None:
    releases = deployed.releases()
    assert message in deployed.fab(*argv, status=2)
    assert deployed.releases() == releases


@pytest.fixture
def inventory(deployed: World, tmp_path: Path) -> Path:
    """A copy of the lab's inventory, to spoil."""
    shutil.copytree(ROOT / "inventory" / LAB, tmp_path / "inventory")
    return tmp_path / "inventory"


SPOILED = {
    "bad YAML": ("site.yml", "site: [", "", 2, "group_vars/all/site.yml: line 1, column "),
    "unknown key": (
        "site.yml",
        "{name: shop, source: {git: .}, wob: {}}",
        "",
        2,
        "site.wob: unknown key (did you mean web?)",
    ),
    "wrong type": (
        "site.yml",
        "{name: shop, source: {git: .}, web: {wsgi: a, workers: many}}",
        "",
        2,
        "site.web.workers",
    ),
    "missing variable": (
        "site.yml",
        "{name: shop, source: {git: '{{ nope }}'}}",
        "",
        2,
        "site.source.git: 'nope' is undefined",
    ),
    "unreachable host": ("hosts.yml", "ADDRESS", "ABSENT", 1, "can't be reached"),
    "unknown host key": ("hosts.yml", "KNOWN", "/dev/null", 2, "the host key of ADDRESS is not known"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_spoiled_inventory(deployed: World, inventory: Path, kind: str) -> None:
    file, old, new, status, message = SPOILED[kind]
    address, known = deployed.host.address, str(machine.CACHE / LAB / "known_hosts")
    # An address of the lab's own network that nobody has.
    new = new.replace("ABSENT", address.rsplit(".", 1)[0] + ".250")
    if file == "site.yml":
        (inventory / "group_vars/all/site.yml").write_text(f"site: {old}\n")
    else:
        path = inventory / file
        path.write_text(path.read_text().replace(old.replace("ADDRESS", address).replace("KNOWN", known), new))
    before, releases = deployed.serving(), deployed.releases()
    assert message.replace("ADDRESS", address) in deployed.fab("deploy", "-i", str(inventory), status=status)
    assert (deployed.serving(), deployed.releases()) == (before, releases)


def test_a_changed_host_key(deployed: World, inventory: Path) -> None:
    known = inventory.parent / "known_hosts"
    other = inventory.parent / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    known.write_text(f"{deployed.host.address} {' '.join(other.with_suffix('.pub').read_text().split()[:2])}\n")
    hosts = inventory / "hosts.yml"
    hosts.write_text(hosts.read_text().replace(str(machine.CACHE / LAB / "known_hosts"), str(known)))
    assert "is not the known one" in deployed.fab("deploy", "-i", str(inventory), status=2)


def test_a_wrong_vault_password(deployed: World, inventory: Path) -> None:
    right, wrong = inventory.parent / "right", inventory.parent / "wrong"
    right.write_text("right\n")
    wrong.write_text("wrong\n")
    vault = str(inventory / "group_vars/all/vars.yml")
    deployed.run("ansible-vault", "encrypt", "--vault-password-file", str(right), vault)
    assert "no vault password was given" in deployed.fab("deploy", "-i", str(inventory), status=2)
    for password, status, message in ((wrong, 2, "the vault password is wrong"), (right, 0, "flip")):
        shown = deployed.run(
            "env",
            f"ANSIBLE_VAULT_PASSWORD_FILE={password}",
            "fab",
            "deploy",
            "--dry-run",
            "-i",
            str(inventory),
            status=status,
        )
        assert message in shown


@pytest.mark.parametrize(("directory", "message"), [("incoming", "the upload failed"), ("releases", "No space left")])
def test_a_full_disk(deployed: World, directory: str, message: str) -> None:
    before, releases = deployed.serving(), deployed.releases()
    owner = "deploy" if directory == "incoming" else "root"
    path = f"/srv/shop/{directory}"
    options = f"size=4k,mode=0700,uid={deployed.on_host('id', '-u', owner).strip()}"
    deployed.on_host("mount", "-t", "tmpfs", "-o", options, "full", path)
    try:
        assert message in deployed.fab("deploy", status=1)
    finally:
        deployed.on_host("umount", path)
    assert (deployed.serving(), deployed.releases()) == (before, releases)
    leftovers(deployed)


def test_changes_that_are_not_committed(deployed: World) -> None:
    (deployed.repository / "shop/templates/banner.txt").write_text("not committed\n")
    try:
        assert "not committed" in deployed.fab("deploy", status=2)
    finally:
        (deployed.repository / "shop/templates/banner.txt").write_text("release 1\n")
        deployed.commit({}, "again")


def test_a_killed_controller_leaves_the_old_release_and_no_lock(deployed: World, started: Start) -> None:
    before = deployed.serving()
    deployed.commit({"shop/slow.py": "x\n"}, "a change that is never live")
    run = started("fab", "deploy", "--json")
    assert run.stdout is not None
    for line in run.stdout:
        if '"step": "check", "status": "start"' in line:
            run.send_signal(signal.SIGKILL)
            break
    run.wait()
    eventually("the end of the transaction", lambda: '"transaction": null' in _state(deployed), 60)
    assert deployed.serving() == before
    leftovers(deployed)


def test_a_cancelled_job_is_undone_at_once(deployed: World, started: Start) -> None:
    before = deployed.serving()
    run = started("fab", "deploy", "--json")
    assert run.stdout is not None
    for line in run.stdout:
        if '"state": "uploaded"' in line:
            run.send_signal(signal.SIGTERM)
            break
    output = run.stdout.read()
    assert run.wait(timeout=60) in (130, 143), output
    assert "Traceback" not in output
    assert '"transaction": null' in _state(deployed)
    assert deployed.serving() == before
    leftovers(deployed)


def test_a_killed_engine_is_started_again_and_undoes(deployed: World, started: Start) -> None:
    before = deployed.serving()
    run = started("fab", "deploy", "--json")
    assert run.stdout is not None
    for line in run.stdout:
        if '"step": "standby", "status": "start"' in line:
            deployed.on_host("systemctl", "kill", "-s", "KILL", "--kill-who=main", "hostwright-shop-transaction")
            break
    run.stdout.read()
    assert run.wait(timeout=90) == 1
    eventually("the end of the transaction", lambda: '"transaction": null' in _state(deployed), 60)
    assert deployed.serving() == before
    leftovers(deployed)


def test_someone_else_is_deploying(deployed: World, started: Start) -> None:
    deployed.commit({"shop/templates/banner.txt": "the one who came first\n"}, "first")
    first = started("fab", "deploy", "--json")
    assert first.stdout is not None
    for line in first.stdout:
        if '"state": "locked"' in line:
            break
    message = deployed.fab("deploy", status=75)
    assert re.search(r"\S+@\S+ is deploying \S+ since 20", message), message
    first.stdout.read()
    assert first.wait(timeout=60) == 0
    assert "the one who came first" in deployed.page()


def test_rollback_takes_migrations_along(deployed: World) -> None:
    migration = MIGRATION + "[migrations.AddField('order', 'note', models.TextField(default=''))]\n"
    model = (deployed.repository / "orders/models.py").read_text() + '    note = models.TextField(default="")\n'
    deployed.commit({"orders/migrations/0002_note.py": migration, "orders/models.py": model}, "a column more")
    assert "orders.0002_note" in deployed.fab("deploy")
    columns = (
        "SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders_order' AND column_name = 'note'"
    )
    count = ("runuser", "-u", "postgres", "--", "psql", "-XAtd", "shop", "-c", columns)
    assert deployed.on_host(*count).strip() == "1"
    deployed.fab("rollback", "--yes", "--migrations")
    assert deployed.on_host(*count).strip() == "0"
    assert "the one who came first" in deployed.page()
    deployed.undo_commit()


def test_dump_and_restore(deployed: World, tmp_path: object) -> None:
    rows = ("runuser", "-u", "postgres", "--", "psql", "-XAtd", "shop", "-c", "SELECT count(*) FROM orders_order")
    before = deployed.on_host(*rows)
    # What only a superuser could make is in each dump; the database has it already.
    deployed.on_host(*rows[:-1], "CREATE EXTENSION pgcrypto; GRANT USAGE ON SCHEMA public TO PUBLIC")
    # The right to name other servers, by a group as roles/postgresql gives it, and what an archive makes of it.
    deployed.on_host(
        *rows[:-1],
        "CREATE EXTENSION postgres_fdw; CREATE ROLE hostwright_archivers NOLOGIN;"
        "GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO hostwright_archivers; GRANT hostwright_archivers TO shop;"
        "SET ROLE shop; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '192.0.2.1');"
        "CREATE USER MAPPING FOR shop SERVER far OPTIONS (user 'shop', password 'of-the-archive');"
        "CREATE FOREIGN TABLE orders_of_2020 (id bigint) SERVER far",
    )
    deployed.fab("db.dump", "--to", f"{tmp_path}/shop.dump")
    deployed.page("/api/orders")
    with Load(deployed.host.address, rate=50):
        time.sleep(1)
    assert deployed.on_host(*rows) != before
    deployed.fab("db.restore", "--source", f"{tmp_path}/shop.dump", "--yes")
    assert deployed.on_host(*rows) == before
    far = "SELECT ftrelid::regclass, umoptions @> '{password=of-the-archive}' FROM pg_foreign_table, pg_user_mappings"
    assert deployed.on_host(*rows[:-1], far).strip() == "orders_of_2020|t"
    whole = Path(f"{tmp_path}/shop.dump").read_bytes()
    Path(f"{tmp_path}/half.dump").write_bytes(whole[: len(whole) // 2])
    assert "nothing was changed" in deployed.fab("db.restore", "--source", f"{tmp_path}/half.dump", "--yes", status=1)
    assert deployed.on_host(*rows) == before
    assert "the one who came first" in deployed.page()


def test_maintenance(deployed: World) -> None:
    deployed.fab("maintenance.on")
    try:
        answer = deployed.on_host(
            "python3",
            "-c",
            "import http.client as h; c = h.HTTPConnection('localhost'); c.request('GET', '/'); "
            "print(c.getresponse().status)",
        )
        assert answer.strip() == "503"
    finally:
        deployed.fab("maintenance.off")
    assert "the one who came first" in deployed.page()


def test_a_host_that_lost_its_power_comes_back_with_its_release(deployed: World) -> None:
    before = deployed.serving()
    machine.kill(deployed.host)
    machine.start(deployed.host)

    def back() -> bool:
        try:
            return deployed.serving() == before
        except OSError:
            return False

    eventually("the same page", back, 60)
    deployed.deploy_text("after the power cut")
    assert "after the power cut" in deployed.page()
    leftovers(deployed)


def test_no_secret_is_where_it_should_not_be(deployed: World) -> None:
    secret = "not-a-secret-only-for-throwaway-hosts"
    look = (
        f"grep -rlF {secret} /var/log /srv /var/lib/hostwright 2>/dev/null; journalctl --no-pager | grep -cF {secret}"
    )
    assert deployed.on_host("sh", "-c", f"{look} || true").strip() == "0"
    assert secret not in deployed.fab("config.check")


def _state(world: World) -> str:
    return world.on_host("cat", "/var/lib/hostwright/shop/state.json")
