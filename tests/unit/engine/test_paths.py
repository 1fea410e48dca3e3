"""Names that come from elsewhere never lead out of their directory."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hostwright_engine.errors import BadRequest
from hostwright_engine.paths import Paths, release_name, venv_key
from hypothesis import given
from hypothesis import strategies as st

PATHS = Paths("shop", root="/host")

hostile = st.text() | st.text(alphabet="./a\n\0-_", max_size=8) | st.none() | st.integers() | st.lists(st.text())


def test_where_things_are() -> None:
    assert PATHS.contract == "/host/etc/hostwright/shop/contract.json"
    assert PATHS.release("20260101T000000-abc") == "/host/srv/shop/releases/20260101T000000-abc"
    assert PATHS.upload("r.tar.gz") == "/host/srv/shop/incoming/r.tar.gz"
    assert PATHS.slot_socket("a") == "/host/run/shop/web-a.sock"
    assert PATHS.venv("0" * 32) == "/host/srv/shop/venvs/" + "0" * 32


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/a", "../x", "a..b", "-a", ".a", "_a", "a b", "a\n", "ä", "a\0", "a" * 65, None, 1, [], {}],
)
def test_bad_release_names(name: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        release_name(name)
    assert caught.value.message == f"{name!r} is no release name"


@pytest.mark.parametrize("key", ["", "0" * 31, "0" * 33, "g" * 32, "A" * 32, "0" * 32 + "\n", None, 0])
def test_bad_virtualenv_keys(key: Any) -> None:
    with pytest.raises(BadRequest):
        venv_key(key)


@pytest.mark.parametrize("site", ["", "Shop", "1shop", "-shop", "shop/x", "..", "shop\n", "s" * 25, "--boot"])
def test_bad_site_names(site: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Paths(site)
    assert caught.value.message == f"{site!r} is no site name"


@given(hostile)
def test_a_name_is_refused_or_stays_in_its_directory(name: Any) -> None:
    for function, parent in ((PATHS.release, PATHS.releases), (PATHS.upload, PATHS.incoming)):
        try:
            path = function(name)
        except BadRequest:
            continue
        assert os.path.normpath(path) == path == f"{parent}/{name}"


@given(st.from_regex(r"[0-9A-Za-z][0-9A-Za-z_-]{0,30}", fullmatch=True))
def test_a_plain_name_is_taken(name: str) -> None:
    assert release_name(name) == name
