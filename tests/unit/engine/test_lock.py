"""The deploy lock: one holder, known by name, gone with its process."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hostwright_engine import lock
from hostwright_engine.errors import Busy

from tests.unit.engine.conftest import ENGINE

HOLDER = {"owner": "ann@laptop", "release": "r1", "op": "op1"}


def test_nobody_holds_a_lock_that_was_never_taken(tmp_path: Path) -> None:
    assert lock.holder(str(tmp_path / "lock")) is None


def test_a_second_one_is_told_who_is_first(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with lock.take(path, HOLDER):
        with pytest.raises(Busy) as caught:
            lock.take(path, {"owner": "bob", "release": "r2", "op": "op2"})
        held = lock.holder(path)
    assert held is not None
    since = held.pop("since")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", since)
    assert held == HOLDER
    assert caught.value.message == f"ann@laptop is deploying r1 since {since}"
    assert caught.value.exit_status == 75
    assert caught.value.as_dict() == {
        "kind": "busy",
        "step": "",
        "message": caught.value.message,
        "hint": "Wait for it (--lock-wait), or look at it with: fab status",
        "log": "",
        "tail": [],
        "since": since,
        **HOLDER,
    }
    assert lock.holder(path) is None
    lock.take(path, HOLDER).close()


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from hostwright_engine import lock; "
        "held = lock.take(sys.argv[2], {'owner': 'x'}); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(ENGINE), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Busy, match="x is deploying"):
            lock.take(path, HOLDER)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert lock.holder(path) is None
        lock.take(path, HOLDER).close()


def test_a_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    held = lock.take(path, HOLDER)
    with subprocess.Popen(["sleep", "60"]) as child:
        held.close()
        assert lock.holder(path) is None
        child.kill()


def test_looking_does_not_make_the_lock_busy(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    lock.take(path, HOLDER).close()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            lock.holder(path)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(300):
            lock.take(path, HOLDER).close()
    finally:
        done.set()
        looking.join()


def test_a_link_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        lock.take(str(tmp_path / "lock"), HOLDER)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("text", ["", "[1]", "{", "null"])
def test_a_lock_whose_text_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    with lock.take(str(path), HOLDER):
        path.write_text(text)
        with pytest.raises(Busy, match=r"someone is deploying \? since \?$"):
            lock.take(str(path), HOLDER)
        assert lock.holder(str(path)) == {}
