"""The probe, run as a release's Python runs it, against the sample project on SQLite."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import django.db
import pytest
from hostwright_engine import probe

from tests.unit.engine.conftest import ENGINE

SHOP = Path(__file__).resolve().parents[3] / "examples" / "shop"
MARK = "\x1eHOSTWRIGHT "
OURS = ("events", "orders", "outbox")


class Project:
    """A copy of the sample project with a database of its own."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def write(self, path: str, text: str) -> None:
        (self.top / path).parent.mkdir(parents=True, exist_ok=True)
        (self.top / path).write_text(text)

    def run(
        self,
        mode: str,
        manage: Sequence[str] = ("python", "manage.py"),
        environment: Mapping[str, str] | None = None,
        **request: Any,
    ) -> subprocess.CompletedProcess[str]:
        request = {
            "modules": [],
            "applications": [],
            "lock_timeout": 5,
            **request,
            "mode": mode,
            "manage": list(manage),
        }
        return subprocess.run(
            [sys.executable, "-c", (ENGINE / "hostwright_engine" / "probe.py").read_text()],
            input=json.dumps(request),
            cwd=self.top,
            env={"PATH": os.environ["PATH"], "SECRET_KEY": "x", **(environment or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def answer(self, mode: str, **request: Any) -> dict[str, Any]:
        done = self.run(mode, **request)
        marked = [line for line in done.stdout.split("\n") if line.startswith(MARK)]
        assert (done.returncode, len(marked)) == (0, 1), done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(marked[0][len(MARK) :])
        return answer

    def refusal(self, mode: str, **request: Any) -> str:
        done = self.run(mode, **request)
        assert done.returncode == 1, done.stdout + done.stderr
        assert MARK not in done.stdout
        return done.stderr.strip()


def copied(to: Path) -> Project:
    shutil.copytree(SHOP, to, ignore=shutil.ignore_patterns("db.sqlite3", "__pycache__", "deploy"))
    # The sample's package starts Celery, which the controller does not need and has not got.
    (to / "shop" / "__init__.py").write_text("")
    return Project(to)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with all its migrations applied, to copy from."""
    project = copied(tmp_path_factory.mktemp("probe") / "shop")
    answer = project.answer("migrate")
    ours = [[app, "0001_initial"] for app in OURS]
    assert [key for key in answer["applied"] if key[0] in OURS] == ours
    assert ["auth", "0001_initial"] in answer["applied"]
    assert (project.top / "db.sqlite3").exists()
    return project


@pytest.fixture
def project(migrated: Project, tmp_path: Path) -> Project:
    shutil.copytree(migrated.top, tmp_path / "shop")
    return Project(tmp_path / "shop")


ADD_NOTE = """
from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]
    operations = [migrations.AddField("order", "note", models.TextField(default=""))]
"""
NO_WAY_BACK = """
from django.db import migrations
class Migration(migrations.Migration):
    dependencies = [("orders", "0002_note")]
    operations = [migrations.RunPython(lambda apps, editor: None)]
"""
SQUASHED = """
from django.db import migrations, models
class Migration(migrations.Migration):
    replaces = [("orders", "0001_initial"), ("orders", "0002_note")]
    initial = True
    dependencies = []
    operations = [migrations.CreateModel("Order", [
        ("id", models.BigAutoField(primary_key=True, serialize=False)),
        ("created_at", models.DateTimeField(auto_now_add=True)),
        ("customer", models.CharField(max_length=100)),
        ("cents", models.PositiveIntegerField(default=0)),
        ("note", models.TextField(default="")),
    ])]
"""
NEW_APP = """
from django.db import migrations, models
class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [migrations.CreateModel("Coupon", [("id", models.BigAutoField(primary_key=True, serialize=False))])]
"""


def heads(**changed: str) -> dict[str, list[str]]:
    """The heads of the sample's first release, as the engine keeps them."""
    return {
        "auth": ["0012_alter_user_first_name_max_length"],
        "contenttypes": ["0002_remove_content_type_name"],
        "sessions": ["0001_initial"],
        **{app: [changed.get(app, "0001_initial")] for app in OURS},
    }


def test_check_tells_the_plan_and_the_heads(tmp_path: Path) -> None:
    fresh = copied(tmp_path / "shop")
    answer = fresh.answer("check", modules=["django"], applications=["shop.wsgi:application"])
    assert answer["heads"] == heads()
    assert [key for key in answer["plan"] if key[0] in OURS] == [[app, "0001_initial"] for app in OURS]
    assert answer["reversible"] is True


def test_check_of_a_release_with_more_migrations(project: Project) -> None:
    assert project.answer("check") == {"heads": heads(), "plan": [], "reversible": True}
    project.write("orders/migrations/0002_note.py", ADD_NOTE)
    project.write("orders/migrations/0003_once.py", NO_WAY_BACK)
    assert project.answer("check") == {
        "heads": heads(orders="0003_once"),
        "plan": [["orders", "0002_note"], ["orders", "0003_once"]],
        "reversible": False,
    }


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"modules": ["gunicorn_", "django"]}, "the virtualenv lacks gunicorn_: add it to the requirements"),
        ({"applications": ["shop.wsgi:nothing"]}, "shop.wsgi has no nothing"),
        ({"applications": ["shop.nowhere"]}, "ModuleNotFoundError: No module named 'shop.nowhere'"),
    ],
)
def test_check_of_what_would_not_start(project: Project, request_: dict[str, Any], message: str) -> None:
    assert project.refusal("check", **request_).endswith(message)


