"""Starting a transaction, and being the wire between the process that it is and its controller."""

import json
import os
import select
import shutil
import socket
import time

from . import lock, releases, stdio, storage, units
from .errors import BadRequest, Busy, Failed
from .paths import release_name

RECOVERY = 120
"""Seconds for an interrupted transaction to be ended, or for a host to come back from a reboot."""


def begin(agreed, paths, request):
    """Start a transaction in a unit of its own, then be the wire between it and the controller."""
    if request.get("kind") not in ("deploy", "rollback", "restart"):
        raise BadRequest("kind must be deploy, rollback or restart")
    op = release_name(request.get("op"))
    if request.get("release") is not None:
        release_name(request["release"])
    if request["kind"] == "deploy":
        if request.get("release") is None:
            raise BadRequest("a deploy needs the name of its release")
        paths.upload(request.get("artifact"))
    wanted = {key: _text(request, key) for key in ("owner", "ref", "commit", "sha256")}
    wanted.update({key: request.get(key) for key in ("op", "kind", "release")})
    wanted["artifact"] = request["artifact"] if request["kind"] == "deploy" else None
    wanted["owner"] = wanted["owner"] or "unknown"
    if request["kind"] == "rollback":
        state = storage.State(paths.state)
        releases.usable(paths, state, wanted["release"] or releases.before(state))
    _refuse_full_disk(paths)
    holder = {key: wanted[key] for key in ("owner", "release", "op")}
    unit = "hostwright-{}-transaction.service".format(agreed["site"])
    _await_boot(agreed["site"])
    # One at a time starts a transaction; the lock itself is free again for it, and already says whose it will be.
    with lock.take(paths.lock + ".begin", holder):
        _end_interrupted(paths, unit)
        lock.take(paths.lock, holder).close()
        _await_end(unit)
        storage.write_file(paths.request, json.dumps(wanted))
        _start(unit)
        wire = _connect(paths, op, 20)
    return _relay(paths, wire, op, 0)


def _start(unit):
    units.systemctl("reset-failed", unit)
    status, output = units.systemctl("start", "--no-block", unit)
    if status:
        raise Failed("the transaction can't be started: {}".format(output.strip()), "Run: ansible-playbook playbooks/site.yml")


def _await_end(unit):
    """Wait until the unit of the transaction before has ended: systemd would not start it again sooner."""
    deadline = time.monotonic() + 5
    while units.states([unit]) not in (["inactive"], ["failed"], ["unknown"]) and time.monotonic() < deadline:
        time.sleep(0.02)


def _await_boot(site):
    """What served before a reboot serves again before anything else begins: whoever is here sooner waits for it."""
    unit = "hostwright-{}-boot.service".format(site)
    # One that has failed had its turn: a deploy may be what mends it.
    if units.states([unit]) in (["inactive"], ["activating"]):
        units.systemctl("start", unit, timeout=RECOVERY)


def _end_interrupted(paths, unit):
    """Where the process of a transaction died, have it ended first."""
    deadline = time.monotonic() + RECOVERY
    asked = 0
    while storage.State(paths.state)["transaction"]:
        held = lock.holder(paths.lock)
        if held and not held.get("recovering"):
            raise Busy(held)
        if held is None:
            _await_end(unit)
            if not storage.State(paths.state)["transaction"]:
                return
            if asked == 2 or time.monotonic() > deadline:
                raise Failed(
                    "the interrupted transaction before this one can't be ended",
                    "Mend what its journal says, then try again",
                    tail=units.messages([unit]),
                )
            asked += 1
            _start(unit)
        time.sleep(0.2)


def attach(agreed, paths, request):
    """Be the wire to a transaction that is under way, or replay the end of one that is over."""
    op = release_name(request.get("op"))
    after = request.get("after", 0)
    if type(after) is not int:
        raise BadRequest("after must be a number")
    held = lock.holder(paths.lock)
    if held is None or held.get("op") != op:
        if not _replay(paths, op, after):
            raise BadRequest("there is no transaction {} on this host".format(op))
        return 0
    return _relay(paths, _connect(paths, op, 5), op, after)


def _refuse_full_disk(paths):
    free = shutil.disk_usage(paths.srv).free
    if free < 64 * 1024 * 1024:
        raise Failed("the disk of {} has only {} MiB left".format(paths.srv, free >> 20), "Free some space, then deploy again")


def _replay(paths, op, after):
    """Say the events after `after` of a transaction that is over; returns whether there are any of it."""
    events = [event for event in storage.read_journal(paths.journal) if event.get("op") == op]
    for event in events:
        if event["seq"] > after:
            stdio.say(event)
    return bool(events)


def _connect(paths, op, seconds):
    """A socket to the process of the transaction `op`; None where it is over."""
    deadline = time.monotonic() + seconds
    while True:
        held = lock.holder(paths.lock)
        if held and held.get("op") not in (op, None):
            raise Busy(held)
        wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            wire.connect(paths.control)
            return wire
        except OSError:
            wire.close()
        if held is None and any(e.get("op") == op and e.get("event") == "end" for e in storage.read_journal(paths.journal)):
            return None
        if time.monotonic() > deadline:
            lines = units.messages(["hostwright-{}-transaction.service".format(paths.site)])
            raise Failed("the transaction's process does not answer", "See its journal on the host", tail=lines)
        time.sleep(0.02)


def _relay(paths, wire, op, after):
    """Copy lines both ways until the transaction ends. A process that died is started again by systemd: wait for it."""
    seen = after
    while wire is not None:
        wire.sendall(json.dumps({"do": "attach", "after": seen}).encode("utf-8") + b"\n")
        ended, seen = _copy(wire, op, seen)
        wire.close()
        if ended:
            return 0
        wire = _connect(paths, op, 30)
    _replay(paths, op, seen)
    return 0


def _copy(wire, op, seen):
    pending = b""
    sources = [0, wire]
    while True:
        for source in select.select(sources, [], [])[0]:
            if source == 0:
                data = os.read(0, 65536)
                if not data:
                    return True, seen  # The controller is gone; the transaction goes on without it.
                wire.sendall(data)
                continue
            data = wire.recv(65536)
            if not data:
                return False, seen
            pending += data
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                event = json.loads(line.decode("utf-8"))
                if event["op"] != op:
                    continue
                seen = event.get("seq", seen)
                stdio.say(event)
                if event["event"] == "end":
                    return True, seen


def _text(request, key, limit=200):
    value = request.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > limit or not value.isprintable():
        raise BadRequest("{} must be a line of text".format(key))
    return value
