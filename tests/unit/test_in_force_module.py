"""plugins/modules/hostwright_in_force.py, run as Ansible runs it, beside a systemctl that says what the test wants."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.modules import run_module

STARTED = 1_700_000_000
RELOADED = STARTED + 3600
SHOWN = {
    "ActiveState": "active",
    "ActiveEnterTimestamp": "Tue 2023-11-14 22:13:20 UTC",
    "StateChangeTimestamp": "Tue 2023-11-14 23:13:20 UTC",
}
SYSTEMCTL = """#!{python}
import os, sys
assert sys.argv[1] == "show" and sys.argv[3] == "some.service" and os.environ["TZ"] == "UTC"
for name in sys.argv[2].partition("=")[2].split(","):
    if name in {shown}:
        print(name + "=" + {shown}[name])
"""


def run(directory: Path, files: list[str], read_at: str, shown: dict[str, str] = SHOWN) -> dict[str, Any]:
    systemctl = directory / "bin" / "systemctl"
    systemctl.parent.mkdir(exist_ok=True)
    systemctl.write_text(SYSTEMCTL.format(python=sys.executable, shown=shown))
    systemctl.chmod(0o755)
    given = {"unit": "some.service", "files": files, "read_at": read_at}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", str(systemctl.parent), prepend=os.pathsep)
        return run_module("hostwright_in_force", given)


def written(path: Path, when: float) -> str:
    path.write_text("")
    os.utime(path, (when, when))
    return str(path)


def test_what_was_read_after_it_was_written_is_in_force(tmp_path: Path) -> None:
    before = written(tmp_path / "a.conf", STARTED - 1)
    answer = run(tmp_path, [before], "start")
    assert (answer["changed"], answer["unread"]) == (False, [])


def test_a_file_that_is_newer_than_its_service_is_not(tmp_path: Path) -> None:
    written(tmp_path / "a.conf", STARTED - 1)
    after = written(tmp_path / "b.conf", STARTED + 1)
    answer = run(tmp_path, [f"{tmp_path}/*.conf", f"{tmp_path}/none/*"], "start")
    assert (answer["changed"], answer["unread"]) == (True, [after])


def test_the_second_of_a_start_counts_as_read(tmp_path: Path) -> None:
    """The handler that starts it comes after the file, and systemd shows whole seconds."""
    assert not run(tmp_path, [written(tmp_path / "a", STARTED + 0.9)], "start")["changed"]


def test_a_reload_counts_for_what_is_read_at_one(tmp_path: Path) -> None:
    between = written(tmp_path / "a", STARTED + 1)
    assert not run(tmp_path, [between], "reload")["changed"]
    assert run(tmp_path, [between], "start")["changed"]
    assert run(tmp_path, [written(tmp_path / "b", RELOADED + 1)], "reload")["changed"]


@pytest.mark.parametrize(
    "shown",
    [
        {**SHOWN, "ActiveState": "inactive"},
        {**SHOWN, "ActiveState": "failed"},
        {**SHOWN, "ActiveEnterTimestamp": ""},
        {**SHOWN, "ActiveEnterTimestamp": "n/a"},
        {"ActiveState": "active"},
    ],
)
def test_what_does_not_run_or_is_not_known_is_left_alone(tmp_path: Path, shown: dict[str, str]) -> None:
    assert not run(tmp_path, [written(tmp_path / "a", STARTED + 1)], "start", shown)["changed"]


def test_a_file_from_the_future_says_nothing(tmp_path: Path) -> None:
    assert not run(tmp_path, [written(tmp_path / "a", time.time() + 3600)], "start")["changed"]
