"""Debian's packages on this machine, for what labs, tests and benchmarks need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from hostwright.errors import HostwrightError


def install(packages: Sequence[str], why: str) -> None:
    """Install `packages`, after saying so on standard error. Raises HostwrightError with apt's last lines."""
    named = " ".join(packages)
    if not shutil.which("apt-get"):
        raise HostwrightError(f"{named} must be installed, and there is no apt-get to do it", why)
    print(f"==> apt-get install {named} ({why})", file=sys.stderr, flush=True)
    for argv in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", "-q", *argv],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        if done.returncode:
            tail = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-8:])
            raise HostwrightError(f"apt-get {argv[0]} ended with status {done.returncode}:\n  {tail}")
