"""At boot: bring the current release back, and end what a crash cut off."""

import os
import sys

from . import lock, server, slots, storage, units
from .errors import EngineError

LOCK_WAIT = 3600
"""Seconds to wait for a transaction that is ending another way, such as by its own unit; its hooks may take long."""

STARTING = 120
"""Seconds for the slot to start, and for the slot and the processes."""

HOLDER = {"owner": "boot", "release": None, "op": "boot", "recovering": True}


def run(agreed, paths):
    """Make nginx's link again (/run is empty at boot), recover, and start the slot, the processes and the timers.

    Returns 1 where the interrupted transaction could not be ended; what serves is brought back all the same.
    """
    os.makedirs(paths.run, mode=0o700, exist_ok=True)
    left = storage.State(paths.state)["transaction"]
    if left:
        if not left.get("undoing"):
            # What is to be finished may take long, such as hooks. Migrations that were undone come before what needs them.
            _attempt("the current release could not be started", _serve_at_once, agreed, paths)
        _attempt("the interrupted transaction could not be ended", server.Server(agreed, paths).run)
    with lock.take(paths.lock, HOLDER, LOCK_WAIT):
        state = storage.State(paths.state)
        if state["current"]:
            keep = state["processes"]
            for name in units.processes(paths):
                # An old worker that was still ending its tasks when the power went is not wanted back.
                if name not in keep:
                    units.forget_instance(paths, name)
            wanted = [name + ".service" for name in keep] + _slot(agreed, paths, state["current"])
            if wanted:
                units.start(wanted, "boot", STARTING)
        return 1 if state["transaction"] else 0


def _attempt(failure, function, *args):
    try:
        function(*args)
    except (EngineError, OSError) as error:
        sys.stderr.write("{}: {}\n".format(failure, error))


def _serve_at_once(agreed, paths):
    with lock.take(paths.lock, HOLDER, LOCK_WAIT):
        current = storage.State(paths.state)["current"]
        wanted = _slot(agreed, paths, current) if current else []
        if wanted:
            units.start(wanted, "boot", STARTING)


def _slot(agreed, paths, current):
    """Point nginx at the current slot; returns its units, none where there is no slot."""
    if not (current["slot"] and agreed["web"]):
        return []
    slots.point_upstream(paths, current["slot"])
    service, listener = slots.names(agreed["site"], current["slot"])
    return [listener, service]
