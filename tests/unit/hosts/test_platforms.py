"""What a host says of itself, and what a controller is told that can't manage it."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import ansible.module_utils.basic as modules
import pytest

from hostwright.hosts.platforms import OLDEST, Platform, environment_objection, objection, seen

XENIAL = Platform("ubuntu 16.04", 229, (3, 5))
OLD_LINE = (
    "install the line that can: pip install --require-hashes -r requirements/runtime.txt, with Python 3.10 to 3.12"
)
INTERPRETER = "set ansible_python_interpreter to /usr/bin/python2.7 for it in the inventory"


def test_a_host_says_what_it_runs() -> None:
    text = "a banner\r\nrelease=ubuntu 16.04\r\nsystemd=229\r\npython=3.5\r\n"
    assert seen(text) == XENIAL
    assert seen("release=debian 13\nsystemd=257\npython=3.13\n") == Platform("debian 13", 257, (3, 13))
    assert seen("addresses=10.0.0.5 fd00::5 \r\n").addresses == ("10.0.0.5", "fd00::5")


def test_a_bare_host_has_no_python() -> None:
    assert seen("release=debian 12\nsystemd=252\npython=\n") == Platform("debian 12", 252, None)
    assert seen("") == Platform("an unknown release", 0, None)


@pytest.mark.parametrize(
    ("platform", "core", "interpreter"),
    [
        (Platform("ubuntu 16.04", 229, (2, 7)), "2.16.19", "/usr/bin/python2.7"),
        (Platform("ubuntu 16.04", 229, None), "2.16.19", "/usr/bin/python2.7"),
        (Platform("ubuntu 16.04", 229, (3, 8)), "2.19.0", "/opt/python/bin/python3"),
        (Platform("ubuntu 18.04", 237, (3, 6)), "2.16.19", "/usr/bin/python3"),
        (Platform("ubuntu 18.04", 237, None), "2.16.19", "/usr/bin/python3"),
        (Platform("ubuntu 20.04", 245, (3, 8)), "2.19.14", "/usr/bin/python3"),
        (Platform("debian 11", 247, (3, 9)), "2.21.5", "/usr/bin/python3"),
        (Platform("debian 12", 252, None), "2.21.5", "/usr/bin/python3"),
        (Platform("debian 13", 257, (3, 13)), "2.16.19", "/usr/bin/python3"),
    ],
)
def test_a_host_that_can_be_managed(platform: Platform, core: str, interpreter: str) -> None:
    assert objection("web1", platform, core, interpreter, bare=True) == ""


@pytest.mark.parametrize(
    ("platform", "core", "interpreter", "said"),
    [
        (
            XENIAL,
            "2.16.19",
            "/usr/bin/python3",
            "web1 runs ubuntu 16.04 and has Python 3.5 as /usr/bin/python3; "
            "ansible-core 2.16 needs Python 2.7, or 3.6 and newer. "
            f"To mend it, {INTERPRETER}",
        ),
        (
            XENIAL,
            "2.19.14",
            "/usr/bin/python3",
            "web1 runs ubuntu 16.04 and has Python 3.5 as /usr/bin/python3; "
            "ansible-core 2.19 needs Python 3.8 and newer. "
            f"To mend it, {OLD_LINE}, and {INTERPRETER}",
        ),
        (
            Platform("ubuntu 16.04", 229, (2, 7)),
            "2.17.14",
            "/usr/bin/python2.7",
            "web1 runs ubuntu 16.04 and has Python 2.7 as /usr/bin/python2.7; "
            "ansible-core 2.17 needs Python 3.7 and newer. "
            f"To mend it, {OLD_LINE}",
        ),
        (
            Platform("ubuntu 16.04", 229, None),
            "2.16.19",
            "/usr/bin/python3",
            "web1 runs ubuntu 16.04 and has no /usr/bin/python3; "
            "ansible-core 2.16 needs Python 2.7, or 3.6 and newer. "
            f"To mend it, {INTERPRETER}",
        ),
        (
            Platform("ubuntu 18.04", 237, (3, 6)),
            "2.21.5",
            "/usr/bin/python3",
            "web1 runs ubuntu 18.04 and has Python 3.6 as /usr/bin/python3; "
            "ansible-core 2.21 needs Python 3.9 and newer. "
            f"To mend it, {OLD_LINE}",
        ),
        (
            Platform("debian 9", 232, (3, 5)),
            "2.16.19",
            "/usr/bin/python3",
            "web1 runs debian 9 and has Python 3.5 as /usr/bin/python3; "
            "ansible-core 2.16 needs Python 2.7, or 3.6 and newer. "
            "To mend it, upgrade its system",
        ),
    ],
)
def test_a_host_that_cannot_be_managed(platform: Platform, core: str, interpreter: str, said: str) -> None:
    assert objection("web1", platform, core, interpreter, bare=True) == said


def test_a_host_that_is_not_bootstrapped_yet() -> None:
    said = "web1 has no /usr/bin/python3. To mend it, ansible-playbook playbooks/bootstrap.yml --limit web1"
    assert objection("web1", Platform("debian 12", 252, None), "2.16.19", "/usr/bin/python3") == said


def test_the_oldest_python_is_the_one_that_this_ansible_names() -> None:
    line = tuple(map(int, version("ansible-core").split(".")[:2]))
    needs = OLDEST[max(known for known in OLDEST if known <= line)]
    text = Path(modules.__file__).read_text(encoding="utf-8")
    stated = re.search(r"^_PY(?:3)?_MIN = (?:sys\.version_info >= )?\((\d+), (\d+)\)$", text, re.MULTILINE)
    assert stated
    assert needs.oldest == tuple(map(int, stated.groups()))
    assert ("2.7" in needs.said) is ("_PY2_MIN" in text)


ENVIRONMENT = {
    "PLAIN": "a\tb",
    "PEM": "a\nb",
    "CRLF": "a\r\nb",
    "ESCAPE": "\x1b[0m",
    "DELETE": "\x7f",
    "BIDI": "\u202e",
}


@pytest.mark.parametrize(
    ("systemd", "left_out"),
    [
        (229, "CRLF, DELETE, ESCAPE, PEM"),
        (237, "CRLF, DELETE, ESCAPE, PEM"),
        (239, "CRLF, DELETE, ESCAPE"),
        (245, "CRLF, DELETE, ESCAPE"),
        (247, ""),
        (0, ""),
    ],
)
def test_variables_that_old_systemd_would_leave_out_are_named(systemd: int, left_out: str) -> None:
    said = environment_objection("web1", systemd, ENVIRONMENT)
    assert re.findall(r"without (.*?):", said) == ([left_out] if left_out else [])
    assert environment_objection("web1", systemd, {"PLAIN": "a\tb", "BIDI": "\u202e"}) == ""
