"""`hostwright init`: a project's files in, the files of deploy/ out. The project's own code is never run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from hostwright import cli, config
from hostwright.errors import BadInput
from hostwright.init import files, project, settings
from hostwright.init.sources import SITE, TOP, VAULT
from hostwright.init.values import UNKNOWN, Variable

MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "{}")\nfrom django.core import management\n'
WSGI = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "{}")\napplication = None\n'
READY = """\
import os
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["www.shop.org", "localhost"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "orders"}}
ROOT_URLCONF = "shop.urls"
STATIC_URL = "assets/"
STATIC_ROOT = BASE_DIR / "var" / "static"
"""
"""Settings that lack nothing."""
HOSTS_HAVE = "3 is what the hosts have, such as 3.11 on Debian 12, 3.13 on Debian 13, 3.12 on Ubuntu 24.04"
URLS = 'from django.urls import path\nurlpatterns = [path("", None), path("admin/", None)]\n'
SHOP = {
    "manage.py": MANAGE.format("shop.settings"),
    "requirements.txt": "Django==4.2\ngunicorn\npsycopg2-binary\n",
    "shop/settings.py": READY,
    "shop/urls.py": URLS,
    "shop/wsgi.py": WSGI.format("shop.settings"),
}


def tree(root: Path, contents: dict[str, str], git: bool = True) -> Path:
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    if git:
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        subprocess.run(["git", "-C", str(root), *author, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    return root


def startproject(root: Path) -> Path:
    subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", str(root)], check=True)
    return root


def found(root: Path, up: str = "..") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The site that init fills in, as YAML gives it, and what it says is missing."""
    looked = project.look(root)
    text = files.files(looked, up, "new-key")[SITE]
    site: dict[str, Any] = yaml.safe_load(text)["site"]
    config.load(site)
    return site, list(looked.needs)


# --- The files


def test_what_startproject_makes(tmp_path: Path) -> None:
    looked = project.look(startproject(tmp_path))
    made = files.files(looked, "..", "new-key")
    assert list(made) == [
        ".gitattributes",
        ".gitignore",
        "ansible.cfg",
        "fabfile.py",
        "inventory/production/hosts.yml",
        "inventory/production/group_vars/all/site.yml",
        "inventory/production/group_vars/all/vault.yml",
        "playbooks/bootstrap.yml",
        "playbooks/site.yml",
        "playbooks/upgrade.yml",
    ]
    assert made[SITE] == STARTPROJECT
    assert made[VAULT].splitlines()[1:] == ["vault_secret_key: new-key"]
    assert made[".gitattributes"] == "* export-ignore\n"
    assert len(made["fabfile.py"].splitlines()) == 5
    assert made["playbooks/site.yml"].splitlines()[1:] == ["- import_playbook: hostwright.hostwright.site"]
    assert looked.needs == (
        (SITE, "dependencies: no requirements file was found; Django alone is filled in"),
        (
            "mysite/settings.py",
            "DATABASES uses SQLite, in a directory that each release has anew: "
            '{"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "mysite"}}',
        ),
        (SITE, "web.domains: the names that the site answers for"),
        (
            "mysite/settings.py",
            'SECRET_KEY is not read from the environment: SECRET_KEY = os.environ["SECRET_KEY"]',
        ),
        (
            "mysite/settings.py",
            'ALLOWED_HOSTS lets nobody in: ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")',
        ),
        ("mysite/settings.py", "DEBUG is True: DEBUG = False"),
        (SITE, "source: without git, all that lies in the directory is in each release, deploy/ as well"),
        ("mysite/settings.py", 'STATIC_ROOT is not set: STATIC_ROOT = BASE_DIR / "staticfiles"'),
    )