def test_check_of_conflicting_migrations(project: Project) -> None:
    project.write("orders/migrations/0002_note.py", ADD_NOTE)
    project.write("orders/migrations/0002_other.py", ADD_NOTE.replace('"note"', '"other"'))
    assert project.refusal("check") == "conflicting migrations: orders: 0002_note, 0002_other"


def test_check_of_a_project_that_django_complains_of(project: Project) -> None:
    with (project.top / "shop" / "settings.py").open("a") as out:
        out.write("\nSTATICFILES_DIRS = 3\n")
    assert "(staticfiles.E001)" in project.refusal("check") or "STATICFILES_DIRS" in project.refusal("check")


@pytest.mark.parametrize(
    "manage",
    [
        ["./manage.py"],
        ["python3", "-m", "tools.manage"],
        ["python", "tools/manage.py"],
        # These know the settings from the environment.
        ["python", "-m", "django"],
        ["django-admin"],
    ],
)
def test_other_manage_commands(project: Project, manage: list[str]) -> None:
    project.write("tools/__init__.py", "")
    project.write("tools/manage.py", "import sys\nsys.path.insert(0, '.')\n" + (project.top / "manage.py").read_text())
    if "manage" in manage[-1]:
        assert project.answer("check", manage=manage)["plan"] == []
    else:
        project.write("manage.py", "raise SystemExit('not this one')")
        assert (
            project.answer("check", manage=manage, environment={"DJANGO_SETTINGS_MODULE": "shop.settings"})["plan"]
            == []
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("print('hello')", "the manage command python manage.py did not call Django's execute_from_command_line"),
        ("raise SystemExit('not today')", "not today"),
    ],
)
def test_a_manage_command_that_is_none(project: Project, text: str, message: str) -> None:
    project.write("manage.py", text)
    assert project.refusal("check").endswith(message)


def test_migrate_tells_what_it_applied(project: Project) -> None:
    assert project.answer("migrate") == {"applied": []}
    project.write("orders/migrations/0002_note.py", ADD_NOTE)
    assert project.answer("migrate") == {"applied": [["orders", "0002_note"]]}


def test_what_the_application_prints_last_does_not_hide_the_answer(project: Project) -> None:
    with (project.top / "shop/settings.py").open("a") as settings:
        settings.write('\nprint("dots", end="")\n')
    assert project.answer("pending") == {"plan": []}


