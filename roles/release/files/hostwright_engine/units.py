"""systemd, as far as the engine needs it: starting and stopping a site's units, each told its release by a file."""

import os
import re
import subprocess
import time

from . import storage
from .errors import Failed


NOT_LOADED = 5
"""The exit status of systemctl where one of the units is not there, and so does not run; the others are stopped."""

RESTARTING = "auto-restart"
"""The sub-state of a unit that has died and is about to be started again."""


def systemctl(*argv, **options):
    """Run systemctl; returns (status, output)."""
    timeout = options.get("timeout", 90)
    process = subprocess.Popen(
        ("systemctl",) + argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        output = process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        output = process.communicate()[0]
        return 124, "systemctl {} did not end within {} s\n".format(" ".join(argv), timeout)
    return process.returncode, output.decode("utf-8", "replace")


def instances(paths):
    """The full unit names, without suffix, for which the engine has written an environment, such as shop-web@a."""
    try:
        return sorted(name[:-4] for name in os.listdir(paths.instances) if name.endswith(".env"))
    except FileNotFoundError:
        return []


def processes(paths):
    """Those of `instances` that are processes of a release: a slot is SITE-web@SLOT, and a timer has no @."""
    return [name for name in instances(paths) if "@" in name and not name.startswith(paths.site + "-web@")]


def timer(site, name):
    """The full unit name of a timer and its service, without suffix."""
    return "{}-timer-{}".format(site, name)


def write_instance(paths, unit, values):
    """Tell the unit `unit` (a full name without suffix) which release it runs."""
    # What has a meaning inside of double quotes, to systemd too.
    text = "".join('{}="{}"\n'.format(key, re.sub(r'(["\\\\$`])', r"\\\1", values[key])) for key in sorted(values))
    storage.write_file(os.path.join(paths.instances, unit + ".env"), text, 0o600)


def forget_instance(paths, unit):
    """Forget which release `unit` runs: nothing starts it without that."""
    try:
        os.unlink(os.path.join(paths.instances, unit + ".env"))
    except FileNotFoundError:
        pass


def start(units, step, timeout):
    """Start `units` together and wait until systemd holds them for started; a start limit never refuses."""
    systemctl("reset-failed", *units)
    status, output = systemctl("start", *units, timeout=timeout)
    if status == 124:
        raise Failed("{} did not start within {} s".format(" ".join(units), timeout), step=step, tail=messages(units))
    if status:
        raise Failed("{} did not start".format(" ".join(units)), step=step, tail=output.splitlines() + messages(units))


def stop(units, timeout):
    """Stop `units` together; returns those that are still running after `timeout` seconds."""
    if not units:
        return []
    asked = False
    deadline = time.monotonic() + timeout
    while True:
        if not asked:
            # A systemctl that failed or hung has asked for nothing.
            asked = systemctl("stop", "--no-block", *units)[0] in (0, NOT_LOADED)
        left = [unit for unit, state in zip(units, states(units)) if state not in ("inactive", "failed")]
        if not left or time.monotonic() > deadline:
            if not left:
                systemctl("reset-failed", *units)
            return left
        time.sleep(0.05)


def states(units):
    """The ActiveState of each of `units`, in order."""
    if not units:
        return []
    output = systemctl("is-active", *units)[1].split()
    return output if len(output) == len(units) else ["unknown"] * len(units)


def messages(units, lines=15):
    """The newest journal lines of `units`."""
    argv = ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", str(lines)]
    for unit in units:
        argv += ["-u", unit]
    try:
        output = subprocess.check_output(argv, stderr=subprocess.DEVNULL, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ["(the journal can't be read)"]
    return output.decode("utf-8", "replace").rstrip().splitlines()


def show(units):
    """What `status` says of `units`: name, state and since when, in seconds since 1970."""
    rows = []
    for unit in units:
        values = dict(
            line.split("=", 1)
            for line in systemctl("show", unit, "-p", "ActiveState,SubState,ActiveEnterTimestampMonotonic")[1].splitlines()
            if "=" in line
        )
        monotonic = int(values.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        since = time.time() - time.monotonic() + monotonic if monotonic else None
        state = values.get("ActiveState", "unknown")
        if values.get("SubState") == RESTARTING:
            # systemd calls it activating, as it does what starts for the first time.
            state = RESTARTING
        rows.append({"unit": unit, "state": state, "since": since})
    return rows