STARTPROJECT = """\
# mysite, as `hostwright init` found it. `hostwright example` shows every other key, `fab config.check` what was understood.
# What it could not tell:
#   - dependencies: no requirements file was found; Django alone is filled in
#   - web.domains: the names that the site answers for
#   - source: without git, all that lies in the directory is in each release, deploy/ as well
site:
  # Part of paths, units and user names.
  name: mysite
  # The project's directory as it is, since it is no git repository: with git, a release is a commit, and this would be `git: ..`.
  source:
    path: ..
  # The hosts' own Python; "3.12" needs the package python3.12 to be installable there.
  python:
    version: "3"
  dependencies:
    requirements: []
    # What is needed beside them.
    packages: [django, gunicorn==23.0.0, 'psycopg[binary]']
  web:
    wsgi: mysite.wsgi:application
    # The names that the site answers for; without any it answers for all, by its address too.
    domains: [mysite.example.com]
    # Encrypted, with a certificate that browsers do not know yet; `files` takes a real one.
    tls: self_signed
  # What the settings read from the environment.
  env:
    DJANGO_SETTINGS_MODULE: mysite.settings
    ALLOWED_HOSTS: mysite.example.com
  # The same, never shown. Their values are in vault.yml.
  secrets:
    SECRET_KEY: "{{ vault_secret_key }}"
  # STATIC_ROOT, relative to the project, and STATIC_URL.
  static:
    root: staticfiles
    url: /static/
  services:
    # Reached through its unix socket, as the user mysite, without a password.
    databases:
      - name: mysite
  # What a release is asked before it gets a request. It must answer 200.
  health:
    path: /admin/login/
"""  # noqa: E501


def test_ansible_needs_no_path_of_this_machine(tmp_path: Path) -> None:
    cfg = files.files(project.look(tree(tmp_path, SHOP)), "..", "new-key")["ansible.cfg"].splitlines()
    assert cfg[:3] == ["[defaults]", "inventory = inventory/production", "forks = 20"]
    assert not any(line.startswith(("roles_path", "library", "filter_plugins")) for line in cfg)


# --- What is found


def test_a_project_that_lacks_nothing(tmp_path: Path) -> None:
    site, needs = found(tree(tmp_path, SHOP))
    assert site == {
        "name": "shop",
        "source": {"git": ".."},
        "python": {"version": "3"},
        "dependencies": {"requirements": ["requirements.txt"], "packages": []},
        "web": {"wsgi": "shop.wsgi:application", "domains": ["www.shop.org"], "tls": "self_signed"},
        "env": {"DJANGO_SETTINGS_MODULE": "shop.settings"},
        "secrets": {"SECRET_KEY": "{{ vault_secret_key }}"},
        "static": {"root": "var/static", "url": "/assets/"},
        "services": {"databases": [{"name": "orders"}]},
        "health": {"path": "/"},
    }
    assert needs == [(SITE, f"python.version: its Django needs 3.8 or newer; {HOSTS_HAVE}")]


def test_a_project_in_a_directory_of_its_repository(tmp_path: Path) -> None:
    inner = {f"backend/{name}": content for name, content in SHOP.items()}
    site, _ = found(tree(tmp_path, inner))
    assert site["project_dir"] == "backend"
    assert site["dependencies"]["requirements"] == ["backend/requirements.txt"]
    assert site["web"]["wsgi"] == "shop.wsgi:application"
    assert site["static"]["root"] == "backend/var/static"


def test_settings_for_production_win(tmp_path: Path) -> None:
    contents = {
        "manage.py": MANAGE.format("config.settings.local"),
        "config/wsgi.py": WSGI.format("config.settings.local"),
        "config/settings/__init__.py": "",
        "config/settings/base.py": READY.replace("parent.parent", "parent.parent.parent") + "DEBUG = False\n",
        "config/settings/local.py": "from .base import *\nDEBUG = True\n",
        "config/settings/production.py": "from .base import *\nALLOWED_HOSTS = env.list('DJANGO_ALLOWED_HOSTS')\n",
        "requirements/base.txt": "django>=6.0\n",
        "requirements/prod.txt": "-r base.txt\ngunicorn==21.0 --hash=sha256:0\npsycopg[c]\n",
        "shop/urls.py": URLS,
    }
    site, needs = found(tree(tmp_path / "Web_Shop", contents))
    assert site["name"] == "web-shop"
    assert site["env"] == {
        "DJANGO_SETTINGS_MODULE": "config.settings.production",
        "DJANGO_ALLOWED_HOSTS": "web-shop.example.com",
    }
    assert site["dependencies"] == {"requirements": ["requirements/prod.txt"], "packages": []}
    assert site["packages"] == {"build": ["gcc", "libpq-dev", "python3-dev"], "run": ["libpq5"]}
    assert site["web"]["wsgi"] == "config.wsgi:application"
    assert site["static"]["root"] == "var/static"
    assert needs == [
        (SITE, "web.domains: the names that the site answers for"),
        (SITE, f"python.version: its Django needs 3.12 or newer; {HOSTS_HAVE}"),
    ]


