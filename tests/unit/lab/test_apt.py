"""Packages of this machine: what is said, and what is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostwright.errors import HostwrightError
from hostwright.lab import apt


@pytest.fixture
def apt_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that notes what it is asked for, and can't install `nonesuch`."""
    program = tmp_path / "apt-get"
    program.write_text(
        f'#!/bin/sh\necho "$DEBIAN_FRONTEND $@" >>{tmp_path}/asked\n'
        'case "$*" in *nonesuch*) echo "E: Unable to locate package nonesuch" >&2; exit 100;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_packages_are_installed_after_saying_so(apt_get: Path, capsys: pytest.CaptureFixture[str]) -> None:
    apt.install(["podman", "runc"], "throwaway hosts need them")
    assert (apt_get / "asked").read_text().splitlines() == [
        "noninteractive -q update",
        "noninteractive -q install -y --no-install-recommends podman runc",
    ]
    assert capsys.readouterr().err == "==> apt-get install podman runc (throwaway hosts need them)\n"


def test_what_apt_says_of_a_failure_is_said(apt_get: Path) -> None:
    with pytest.raises(HostwrightError, match=r"^apt-get install ended with status 100:\n  E: Unable to locate"):
        apt.install(["nonesuch"], "to see it fail")


def test_a_machine_without_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostwrightError, match="strace must be installed, and there is no apt-get to do it"):
        apt.install(["strace"], "it tells the order of writes")
