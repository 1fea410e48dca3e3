"""The example inventory loads, and shows every key of the site model."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from hostwright import config
from hostwright.tasks import _fleet

INVENTORY = Path(__file__).parents[2] / "inventory"
EXAMPLE = INVENTORY / "example"
SITE = EXAMPLE / "group_vars" / "all" / "site.yml"

COMMENTED = re.compile(r"^( *)# (?=[a-z0-9_]+:(?: |$))", re.MULTILINE)
"""A key that is commented out, as an alternative to another. Comments in words begin with a capital letter."""

ALTERNATIVES = {
    "source.path",
    "source.pypi",
    "source.version",
    "source.archive",
    "source.sha256",
    "web.asgi",
}
"""Keys that can't be given beside those that the example has."""


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type, such as Web in `Web | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models(argument)


def known(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The path of every key of `model`."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in models(field.annotation):
            yield from known(inner, f"{prefix}{name}.")


def given(data: Any, prefix: str = "") -> Iterator[str]:
    """The path of every key in `data`, without the places in lists."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield f"{prefix}{key}"
            yield from given(value, f"{prefix}{key}.")
    elif isinstance(data, list):
        for item in data:
            yield from given(item, prefix)


def site(uncomment: bool = False) -> dict[str, Any]:
    text = SITE.read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(COMMENTED.sub(r"\1", text) if uncomment else text)
    return dict(loaded["site"])


def test_every_key_of_the_model_is_shown() -> None:
    keys = set(known(config.Site))
    assert sorted(keys - ALTERNATIVES - set(given(site()))) == []
    assert sorted(ALTERNATIVES - keys) == []


def test_what_is_commented_out_is_an_alternative_of_the_model() -> None:
    assert set(given(site(uncomment=True))) - set(given(site())) == ALTERNATIVES


@pytest.mark.parametrize("kind", [("path",), ("pypi", "version"), ("archive", "sha256")])
def test_every_kind_of_source_loads(kind: tuple[str, ...]) -> None:
    shown = site(uncomment=True)["source"]
    loaded = config.load({**site(), "source": {key: shown[key] for key in kind}})
    assert [getattr(loaded.source, key) for key in kind] == [shown[key] for key in kind]


def test_an_asgi_application_loads() -> None:
    web = site(uncomment=True)["web"]
    del web["wsgi"]
    assert config.load({**site(), "web": web}).web == config.Web(**web)


def test_it_loads_as_ansible_reads_it() -> None:
    found = _fleet.inventory(str(EXAMPLE))
    assert {name: list(found.groups[name]) for name in config.GROUPS} == {
        "web": ["web1", "web2"],
        "worker": ["jobs1"],
        "beat": ["jobs1"],
        "db": ["db1"],
        "broker": ["db1"],
    }
    assert found.site.project_dir == "backend"
    assert found.site.manage == ["python", "-m", "shop"]
    assert found.site.secrets["SECRET_KEY"].get_secret_value() == "change-me-django"
    assert "change-me-payment" in found.site.files[0].content.get_secret_value()


def test_the_minimal_one_is_a_site_on_one_host() -> None:
    found = _fleet.inventory(str(INVENTORY / "minimal"))
    assert {name: list(found.groups[name]) for name in config.GROUPS} == {name: ["server1"] for name in config.GROUPS}
    assert found.site.source.git == "https://git.example.com/shop.git"
    assert found.site.secrets["SECRET_KEY"].get_secret_value() == "change-me-django"
    assert [database.name for database in found.site.services.databases] == ["shop"]
    assert set(found.variables["server1"]) - {"site", "vault_secret_key"} == {
        "ansible_host",
        "ansible_user",
        "hostwright_authorized_keys",
    }


@pytest.mark.parametrize("name", ["example", "minimal"])
def test_each_secret_of_the_vault_is_used_and_no_other(name: str) -> None:
    variables = INVENTORY / name / "group_vars" / "all"
    vault = yaml.safe_load((variables / "vault.yml").read_text(encoding="utf-8"))
    used = re.findall(r"\bvault_\w+", (variables / "site.yml").read_text(encoding="utf-8"))
    assert sorted(set(used)) == sorted(vault)
