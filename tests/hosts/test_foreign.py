"""Projects that others' tools make, and applications of others: from a clean machine, looked at, filled in, deployed,
migrated, taken back.

All come to the same server, so from the second one on each is a further site of a host.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from hostwright.lab import machine
from tests.hosts.clean import Machine, clean, offer, on_debian_12
from tests.hosts.labs import all_hosts

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(2400), on_debian_12, all_hosts]

PREPARE = """\
set -e
apt-get update -q && apt-get install -q -y curl git openssh-client openssl python3-venv
python3 -m venv ~/.hostwright && ~/.hostwright/bin/pip install --quiet hostwright
python3 -m venv ~/.theirs
unset PIP_CONSTRAINT
~/.theirs/bin/pip install --quiet 'django>=5.2,<5.3' 'wagtail>=8.0,<8.1' 'psycopg[binary]>=3.2,<4'
(umask 077; openssl rand -base64 30 > ~/.vault-password)
"""

LIFE = """\
set -e
export PATH=~/.hostwright/bin:$PATH ANSIBLE_VAULT_PASSWORD_FILE=~/.vault-password
page() { curl --silent --show-error --fail --insecure --connect-to "$DOMAIN:443:$SERVER:443" "https://$DOMAIN/"; }
mkdir -p ~/projects/$NAME && cd ~/projects/$NAME
sh -e ~/make
git init --quiet --initial-branch=main
echo __pycache__/ >.gitignore
git add -A && git commit --quiet -m made
hostwright init
sed -i "s/192.0.2.11/$SERVER/" deploy/inventory/production/hosts.yml
sh -e ~/settle
cd deploy
ansible-vault encrypt inventory/production/group_vars/all/vault.yml
fab config.check
git add -A .. && git commit --quiet -m first
ansible-playbook playbooks/bootstrap.yml playbooks/site.yml
fab deploy
page
(cd .. && SECRET_KEY=any ALLOWED_HOSTS=any sh -e ~/change)
git add -A .. && git commit --quiet -m second
fab deploy
page
fab rollback --migrations --yes
page
fab status
"""


@dataclass(frozen=True)
class Foreign:
    """A project: how it is made, what is changed as `hostwright init` says, and what its second release changes."""

    name: str
    make: str
    settle: str
    change: str

    def run(self, yours: Machine, environment: Mapping[str, str]) -> str:
        for script in ("make", "settle", "change"):
            yours.put(f"/root/{script}", getattr(self, script))
        named = {"NAME": self.name, "DOMAIN": f"{self.name}.example.com", "SERVER": yours.servers[0].address}
        return yours.run(LIFE, {**environment, **named})


STARTPROJECT = Foreign(
    "mysite",
    make="""\
~/.theirs/bin/django-admin startproject mysite .
~/.theirs/bin/python manage.py startapp notes
sed -i 's/^INSTALLED_APPS = \\[/&"notes",/' mysite/settings.py
cat >notes/models.py <<'END'
from django.db import models


class Note(models.Model):
    text = models.TextField()
END
cat >mysite/urls.py <<'END'
from django.http import HttpResponse
from django.urls import path
from notes.models import Note


def notes(request):
    return HttpResponse(f"{Note.objects.count()} notes of {[field.name for field in Note._meta.fields]}\\n")


urlpatterns = [path("", notes)]
END
~/.theirs/bin/python manage.py makemigrations --verbosity=0 notes
rm -f db.sqlite3
""",
    settle="""\
cat >>mysite/settings.py <<'END'

import os

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
DEBUG = False
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "mysite"}}
STATIC_ROOT = BASE_DIR / "staticfiles"
END
""",
    change="""\
echo '    done = models.BooleanField(default=False)' >>notes/models.py
~/.theirs/bin/python manage.py makemigrations --verbosity=0 notes
""",
)

WAGTAIL = Foreign(
    "cms",
    make="~/.theirs/bin/wagtail start cms .",
    # Its requirements name a Django that a Debian 12 has no Python for, as `hostwright init` says.
    settle="""\
cat >>cms/settings/production.py <<'END'

import os

DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "cms"}}
INSTALLED_APPS += ["django.contrib.postgres"]
SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
END
sed -i 's/^Django.*/Django>=5.2,<5.3/' requirements.txt
""",
    change="""\
cat >home/models.py <<'END'
from django.db import models
from wagtail.fields import RichTextField
from wagtail.models import Page


class HomePage(Page):
    body = RichTextField(blank=True)
END
DJANGO_SETTINGS_MODULE=cms.settings.production ~/.theirs/bin/python manage.py makemigrations --verbosity=0 home
sed -i 's#</head>#<meta name="release" content="second"></head>#' cms/templates/base.html
""",
)

# Its code comes from the package index: what `hostwright init` looked at is removed, and only configuration stays.
PRETALX = Foreign(
    "talks",
    make="""\
~/.theirs/bin/pip download --quiet --no-deps --no-binary=pretalx --dest ~/sdist pretalx==2024.3.1
tar -xzf ~/sdist/pretalx-2024.3.1.tar.gz --strip-components=1
""",
    settle="""\
