"""Running the application's commands: as its user, in time, and with nothing left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hostwright_engine import commands
from hostwright_engine.errors import Failed
from hostwright_engine.paths import Paths

from tests.unit.engine.conftest import ENGINE

USER = "nobody"


@pytest.fixture
def run(tmp_path: Path, as_root: None) -> Iterator[Callable[..., str]]:
    def call(script: str, timeout: float = 20, stdin: bytes | None = None, **env: str) -> str:
        log = str(tmp_path / "logs" / "step.log")
        return commands.run("step", ["/bin/sh", "-c", script], USER, "/", {"PATH": "/bin", **env}, log, timeout, stdin)

    yield call
    commands.cancelled.clear()


def alive(pid: str) -> bool:
    """Whether the process runs; one that has ended may wait to be reaped."""
    try:
        return Path("/proc", pid.strip(), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_command_is_its_user_and_stays_it(run: Callable[..., str]) -> None:
    uid, groups, umask, status = run("id -u; id -G; umask; cat /proc/self/status").split("\n", 3)
    assert (uid, groups, umask) == ("65534", "65534", "0022")
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status


def test_a_command_has_the_environment_that_was_given_and_nothing_of_roots(
    run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOTS_SECRET", "x")
    assert sorted(run("env", A="1 2").split("\n")) == ["", "A=1 2", "PATH=/bin", "PWD=/"]


def test_a_command_has_no_terminal_and_no_file_of_ours(run: Callable[..., str]) -> None:
    assert run("cat; ls /proc/self/fd; (echo x > /dev/tty) 2>/dev/null || echo no terminal").split() == [
        "0",
        "1",
        "2",
        "3",  # ls has the directory open.
        "no",
        "terminal",
    ]


def test_input_and_output(run: Callable[..., str], tmp_path: Path) -> None:
    assert run("cat; echo err >&2", stdin="ü".encode()) == "üerr\n"
    log = tmp_path / "logs" / "step.log"
    assert log.read_text(encoding="utf-8") == "üerr\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    assert run("printf '\\377'") == "\ufffd"


def test_a_command_that_does_not_read_its_input(run: Callable[..., str]) -> None:
    with pytest.raises(Failed, match="step failed with status 3"):
        run("exit 3", stdin=b"x" * 1_000_000)


def test_a_command_that_fails_carries_its_last_lines(run: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(Failed) as caught:
        run("seq 100; echo; exit 7")
    assert caught.value.message == "step failed with status 7"
    assert caught.value.step == "step"
    assert caught.value.log == str(tmp_path / "logs" / "step.log")
    assert caught.value.tail == [str(number) for number in range(86, 101)]


def test_a_command_that_takes_too_long(run: Callable[..., str]) -> None:
    started = time.monotonic()
    with pytest.raises(Failed) as caught:
        run("echo before; sleep 60 & sleep 60", timeout=0.3)
    assert caught.value.message == "step did not end within 0.3 s"
    assert caught.value.tail == ["before"]
    assert time.monotonic() - started < 5


def test_a_command_that_prints_without_end(run: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "LOG_LIMIT", 1 << 20)
    with pytest.raises(Failed, match=r"^step printed more than 1 MiB$"):
        run("yes", timeout=20)


def test_a_command_that_is_cancelled(run: Callable[..., str]) -> None:
    threading.Timer(0.2, commands.cancelled.set).start()
    with pytest.raises(Failed, match="step was cancelled"):
        run("sleep 60")


@pytest.mark.parametrize("end", ["", "exit 1"])
def test_what_a_command_leaves_running_is_killed(run: Callable[..., str], tmp_path: Path, end: str) -> None:
    try:
        pid = run(f"sleep 60 & echo $!; {end}")
    except Failed as error:
        pid = error.tail[0]
    deadline = time.monotonic() + 5
    while alive(pid):
        assert time.monotonic() < deadline


@pytest.mark.parametrize(("program", "why"), [("/no/such", "No such file or directory"), ("/etc", "Permission denied")])
def test_a_command_that_can_not_be_run(tmp_path: Path, as_root: None, program: str, why: str) -> None:
    with pytest.raises(Failed) as caught:
        commands.run("step", [program], USER, "/", {}, str(tmp_path / "log"), 5)
    assert caught.value.message == f"step: {program} can't be run: {why}"


@pytest.mark.parametrize(("where", "why"), [("missing", "No such file or directory"), ("link", "Permission denied")])
def test_a_command_starts_only_where_its_user_may_go(open_path: Path, tmp_path: Path, where: str, why: str) -> None:
    """Root would follow a link of the builder's to a directory below one that is closed to him."""
    closed = open_path / "closed"
    (closed / "open").mkdir(parents=True)
    closed.chmod(0o700)
    (open_path / "link").symlink_to(closed / "open")
    with pytest.raises(Failed, match="step failed with status 126") as caught:
        commands.run("step", ["/bin/ls"], USER, str(open_path / where), {}, str(tmp_path / "log"), 20)
    assert caught.value.tail == [f"nobody can't enter {open_path / where}: {why}"]


