"""What `hostwright init` finds of databases, Celery and brokers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hostwright.init import files, project
from hostwright.init.sources import SITE, VAULT
from tests.unit.init.test_init import READY, SHOP, found, tree

CELERY = 'from celery import Celery\napp = Celery("shop")\n'
SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"


def shop(root: Path, more: str, **others: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The site of the settings that have `more` at the end, and what is said of it."""
    return found(tree(root, {**SHOP, "shop/settings.py": READY + more + "\n", **others}))


@pytest.mark.parametrize(
    ("more", "app", "beat"),
    [
        ('INSTALLED_APPS = ["django_celery_beat"]\nif DEBUG:\n    INSTALLED_APPS += ["x"]', "", SCHEDULER),
        ('INSTALLED_APPS = ["django_celery_beat"]\nINSTALLED_APPS = ["x", *INSTALLED_APPS]', "", SCHEDULER),
        (f'CELERY_BEAT_SCHEDULER = "{SCHEDULER}"', "", SCHEDULER),
        ('CELERY_BEAT_SCHEDULER = "redbeat.RedBeatScheduler"', "", "redbeat.RedBeatScheduler"),
        ("", "app.add_periodic_task(30.0, send)\n", None),
        ("", "@app.on_after_configure.connect\ndef scheduled(sender, **kwargs):\n    pass\n", None),
    ],
)
def test_a_scheduler_runs_where_there_is_a_schedule(tmp_path: Path, more: str, app: str, beat: str | None) -> None:
    site, _ = shop(tmp_path, more, **{"shop/celery.py": CELERY + app})
    assert site["celery"] == {"app": "shop", "beat": True, **({"scheduler": beat} if beat else {})}


@pytest.mark.parametrize(("required", "told"), [("celery\ndjango-celery-beat\n", True), ("celery\n", False)])
def test_a_scheduler_that_may_be_there_is_said(tmp_path: Path, required: str, told: bool) -> None:
    more = "INSTALLED_APPS = []\nif beats():\n    INSTALLED_APPS += MORE\n"
    site, needs = shop(tmp_path, more, **{"shop/celery.py": CELERY, "requirements.txt": required})
    assert site["celery"] == {"app": "shop"}
    said = "celery.beat: INSTALLED_APPS depends on beats(): true, where django_celery_beat is among them"
    assert ((SITE, said) in needs) == told


def test_a_default_of_the_brokers_url_tells_which_it_is(tmp_path: Path) -> None:
    more = 'CELERY_BROKER_URL = os.environ.get("MY_BROKER", "amqp://guest@rabbit//")\n'
    looked = project.look(tree(tmp_path, {**SHOP, "shop/settings.py": READY + more, "shop/celery.py": CELERY}))
    made = files.files(looked, "..", "new-key")
    site = yaml.safe_load(made[SITE])["site"]
    assert site["services"]["amqp"]["password"] == "{{ vault_amqp_password }}"
    assert site["secrets"]["MY_BROKER"] == "amqp://shop:{{ vault_amqp_password }}@127.0.0.1:5672/shop"
    assert "MY_BROKER" not in site["env"]
    assert "vault_my_broker" not in made[VAULT]
    assert (VAULT, "vault_amqp_password: one of letters and digits, which fit into a URL") in looked.needs


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            'CELERY_BROKER_URL = "redis://cache:6379/0"',
            "CELERY_BROKER_URL has the host cache: on this server Redis is at 127.0.0.1",
        ),
        (
            'BROKER_URL = "amqp://rabbit"',
            'BROKER_URL lacks that password: BROKER_URL = os.environ["BROKER_URL"]',
        ),
    ],
)
def test_a_broker_that_is_not_the_servers_is_said(tmp_path: Path, more: str, said: str) -> None:
    _, needs = shop(tmp_path, more, **{"shop/celery.py": CELERY})
    assert ("shop/settings.py", said) in needs


@pytest.mark.parametrize(("url", "required"), [("sqs://", "redis"), ("redis://[x", "celery")])
def test_a_broker_that_hostwright_does_not_provide_is_said(tmp_path: Path, url: str, required: str) -> None:
    more = {"shop/celery.py": CELERY, "requirements.txt": f"{required}\n"}
    site, needs = shop(tmp_path, f'CELERY_BROKER_URL = "{url}"', **more)
    assert "redis" not in site["services"]
    assert (SITE, "services: which broker Celery uses; redis: {} or amqp describes it") in needs


