"""What `hostwright init` understands of settings that are put together, changed, or under a condition."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from hostwright.init import settings
from hostwright.init.sources import TOP
from hostwright.init.values import UNKNOWN, Variable
from tests.unit.init.test_init import READY, SHOP, found, tree


def read(text: str, **others: str) -> settings.Settings:
    texts = {TOP / "shop/settings.py": text, **{TOP / f"shop/{name}.py": other for name, other in others.items()}}

    def source(path: PurePosixPath) -> bytes | None:
        return texts[path].encode() if path in texts else None

    return settings.read(TOP / "shop/settings.py", source)


def said(root: Path, more: str) -> list[str]:
    """What is said of the settings that have `more` at the end."""
    _, needs = found(tree(root, {**SHOP, "shop/settings.py": READY + more + "\n"}))
    return [what for place, what in needs if place == "shop/settings.py"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("X = ['a']\nX = ['b', *X]", ["b", "a"]),
        ("X = ['a', *others()]", ["a", UNKNOWN]),
        ("X = others() + ['a']", [UNKNOWN, "a"]),
        ("X = ['a']\nif DEBUG:\n    X += ['b']", ["a", UNKNOWN]),
        ("X = ['a']\nif DEBUG:\n    X = ['b', *X]", ["a", UNKNOWN]),
        ("X = ['a']\nX.append('b')\nX.extend(['c'])\nX.insert(0, 'd')", ["a", "b", "c", "d"]),
        ("X = ['a']\nfor name in names:\n    X.append(name)", ["a", UNKNOWN]),
        ("X = {'a': {'b': 1}}\nX['a']['b'] = 2\nX['a']['c'] = 3", {"a": {"b": 2, "c": 3}}),
        ("X = {'a': {}}\nX['a'].update({'b': 1})", {"a": {"b": 1}}),
        ("X = {'a': {}}\nX['a'].update(dj_database_url.config())", {"a": Variable("DATABASE_URL", True)}),
        ("X = {'a': {}}\nX['a'].update(others())", {"a": UNKNOWN}),
        ("Y = {'b': 1}\nX = {**Y, 'c': Y['b']}", {"b": 1, "c": 1}),
        ("X, Y = 1, 2", UNKNOWN),
    ],
)
def test_what_is_certain_of_a_value_is_taken(text: str, value: Any) -> None:
    assert read(text).get("X") == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('os.path.join(os.environ["A"], "static")', UNKNOWN),
        ('Path(os.environ["A"]) / "static"', UNKNOWN),
        ('Path(os.environ["A"]).joinpath("static").resolve()', UNKNOWN),
        ('f"{os.environ["A"]}/static"'.replace('["A"]', "['A']"), UNKNOWN),
        ('Path(os.environ["KEY_FILE"]).read_text().strip()', UNKNOWN),
        ('Path(os.environ["A"]).resolve()', Variable("A", True)),
        ('[name.strip() for name in os.environ["A"].split(",")]', Variable("A", True)),
        ('os.environ["A"].split(",") + ["localhost"]', [Variable("A", True), "localhost"]),
        ('os.environ["A"].split(",") if os.environ.get("A") else []', Variable("A", False)),
        ('"a" if os.environ.get("A") else "b"', UNKNOWN),
    ],
)
def test_a_variable_counts_where_it_is_the_whole_value(expression: str, value: Any) -> None:
    assert read(f"X = {expression}").values == {"X": value}


def test_a_variable_by_another_name() -> None:
    assert read("A = os.environ['A']\nX = Path(A)").get("X") == Variable("A", True)


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ('os.environ.get("ENV") == "production"', "depends on ENV"),
        ("sys.platform == 'win32'", "depends on sys.platform == 'win32'"),
    ],
)
def test_why_a_value_is_not_known(test: str, why: str) -> None:
    value = read(f"if {test}:\n    X = 1\nelse:\n    X = 2\n").get("X")
    assert (value, value.why) == (UNKNOWN, why)


def test_a_module_that_may_not_be_taken_is_not_certain() -> None:
    text = "X = Y = 1\nif os.environ.get('ENV'):\n    from .prod import *\nelse:\n    from .dev import *\n"
    values = read(text, prod="X = 2\nY = 1\n", dev="from .prod import *\n").values
    assert values == {"X": UNKNOWN, "Y": 1}
    assert values["X"].why == "depends on ENV"


def test_a_module_counts_that_is_taken_a_second_time_for_certain() -> None:
    assert read("if x:\n    from .base import *\nfrom .base import *\n", base="X = 1\n").values == {"X": 1}


def test_what_every_process_has_is_not_asked_for() -> None:
    assert (
        read("import os\nif os.name == 'nt':\n    X = os.environ['PATH'] + os.environ['VIRTUAL_ENV']\n").variables == {}
    )


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            'if os.environ.get("ENV") == "production":\n    DEBUG = False\nelse:\n    DEBUG = True',
            "DEBUG depends on ENV: see that it is off",
        ),
        ("DEBUG = is_local()", "DEBUG was not understood: see that it is off"),
        (
            "from django.core.management.utils import get_random_secret_key\nSECRET_KEY = get_random_secret_key()",
            'SECRET_KEY was not understood: SECRET_KEY = os.environ["SECRET_KEY"]',
        ),
        (
            'if os.environ.get("ENV"):\n    ALLOWED_HOSTS = ["www.shop.org"]',
            "ALLOWED_HOSTS depends on ENV: see that it has the names of web.domains",
        ),
        (
            'if os.environ.get("ENV"):\n    DATABASES = {"default": dj_database_url.config()}',
            'DATABASES depends on ENV: {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "shop"}}',
        ),
        (
            'STATIC_ROOT = "a" if os.environ.get("ENV") else "b"',
            'STATIC_ROOT depends on ENV: STATIC_ROOT = BASE_DIR / "staticfiles"',
        ),
        (
            "class Production(Configuration):\n    pass",
            "has settings in a class (django-configurations), which were not read",
        ),
        (f"X = {' + '.join(['x'] * 5000)}", "has an expression that goes too deep to be understood"),
        ('include("more.py")', "takes other files with include() (django-split-settings), which were not read"),
    ],
)
def test_what_was_not_understood_is_said(tmp_path: Path, more: str, expected: str) -> None:
    assert said(tmp_path, more) == [expected]


def test_settings_that_are_no_python_are_said_to_be_that_alone(tmp_path: Path) -> None:
    assert said(tmp_path, "x = (") == ["line 10 is no Python that this interpreter knows"]