def without_requirements(**more: str) -> dict[str, str]:
    return {**{name: content for name, content in SHOP.items() if name != "requirements.txt"}, **more}


PYPROJECT = '[project]\nname = "shop"\nrequires-python = ">=3.11"\ndependencies = ["django>=5", "psycopg2"]\n'


@pytest.mark.skipif(sys.version_info < (3, 11), reason="has no tomllib")
def test_a_pyproject_is_installed(tmp_path: Path) -> None:
    build = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    site, needs = found(tree(tmp_path, without_requirements(**{"pyproject.toml": PYPROJECT + build})))
    assert site["dependencies"] == {"requirements": [], "project": ".", "packages": ["gunicorn==23.0.0"]}
    assert site["packages"] == {"build": ["gcc", "libpq-dev", "python3-dev"], "run": ["libpq5"]}
    said = "pyproject.toml says >=3.11, its Django needs 3.10 or newer"
    assert needs == [(SITE, f"python.version: {said}; {HOSTS_HAVE}")]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="has no tomllib")
def test_a_pyproject_that_can_not_be_installed_is_copied(tmp_path: Path) -> None:
    site, needs = found(tree(tmp_path, without_requirements(**{"pyproject.toml": PYPROJECT})))
    assert site["dependencies"] == {"requirements": [], "packages": ["django>=5", "psycopg2", "gunicorn==23.0.0"]}
    assert needs[0] == (
        SITE,
        "dependencies.packages: copied from pyproject.toml, which has no [build-system] to install it with; "
        "a requirements file made of your lock is better",
    )


@pytest.mark.skipif(sys.version_info < (3, 11), reason="has no tomllib")
@pytest.mark.parametrize(
    "text", ["project = 3\n", "tool = 3\n", "[project]\ndependencies = 3\n", "[tool]\npoetry = []\n"]
)
def test_a_strange_pyproject_is_no_failure(tmp_path: Path, text: str) -> None:
    site, _ = found(tree(tmp_path, without_requirements(**{"pyproject.toml": text})))
    assert site["dependencies"]["packages"] == ["django", "gunicorn==23.0.0", "psycopg[binary]"]


def test_a_lock_that_pip_can_not_read_is_named(tmp_path: Path) -> None:
    _, needs = found(tree(tmp_path, without_requirements(**{"uv.lock": ""})))
    assert needs == [
        (
            SITE,
            "dependencies: no requirements file was found (uv.lock is there: export it to one); "
            "Django alone is filled in",
        )
    ]


def test_celery_its_scheduler_and_its_broker(tmp_path: Path) -> None:
    contents = {
        **SHOP,
        "requirements.txt": "celery[redis]\ngunicorn\npsycopg\n",
        "shop/celery.py": 'from celery import Celery\napp = Celery("shop")\n',
        "shop/settings.py": READY
        + 'INSTALLED_APPS = ["django.contrib.staticfiles"]\nINSTALLED_APPS += ["django_celery_beat"]\n'
        + 'CELERY_BROKER_URL = os.environ["BROKER_URL"]\n',
    }
    site, needs = found(tree(tmp_path, contents))
    scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
    assert site["celery"] == {"app": "shop", "beat": True, "scheduler": scheduler}
    assert site["services"] == {"databases": [{"name": "orders"}], "redis": {}}
    assert site["env"]["BROKER_URL"] == "redis://127.0.0.1:6379/0"
    assert needs == []


def test_celery_on_rabbitmq(tmp_path: Path) -> None:
    contents = {
        **SHOP,
        "shop/celery_app.py": 'app = celery.Celery("shop")\napp.conf.beat_schedule = {}\n',
        "shop/settings.py": READY + 'CELERY_BROKER_URL = "amqp://localhost"\n',
    }
    looked = project.look(tree(tmp_path, contents))
    made = files.files(looked, "..", "new-key")
    site = yaml.safe_load(made[SITE])["site"]
    assert site["celery"] == {"app": "shop.celery_app", "beat": True}
    assert site["services"]["amqp"] == {"vhost": "shop", "user": "shop", "password": "{{ vault_amqp_password }}"}
    assert yaml.safe_load(made[VAULT]) == {"vault_secret_key": "new-key", "vault_amqp_password": "change-me"}