def test_pending_is_what_is_not_applied(project: Project) -> None:
    assert project.answer("pending") == {"plan": []}
    project.write("orders/migrations/0002_note.py", ADD_NOTE)
    assert project.answer("pending") == {"plan": [["orders", "0002_note"]]}
    project.answer("migrate")
    (project.top / "orders/migrations/0002_note.py").unlink()
    assert project.answer("pending") == {"plan": []}


def test_unmigrate_goes_back_to_the_older_heads(project: Project) -> None:
    project.write("orders/migrations/0002_note.py", ADD_NOTE)
    project.write("coupons/__init__.py", "")
    project.write("coupons/migrations/__init__.py", "")
    project.write("coupons/migrations/0001_initial.py", NEW_APP)
    with (project.top / "shop" / "settings.py").open("a") as out:
        out.write("\nINSTALLED_APPS += ['coupons']\n")
    added = [["coupons", "0001_initial"], ["orders", "0002_note"]]
    assert project.answer("migrate") == {"applied": added}
    assert project.answer("unmigrate", targets=heads()) == {"undone": added}
    assert sorted(project.answer("check")["plan"]) == added
    assert project.answer("unmigrate", targets=heads()) == {"undone": []}


def test_unmigrate_refuses_what_can_not_be_undone_and_undoes_nothing(project: Project) -> None:
    project.write("orders/migrations/0002_note.py", ADD_NOTE)
    project.write("orders/migrations/0003_once.py", NO_WAY_BACK)
    project.answer("migrate")
    assert project.refusal("unmigrate", targets=heads()) == (
        "these migrations can't be undone: orders.0003_once (Raw Python operation)"
    )
    assert project.answer("check")["plan"] == []


@pytest.mark.parametrize("older", ["0001_initial", "0002_note"])
def test_unmigrate_across_a_squash_never_undoes_the_whole_app(project: Project, older: str) -> None:
    project.write("orders/migrations/0002_note.py", ADD_NOTE)
    project.answer("migrate")
    project.write("orders/migrations/0001_squashed.py", SQUASHED)
    project.answer("migrate")
    if older == "0002_note":
        assert project.answer("unmigrate", targets=heads(orders=older)) == {"undone": []}
    else:
        assert project.refusal("unmigrate", targets=heads(orders=older)) == (
            "these migrations can't be undone: orders.0001_squashed (it stands for some that the older release has)"
        )


def test_unmigrate_refuses_heads_that_the_newer_code_does_not_know(project: Project) -> None:
    assert project.refusal("unmigrate", targets=heads(orders="0007_gone")) == (
        "the newer release does not have the migrations of the older one: orders.0007_gone"
    )
    assert project.answer("check")["plan"] == []


class Postgres:
    """Stands in for a connection, and its cursor: `answers` say whether the lock was got, the last one again."""

    vendor = "postgresql"

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.executed: list[tuple[str, list[Any]]] = []

    def cursor(self) -> Any:
        return contextlib.nullcontext(self)

    def execute(self, statement: str, values: list[Any]) -> None:
        self.executed.append((statement, values))

    def fetchone(self) -> tuple[bool]:
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0],)


TRY = ("SELECT pg_try_advisory_lock(%s)", [probe.LOCK])


def test_a_migration_waits_for_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Postgres(False, True)
    monkeypatch.setattr(django.db, "connection", connection)
    probe.lock({"lock_timeout": 30})
    assert connection.executed == [TRY, TRY, ("SELECT set_config('lock_timeout', %s, false)", ["30s"])]


def test_two_processes_do_not_migrate_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Postgres(False)
    monkeypatch.setattr(django.db, "connection", connection)
    with pytest.raises(SystemExit, match="another process is migrating this database"):
        probe.lock({"lock_timeout": 0.3})
    assert set(map(str, connection.executed)) == {str(TRY)}


def test_a_host_without_pg_dump_says_so(project: Project) -> None:
    done = project.run("dump", environment={"DB_NAME": "shop", "PATH": "/nonexistent"})
    assert (done.returncode, done.stderr) == (
        1,
        "pg_dump is not on this host, which migrates: ansible-playbook playbooks/site.yml installs it\n",
    )
