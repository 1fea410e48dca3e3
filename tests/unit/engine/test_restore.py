"""What of a dump is restored, and what is committed: tests/hosts/test_lifecycle.py restores one for real."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hostwright_engine import restore


@pytest.mark.parametrize(
    "line",
    [
        "2036; 0 0 COMMENT - EXTENSION plpgsql ",
        "6; 2615 2200 SCHEMA - public postgres",
        "3352; 0 0 COMMENT - SCHEMA public postgres",
        "3353; 0 0 ACL - SCHEMA public pg_database_owner",
        "2037; 0 0 ACL - public postgres",
        "3360; 0 0 ACL - FOREIGN DATA WRAPPER postgres_fdw postgres",
    ],
)
def test_what_belongs_to_the_server_is_left_out(line: str) -> None:
    assert restore.OTHERS.match(line)


@pytest.mark.parametrize(
    "line",
    [
        "1; 3079 12000 EXTENSION - plpgsql ",
        "185; 1259 16386 TABLE public orders_order shop",
        "2040; 0 0 COMMENT public TABLE orders_order shop",
        "2041; 0 0 ACL public TABLE orders_order shop",
        "7; 2615 16400 SCHEMA - hostwright shop",
        "2100; 0 16386 TABLE DATA public orders_order shop",
    ],
)
def test_what_belongs_to_the_site_is_kept(line: str) -> None:
    assert not restore.OTHERS.match(line)


@pytest.mark.parametrize(("status", "last"), [(0, "COMMIT;"), (1, "COPY;")])
def test_only_a_whole_dump_is_committed(tmp_path: Path, status: int, last: str) -> None:
    programs = {
        "pg_restore": f'[ "$1" = --version ] && echo "pg_restore 15.1" && exit; echo "COPY;"; exit {status}',
        "psql": f"cat >{tmp_path}/said",
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with tempfile.TemporaryFile() as dump, tempfile.TemporaryFile() as wanted:
        assert restore._replace("shop", dump, wanted, env, lambda: None) == status
    said = (tmp_path / "said").read_text().splitlines()
    assert (said[0], said[-1]) == ("BEGIN;", last)
