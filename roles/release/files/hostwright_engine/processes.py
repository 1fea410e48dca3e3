"""The processes and timers of a release: started beside those of the one before, which then end their work."""

import time

from . import units
from .errors import Failed

STARTING = 120
"""Seconds for processes to start."""

KILLED = 60
"""Seconds after a singleton's stop_timeout: systemd kills it then, and what is stopped for good may be replaced."""

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
    """Start the processes and timers of the transaction's release: `values` is their environment.

    A singleton starts once the one before has stopped. Returns the full unit names of the processes, without suffix, and
    the singletons that did not stop, so that there is no second one.
    """
    wanted, notified, stuck = [], [], []
    running = units.instances(paths)
    for process in agreed["processes"]:
        prefix = "{}-{}@".format(agreed["site"], process["name"])
        new = names(agreed["site"], process, state["transaction"])
        if process["singleton"]:
            old = [name + ".service" for name in running if name.startswith(prefix) and name not in new]
            left = units.stop(old, process["stop_timeout"] + KILLED)
            if left:
                stuck += left
                continue
        for name in new:
            units.write_instance(paths, name, dict(values, HOSTWRIGHT_INSTANCE=name.split("@", 1)[1]))
        (notified if process["notify"] else wanted).extend(name + ".service" for name in new)
    timers = [units.timer(agreed["site"], name) for name in agreed["timers"]]
    for unit, name in zip(timers, agreed["timers"]):
        units.write_instance(paths, unit, dict(values, HOSTWRIGHT_INSTANCE=name))
    for unit in running:
        if "@" not in unit and unit not in timers:
            # A timer that came back to this host would run the release of the day when it left.
            units.forget_instance(paths, unit)
    started = [name[: -len(".service")] for name in wanted + notified]
    state.save(processes=started)
    if wanted:
        units.start(wanted, "workers", STARTING)
    since = time.monotonic()
    if notified:
        units.start(notified, "workers", STARTING)
    if wanted:
        _stay_up(wanted, since + STAYS_UP)
    if timers:
        units.start([unit + ".timer" for unit in timers], "workers", STARTING)
    return started, stuck


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