def test_what_the_settings_read_from_the_environment(tmp_path: Path) -> None:
    text = """\
import environ, os
env = environ.Env(CACHE_URL=(str, "locmem://"))
DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env("DJANGO_KEY")
ALLOWED_HOSTS = env.list("HOSTS")
DATABASES = {"default": env.db()}
CACHES = {"default": env.cache_url("CACHE_URL")}
STRIPE_SECRET = os.environ["STRIPE_SECRET"]
MAIL = os.environ["MAIL_FROM"]
STATIC_ROOT = os.environ.get("STATIC_DIR", "x")
MEDIA_ROOT = env("MEDIA_DIR")
"""
    site, needs = found(tree(tmp_path, {**SHOP, "shop/settings.py": text}))
    assert site["env"] == {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "DATABASE_URL": "postgres:///shop",
        "HOSTS": "shop.example.com",
        "MAIL_FROM": "",
    }
    assert site["secrets"] == {
        "DJANGO_KEY": "{{ vault_django_key }}",
        "STRIPE_SECRET": "{{ vault_stripe_secret }}",
    }
    assert site["static"] == {"root": "staticfiles", "url": "/static/", "env": "STATIC_DIR"}
    assert site["media"] == {"url": "/media/", "env": "MEDIA_DIR"}
    assert (SITE, "env.MAIL_FROM: the settings read it, and have no default") in needs
    assert (VAULT, "vault_stripe_secret") in needs


def test_debug_is_off(tmp_path: Path) -> None:
    site, needs = found(tree(tmp_path, {**SHOP, "shop/settings.py": READY + 'DEBUG = env("DBG")\n'}))
    assert site["env"]["DBG"] == "False"
    assert needs[0][1] == "DEBUG depends on the variable DBG: see that it is off with what site.yml gives that"


def test_media_outlive_a_release(tmp_path: Path) -> None:
    text = READY + 'MEDIA_URL = "/files/"\nMEDIA_ROOT = os.path.join(BASE_DIR, "uploads")\n'
    site, _ = found(tree(tmp_path, {**SHOP, "shop/settings.py": text}))
    assert (site["media"], site["shared"]) == ({"url": "/files/"}, {"media": "uploads"})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            'STATIC_ROOT = "/var/www"',
            'STATIC_ROOT is no directory of the project: STATIC_ROOT = BASE_DIR / "staticfiles"',
        ),
        ("STATIC_ROOT = where()", 'STATIC_ROOT was not understood: STATIC_ROOT = BASE_DIR / "staticfiles"'),
        ('MEDIA_ROOT = "/var/media"', 'MEDIA_ROOT is no directory of the project: MEDIA_ROOT = BASE_DIR / "media"'),
        (
            'DATABASES = {"default": {"ENGINE": "django.db.backends.mysql"}}',
            "DATABASES uses django.db.backends.mysql, which Hostwright does not provide: it makes PostgreSQL databases",
        ),
        (
            'DATABASES = {"default": {"ENGINE": "django.contrib.gis.db.backends.postgis", "HOST": "db"}}',
            'DATABASES has the HOST db: "" takes the unix socket, without a password',
        ),
        ("DEBUG = True", "DEBUG is True: DEBUG = False"),
        (
            'INSTALLED_APPS = ["wagtail.search"]',
            "INSTALLED_APPS lacks django.contrib.postgres, which wagtail.search needs with PostgreSQL",
        ),
        (
            'DEBUG = os.environ.get("DBG", "") != "False"',
            "DEBUG depends on the variable DBG: see that it is off with what site.yml gives that",
        ),
        ("SECRET_KEY = 'x'", 'SECRET_KEY is not read from the environment: SECRET_KEY = os.environ["SECRET_KEY"]'),
        ("x = (", "line 10 is no Python that this interpreter knows"),
    ],
)
def test_what_has_to_change_is_said(tmp_path: Path, more: str, said: str) -> None:
    _, needs = found(tree(tmp_path, {**SHOP, "shop/settings.py": READY + more + "\n"}))
    assert ("shop/settings.py", said) in needs