rm -r src pyproject.toml
cat >deploy/inventory/production/group_vars/all/site.yml <<'END'
site:
  name: talks
  source:
    pypi: pretalx
    version: 2024.3.1
  project_dir: src
  dependencies:
    requirements: []
    project: .
    extras: [postgres, redis]
    packages: [gunicorn==23.0.0, kombu<5.6, setuptools<81]
  web:
    wsgi: pretalx.wsgi:application
    domains: [talks.example.com]
    tls: self_signed
  env:
    DJANGO_SETTINGS_MODULE: pretalx.settings
  files:
    - path: pretalx.cfg
      link: src/pretalx.cfg
      content: |
        [filesystem]
        data=/srv/talks/shared/data
        [site]
        url=https://talks.example.com
        secret={{ vault_secret_key }}
        [database]
        backend=postgresql
        name=talks
        [redis]
        location=redis://127.0.0.1:6379/1
        [celery]
        broker=redis://127.0.0.1:6379/2
        backend=redis://127.0.0.1:6379/3
  shared:
    data: ""
  static:
    root: src/static.dist
    collect: null
  hooks:
    - {name: collect, stage: build, command: [python, manage.py, collectstatic, --noinput, --verbosity=0]}
    - {name: compress, stage: build, command: [python, manage.py, compress, --verbosity=0]}
  celery:
    app: pretalx.celery_app
  timers:
    - name: periodic
      command: [python, manage.py, runperiodic]
      calendar: "*:0/5"
  services:
    databases:
      - name: talks
    redis:
      databases: {cache: 1, broker: 2, results: 3}
  health:
    scheme: https
END
""",
    change="sed -i 's/version: 2024.3.1/version: 2025.1.0/' deploy/inventory/production/group_vars/all/site.yml",
)


# A reusable application, in the project that docs/howto/applications.md describes.
HELPDESK = Foreign(
    "helpsite",
    make="""\
~/.theirs/bin/django-admin startproject helpsite .
cat >requirements.txt <<'END'
django>=5.2,<5.3
django-helpdesk[celery]==2.5.1
gunicorn>=23,<24
psycopg[binary]>=3.2,<4
redis>=6.1
END
cat >>helpsite/settings.py <<'END'

import os

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
DEBUG = False
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "helpsite"}}
STATIC_ROOT = BASE_DIR / "staticfiles"
INSTALLED_APPS += [
    "django.contrib.humanize",
    "django.contrib.sites",
    "django_celery_beat",
    "helpdesk",
    "rest_framework",
]
SITE_ID = 1
LOGIN_URL = "helpdesk:login"
HELPDESK_TEAMS_MODE_ENABLED = False
MEDIA_URL = "/media/"
MEDIA_ROOT = BASE_DIR / "media"
CELERY_BROKER_URL = os.environ["CELERY_BROKER_URL"]
CELERY_BEAT_SCHEDULE = {"mail": {"task": "helpdesk.tasks.helpdesk_process_email", "schedule": 60}}
END
cat >helpsite/celery.py <<'END'
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helpsite.settings")
app = Celery("helpsite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
END
echo "from .celery import app" >helpsite/__init__.py
cat >helpsite/urls.py <<'END'
from django.urls import include, path

urlpatterns = [path("", include("helpdesk.urls", namespace="helpdesk"))]
END
""",
    settle="""\
sed -i 's/domains: .*/domains: [helpsite.example.com]/' deploy/inventory/production/group_vars/all/site.yml
""",
    change="sed -i 's/==2.5.1/==2.6.1/' requirements.txt",
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, dict[str, str]]]:
    with clean("foreign") as yours:
        variables = offer(yours, tmp_path_factory.mktemp("wheel"))
        yours.put("/root/.ssh/known_hosts", yours.known_hosts)
        yours.run(PREPARE, variables)
        yield yours, variables


def columns(yours: Machine, database: str, table: str) -> set[str]:
    query = f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"
    argv = ["runuser", "-u", "postgres", "--", "psql", "-XAtd", database, "-c", query]
    return set(machine.execute(yours.servers[0], argv).split())


def test_what_startproject_makes(environment: tuple[Machine, dict[str, str]]) -> None:
    yours, variables = environment
    printed = STARTPROJECT.run(yours, variables)
    pages = re.findall(r"^0 notes of .*", printed, re.MULTILINE)
    assert pages == ["0 notes of ['id', 'text']", "0 notes of ['id', 'text', 'done']", "0 notes of ['id', 'text']"]
    assert "migrations undone: notes.0002_note_done" in printed
    assert columns(yours, "mysite", "notes_note") == {"id", "text"}


def test_what_wagtail_start_makes(environment: tuple[Machine, dict[str, str]]) -> None:
    yours, variables = environment
    printed = WAGTAIL.run(yours, variables)
    assert "python.version: its Django needs 3.12 or newer" in printed
    pages = re.findall(r"<!DOCTYPE html>.*?</html>", printed, re.DOTALL)
    assert ['content="second"' in page for page in pages] == [False, True, False]
    assert all("Welcome to your new Wagtail site!" in page for page in pages)
    assert "migrations undone: home.0003_homepage_body" in printed
    assert "body" not in columns(yours, "cms", "home_homepage")


def test_an_application_from_its_sdist(environment: tuple[Machine, dict[str, str]]) -> None:
    yours, variables = environment
    printed = PRETALX.run(yours, variables)
    pages = re.findall(r"<!DOCTYPE html>.*?</html>", printed, re.DOTALL | re.IGNORECASE)
    assert [page.count("pretalx") > 0 for page in pages] == [True, True, True]
    assert "person.0030_userapitoken" in printed.partition("migrations undone: ")[2]
    assert columns(yours, "talks", "person_userapitoken") == set()
    assert columns(yours, "talks", "person_user") > {"avatar_thumbnail", "email"}
    assert re.search(r"talks-worker-default +\S+-2024\.3\.1 +active", printed.rpartition("</html>")[2])


def test_a_reusable_application_with_worker_and_beat(environment: tuple[Machine, dict[str, str]]) -> None:
    yours, variables = environment
    printed = HELPDESK.run(yours, variables)
    assert "migrations undone: helpdesk." in printed
    status = printed.rpartition("</html>")[2]
    for process in ("beat", "worker-default"):
        assert re.search(rf"helpsite-{process} +\S+ +active", status)
