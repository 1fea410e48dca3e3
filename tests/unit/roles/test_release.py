"""What the role release does in each run, with systemd's programs stood in for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.roles import evaluate, tasks
from tests.unit.roles.test_structure import module

PROGRAMS = {
    "systemd-tmpfiles": """test ! -e refused || { echo "Failed to resolve user 'shop'" >&2; exit 65; }
sed -n 's/^d //p' "$2" | while read path mode rest; do mkdir -p "$path"; chmod "$mode" "$path"; done""",
    "systemctl": """case $1 in
is-enabled) test -e enabled;;
enable) test "$2" = hostwright-shop-boot.service && touch enabled;;
esac""",
}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory with these programs, and directories that are described."""
    for name, script in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    places = "".join(f"d {tmp_path}/srv/{name} 0750 root root\n" for name in ("a", "b"))
    (tmp_path / "described").write_text(f"# Ansible managed\n{places}")
    return tmp_path


def run(host: Path) -> tuple[int, bool]:
    """(status, whether something was made) of the task."""
    task = next(task for _, task in tasks("release") if "run the recovery at boot" in task["name"])
    known = {**task["vars"], "release_site": "shop", "_release_described": str(host / "described")}
    script = evaluate(module(task)[1], known)
    path = f"{host}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", script], cwd=host, env={"PATH": path}, stdout=subprocess.PIPE, text=True, check=False
    )
    made = evaluate(f"{{{{ {task['changed_when']} }}}}", {"_release_made": {"stdout_lines": done.stdout.splitlines()}})
    return done.returncode, made


def test_directories_and_the_recovery_are_made_once(host: Path) -> None:
    assert run(host) == (0, True)
    assert (host / "srv/a").is_dir()
    assert (host / "enabled").exists()
    assert run(host) == (0, False)


@pytest.mark.parametrize("undo", ["rmdir srv/b", "chmod 700 srv/a", "rm enabled"])
def test_what_is_not_as_it_should_be_is_mended_without_a_change_of_files(host: Path, undo: str) -> None:
    run(host)
    subprocess.run(undo.split(), cwd=host, check=True)
    assert run(host) == (0, True)
    assert run(host) == (0, False)


def test_the_run_after_a_failure_makes_what_is_missing(host: Path) -> None:
    (host / "refused").touch()
    assert run(host)[0] == 65
    assert not (host / "enabled").exists()
    (host / "refused").unlink()
    assert run(host) == (0, True)
    assert (host / "enabled").exists()