def test_an_asgi_application_is_served_by_uvicorn(tmp_path: Path) -> None:
    contents = {name: content for name, content in SHOP.items() if name != "shop/wsgi.py"}
    site, _ = found(tree(tmp_path, {**contents, "shop/asgi.py": WSGI.format("shop.settings")}))
    assert site["web"]["asgi"] == "shop.asgi:application"
    assert site["dependencies"]["packages"] == ["uvicorn"]


@pytest.mark.parametrize(
    ("routes", "health"),
    [
        ('path("", include("shop.pages"))', "/"),
        ('path("shop/", include(("shop.pages", "pages"))), path("admin/", admin.site.urls)', "/admin/login/"),
        ('path("", include("shop.urls"))', None),
        ('path("", include("wagtail.urls"))', None),
        ('path("", include(router.urls)), path("", include())', None),
        ('path("")', None),
    ],
)
def test_the_health_path_is_a_route_with_a_view(tmp_path: Path, routes: str, health: str | None) -> None:
    """What an application that is elsewhere shows at its first page is not known."""
    pages = 'urlpatterns = [path("", home)]\n'
    site, needs = found(tree(tmp_path, {**SHOP, "shop/urls.py": f"urlpatterns = [{routes}]\n", "shop/pages.py": pages}))
    assert site["health"]["path"] == (health or "/")
    told = (SITE, "health.path: a page that answers 200 without a login") in needs
    assert told == (health is None)


def test_an_application_that_is_installed(tmp_path: Path) -> None:
    """Only a manage.py names it: what its settings say is not known, and nothing is said to be wrong with them."""
    site, needs = found(tree(tmp_path, {"manage.py": MANAGE.format("tickets.settings"), "requirements.txt": "tickets"}))
    assert site["env"] == {"DJANGO_SETTINGS_MODULE": "tickets.settings"}
    assert site["web"]["wsgi"] == "tickets.wsgi:application"
    assert site["dependencies"]["packages"] == ["gunicorn==23.0.0", "psycopg[binary]"]
    database = '{"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "tickets"}}'
    assert needs == [
        (SITE, "env.DJANGO_SETTINGS_MODULE: tickets.settings is not in this project: what it says was not read"),
        ("tickets.settings", f"DATABASES was not understood: {database}"),
        (SITE, "web.domains: the names that the site answers for"),
        (SITE, "web.wsgi: there is no wsgi.py and no asgi.py here; tickets.wsgi:application is a guess"),
        ("tickets.settings", 'STATIC_ROOT was not understood: STATIC_ROOT = BASE_DIR / "staticfiles"'),
        ("tickets.settings", 'MEDIA_ROOT was not understood: MEDIA_ROOT = BASE_DIR / "media"'),
        (SITE, "health.path: a page that answers 200 without a login"),
    ]


def test_settings_that_take_everything_from_an_installed_module(tmp_path: Path) -> None:
    text = "from tickets.settings import *\nMEDIA_ROOT = ''\n"
    _, needs = found(tree(tmp_path, {**SHOP, "shop/settings.py": text}))
    assert ("shop/settings.py", needs[0][1]) == needs[0]
    assert (
        needs[0][1]
        == "takes everything from tickets.settings, which is not in this project: what that says was not read"
    )
    assert not [what for _, what in needs if what.startswith(("SECRET_KEY", "ALLOWED_HOSTS", "DEBUG"))]


@pytest.mark.parametrize(
    "text", ["try:\n    from local import *\nexcept ImportError:\n    pass\n", "from .local import *\n"]
)
def test_settings_that_are_there_on_some_machines_only(tmp_path: Path, text: str) -> None:
    text = READY.replace('SECRET_KEY = os.environ["SECRET_KEY"]\n', "") + text
    _, needs = found(tree(tmp_path, {**SHOP, "shop/settings.py": text}))
    assert needs == [
        ("shop/settings.py", 'SECRET_KEY is not read from the environment: SECRET_KEY = os.environ["SECRET_KEY"]'),
        (SITE, f"python.version: its Django needs 3.8 or newer; {HOSTS_HAVE}"),
    ]


def test_the_pythons_that_hosts_have() -> None:
    releases = yaml.safe_load((Path(__file__).parents[2] / "platforms" / "releases.yml").read_text(encoding="utf-8"))
    said = re.findall(r"(3\.\d+) on (\w+ [\d.]+)", HOSTS_HAVE)
    assert len(said) == 3
    assert all(releases[release.lower()]["python"] == python for python, release in said)


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tree(tmp_path, SHOP, git=False))], check=True)
    _, needs = found(tmp_path)
    assert (SITE, "source: the repository has no commit yet, and a release is one: git commit") in needs


