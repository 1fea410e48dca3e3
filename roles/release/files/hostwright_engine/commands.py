"""Running the application's commands as its own users: no terminal, a time limit, and nothing left behind."""

import ctypes
import os
import signal
import subprocess
import tempfile
import threading
import time

from . import contract
from .errors import Failed

TAIL = 15
"""Lines of output that an error carries."""

OUTPUT_LIMIT = 1 << 20
"""Bytes of a command's output that are read again, its last ones."""

LOG_LIMIT = 256 << 20
"""Bytes of output after which a command is ended: one that prints in a loop would fill the disk."""

RELEASE_IS = b"HOSTWRIGHT_RELEASE="

NO_ENTRY = 126
"""The status of a command whose directory its user can't enter."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PR_SET_NO_NEW_PRIVS = 38

cancelled = threading.Event()
"""Set when the controller aborts: the command under way is ended at once."""


def refuse_if_cancelled(step):
    """Raise Failed where the controller has aborted."""
    if cancelled.is_set():
        raise Failed("{} was cancelled".format(step), step=step)


class Running:
    """A command under way; its output goes to `log`, or to the open file `stdout`, and its complaints to `log`."""

    def __init__(self, step, argv, user, cwd, env, log, timeout, stdin=None, stdout=None):
        self.step = step
        self.argv = argv
        self.log = log
        self.deadline = time.monotonic() + timeout
        self.timeout = timeout
        os.makedirs(os.path.dirname(log), exist_ok=True)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640)
        os.fchmod(out, 0o640)
        # A file, not a pipe: a command that does not read it can't block us.
        given = tempfile.TemporaryFile()
        try:
            given.write(stdin or b"")
            given.seek(0)
            self.process = subprocess.Popen(
                argv,
                env=env,
                stdin=given,
                stdout=out if stdout is None else stdout,
                stderr=out,
                start_new_session=True,
                preexec_fn=become(user, cwd),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise Failed("{}: {} can't be run: {}".format(step, argv[0], getattr(error, "strerror", error)), step=step) from None
        finally:
            given.close()
            os.close(out)

    def wait(self, check=True):
        """Wait for the end; raises Failed with the last lines, at a status other than 0 only with `check`.

        Whatever it left running in its process group is killed.
        """
        while self.process.poll() is None:
            if cancelled.is_set():
                self.kill()
                self._fail("was cancelled")
            if time.monotonic() > self.deadline:
                self.kill()
                self._fail("did not end within {} s".format(self.timeout))
            if os.stat(self.log).st_size > LOG_LIMIT:
                self.kill()
                self._fail("printed more than {} MiB".format(LOG_LIMIT >> 20))
            time.sleep(0.01)
        self.kill()
        if check and self.process.returncode:
            self._fail("failed with status {}".format(self.process.returncode))

    def kill(self):
        """End the command and everything in its process group."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self.process.wait()

    def output(self):
        """What it printed, as text; of much, the end."""
        with open(self.log, "rb") as source:
            source.seek(max(0, os.fstat(source.fileno()).st_size - OUTPUT_LIMIT))
            return source.read(OUTPUT_LIMIT).decode("utf-8", "replace")

    def _fail(self, what):
        tail = self.output().rstrip().splitlines()[-TAIL:]
        raise Failed("{} {}".format(self.step, what), step=self.step, log=self.log, tail=tail)


def run(*args, **kwargs):
    """Run a command to its end, and return its output."""
    running = Running(*args, **kwargs)
    running.wait()
    return running.output()


def become(user, cwd="/"):
    """What a child does between fork and exec to be `user` and to stay it, whatever set-id program it starts.

    It goes to `cwd` as that user, unlike by Popen's own: root would follow a link to where the user may not go.
    """
    entry = contract.account(user)
    groups = os.getgrouplist(user, entry.pw_gid)
    libc = ctypes.CDLL(None, use_errno=True)

    def change():
        os.setgroups(groups)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        os.umask(0o022)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        try:
            os.chdir(cwd)
        except OSError as error:
            # Popen would say no more of it than that something went wrong here.
            os.write(2, "{} can't enter {}: {}\n".format(user, cwd, error.strerror).encode("utf-8", "surrogateescape"))
            os._exit(NO_ENTRY)

    return change


def environment(agreed, paths, release, venv, extra=None):
    """The environment of the application's commands for `release`, all of it; nothing of root's is in it."""
    release_dir = paths.release(release)
    env = {
        "PATH": "{}/bin:{}".format(venv, PATH),
        "HOME": paths.srv,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "VIRTUAL_ENV": venv,
    }
    env.update(agreed["env"])
    env.update(
        {
            "HOSTWRIGHT_RELEASE": release,
            "HOSTWRIGHT_RELEASE_DIR": release_dir,
            "HOSTWRIGHT_PROJECT_DIR": project(agreed, release_dir),
            "HOSTWRIGHT_VENV": venv,
        }
    )
    env.update(extra or {})
    return env


def project(agreed, release_dir):
    """The directory in which the application's commands run."""
    return os.path.normpath(os.path.join(release_dir, agreed["project_dir"]))


def expand(argv, env):
    """`argv` with its placeholders filled in, and the program found in the virtualenv first."""
    words = {
        "{venv}": env["HOSTWRIGHT_VENV"],
        "{release}": env["HOSTWRIGHT_RELEASE_DIR"],
        "{project}": env["HOSTWRIGHT_PROJECT_DIR"],
    }
    filled = []
    for argument in argv:
        for word, value in words.items():
            argument = argument.replace(word, value)
        filled.append(argument)
    return filled


def kill_user(uid):
    """End every process of `uid`, a user that exists for builds alone."""
    if uid == 0:
        raise Failed("the build user must not be root: all of root's processes would be ended", contract.MEND)
    for _ in range(100):
        if _strike(uid) and not _runs(uid):
            return
        time.sleep(0.02)
    raise Failed("processes of the build user can't be ended")


def _strike(uid):
    """Kill all processes of `uid` at one blow; returns whether that was done.

    One after another will not do: a process that forks and ends is never there when its turn comes. To the kernel's
    kill(-1) nobody forks away. It takes that user to call it, whose other processes may be quicker, and kill the caller.
    """

    def kill_all():
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        try:
            os.kill(-1, signal.SIGKILL)  # But for the caller.
        except ProcessLookupError:
            pass

    try:
        return subprocess.call(["true"], cwd="/", preexec_fn=kill_all) == 0
    except (OSError, subprocess.SubprocessError):
        return False


def releases_of(uid):
    """The releases that the processes of `uid` were started for, by their environment."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.stat("/proc/" + entry).st_uid == uid:
                    with open("/proc/{}/environ".format(entry), "rb") as environment:
                        words = environment.read().split(b"\0")
                    found.update(word[len(RELEASE_IS) :].decode("utf-8", "replace") for word in words if word.startswith(RELEASE_IS))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def _runs(uid):
    """Whether a process of `uid` is there."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.stat("/proc/" + entry).st_uid == uid:
                    return True
            except FileNotFoundError:
                continue
    return False
