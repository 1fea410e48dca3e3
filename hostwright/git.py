"""Running git on the directory that it is given, wherever it is run from."""

from __future__ import annotations

import os
import subprocess

OF_A_REPOSITORY = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
}
"""Those of `git rev-parse --local-env-vars` that lead to other files than those of the directory that git is given."""


def run(*argv: str) -> subprocess.CompletedProcess[bytes]:
    """Run git, which speaks English; its exit status is the caller's to look at. Raises OSError where it can't be run.

    Git tells its hooks and aliases which repository they are of, and the one that is asked for may be another.
    """
    environment = {key: value for key, value in os.environ.items() if key not in OF_A_REPOSITORY}
    return subprocess.run(["git", *argv], capture_output=True, check=False, env={**environment, "LC_ALL": "C"})
