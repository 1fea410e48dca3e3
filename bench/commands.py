"""The commands that a user types: their environment, and one that is run to its end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hostwright.errors import HostwrightError


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, with the project's programs first on PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "ANSIBLE_NOCOLOR": "1", **more}


def run(argv: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed; raises HostwrightError with its last lines."""
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = (done.stdout + done.stderr)[-3000:]
        raise HostwrightError(f"{' '.join(argv[:4])} ended with status {done.returncode}:\n{tail}")
    return done.stdout
