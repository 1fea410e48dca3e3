"""The tree as an Ansible collection, built from what is tracked and installed where nothing leads to this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def tracked(*parts: str) -> list[str]:
    """The tracked files that are there."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", *parts], capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def ansible(program: str, *arguments: object, home: Path, status: int = 0) -> str:
    """Run one of Ansible's programs with the collection in `home`; no server is asked. Returns what it printed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment |= {"HOME": str(home), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_COLLECTIONS_PATH": str(home / "collections")}
    environment |= {"ANSIBLE_GALAXY_SERVER": "http://127.0.0.1:1/"}
    argv = [str(Path(sys.executable).with_name(program)), *map(str, arguments)]
    done = subprocess.run(argv, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, (done.stdout + done.stderr)[-6000:]
    assert "[DEPRECATION WARNING]" not in done.stdout + done.stderr, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def build(home: Path) -> Path:
    """The collection as a file in `home`, from a copy of what is tracked and of what must never get into it."""
    tree = home / "tree"
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    for private in ("inventory/production/hosts.yml", ".venv/secret", ".cache/lab/test/key"):
        (tree / private).parent.mkdir(parents=True, exist_ok=True)
        (tree / private).write_text("private")
    ansible("ansible-galaxy", "collection", "build", "--output-path", home, tree, home=home)
    return next(home.glob("*.tar.gz"))


def install(built: Path, home: Path) -> None:
    """Install it into `home`, without a network."""
    argv = ("collection", "install", built, "-p", home / "collections", "--offline")
    assert "hostwright.hostwright:0.1.0 was installed successfully" in ansible("ansible-galaxy", *argv, home=home)
