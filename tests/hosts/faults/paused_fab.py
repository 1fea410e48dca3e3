"""`fab` as it is, but that it waits after it has reported the state FAULTS_STATE.

Then it makes the file `reached` in FAULTS_DIRECTORY, and goes on when there is a file `go`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from fabric.main import program

from hostwright.events import Reporter

DIRECTORY = Path(os.environ["FAULTS_DIRECTORY"])
event_of = Reporter.event


def event_and_wait(self: Reporter, event: str, /, **fields: Any) -> None:
    event_of(self, event, **fields)
    if event == "state" and fields["state"] == os.environ["FAULTS_STATE"]:
        (DIRECTORY / "reached").touch()
        while not (DIRECTORY / "go").exists():
            time.sleep(0.02)


Reporter.event = event_and_wait
sys.exit(program.run())
