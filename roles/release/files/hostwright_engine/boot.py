"""At boot: end what a crash cut off, then bring the current release back."""

import os
import sys

from . import lock, server, slots, storage, units
from .errors import EngineError

LOCK_WAIT = 120
"""Seconds to wait for a transaction that is ending another way, such as by its own unit."""


def run(agreed, paths):
    """Recover, make nginx's link again (/run is empty at boot), and start the slot, the processes and the timers.

    Returns 1 where the interrupted transaction could not be ended; what serves is brought back all the same.
    """
    os.makedirs(paths.run, mode=0o700, exist_ok=True)
    status = 0
    if storage.State(paths.state)["transaction"]:
        try:
            server.Server(agreed, paths).run()
        except (EngineError, OSError) as error:
            sys.stderr.write("the interrupted transaction could not be ended: {}\n".format(error))
            status = 1
    with lock.take(paths.lock, {"owner": "boot", "release": None, "op": "boot"}, LOCK_WAIT):
        state = storage.State(paths.state)
        current = state["current"]
        if not current:
            return status
        wanted = [name + ".service" for name in state["processes"]]
        if current["slot"] and agreed["web"]:
            slots.point_upstream(paths, current["slot"])
            service, listener = slots.names(agreed["site"], current["slot"])
            wanted += [listener, service]
        keep = state["processes"]
        for name in units.instances(paths):
            # An old worker that was still ending its tasks when the power went is not wanted back.
            if "@" in name and "-web@" not in name and name not in keep:
                units.forget_instance(paths, name)
        if wanted:
            units.start(wanted, "boot", 120)
    return status
