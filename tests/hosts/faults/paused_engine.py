"""On a lab host: the release engine as it is, but that it waits after an event that the driver has named.

/run/faults/pause holds the step and its status. At that event the engine makes /run/faults/reached, and goes on when
there is a file /run/faults/go.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, "/usr/local/lib/hostwright")
from hostwright_engine import __main__, server

WANTED, REACHED, GO = (Path("/run/faults") / name for name in ("pause", "reached", "go"))
emit = server.Server.emit


def emit_and_wait(self: Any, event: dict[str, Any]) -> None:
    """Store and send an event; at the named one, wait."""
    emit(self, event)
    if WANTED.exists() and WANTED.read_text().strip() == f"{event.get('step')} {event.get('status')}":
        WANTED.unlink()
        REACHED.touch()
        while not GO.exists():
            time.sleep(0.02)


server.Server.emit = emit_and_wait
sys.exit(__main__.main(sys.argv[1:]))
