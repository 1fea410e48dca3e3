"""Virtualenvs that releases share: named for what is in them, complete or not there."""

import hashlib
import json
import os
import re
import stat
import subprocess
import time

from . import archive, commands, ownership, storage
from .contract import account
from .errors import BadRequest, Failed

READY = ".hostwright-ready"
"""Written last into a virtualenv or wheelhouse; one without it is made anew."""

PIP_PINS = {(3, 5): "20.3.4", (3, 6): "21.3.1"}
"""The last pip for a Python whose own is too old to know which releases still support it."""
PIP_FOR_GROUPS = "25.1.1"

REQUIREMENTS_LIMIT = 16 << 20
"""Bytes of a requirements file."""

READING = 300
"""Seconds for all to be read that decides what is in a virtualenv: files may include and link to each other at will."""

ASKING = 20
"""Seconds for an interpreter to say what it is."""

_INCLUDE = re.compile(r"^[ \t]*(?:-r|-c|--requirement\b|--constraint\b)[ \t=]*([^\s#]\S*)", re.MULTILINE)
_LOCAL = re.compile(
    r"^[ \t]*(?:(?:-e|--editable\b)[ \t=]*)?(?:[\w.-]+(?:\[[^\]\n]*\])?[ \t]*@[ \t]*file:(?://)?)?([^\s;#\[-][^\s;#\[]*)", re.MULTILINE
)
"""A requirement that may be a path: what is before its extras, marker or comment."""


def interpreter(python, user):
    """(version, platform) of the interpreter `python`, such as ((3, 11), "linux-x86_64-py3.11"), which `user` asks it."""
    script = "import json, sys, sysconfig; v = sys.version_info; print(json.dumps([[v[0], v[1]], sysconfig.get_platform()]))"
    become = commands.become(user)
    try:
        printed = subprocess.check_output(
            [python, "-I", "-c", script],
            env={"PATH": commands.PATH},
            stderr=subprocess.DEVNULL,
            timeout=ASKING,
            preexec_fn=become,
        )
        version, platform = json.loads(printed.decode())
        return tuple(version), "{}-py{}.{}".format(platform, *version)
    except (OSError, subprocess.SubprocessError, ValueError, TypeError, RecursionError) as error:
        raise Failed(
            "the interpreter {} does not run: {}".format(python, getattr(error, "strerror", None) or error),
            "Set python.version or python.interpreter to one that is installed, then run the site playbook",
        ) from None


def key(agreed, release_dir, version, platform):
    """The name of the virtualenv that this release needs: a hash over all that decides what is in it."""
    wanted = agreed["dependencies"]
    digest = hashlib.sha256()
    for part in (platform, agreed["python"], PIP_PINS.get(version, ""), json.dumps(wanted, sort_keys=True)):
        digest.update(part.encode("utf-8") + b"\0")
    found = _files(wanted, release_dir)
    for path in sorted(found):
        digest.update(os.fsencode(path) + b"\0" + found[path])
    return digest.hexdigest()[:32]


def _files(wanted, release_dir):
    """{path: sha256} of all that pip reads in the release: requirements, and the code that they install from it."""
    deadline = time.monotonic() + READING
    found = {}
    trees = [wanted["project"]] if wanted["project"] else []
    trees += _local("\n".join(wanted["packages"]), release_dir)
    if wanted["groups"] and not wanted["project"]:
        found["pyproject.toml"] = _sum(release_dir, "pyproject.toml")
    waiting = list(wanted["requirements"]) + list(wanted["constraints"])
    while waiting:
        _refuse_late(deadline)
        path = os.path.normpath(waiting.pop())
        if path not in found:
            found[path] = _sum(release_dir, path)
            text = _text(release_dir, path)
            waiting += [os.path.join(os.path.dirname(path), name) for name in _INCLUDE.findall(text) if "://" not in name]
            trees += _local(text, release_dir)
    for path in set(trees):
        found.update(_tree(release_dir, path, deadline))
    return found


def _refuse_late(deadline):
    commands.refuse_if_cancelled("unpack")
    if time.monotonic() > deadline:
        raise Failed(
            "the requirements, and the code that they install from the release, could not be read within {} s".format(READING),
            "dependencies in the site model names them: let them name less, or smaller directories",
        )


def _local(text, release_dir):
    """The requirements in `text` that are a file or directory of the release."""
    return [name for name in _LOCAL.findall(text) if (name[0] == "." or "/" in name) and os.path.exists(os.path.join(release_dir, name))]


def _tree(release_dir, path, deadline):
    """{path: sha256} of a file, or of all files below a directory; links are taken as links."""
    _refuse_late(deadline)
    top = os.path.normpath(os.path.join(release_dir, path))
    if not os.path.isdir(top):
        return {os.path.normpath(path): _sum(release_dir, path)}
    _inside(release_dir, path)
    found = {}
    for directory, names, files in os.walk(top):
        _refuse_late(deadline)
        for name in names + files:
            full = os.path.join(directory, name)
            inner = os.path.relpath(full, release_dir)
            if os.path.islink(full):
                found[inner] = hashlib.sha256(b"link to " + os.fsencode(os.readlink(full))).digest()
            elif os.path.isfile(full):
                found[inner] = _sum(release_dir, inner)
    return found


def _inside(release_dir, path):
    """The real path of `path`; raises BadRequest where it leads outside."""
    top = os.path.realpath(release_dir)
    real = os.path.realpath(os.path.join(top, path))
    if real != top and not real.startswith(top + "/"):
        raise BadRequest("the requirements file {} leads outside of the release".format(path))
    return real


def _sum(release_dir, path):
    """The sha256 of a file of the release, which may be longer than the memory."""
    digest = hashlib.sha256()
    with _opened(release_dir, path) as source:
        for block in iter(lambda: source.read(1 << 20), b""):
            digest.update(block)
    return digest.digest()


