"""What the deploy user may ask for: one JSON request on standard input, answered on standard output."""

import json
import os
import signal
import stat
import subprocess
import sys
import tarfile

from . import VERSION, commands, lock, restore, stdio, storage, units, venvs, wire
from .errors import BadRequest, Failed
from .paths import venv_key

STARTED = "\x1e\n"
"""Said before the output of a command; what comes instead is an error event."""


def serve(agreed, paths):
    """Answer the request on standard input; returns the exit status."""
    try:
        request = json.loads(stdio.read_line().decode("utf-8"))
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
    stdio.say(
        {
            "event": "status",
            "engine": VERSION,
            "site": site,
            "host": agreed["host"],
            "current": current,
            "previous": state["previous"],
            "transaction": state["transaction"],
            "lock": lock.holder(paths.lock),
            "units": units.show(names + [units.timer(site, name) + ".timer" for name in agreed["timers"]]),
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
    stdio.say({"event": "releases", "releases": sorted(rows, key=lambda row: -(row["created"] or 0))})
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
    stdio.say({"event": "done", "maintenance": request["on"]})
    return 0


VERBS = {
    "status": status,
    "releases": list_releases,
    "wheelhouse": wheelhouse,
    "begin": wire.begin,
    "attach": wire.attach,
    "exec": execute,
    "db": database,
    "maintenance": maintenance,
}