def test_a_user_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="the user no-such-user is missing"):
        commands.run("step", ["/bin/true"], "no-such-user", "/", {}, str(tmp_path / "log"), 5)


def test_a_log_is_never_written_through_a_link(tmp_path: Path, as_root: None) -> None:
    (tmp_path / "outside").write_text("kept")
    (tmp_path / "log").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="symbolic link"):
        commands.run("step", ["/bin/true"], USER, "/", {}, str(tmp_path / "log"), 5)
    assert (tmp_path / "outside").read_text() == "kept"


def test_every_process_of_the_build_user_is_ended(as_root: None) -> None:
    uid = 64000 + os.getpid() % 1000  # Nobody's, and not that of a run beside this one.
    # A session of its own: no signal to the command's process group reaches it.
    with subprocess.Popen(["sleep", "60"], user=uid, start_new_session=True) as escaped:
        reaper = threading.Thread(target=escaped.wait)
        reaper.start()
        commands.kill_user(uid)
        reaper.join()
        assert escaped.returncode == -signal.SIGKILL


def test_roots_processes_are_never_ended(as_root: None) -> None:
    # In a process that may end nobody's, whatever the code under test does.
    script = """
import os, sys
sys.path.insert(0, sys.argv[1])
from hostwright_engine import commands, errors
os.setgroups([])
os.setgid(64998)
os.setuid(64998)
try:
    commands.kill_user(0)
except errors.Failed as error:
    print(error.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, ENGINE], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.stdout, done.stderr) == (
        "the build user must not be root: all of root's processes would be ended\n",
        "",
    )


# --- what they are given

AGREED: dict[str, Any] = {"env": {"SECRET_KEY": "s3cret", "HOSTWRIGHT_RELEASE": "not this"}, "project_dir": "src"}


def test_the_environment_of_a_release() -> None:
    paths = Paths("shop")
    assert commands.environment(AGREED, paths, "r1", "/venv", {"STATIC_ROOT": "/x"}) == {
        "PATH": "/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/srv/shop",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "VIRTUAL_ENV": "/venv",
        "SECRET_KEY": "s3cret",
        "HOSTWRIGHT_RELEASE": "r1",
        "HOSTWRIGHT_RELEASE_DIR": "/srv/shop/releases/r1",
        "HOSTWRIGHT_PROJECT_DIR": "/srv/shop/releases/r1/src",
        "HOSTWRIGHT_VENV": "/venv",
        "STATIC_ROOT": "/x",
    }


def test_placeholders() -> None:
    env = commands.environment(AGREED, Paths("shop"), "r1", "/venv")
    argv = ["{venv}/bin/x", "a{release}b", "{project}", "{other}", "$HOME"]
    assert commands.expand(argv, env) == [
        "/venv/bin/x",
        "a/srv/shop/releases/r1b",
        "/srv/shop/releases/r1/src",
        "{other}",
        "$HOME",
    ]


def test_a_program_of_the_virtualenv_is_found_first(open_path: Path, tmp_path: Path) -> None:
    (open_path / "sh").write_text("#!/bin/sh\necho ours\n")
    (open_path / "sh").chmod(0o755)
    env = {"PATH": f"{open_path}:/usr/bin:/bin"}
    printed = commands.run("step", ["sh", "-c", "echo theirs"], USER, "/", env, str(tmp_path / "log"), 20)
    assert printed == "ours\n"
