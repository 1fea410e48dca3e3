"""docs/platforms.md says of each release what is known of it here, and what is run where."""

from __future__ import annotations

import re

from hostwright.lab import plan
from tests.platforms.contract import RELEASES
from tests.platforms.site import ROOT

CHECKED = {"hosts": "run on real hosts", "contract": "by contract"}
PROGRAMS = ("systemd", "nginx", "postgresql", "redis", "rabbitmq")


def test_the_matrix_is_that_of_the_releases() -> None:
    text = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")
    rows = [re.split(r" *\| *", line)[1:-1] for line in text.splitlines() if re.match(r"\| (Debian|Ubuntu) ", line)]
    expected = []
    for release, about in RELEASES.items():
        ansible = "2.7" if "2.7" in about["interpreter"] else about["python"]
        versions = [".".join(str(about["versions"][program]).split(".")[:2]) for program in PROGRAMS]
        expected.append([release.title(), CHECKED[about["run"]], about["python"], ansible, *versions])
    assert sorted(rows) == sorted(expected)


def test_releases_on_real_hosts_are_those_of_the_host_suite() -> None:
    real = {release.replace(" ", ":") for release, about in RELEASES.items() if about["run"] == "hosts"}
    assert real == set(plan.SUITES)


def test_an_old_release_has_the_same_interpreter_in_the_lab() -> None:
    other = {release.replace(" ", ":"): about["interpreter"] for release, about in RELEASES.items()}
    assert {image: python for image, python in other.items() if python != "/usr/bin/python3"} == plan.INTERPRETERS
