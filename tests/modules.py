"""The modules in plugins/modules, run as Ansible runs them on a host."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MODULES = Path(__file__).resolve().parents[1] / "plugins/modules"


def run_module(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What the module `name` answers."""
    done = subprocess.run(
        [sys.executable, str(MODULES / f"{name}.py")],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
