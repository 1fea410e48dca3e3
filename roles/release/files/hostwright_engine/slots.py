"""The two web slots: starting the idle one, asking it for its health, pointing nginx at it, draining the other."""

import http.client
import os
import socket
import threading
import time

from . import commands, storage, units
from .errors import Failed

HEADER = "X-Hostwright-Release"
GRACE = 0.5
"""Seconds after the timeout, which is that of a single read, at which an answer that still drips is cut off."""

BODY_LIMIT = 65536
"""Bytes of a health check's answer that are read."""


def other(slot):
    """The slot that is not `slot`; a first release gets a."""
    return "b" if slot == "a" else "a"


def instance(site, slot):
    """The full unit name of a slot, without suffix."""
    return "{}-web@{}".format(site, slot)


def live(paths):
    """The slot that nginx sends its requests to, or None: what the state does not know serves all the same."""
    try:
        target = os.readlink(paths.upstream)
    except OSError:
        return None
    return next((slot for slot in ("a", "b") if target == os.path.basename(paths.slot_socket(slot))), None)


def names(site, slot):
    """(service, socket) of a slot."""
    unit = instance(site, slot)
    return unit + ".service", unit + ".socket"


def start(paths, slot, values, timeout):
    """Start `slot` on the release that `values` (its environment) names, afresh, in at most `timeout` seconds."""
    service, listener = names(paths.site, slot)
    units.stop([service, listener], 30)
    units.write_instance(paths, instance(paths.site, slot), values)
    units.start([listener, service], "standby", timeout)


def ask_to_stop(site, slot):
    """Begin to stop `slot`, without waiting; its socket first, so that nothing starts it again."""
    service, listener = names(site, slot)
    units.systemctl("stop", "--no-block", listener, service)


def kill(paths, slot):
    """End `slot`, which never had a request, without waiting for anything; `stop` has to follow."""
    units.systemctl("kill", "--signal=KILL", names(paths.site, slot)[0])


def stop(paths, slot, timeout):
    """Stop `slot`; its socket first, so that nothing starts it again."""
    service, listener = names(paths.site, slot)
    left = units.stop([listener, service], timeout)
    if not left:
        units.forget_instance(paths, instance(paths.site, slot))
    return left


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path
        self.opened = None
        self.was_cut = False

    def connect(self):
        self.sock = self.opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def cut(self):
        """End the connection from another thread: whoever reads from it sees its end."""
        self.was_cut = True
        if self.opened is not None:
            try:
                self.opened.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It is closed already.


def ask(path, health):
    """One request for the health path over the unix socket `path`: (status, release id that answered).

    All of it ends with the timeout, however slowly the answer drips.
    """
    connection = _Connection(path, health["timeout"])
    watchdog = threading.Timer(health["timeout"] + GRACE, connection.cut)
    watchdog.daemon = True
    watchdog.start()
    try:
        connection.putrequest("GET", health["path"], skip_host=True, skip_accept_encoding=True)
        for name in sorted(health["headers"]):
            connection.putheader(name, health["headers"][name])
        connection.putheader("Connection", "close")
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read(BODY_LIMIT)
        if connection.was_cut or (len(body) < BODY_LIMIT and answer.length):
            raise OSError("the answer did not come whole in time")
        return answer.status, answer.getheader(HEADER)
    finally:
        watchdog.cancel()
        connection.close()


def await_health(paths, slot, health, release):
    """Ask the slot's own socket until it answers as it should, with this release's id. Without `status` any answer will do.

    A wrong id and a service that died fail at once, anything else at the deadline.
    """
    service = names(paths.site, slot)[0]
    deadline = time.monotonic() + health["deadline"]
    problem = "no answer"
    while True:
        commands.refuse_if_cancelled("standby")
        try:
            status, answered = ask(paths.slot_socket(slot), health)
        except (OSError, http.client.HTTPException) as error:
            problem = "no answer ({})".format(error or type(error).__name__)
        else:
            if answered not in (None, release):
                raise Failed(
                    "the standby slot answers for release {}, not {}".format(answered, release),
                    step="standby",
                    tail=units.messages([service]),
                )
            if not health["status"] or (status in health["status"] and answered == release):
                return
            problem = "status {}".format(status) if answered else "status {} without {}".format(status, HEADER)
        if units.states([service]) not in (["active"], ["activating"]):
            problem = "the service died; " + problem
            break
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    raise Failed(
        "the standby slot is not healthy: {} for {} (expected {})".format(
            problem, health["path"], " or ".join(str(status) for status in health["status"]) or "any status"
        ),
        "health in the site model names the path, the Host header and the deadline",
        step="standby",
        tail=units.messages([service]),
    )


def point(paths, slot, release, previous):
    """Make nginx's upstream and the links `current` and `previous` show `release`; None where there is none.

    Static files move first: a new page finds its files under `current`, an old one under `previous`.
    """
    storage.write_link(paths.previous, previous and "releases/" + previous)
    storage.write_link(paths.current, release and "releases/" + release)
    point_upstream(paths, slot)


def point_upstream(paths, slot):
    """Make nginx send its requests to `slot`. The link lies in memory: no disk can stop this."""
    storage.write_link(paths.upstream, slot and os.path.basename(paths.slot_socket(slot)))


def verify(paths, health, release):
    """Ask through nginx's upstream link once more: it must be `release` that answers."""
    try:
        answered = ask(paths.upstream, health)[1]
    except (OSError, http.client.HTTPException) as error:
        answered = "nobody ({})".format(error or type(error).__name__)
    if answered != release:
        raise Failed("after the flip {} answers, not {}".format(answered, release), step="flip")


def connections(table, path):
    """How many connections, accepted or queued, the unix socket `path` has, by the text of /proc/net/unix."""
    count = 0
    for line in table.splitlines():
        fields = line.split(None, 7)
        # Flags 00010000 mark the listening socket itself.
        if len(fields) == 8 and fields[7] == path and fields[3] != "00010000":
            count += 1
    return count


def drain(paths, slot, timeout):
    """Wait until the slot has no connection left; returns whether that happened in `timeout` seconds."""
    deadline = time.monotonic() + timeout
    quiet = 0
    while quiet < 3:
        with open("/proc/net/unix") as table:
            quiet = 0 if connections(table.read(), paths.slot_socket(slot)) else quiet + 1
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
