"""Which code a cell was run with: a result says nothing of a deploy that works differently."""

from __future__ import annotations

import ast
import hashlib
import subprocess

from tests.hosts.conftest import ROOT

PARTS = (
    "roles/release/files/hostwright_engine",
    "roles/release/templates",
    "hostwright/release",
    "hostwright/remote.py",
)
"""What does a deploy, on hosts and on the controller."""


def digest() -> str:
    """Of the code that does a deploy, without its comments and layout."""
    found = hashlib.sha256()
    for part in PARTS:
        top = ROOT / part
        for path in [top] if top.is_file() else sorted((*top.rglob("*.py"), *top.rglob("*.j2"))):
            text = path.read_text(encoding="utf-8")
            meant = ast.dump(ast.parse(text)) if path.suffix == ".py" else text
            found.update(f"{path.relative_to(ROOT)}\0{meant}\0".encode())
    return found.hexdigest()[:12]


def commit() -> str:
    """The commit that is checked out, with a + where the code that does a deploy differs from it."""

    def git(*argv: str) -> str:
        return subprocess.run(("git", *argv), cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short=10", "HEAD") + ("+" if git("status", "--porcelain", "--", *PARTS) else "")
