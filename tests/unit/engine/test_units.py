"""What the engine tells systemd, and what it makes of the answers."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from hostwright_engine import units
from hostwright_engine.errors import Failed
from hostwright_engine.paths import Paths
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.systemd import read_environment_file

PRINTABLE = st.text(st.characters(blacklist_categories=["Cs", "Cc"]) | st.sampled_from("\"'\\$`\n\t %#;= "))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths("shop", root=str(tmp_path))
    Path(found.instances).mkdir(parents=True)
    return found


def test_an_instance_is_told_its_release_and_forgets_it(paths: Paths) -> None:
    units.write_instance(paths, "shop-web@a", {"HOSTWRIGHT_RELEASE": "r1", "A": "x y"})
    units.write_instance(paths, "shop-timer-sweep", {})
    path = Path(paths.instances, "shop-web@a.env")
    assert path.read_text() == 'A="x y"\nHOSTWRIGHT_RELEASE="r1"\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert units.instances(paths) == ["shop-timer-sweep", "shop-web@a"]
    units.forget_instance(paths, "shop-web@a")
    units.forget_instance(paths, "shop-web@a")
    assert units.instances(paths) == ["shop-timer-sweep"]


def test_processes_are_told_from_slots_and_timers_whatever_they_are_called(paths: Paths) -> None:
    processes = ["shop-beat@r1.1", "shop-egg-timer-x@r1.1", "shop-worker-web@r1.1"]
    for name in (*processes, "shop-web@a", "shop-timer-sweep", "shop-timer-a-web"):
        units.write_instance(paths, name, {})
    assert units.processes(paths) == processes


def test_no_instances_before_the_first_deploy(tmp_path: Path) -> None:
    assert units.instances(Paths("shop", root=str(tmp_path))) == []


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]*", fullmatch=True), PRINTABLE, max_size=4))
def test_systemd_reads_the_values_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]
) -> None:
    paths = Paths("shop", root=str(tmp_path_factory.mktemp("host")))
    Path(paths.instances).mkdir(parents=True)
    units.write_instance(paths, "shop-web@a", values)
    assert read_environment_file(Path(paths.instances, "shop-web@a.env").read_text(encoding="utf-8")) == values


class Systemctl:
    """Stands in for the program: keeps what it was asked, and answers from a list."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.answers = list(answers)

    def __call__(self, *argv: str, **options: Any) -> tuple[int, str]:
        self.asked.append(argv)
        return self.answers.pop(0) if self.answers else (0, "")


@pytest.fixture
def systemctl(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(*answers: tuple[int, str]) -> Systemctl:
        stand_in = Systemctl(*answers)
        monkeypatch.setattr(units, "systemctl", stand_in)
        monkeypatch.setattr(units, "messages", lambda names, lines=15: ["said by " + ", ".join(names)])
        return stand_in

    return install


def test_a_start_is_never_refused_by_a_start_limit(systemctl: Any) -> None:
    asked = systemctl()
    units.start(["a.socket", "a.service"], "standby", 60)
    assert asked.asked == [("reset-failed", "a.socket", "a.service"), ("start", "a.socket", "a.service")]


def test_a_start_that_fails_carries_the_journal(systemctl: Any) -> None:
    systemctl((0, ""), (1, "Job for a.service failed\n"))
    with pytest.raises(Failed) as caught:
        units.start(["a.service"], "workers", 60)
    assert caught.value.message == "a.service did not start"
    assert caught.value.step == "workers"
    assert caught.value.tail == ["Job for a.service failed", "said by a.service"]


def test_an_error_carries_no_more_of_a_line_than_the_controller_takes(systemctl: Any) -> None:
    systemctl((0, ""), (1, "x" * 100000))
    with pytest.raises(Failed) as caught:
        units.start(["a.service"], "workers", 60)
    assert len(caught.value.tail[0]) == 1000


def test_a_start_that_hangs(systemctl: Any) -> None:
    systemctl((0, ""), (124, "systemctl start a.service did not end within 7 s\n"))
    with pytest.raises(Failed) as caught:
        units.start(["a.service"], "standby", 7)
    assert caught.value.message == "a.service did not start within 7 s"
    assert caught.value.tail == ["said by a.service"]


def test_stop_waits_for_all(systemctl: Any) -> None:
    asked = systemctl((0, ""), (3, "deactivating\ninactive\n"), (3, "failed\ninactive\n"))
    assert units.stop(["a.service", "b.service"], 5) == []
    assert [call[0] for call in asked.asked] == ["stop", "is-active", "is-active", "reset-failed"]


def test_stop_asks_again_where_systemctl_failed(systemctl: Any) -> None:
    asked = systemctl((124, "did not end"), (1, ""), (0, ""), (3, "inactive\n"))
    assert units.stop(["a.service"], 5) == []
    assert [call[0] for call in asked.asked] == ["stop", "is-active", "stop", "is-active", "reset-failed"]


def test_stop_takes_a_unit_that_is_not_there_for_stopped(systemctl: Any) -> None:
    asked = systemctl((5, "Unit a.service not loaded."), (3, "deactivating\n"), (3, "inactive\n"))
    assert units.stop(["a.service"], 5) == []
    assert [call[0] for call in asked.asked] == ["stop", "is-active", "is-active", "reset-failed"]


def test_stop_names_what_goes_on(systemctl: Any) -> None:
    systemctl((0, ""), (3, "deactivating\ninactive\n"))
    assert units.stop(["a.service", "b.service"], 0) == ["a.service"]


def test_nothing_to_stop(systemctl: Any) -> None:
    asked = systemctl()
    assert units.stop([], 5) == units.states([]) == []
    assert asked.asked == []


def test_states_that_can_not_be_told_apart_are_unknown(systemctl: Any) -> None:
    systemctl((1, "Failed to connect to bus\n"))
    assert units.states(["a.service", "b.service"]) == ["unknown", "unknown"]


def test_show(systemctl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl(
        (0, "ActiveState=active\nActiveEnterTimestampMonotonic=5000000\n"),
        (0, "ActiveState=inactive\nActiveEnterTimestampMonotonic=0\n"),
        (0, "ActiveState=activating\nSubState=auto-restart\n"),
        (1, "no such unit"),
    )
    monkeypatch.setattr(units.time, "time", lambda: 1000.0)
    monkeypatch.setattr(units.time, "monotonic", lambda: 25.0)
    assert units.show(["a", "b", "c", "d"]) == [
        {"unit": "a", "state": "active", "since": 980.0},
        {"unit": "b", "state": "inactive", "since": None},
        {"unit": "c", "state": "auto-restart", "since": None},
        {"unit": "d", "state": "unknown", "since": None},
    ]


@pytest.mark.parametrize(
    ("script", "timeout", "expected"),
    [
        ('echo "$@"; exit 3', 20, (3, "is-active x\n")),
        ("sleep 60", 0.2, (124, "systemctl is-active x did not end within 0.2 s\n")),
    ],
)
def test_systemctl_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, timeout: float, expected: tuple[int, str]
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\nexec 2>&1\n{script.replace('sleep', 'exec sleep')}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert units.systemctl("is-active", "x", timeout=timeout) == expected
