"""What git says of a directory."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git_says(root: Path, *asked: str) -> bool:
    """Whether `git rev-parse` finds what it is asked for."""
    try:
        done = subprocess.run(["git", "-C", str(root), "rev-parse", *asked], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0
