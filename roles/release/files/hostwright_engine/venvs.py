"""Virtualenvs that releases share: named for what is in them, complete or not there."""

import hashlib
import json
import os
import re
import shutil
import subprocess

from . import archive, commands
from .errors import BadRequest, Failed

READY = ".hostwright-ready"
"""Written last into a virtualenv or wheelhouse; one without it is made anew."""

PIP_PINS = {(3, 5): "20.3.4", (3, 6): "21.3.1"}
"""The last pip for a Python whose own is too old to know which releases still support it."""
PIP_FOR_GROUPS = "25.1.1"
_INCLUDE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)", re.MULTILINE)


def interpreter(python):
    """(version, platform) of the interpreter `python`, such as ([3, 11], "linux-x86_64-cpython-311")."""
    script = "import json, sys, sysconfig; v = sys.version_info; print(json.dumps([[v[0], v[1]], sysconfig.get_platform()]))"
    try:
        printed = subprocess.check_output([python, "-I", "-c", script], stderr=subprocess.STDOUT)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(
            "the interpreter {} does not run: {}".format(python, getattr(error, "strerror", None) or error),
            "Set python.version or python.interpreter to one that is installed, then run the site playbook",
        ) from None
    version, platform = json.loads(printed.decode())
    return tuple(version), "{}-py{}.{}".format(platform, *version)


def key(agreed, release_dir, version, platform):
    """The name of the virtualenv that this release needs: a hash over all that decides what is in it."""
    wanted = agreed["dependencies"]
    digest = hashlib.sha256()
    for part in (platform, PIP_PINS.get(version, ""), json.dumps(wanted, sort_keys=True)):
        digest.update(part.encode("utf-8") + b"\0")
    for path in sorted(_files(wanted, release_dir)):
        digest.update(path.encode("utf-8") + b"\0")
        digest.update(_read(release_dir, path) + b"\0")
    return digest.hexdigest()[:32]


def _files(wanted, release_dir):
    found = set()
    waiting = list(wanted["requirements"]) + list(wanted["constraints"])
    if wanted["project"]:
        for name in ("pyproject.toml", "setup.py", "setup.cfg"):
            if os.path.exists(os.path.join(release_dir, wanted["project"], name)):
                found.add(os.path.normpath(os.path.join(wanted["project"], name)))
    elif wanted["groups"]:
        found.add("pyproject.toml")
    while waiting:
        path = os.path.normpath(waiting.pop())
        if path not in found:
            found.add(path)
            text = _read(release_dir, path).decode("utf-8", "replace")
            waiting += [os.path.join(os.path.dirname(path), name) for name in _INCLUDE.findall(text) if "://" not in name]
    return found


def _read(release_dir, path):
    real = os.path.realpath(os.path.join(release_dir, path))
    if not real.startswith(os.path.realpath(release_dir) + "/"):
        raise BadRequest("the requirements file {} leads outside of the release".format(path))
    try:
        with open(real, "rb") as source:
            return source.read()
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
    return os.path.exists(os.path.join(directory, READY))


class Builder:
    """Makes the wheelhouse and the virtualenv of one release, as the build user."""

    def __init__(self, agreed, paths, release_dir, venv_key, version, log, timeout):
        self.agreed = agreed
        self.release_dir = release_dir
        self.venv = paths.venv(venv_key)
        self.wheelhouse = paths.wheelhouse(venv_key)
        self.cache = paths.cache
        self.version = version
        self.log = log
        self.timeout = timeout
        self.pip_pin = PIP_PINS.get(version) or (PIP_FOR_GROUPS if agreed["dependencies"]["groups"] else None)

    def wheels(self):
        """Build or download every wheel that the release needs into the wheelhouse."""
        self._environment()
        self._fresh(self.wheelhouse)
        wanted = requirements(self.agreed, self.release_dir)
        if self.pip_pin:
            self._pip("wheels", ["wheel", "--wheel-dir", self.wheelhouse, "pip=={}".format(self.pip_pin)])
        self._pip("wheels", ["wheel", "--wheel-dir", self.wheelhouse] + wanted)
        self._finish(self.wheelhouse)

    def take_wheels(self, tar):
        """Use the wheelhouse that another host made."""
        entry = commands.contract.account(self.agreed["build_user"])
        shutil.rmtree(self.wheelhouse, ignore_errors=True)
        archive.unpack(tar, self.wheelhouse, entry.pw_uid, entry.pw_gid)
        self._finish(self.wheelhouse)

    def install(self):
        """Make the virtualenv from the wheelhouse alone."""
        if not os.path.exists(os.path.join(self.venv, "bin", "pip")):
            self._environment()
        offline = ["install", "--no-index", "--find-links", self.wheelhouse]
        if self.pip_pin:
            self._pip("virtualenv", offline + ["pip=={}".format(self.pip_pin)])
        self._pip("virtualenv", offline + requirements(self.agreed, self.release_dir))
        self._finish(self.venv)

    def _environment(self):
        self._fresh(self.venv)
        self._run("virtualenv", [self.agreed["python"], "-m", "venv", self.venv])
        if self.pip_pin:
            self._pip("virtualenv", ["install", "pip=={}".format(self.pip_pin)])

    def _fresh(self, directory):
        entry = commands.contract.account(self.agreed["build_user"])
        shutil.rmtree(directory, ignore_errors=True)
        os.mkdir(directory, 0o755)
        os.chown(directory, entry.pw_uid, entry.pw_gid)

    def _finish(self, directory):
        commands.kill_user(commands.contract.account(self.agreed["build_user"]).pw_uid)
        archive.give_to_root(directory)
        with open(os.path.join(directory, READY), "wb") as out:
            os.fsync(out.fileno())

    def _pip(self, step, argv):
        self._run(step, [os.path.join(self.venv, "bin", "python"), "-m", "pip", "--disable-pip-version-check"] + argv)

    def _run(self, step, argv):
        env = {"PATH": commands.PATH, "HOME": self.cache, "LANG": "C.UTF-8", "PIP_CACHE_DIR": self.cache + "/pip"}
        commands.run(
            step, argv, self.agreed["build_user"], self.release_dir, env, "{}-{}.log".format(self.log, step), self.timeout
        )