def test_a_variable_for_redis_is_given_whatever_its_name_and_default(tmp_path: Path) -> None:
    more = 'CELERY_BROKER_URL = os.environ.get("QUEUE", "redis://redis:6379/0")'
    site, needs = shop(tmp_path, more, **{"shop/celery.py": CELERY})
    assert site["env"]["QUEUE"] == "redis://127.0.0.1:6379/0"
    assert not [what for _, what in needs if "CELERY" in what]


PARTS = """DATABASES = {"default": {
    "ENGINE": os.environ.get("KIND", "django.db.backends.%s"),
    "NAME": os.environ.get("NAME_OF_IT", "x"),
    "USER": os.environ.get("DB_ROLE", "postgres"),
    "HOST": os.environ.get("DB_SERVER", "localhost"),
    "PASSWORD": os.environ.get("DB_SECRET", "x"),
}}"""


def test_the_database_of_this_server_is_reached_through_its_socket(tmp_path: Path) -> None:
    """Defaults are of a developer's machine: a host among them would need a password."""
    site, needs = shop(tmp_path, PARTS % "postgresql")
    assert site["env"] == {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "DB_ROLE": "shop",
        "DB_SERVER": "",
        "DB_SECRET": "",
        "NAME_OF_IT": "shop",
    }
    assert not [what for _, what in needs if "DATABASES" in what]


def test_an_engine_from_the_environment_is_given(tmp_path: Path) -> None:
    site, needs = shop(tmp_path, PARTS % "sqlite3")
    assert site["env"]["KIND"] == "django.db.backends.postgresql"
    assert site["services"] == {"databases": [{"name": "shop"}]}
    assert not [what for _, what in needs if "DATABASES" in what]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (PARTS % "mysql", "DATABASES uses django.db.backends.mysql, which"),
        ('DATABASES = {"default": env.db("DATABASE_URL", default="mysql://x")}', "DATABASES uses mysql, which"),
        ('DATABASES = {"default": {}}\nDATABASES["default"].update(engine())', "DATABASES was not understood: "),
        ('DATABASES = {"default": {"ENGINE": f"{KIND}"}}', "DATABASES was not understood: "),
        (
            'DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "USER": "postgres"}}',
            'DATABASES has the USER postgres: "" takes shop, whom the unix socket knows',
        ),
    ],
)
def test_another_database_is_said_for_what_it_is(tmp_path: Path, more: str, said: str) -> None:
    _, needs = shop(tmp_path, more)
    assert [what for _, what in needs if what.startswith(said)]


def test_a_url_of_the_database_by_another_name(tmp_path: Path) -> None:
    site, _ = shop(tmp_path, 'DATABASES = {"default": dj_database_url.parse(os.environ["PG"])}')
    assert site["env"]["PG"] == "postgres:///shop"


@pytest.mark.parametrize(
    ("more", "env"),
    [
        ('DATABASES = {"default": {"ENGINE": "django.contrib.gis.db.backends.postgis"}}', {}),
        (
            'DATABASES = {"default": env.db("DATABASE_URL", default="postgis://x")}',
            {"DATABASE_URL": "postgis:///shop"},
        ),
    ],
)
def test_postgis_has_its_extension_and_its_libraries(tmp_path: Path, more: str, env: dict[str, str]) -> None:
    site, needs = shop(tmp_path, more)
    assert site["services"]["databases"] == [{"name": "shop", "extensions": ["postgis"]}]
    assert site["packages"]["run"] == ["gdal-bin"]
    assert site["env"] == {"DJANGO_SETTINGS_MODULE": "shop.settings", **env}
    assert [what for _, what in needs if what.startswith("services.databases.extensions: postgis needs")]


@pytest.mark.parametrize(
    ("more", "place", "said"),
    [
        (
            'DATABASES["old"] = {"ENGINE": "django.db.backends.postgresql", "NAME": "old"}',
            SITE,
            "services.databases: DATABASES has old too; name those that shall be on this server",
        ),
        (
            'CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://h"}}',
            SITE,
            "services.redis: CACHES uses it; redis: {} has it installed",
        ),
        (
            'CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}',
            SITE,
            "services.redis: CHANNEL_LAYERS uses it; redis: {} has it installed",
        ),
        ('EMAIL = os.environ["SMTP_PASS"]', VAULT, "vault_smtp_pass"),
        ('EMAIL = os.environ["EMAIL_URL"]', VAULT, "vault_email_url"),
    ],
)
def test_what_the_settings_use_besides_is_said(tmp_path: Path, more: str, place: str, said: str) -> None:
    assert (place, said) in shop(tmp_path, more)[1]
    assert (place, said) not in shop(tmp_path / "without", "")[1]
