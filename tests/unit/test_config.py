"""The site model: what it accepts, and what it says of what it does not."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostwright import config
from hostwright.errors import BadInput

MINIMAL: dict[str, Any] = {"name": "shop", "source": {"git": "."}}


def refusal(**changes: Any) -> str:
    with pytest.raises(BadInput) as caught:
        config.load({**MINIMAL, **changes})
    return caught.value.message


def test_defaults_of_the_smallest_site() -> None:
    site = config.load(MINIMAL)
    assert site.manage == ["python", "manage.py"]
    assert site.dependencies.requirements == ["requirements.txt"]
    assert site.releases.keep == 5
    assert site.web is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"helth": {}}, "site.helth: unknown key (did you mean health?)"),
        ({"health": {"pth": "/"}}, "site.health.pth: unknown key (did you mean path?)"),
        ({"hooks": [{"nam": "x"}]}, "site.hooks.0.nam: unknown key (did you mean name?)"),
        ({"zzz": 1}, "site.zzz: unknown key"),
        ({"releases": {"keep": "many"}}, "site.releases.keep: input should be a valid integer"),
        ({"releases": {"keep": 0}}, "site.releases.keep: input should be greater than or equal to 1"),
        ({"project_dir": "../x"}, "site.project_dir: must be a path inside the release"),
        ({"project_dir": "/x"}, "site.project_dir: must be a path inside the release"),
        ({"name": "Shop!"}, "site.name: string should match pattern"),
        ({"source": {}}, "site.source: needs exactly one of git, path, pypi, archive (has none)"),
        ({"source": {"git": ".", "path": "x"}}, "site.source: needs exactly one of git, path, pypi, archive"),
        ({"source": {"pypi": "x"}}, "site.source: pypi needs version"),
        ({"source": {"archive": "x.tar"}}, "site.source: archive needs sha256"),
        ({"web": {}}, "site.web: needs exactly one of wsgi, asgi"),
        ({"web": {"wsgi": "a:b", "tls": "files"}}, "site.web: tls: files needs tls_certificate"),
        ({"env": {"A": "1"}, "secrets": {"A": "2"}}, "site: in env and in secrets at once: A"),
        ({"env": {"HOSTWRIGHT_X": "1"}}, "site: names that begin with HOSTWRIGHT_"),
        ({"env": {"A": "x\0y"}}, "site: env.A holds a NUL character"),
        ({"env": {"A-B": "1"}}, "site.env.A-B.[key]: string should match pattern"),
        (
            {"processes": [{"name": "beat", "command": ["x"]}], "celery": {"app": "a", "beat": True}},
            "site: two processes or timers would share a unit's name: beat",
        ),
    ],
)
def test_a_wrong_key_is_named_by_its_path(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(**changes)


def test_every_wrong_key_is_reported_at_once() -> None:
    assert refusal(helth={}, manag=[]).count("\n") == 1


@pytest.mark.parametrize("data", [None, [], "x", 3])
def test_a_site_that_is_no_mapping(data: Any) -> None:
    with pytest.raises(BadInput, match="must be a mapping"):
        config.load(data)


def test_secrets_are_not_shown_and_are_revealed_on_purpose() -> None:
    site = config.load(
        {
            **MINIMAL,
            "secrets": {"SECRET_KEY": "canary-1"},
            "files": [{"path": "a.ini", "content": "canary-2"}],
            "services": {
                "databases": [{"name": "shop", "password": "canary-3"}],
                "redis": {"password": "canary-4"},
                "amqp": {"vhost": "v", "user": "u", "password": "canary-5"},
            },
        }
    )
    for text in (json.dumps(config.shown(site)), repr(site), str(site)):
        assert "canary" not in text
    revealed = json.dumps(config.revealed(site))
    assert [f"canary-{n}" in revealed for n in range(1, 6)] == [True] * 5


def test_a_refusal_does_not_show_a_secret() -> None:
    assert "canary" not in refusal(secrets={"A": ["canary"]})
    assert "canary" not in refusal(secrets={"A": "canary"}, env={"A": "canary"})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(list(config.Site.model_fields)) | st.text(), json_values, max_size=5))
def test_any_input_is_loaded_or_refused_and_nothing_else_is_raised(data: dict[str, Any]) -> None:
    with contextlib.suppress(BadInput):
        config.load({**MINIMAL, **data})
