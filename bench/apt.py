"""Debian's packages of the peers."""

from __future__ import annotations

import os
import shutil
import subprocess

from hostwright.errors import HostwrightError


def install(package: str) -> None:
    """Install `package`, after saying so. Raises HostwrightError with apt's last lines."""
    if not shutil.which("apt-get"):
        raise HostwrightError(f"{package} is not installed, and there is no apt-get to install it with")
    print(f"==> apt-get install {package}")
    for argv in (["update"], ["install", "-y", "--no-install-recommends", package]):
        done = subprocess.run(
            ["apt-get", "-q", *argv],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise HostwrightError(f"apt-get {argv[0]} ended with status {done.returncode}:\n{done.stderr[-3000:]}")