def test_a_project_without_an_application_needs_no_server(tmp_path: Path) -> None:
    contents = {name: content for name, content in SHOP.items() if name != "shop/wsgi.py"}
    site, needs = found(tree(tmp_path, contents))
    assert "web" not in site
    assert site["dependencies"]["packages"] == []
    assert (SITE, "web.wsgi: there is no wsgi.py and no asgi.py") in needs


@pytest.mark.parametrize(
    ("package", "name"),
    [("My_Shop", "my-shop"), ("redis", "redis-site"), ("x" * 40, "x" * 24), ("_", "site"), ("config", "here")],
)
def test_the_name_of_the_site(tmp_path: Path, package: str, name: str) -> None:
    contents = {"manage.py": MANAGE.format(f"{package}.settings"), f"{package}/settings.py": READY}
    assert project.look(tree(tmp_path / "here", contents)).name == name


def test_settings_are_read_and_not_run(tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit(1)\n"
    found(tree(tmp_path, {**SHOP, "shop/settings.py": READY + trap, "shop/__init__.py": trap}))
    assert not (tmp_path / "ran").exists()


def test_virtualenvs_and_hidden_directories_are_no_part_of_it(tmp_path: Path) -> None:
    others = {f"{place}/manage.py": MANAGE.format("x") for place in ("venv", ".tox", "mine", "node_modules")}
    site, _ = found(tree(tmp_path, {**SHOP, **others, "mine/pyvenv.cfg": ""}))
    assert "project_dir" not in site


# --- The settings' expressions


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('Path(__file__).resolve().parent.parent / "a" / "b"', TOP / "a/b"),
        ("Path(__file__).parents[1]", TOP),
        ('os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "a")', TOP / "a"),
        ('str(Path(__file__).parent.joinpath("a"))', TOP / "shop/a"),
        ('"a" + "b"', "ab"),
        ('["a"] + ["b"]', ["a", "b"]),
        ('"".join(["a"])', UNKNOWN),
        ("something()", UNKNOWN),
        ('os.environ["A"]', Variable("A", True)),
        ('os.environ.get("A", "x").split(",")', Variable("A", False, "x")),
        ('config("A", cast=bool)', Variable("A", True)),
        ('config.get("database", "name")', UNKNOWN),
        ('dj_database_url.config(default="x")', Variable("DATABASE_URL", False, "x")),
    ],
)
def test_the_value_of_an_expression(expression: str, value: object) -> None:
    path = TOP / "shop/settings.py"
    assert settings.read(path, lambda _: f"X = {expression}".encode()).values == {"X": value}


def test_what_depends_on_something_is_not_known() -> None:
    text = b"A = 1\nif x:\n    A = 2\nB = 1\ntry:\n    B = 2\nexcept E:\n    B = 3\n"
    assert settings.read(PurePosixPath("/s.py"), lambda _: text).values == {"A": UNKNOWN, "B": 2}


def test_settings_that_take_from_each_other_end() -> None:
    texts = {TOP / "s/a.py": b"from .b import *\nA = 1\n", TOP / "s/b.py": b"from s.a import *\nB = 2\n"}
    assert settings.read(TOP / "s/a.py", texts.get).values == {"A": 1, "B": 2}


@pytest.mark.parametrize("name", ["on", "null", "no"])
def test_names_that_yaml_would_take_for_something_else(tmp_path: Path, name: str) -> None:
    contents = {
        "manage.py": MANAGE.format(f"{name}.settings"),
        f"{name}/settings.py": READY + f"os.environ['{name}']\n",
    }
    site, _ = found(tree(tmp_path, contents))
    assert (site["name"], site["env"][name]) == (name, "")


def test_a_warning_of_the_settings_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found(tree(tmp_path, {**SHOP, "shop/settings.py": READY + 'X = "\\d"\n'}))
    assert capsys.readouterr() == ("", "")


# --- The command


