"""Calendar expressions of systemd: what is one, as `systemd-analyze calendar` judges it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from hostwright import oncalendar
from tests.conftest import need

VALID = [
    "daily",
    "Weekly UTC",
    "semi-annually",
    "hourly Europe/Berlin",
    "*-*-* 03:15:00",
    "3:15",
    "03:15:59.5",
    "Mon",
    "monday",
    "Mon..Fri",
    "Mon-Fri 10:00",
    "Sat,Sun,",
    "Mon,Wed,Fri *-*-* 10:00",
    "Mon..Fri *-*~07 10:00:00 Europe/Berlin",
    "12-31",
    "*-1,4,7,10-1",
    "*-02~03",
    "26-01-01",
    "*-*-1..7 00/2:00",
    "*:0/15",
    "12..14:10,20,30",
    "10:00 UTC",
    "*:0/59",
    "*:10/49",
    "*:*:0/59.5",
    "*:*:59.5/0.4",
    "*:0..20/20",
    "*:0..10/20",
    "*:0..10/70",
    "0-1-1",
    "70-1-1",
    "99-1-1",
    "69/10-1-1",
    "98..02-1-1",
    "2000..2010/5-1-1",
    "*-*-1/30",
    "*-*~07/6",
    "*-*~28",
    "*-*~3..7/2",
]
INVALID = [
    "",
    "dayly",
    "every day",
    "@daily",
    "0 3 * * *",
    "*",
    "10",
    "24:00",
    "23:60",
    "10:",
    "03:15:61",
    "*:0/0",
    "*/2:00",
    "5..1:00",
    "2026-13-01",
    "*-*-32",
    "Fun 10:00",
    "Mon Tue",
    "Fri..Mon 10:00",
    "10:00 10:00",
    "10:00 Mars/Olympus",
    "*:0/90",
    "*:0/60",
    "*:10/50",
    "*:*:0/60",
    "*:*:59.5/0.5",
    "*-*-1/31",
    "*-*~07/7",
    "*-*~1/5",
    "*-*~29",
    "2000/300-1-1",
    "1969-1-1",
    "100-1-1",
    "02..98-1-1",
    "2190/10-1-1",
]


@pytest.mark.parametrize("expression", VALID)
def test_what_is_one(expression: str) -> None:
    assert oncalendar.is_valid(expression)


@pytest.mark.parametrize("expression", INVALID)
def test_what_is_none(expression: str) -> None:
    assert not oncalendar.is_valid(expression)


@pytest.mark.parametrize("expression", [*VALID, *filter(None, INVALID)])
def test_systemd_judges_alike(expression: str) -> None:
    if not shutil.which("systemd-analyze"):
        need("calendars read by systemd", "systemd-analyze is not installed", "Install it: apt-get install systemd")
    done = subprocess.run(["systemd-analyze", "calendar", expression], capture_output=True, check=False)
    assert (done.returncode == 0) == oncalendar.is_valid(expression)
