"""The processes and timers of a release: started beside those of the one before, which then end their work."""

import time

from . import units
from .errors import Failed

STARTING = 120
"""Seconds for processes to start."""

STAYS_UP = 1.0
"""Seconds after which a process that does not say when it is ready counts as started."""


def names(site, process, record):
    """Full unit names of `process`, one of the contract's, for the release of the transaction `record`.

    But for a deploy they are new ones: those of the same release may still be ending their work.
    """
    release = record["release"]
    tag = release if record["kind"] == "deploy" else "{}-r{}".format(release, record["op"][:8])
    return ["{}-{}@{}.{}".format(site, process["name"], tag, number + 1) for number in range(process["count"])]


def start(agreed, paths, state, values):
    """Start the processes of the transaction's release, and have timers run it: `values` is their environment.

    A singleton starts once the one before has stopped. Returns their full unit names, without suffix.
    """
    wanted, notified = [], []
    running = units.instances(paths)
    for process in agreed["processes"]:
        prefix = "{}-{}@".format(agreed["site"], process["name"])
        new = names(agreed["site"], process, state["transaction"])
        if process["singleton"]:
            old = [name + ".service" for name in running if name.startswith(prefix) and name not in new]
            left = units.stop(old, process["stop_timeout"] + 5)
            if left:
                raise Failed("{} did not stop, so no second one was started".format(", ".join(left)))
        for name in new:
            units.write_instance(paths, name, dict(values, HOSTWRIGHT_INSTANCE=name.split("@", 1)[1]))
        (notified if process["notify"] else wanted).extend(name + ".service" for name in new)
    for timer in agreed["timers"]:
        unit = "{}-timer-{}".format(agreed["site"], timer)
        units.write_instance(paths, unit, dict(values, HOSTWRIGHT_INSTANCE=timer))
    started = [name[: -len(".service")] for name in wanted + notified]
    state.save(processes=started)
    if wanted:
        units.start(wanted, "workers", STARTING)
    since = time.monotonic()
    if notified:
        units.start(notified, "workers", STARTING)
    if wanted:
        _stay_up(wanted, since + STAYS_UP)
    return started


def _stay_up(services, deadline):
    """Watch `services` until `deadline`; raises Failed where one is not active any more."""
    while True:
        for name, state in zip(services, units.states(services)):
            if state != "active":
                raise Failed("{} did not stay up".format(name), step="workers", tail=units.messages([name]))
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)


def stop(paths, keep):
    """Ask every process but those in `keep` to stop, if it is not asked yet; returns those that still finish their work.

    Nobody waits for them: they take no new work any more, and what they have under way may take long.
    """
    gone = [name for name in units.processes(paths) if name not in keep]
    left = units.stop([name + ".service" for name in gone], 0)
    for name in gone:
        if name + ".service" not in left:
            units.forget_instance(paths, name)
    return left