def run(root: Path, monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.chdir(root)
    return cli.main(["init", *argv])


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_deploy_is_written_and_what_is_next_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(tmp_path, SHOP)
    assert run(tmp_path, monkeypatch) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "deploy/ is written for shop:"
    assert said[12:17] == [
        "What it could not tell, and what has to change:",
        "    deploy/inventory/production/hosts.yml",
        "      - your server's address, and the keys of those who deploy",
        "    deploy/inventory/production/group_vars/all/site.yml",
        f"      - python.version: its Django needs 3.8 or newer; {HOSTS_HAVE}",
    ]
    assert said[-1] == "    fab deploy"
    assert oct((tmp_path / "deploy" / VAULT).stat().st_mode & 0o777) == "0o600"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".git",
        "deploy",
        "manage.py",
        "requirements.txt",
        "shop",
    ]
    keys = [yaml.safe_load((tmp_path / "deploy" / VAULT).read_text())["vault_secret_key"]]
    assert len(keys[0]) == 64


def test_the_page_shows_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(startproject(tmp_path), {})
    assert run(tmp_path, monkeypatch) == 0
    _, _, said = capsys.readouterr().out.partition("\n\n")
    needs, _, _ = said.partition("\n\n")
    page = Path(__file__).parents[3] / "docs" / "install.md"
    assert "".join(f"    {line}\n" for line in needs.splitlines()) in page.read_text(encoding="utf-8")


def test_a_second_init_changes_nothing_and_says_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(tmp_path, SHOP)
    run(tmp_path, monkeypatch)
    capsys.readouterr()
    assert run(tmp_path, monkeypatch) == 2
    hint = "  Its files are yours. To see what would be written now: hostwright init --into another-directory\n"
    same = "error: deploy/ is there already, and stays as it is: it is what init would write\n"
    assert capsys.readouterr() == ("", same + hint)
    (tmp_path / "deploy/ansible.cfg").write_text("[defaults]\n")
    (tmp_path / "deploy/fabfile.py").unlink()
    (tmp_path / "deploy" / VAULT).write_text("$ANSIBLE_VAULT\n")
    before = contents(tmp_path)
    assert run(tmp_path, monkeypatch) == 2
    assert capsys.readouterr() == (
        "",
        "error: deploy/ is there already, and stays as it is: it differs from what init would write in ansible.cfg; "
        "it lacks fabfile.py\n" + hint,
    )
    assert contents(tmp_path) == before


def test_another_directory_shows_what_would_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, SHOP)
    run(tmp_path, monkeypatch)
    (tmp_path / "ops").mkdir()
    assert run(tmp_path, monkeypatch, "--into", "ops/new") == 0
    site = yaml.safe_load((tmp_path / "ops/new" / SITE).read_text())["site"]
    assert site["source"] == {"git": "../.."}


@pytest.mark.parametrize("into", [".", "..", "/tmp", "../x"])
def test_nothing_is_written_outside_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, into: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tree(tmp_path, SHOP), monkeypatch, "--into", into) == 2
    assert f"--into: {into} is no directory inside of the project" in capsys.readouterr().err


def test_a_directory_without_django_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(tmp_path, {"manage.py": "print()\n", "a/b/c/manage.py": MANAGE.format("x")}, git=False)
    before = contents(tmp_path)
    assert run(tmp_path, monkeypatch) == 2
    assert capsys.readouterr() == (
        "",
        f"error: there is no Django project in {tmp_path}: no manage.py here, or one or two directories down\n"
        "  Run `hostwright init` in the project's own directory, the one that its repository begins with. "
        "An application that comes as a package needs a manage.py here that names its settings.\n",
    )
    assert contents(tmp_path) == before


def test_several_projects_are_named(tmp_path: Path) -> None:
    tree(tmp_path, {"a/manage.py": MANAGE.format("x"), "b/manage.py": MANAGE.format("x")}, git=False)
    with pytest.raises(BadInput) as caught:
        project.look(tmp_path)
    assert str(caught.value) == (
        f"there are several Django projects in {tmp_path}: a/manage.py, b/manage.py\n"
        "  Run `hostwright init` in one of them."
    )


def test_a_directory_that_can_not_be_written_has_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    assert run(tree(tmp_path, SHOP), monkeypatch) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/deploy can't be written: No space left on device\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", "manage.py", "requirements.txt", "shop"]


def test_the_example_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["example"]) == 0
    example = Path(__file__).parents[3] / "inventory/example/group_vars/all/site.yml"
    assert capsys.readouterr().out == example.read_text()
