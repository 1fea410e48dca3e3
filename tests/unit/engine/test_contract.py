"""The contract as the engine reads it: root's own, of its version, and whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hostwright_engine import contract
from hostwright_engine.errors import Failed

from hostwright import config
from hostwright import contract as made


def good() -> dict[str, Any]:
    site = config.load({"name": "shop", "source": {"git": "."}, "web": {"wsgi": "shop.wsgi"}})
    return made.contract(site, {"web": ["web1"]}, "web1")


HEALTH = good()["web"]["health"]


def written(tmp_path: Path, text: str, mode: int = 0o600) -> str:
    path = tmp_path / "contract.json"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_both_sides_agree(tmp_path: Path) -> None:
    assert contract.VERSION == made.VERSION
    assert set(contract._SHAPE) | {"version"} == set(good())
    assert contract.load(written(tmp_path, json.dumps(good()))) == good()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "the contract is of version None, the engine needs 1"),
        ({}, "the contract is of version None, the engine needs 1"),
        ({"version": 2}, "the contract is of version 2, the engine needs 1"),
        ({**good(), "version": 0}, "the contract is of version 0, the engine needs 1"),
        ({k: v for k, v in good().items() if k not in ("env", "web")}, "the contract has no env, web"),
        ({**good(), "env": {"A": 1}}, "the contract's env must be text without NUL"),
        ({**good(), "env": {"A": "a\0b"}}, "the contract's env must be text without NUL"),
        ({**good(), "env": {"A\0": "a"}}, "the contract's env (a key) must be text without NUL"),
        ({**good(), "hooks": [3]}, "the contract's hooks.0 must be a mapping"),
        ({**good(), "links": [{"path": "a"}]}, "the contract's links.0.target must be text without NUL"),
        ({**good(), "manage": "python"}, "the contract's manage must be a list"),
        ({**good(), "releases": {}}, "the contract's releases.build_timeout must be a whole number"),
        (
            {**good(), "web": {"health": {**HEALTH, "timeout": True}}},
            "the contract's web.health.timeout must be a whole number",
        ),
        (
            {**good(), "build_user": "shop"},
            "the contract's user and build_user are the same: builds would write what serves",
        ),
    ],
)
def test_a_contract_that_is_not_for_this_engine(tmp_path: Path, data: Any, message: str) -> None:
    for read in (contract.check, lambda data: contract.load(written(tmp_path, json.dumps(data)))):
        with pytest.raises(Failed) as caught:
            read(data)
        assert caught.value.message == message
        assert caught.value.hint == "Run: ansible-playbook playbooks/site.yml"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_contract_that_others_may_write(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, json.dumps(good()), mode)
    with pytest.raises(Failed, match="can be written by others than root"):
        contract.load(path)


def test_a_contract_of_somebody_else(tmp_path: Path, as_root: None) -> None:
    path = written(tmp_path, json.dumps(good()))
    os.chown(path, 65534, 65534)
    with pytest.raises(Failed, match="can be written by others than root"):
        contract.load(path)


def test_a_contract_that_is_missing_or_no_json(tmp_path: Path) -> None:
    path = str(tmp_path / "none")
    with pytest.raises(Failed) as caught:
        contract.load(path)
    assert caught.value.message == f"no site of this name is set up here ({path} is missing)"
    for text in ("{", "\xff", ""):
        with pytest.raises(Failed, match="is no JSON"):
            contract.load(written(tmp_path, text))


def test_a_user_that_is_missing() -> None:
    with pytest.raises(Failed, match="the user no-such-user is missing"):
        contract.account("no-such-user")
