"""What git says of a directory."""

from __future__ import annotations

import re
from pathlib import Path

from hostwright import git

NO_REPOSITORY = "it is no git repository"


def why_no_repository(root: Path) -> str:
    """Why `root` can't be released as a commit: git's own reason, where it has one; empty where it can be."""
    reason = _rev_parse(root, "--is-inside-work-tree")
    return NO_REPOSITORY if "not a git repository" in reason else reason


def has_commit(root: Path) -> bool:
    return not _rev_parse(root, "--verify", "--quiet", "HEAD")


def _rev_parse(root: Path, *asked: str) -> str:
    """What `git rev-parse` says against what it is asked for; empty where it finds that."""
    try:
        done = git.run("-C", str(root), "rev-parse", *asked)
    except OSError as error:
        return f"git can't be run here ({error.strerror})"
    said = (done.stderr.decode("utf-8", errors="replace").splitlines() or ["nothing"])[0].removeprefix("fatal: ")
    return f"git says: {re.sub(r'[^ -~]', '?', said)}" if done.returncode else ""
