"""Old Pythons on this machine: the distribution's, or pyenv's."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import need


def old_python(*versions: str) -> str:
    """The first of `versions`, such as 3.5, that there is; a test without any is not run, and says so."""
    for version in versions:
        for path in _candidates(f"python{version}"):
            if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
                return path
    wanted = " or ".join(versions)
    # No package of a current distribution brings one.
    mend = f"Install it: pyenv install {versions[-1]}"
    need(f"checks under Python {wanted}", "there is none here", mend, in_ci=False)
    raise AssertionError


def _candidates(name: str) -> Iterator[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(map(str, pyenv.glob(f"versions/*/bin/{name}")))
    # A shim of pyenv may be there for a version that is switched off.
    if found := shutil.which(name):
        yield found
