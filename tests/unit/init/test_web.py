"""What `hostwright init` finds of modules, the application that is served, and the page that shows that it lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostwright.init.sources import SITE
from tests.unit.init.test_init import MANAGE, READY, SHOP, URLS, WSGI, found, tree
from tests.unit.init.test_services import CELERY, shop

SRC = {
    "manage.py": 'import sys\nsys.path.insert(0, "src")\n' + MANAGE.format("shop.settings"),
    "requirements.txt": SHOP["requirements.txt"],
    **{f"src/{name}": text for name, text in SHOP.items() if name.startswith("shop/")},
}


def test_modules_that_begin_in_another_directory(tmp_path: Path) -> None:
    site, _ = found(tree(tmp_path, SRC))
    assert site["name"] == "shop"
    assert site["env"] == {"DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": "src"}
    assert site["web"]["wsgi"] == "shop.wsgi:application"
    assert site["static"]["root"] == "src/var/static"
    assert site["health"] == {"path": "/"}


def test_the_nearest_module_of_a_name_counts(tmp_path: Path) -> None:
    texts = {**SHOP, "shop/settings/__init__.py": READY, "example/shop/settings.py": READY}
    del texts["shop/settings.py"]
    site, _ = found(tree(tmp_path, texts))
    assert "PYTHONPATH" not in site["env"]
    assert site["web"]["wsgi"] == "shop.wsgi:application"


def test_celery_keeps_what_it_finds_on_the_path(tmp_path: Path) -> None:
    site, _ = found(tree(tmp_path, {**SRC, "src/shop/celery.py": CELERY}))
    assert site["celery"]["app"] == "shop"
    assert site["env"]["PYTHONPATH"] == "/usr/local/lib/hostwright:src"


COMPUTED = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", f"shop.settings.{ENV}")\nimport django\n'


@pytest.mark.parametrize("name", ["base", "production"])
def test_a_settings_module_whose_name_is_computed(tmp_path: Path, name: str) -> None:
    texts = {"manage.py": COMPUTED, f"shop/settings/{name}.py": READY, "shop/urls.py": URLS}
    site, _ = found(tree(tmp_path, texts))
    assert site["env"] == {"DJANGO_SETTINGS_MODULE": f"shop.settings.{name}"}


def test_no_settings_module_at_all(tmp_path: Path) -> None:
    site, needs = found(tree(tmp_path / "here", {"manage.py": COMPUTED}))
    assert site["name"] == "here"
    assert site["env"] == {"DJANGO_SETTINGS_MODULE": ""}
    assert ("manage.py", "names no settings module that was understood") in needs
    assert not [what for _, what in needs if what.startswith(("DATABASES", "SECRET_KEY", "STATIC_ROOT"))]


@pytest.mark.parametrize(
    ("hosts", "domain", "told"),
    [
        ('["localhost", "127.0.0.1"]', "shop.example.com", True),
        ('["*"]', "shop.example.com", False),
        ('[".Shop.org"]', "shop.org", False),
        ('["localhost", os.environ["NAME"]]', "shop.example.com", False),
    ],
)
def test_hosts_that_lack_the_sites_name_are_said(tmp_path: Path, hosts: str, domain: str, told: bool) -> None:
    site, needs = shop(tmp_path, f"ALLOWED_HOSTS = {hosts}")
    assert site["web"]["domains"] == [domain]
    said = "ALLOWED_HOSTS has localhost, 127.0.0.1 alone, and lacks the names of web.domains"
    assert (("shop/settings.py", said) in needs) == told
    assert site["env"].get("NAME", domain) == domain


@pytest.mark.parametrize("value", ["True", 'env.bool("REDIRECT", default=True)'])
def test_settings_that_redirect_to_https_are_asked_by_https(tmp_path: Path, value: str) -> None:
    site, needs = shop(tmp_path, f"SECURE_SSL_REDIRECT = {value}")
    assert site["health"] == {"path": "/", "scheme": "https"}
    mend = 'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")'
    said = f"SECURE_SSL_REDIRECT redirects without end behind nginx, which asks by http: {mend}"
    assert ("shop/settings.py", said) in needs


def test_a_redirect_that_is_off_unless_asked_for(tmp_path: Path) -> None:
    site, _ = shop(tmp_path, 'SECURE_SSL_REDIRECT = env.bool("REDIRECT", default=False)')
    assert site["health"] == {"path": "/"}


def test_a_proxys_word_for_https_is_enough(tmp_path: Path) -> None:
    more = 'SECURE_SSL_REDIRECT = True\nSECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")'
    _, needs = shop(tmp_path, more)
    assert not [what for _, what in needs if "SECURE" in what]


@pytest.mark.parametrize(
    ("patterns", "health"),
    [
        ('[path("", RedirectView.as_view(url="/x/")), path("admin/", None)]', "/admin/login/"),
        ('i18n_patterns(path("", None)) + [path("admin/", None)]', "/admin/login/"),
        ('i18n_patterns(path("", None), path("admin/", None))', None),
        ('i18n_patterns(path("", None), prefix_default_language=False)', "/"),
    ],
)
def test_a_path_that_redirects_shows_no_health(tmp_path: Path, patterns: str, health: str | None) -> None:
    site, needs = shop(tmp_path, "", **{"shop/urls.py": f"urlpatterns = {patterns}\n"})
    assert site["health"]["path"] == (health or "/")
    assert ((SITE, "health.path: a page that answers 200 without a login") in needs) == (health is None)


@pytest.mark.parametrize(
    ("required", "packages"),
    [
        ("channels\ngunicorn\n", ["uvicorn", "websockets", "psycopg[binary]"]),
        ("channels\ngunicorn\nuvicorn[standard]\n", ["psycopg[binary]"]),
    ],
)
def test_channels_are_served_by_asgi(tmp_path: Path, required: str, packages: list[str]) -> None:
    others = {"shop/asgi.py": WSGI.format("shop.settings"), "requirements.txt": required}
    site, needs = shop(tmp_path, 'ASGI_APPLICATION = "shop.asgi.application"', **others)
    assert site["web"]["asgi"] == "shop.asgi:application"
    assert "wsgi" not in site["web"]
    assert site["dependencies"]["packages"] == packages
    said = "web.asgi: taken for Channels, in place of web.wsgi: shop.wsgi:application, which has no websockets"
    assert (SITE, said) in needs


def test_an_asgi_module_alone_is_no_reason_to_leave_wsgi(tmp_path: Path) -> None:
    others = {"shop/asgi.py": WSGI.format("shop.settings")}
    site, _ = shop(tmp_path, 'ASGI_APPLICATION = "shop.asgi.application"', **others)
    assert site["web"]["wsgi"] == "shop.wsgi:application"
