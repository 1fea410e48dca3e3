"""What the deploy user may ask for: one JSON request on standard input, answered on standard output."""

import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import time

from . import VERSION, commands, lock, releases, restore, storage, units, venvs
from .errors import BadRequest, Busy, Failed
from .paths import release_name, venv_key

REQUEST_LIMIT = 1 << 20
"""Bytes of a request's line."""

RECOVERY = 120
"""Seconds for an interrupted transaction to be ended, or for a host to come back from a reboot."""

STARTED = "\x1e\n"
"""Said before the output of a command; what comes instead is an error event."""


def say(event):
    """Print one event."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def read_line(limit=REQUEST_LIMIT):
    """The first line of standard input, byte by byte, so that the rest stays there for a command."""
    line = bytearray()
    while len(line) < limit:
        byte = os.read(0, 1)
        if not byte or byte == b"\n":
            return bytes(line)
        line += byte
    raise BadRequest("the request is longer than {} bytes".format(limit))


def serve(agreed, paths):
    """Answer the request on standard input; returns the exit status."""
    try:
        request = json.loads(read_line().decode("utf-8"))
        verb = request["verb"]
        function = VERBS[verb]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadRequest("standard input must begin with a JSON request; verbs: {}".format(", ".join(sorted(VERBS)))) from None
    if request.get("protocol", VERSION) != VERSION:
        raise BadRequest(
            "the engine on this host speaks protocol {}, fab speaks {}".format(VERSION, request["protocol"]),
            "Bring both to the same version: ansible-playbook playbooks/site.yml",
        )
    return function(agreed, paths, request)


def _text(request, key, limit=200):
    value = request.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > limit or not value.isprintable():
        raise BadRequest("{} must be a line of text".format(key))
    return value


# --- reading


def status(agreed, paths, request):
    state = storage.State(paths.state)
    site = agreed["site"]
    names = []
    current = state["current"]
    processes = units.processes(paths)
    known = [name for name in units.instances(paths) if "@" in name]  # Timers have none.
    for name, active in zip(known, units.states([name + ".service" for name in known])):
        # A process that nobody expects any more, and that has ended its work, is of no interest.
        if active not in ("inactive", "failed") or name in state["processes"] or name not in processes:
            names.append(name + ".service")
    record = state["releases"].get(current["release"], {}) if current else {}
    say(
        {
            "event": "status",
            "engine": VERSION,
            "site": site,
            "host": agreed["host"],
            "current": current,
            "previous": state["previous"],
            "transaction": state["transaction"],
            "lock": lock.holder(paths.lock),
            "units": units.show(names),
            "maintenance": os.path.exists(paths.maintenance),
            "applied": record.get("applied", []),
            "heads": record.get("heads", {}),
        }
    )
    return 0


def list_releases(agreed, paths, request):
    state = storage.State(paths.state)
    current = state["current"]["release"] if state["current"] else None
    rows = []
    for name, record in state["releases"].items():
        row = {key: record.get(key) for key in ("created", "status", "ref", "commit", "owner", "applied", "heads")}
        rows.append(dict(row, release=name, current=name == current, previous=name == state["previous"]))
    say({"event": "releases", "releases": sorted(rows, key=lambda row: -(row["created"] or 0))})
    return 0


def wheelhouse(agreed, paths, request):
    directory = paths.wheelhouse(venv_key(request.get("key")))
    if not venvs.ready(directory):
        raise BadRequest("the wheelhouse {} is not on this host".format(request["key"]))
    # Held open: another may take its place, which is the build user's until it is done.
    top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(top).st_uid != os.getuid():
            raise BadRequest("the wheelhouse {} is being made anew".format(request["key"]))
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
            for name in sorted(os.listdir(top)):
                if name.endswith(".whl"):
                    _send_file(tar, top, name)
    finally:
        os.close(top)
    return 0


def _send_file(tar, top, name):
    with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=top), "rb") as source:
        about = os.fstat(source.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise Failed("{} in the wheelhouse is no file".format(name))
        member = tarfile.TarInfo(name)
        member.size = about.st_size
        tar.addfile(member, source)


# --- transactions


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
            say(event)
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
                say(event)
                if event["event"] == "end":
                    return True, seen


# --- commands


def execute(agreed, paths, request):
    """Run a command of the application in the current release, as its user; the terminal and the status are the command's."""
    state = storage.State(paths.state)
    current = state["current"]
    if not current:
        raise BadRequest("nothing is deployed on this host yet", "Use: fab deploy")
    env = commands.environment(agreed, paths, current["release"], paths.venv(state["releases"][current["release"]]["venv"]))
    argv = request.get("argv")
    if isinstance(request.get("manage"), list):
        argv = agreed["manage"] + request["manage"]
    return _interactive(agreed, argv, env, env["HOSTWRIGHT_PROJECT_DIR"], bool(request.get("tty")))


def database(agreed, paths, request):
    """pg_dump, pg_restore or psql on one of the site's databases, as the application's user over the unix socket."""
    names = agreed["databases"]
    name = request.get("database") or (names[0] if names else None)
    if name not in names:
        raise BadRequest("the site has no database {!r}".format(name), "It has: {}".format(", ".join(names) or "none"))
    known = {
        "dump": ["pg_dump", "-Fc", name],
        "psql": ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", name],
        "shell": ["psql", "-d", name],
    }
    do = request.get("do")
    if do not in ["restore", *known]:
        raise BadRequest("do must be dump, restore, psql or shell")
    # The application's user has no home to keep psql's history in.
    env = dict({"HOME": paths.srv, "LANG": "C.UTF-8", "PSQL_HISTORY": "/dev/null"}, **agreed["env"])
    env["PATH"] = commands.PATH
    if do == "restore":
        sys.stdout.write(STARTED)
        sys.stdout.flush()
        return restore.restore(paths, name, agreed["user"], env)
    return _interactive(agreed, known[do], env, "/", do == "shell")


def _is_word(word):
    """Whether a program can be given `word`; JSON can say halves of characters."""
    try:
        return isinstance(word, str) and b"\0" not in os.fsencode(word)
    except UnicodeEncodeError:
        return False


def _interactive(agreed, argv, env, cwd, tty):
    if not isinstance(argv, list) or not argv or not all(_is_word(word) for word in argv):
        raise BadRequest("argv must be a list of words")
    if tty:
        env["TERM"] = os.environ.get("TERM", "xterm")
    sys.stdout.write(STARTED)
    sys.stdout.flush()
    become = commands.become(agreed["user"], cwd)

    def start():
        become()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    # Ctrl-C at the terminal is for the command, which knows what to do with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        status = subprocess.call(argv, env=env, preexec_fn=start)
    except (OSError, subprocess.SubprocessError) as error:
        sys.stderr.write("{} can't be run: {}\n".format(argv[0], getattr(error, "strerror", error)))
        return 127
    # As a shell says it of a command that a signal ended.
    return 128 - status if status < 0 else status


def maintenance(agreed, paths, request):
    """Put up the maintenance page, or take it down."""
    if request.get("on") is True:
        storage.write_file(paths.maintenance, "", 0o644)
    elif request.get("on") is False:
        if os.path.exists(paths.maintenance):
            os.unlink(paths.maintenance)
    else:
        raise BadRequest("on must be true or false")
    say({"event": "done", "maintenance": request["on"]})
    return 0


VERBS = {
    "status": status,
    "releases": list_releases,
    "wheelhouse": wheelhouse,
    "begin": begin,
    "attach": attach,
    "exec": execute,
    "db": database,
    "maintenance": maintenance,
}