def _text(release_dir, path):
    """A requirements file."""
    with _opened(release_dir, path) as source:
        text = source.read(REQUIREMENTS_LIMIT + 1)
    if len(text) > REQUIREMENTS_LIMIT:
        raise BadRequest("the requirements file {} is longer than {} MiB".format(path, REQUIREMENTS_LIMIT >> 20))
    return text.decode("utf-8", "replace")


def _opened(release_dir, path):
    try:
        return open(_inside(release_dir, path), "rb")
    except OSError as error:
        raise BadRequest(
            "the release has no readable {}: {}".format(path, error.strerror),
            "dependencies.requirements in the site model names it",
        ) from None


def requirements(agreed, release_dir):
    """What pip is told to install, as arguments."""
    wanted = agreed["dependencies"]
    argv = []
    for path in wanted["requirements"]:
        argv += ["-r", os.path.join(release_dir, path)]
    for path in wanted["constraints"]:
        argv += ["-c", os.path.join(release_dir, path)]
    for group in wanted["groups"]:
        argv += ["--group", "{}:{}".format(os.path.join(release_dir, wanted["project"] or ".", "pyproject.toml"), group)]
    if wanted["project"]:
        extras = "[{}]".format(",".join(wanted["extras"])) if wanted["extras"] else ""
        argv.append(os.path.normpath(os.path.join(release_dir, wanted["project"])) + extras)
    argv += wanted["packages"]
    if wanted["require_hashes"]:
        argv.append("--require-hashes")
    return argv


def ready(directory):
    """Whether a virtualenv or wheelhouse is complete."""
    try:
        about = os.lstat(os.path.join(directory, READY))
    except OSError:
        return False
    return stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid()


class Builder:
    """Makes the wheelhouse and the virtualenv of one release, as the build user.

    `serving` is the key of the virtualenv that serves now, or None: its wheels are used again.
    """

    def __init__(self, agreed, paths, release_dir, venv_key, version, log, timeout, serving=None):
        self.agreed = agreed
        self.release_dir = release_dir
        self.venv = paths.venv(venv_key)
        self.wheelhouse = paths.wheelhouse(venv_key)
        self.home = paths.build_home
        self.known = paths.wheelhouse(serving) if serving else None
        self.uid = account(agreed["build_user"]).pw_uid
        self.version = version
        self.log = log
        self.timeout = timeout
        self.pip_pin = PIP_PINS.get(version) or (PIP_FOR_GROUPS if agreed["dependencies"]["groups"] else None)

    def wheels(self):
        """Build or download every wheel that the release needs into the wheelhouse."""
        self._environment()
        self._fresh(self.wheelhouse)
        wanted = requirements(self.agreed, self.release_dir)
        # Else a pip before 23.1 builds source without a pyproject.toml by the virtualenv's own setuptools, which lacks wheel.
        wheel = ["wheel", "--use-pep517", "--wheel-dir", self.wheelhouse]
        if self.known and ready(self.known):
            # pip prefers these where the version is the same: nothing is downloaded or compiled twice.
            wheel += ["--find-links", self.known]
        if self.pip_pin:
            self._pip("wheels", wheel + ["pip=={}".format(self.pip_pin)])
        self._pip("wheels", wheel + wanted)
        self._finish(self.wheelhouse)

    def take_wheels(self, tar):
        """Use the wheelhouse that another host made."""
        entry = account(self.agreed["build_user"])
        ownership.remove(self.wheelhouse)
        archive.unpack(tar, self.wheelhouse, entry.pw_uid, entry.pw_gid)
        self._finish(self.wheelhouse)

    def install(self):
        """Make the virtualenv from the wheelhouse alone."""
        if not os.path.exists(os.path.join(self.venv, "bin", "pip")):
            self._environment()
        if self.pip_pin:
            offline = ["install", "--no-index", "--find-links", self.wheelhouse]
            self._pip("virtualenv", offline + ["pip=={}".format(self.pip_pin)])
        # The wheels are what pip resolved, no more and no less; it must not resolve, or build from source, again.
        wheels = sorted(name for name in os.listdir(self.wheelhouse) if name.endswith(".whl"))
        if wheels:
            paths = [os.path.join(self.wheelhouse, name) for name in wheels]
            self._pip("virtualenv", ["install", "--no-index", "--no-deps"] + paths)
        self._finish(self.venv)

    def _environment(self):
        self._fresh(self.venv)
        self._run("virtualenv", [self.agreed["python"], "-m", "venv", self.venv])
        if self.pip_pin:
            self._pip("virtualenv", ["install", "pip=={}".format(self.pip_pin)])

    def _fresh(self, directory):
        entry = account(self.agreed["build_user"])
        ownership.remove(directory)
        os.mkdir(directory, 0o755)
        os.chown(directory, entry.pw_uid, entry.pw_gid)

    def _finish(self, directory):
        commands.kill_user(self.uid)
        ownership.remove(os.path.join(directory, READY))
        ownership.give_to_root(directory, self.uid)
        storage.write_file(os.path.join(directory, READY), "", 0o644)

    def _pip(self, step, argv):
        # Nothing of an earlier build: neither its configuration nor its cache.
        options = ["--isolated", "--no-cache-dir", "--disable-pip-version-check"]
        self._run(step, [os.path.join(self.venv, "bin", "python"), "-m", "pip"] + options + argv)

    def _run(self, step, argv):
        env = {"PATH": commands.PATH, "HOME": self.home, "LANG": "C.UTF-8"}
        commands.run(
            step, argv, self.agreed["build_user"], self.release_dir, env, "{}-{}.log".format(self.log, step), self.timeout
        )
