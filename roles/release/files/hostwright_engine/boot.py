"""At boot: end what a crash cut off, then bring the current release back."""

import os

from . import lock, server, slots, storage, units


def run(agreed, paths):
    """Recover, make nginx's link again (/run is empty at boot), and start the slot, the processes and the timers."""
    state = storage.State(paths.state)
    os.makedirs(paths.run, mode=0o700, exist_ok=True)
    if state["transaction"]:
        server.Server(agreed, paths).run()
        state = storage.State(paths.state)
    with lock.take(paths.lock, {"owner": "boot", "release": None, "op": "boot"}):
        current = state["current"]
        if not current:
            return 0
        wanted = []
        if current["slot"] and agreed["web"]:
            slots.point(paths, current["slot"], current["release"], state["previous"])
            service, listener = slots.names(agreed["site"], current["slot"])
            wanted += [listener, service]
        names = {process["name"] for process in agreed["processes"]}
        for name in units.instances(paths):
            process = name[len(agreed["site"]) + 1 :].split("@", 1)[0]
            if "@" in name and process in names:
                wanted.append(name + ".service")
        if wanted:
            units.start(wanted, "boot", 120)
    return 0
