"""What a host runs, by what it printed, and whether this Ansible can manage it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

Version = tuple[int, ...]


class Needs(NamedTuple):
    """What a line of ansible-core needs on a host: the oldest Python 3, and the same in words."""

    oldest: Version
    said: str


OLDEST: dict[Version, Needs] = {
    (2, 16): Needs((3, 6), "Python 2.7, or 3.6 and newer"),
    (2, 17): Needs((3, 7), "Python 3.7 and newer"),
    (2, 18): Needs((3, 8), "Python 3.8 and newer"),
    (2, 20): Needs((3, 9), "Python 3.9 and newer"),
}
"""ansible-core -> what its modules need, from that line on."""

SYSTEM_PYTHON: dict[str, Version] = {"ubuntu 16.04": (2, 7), "ubuntu 18.04": (3, 6)}
"""The Python that bootstrap.yml installs on releases which some ansible-core can no longer manage."""

OLDER_LINE = (
    "install the line that can: pip install --require-hashes -r requirements/runtime.txt, with Python 3.10 to 3.12"
)


@dataclass(frozen=True)
class Platform:
    """A host's release, such as `ubuntu 16.04`, its systemd, its Ansible interpreter's Python if there is one, and its
    addresses but for those of the loopback interface."""

    release: str
    systemd: int
    python: Version | None
    addresses: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """The platform as a playbook reads it."""
        return asdict(self)


def seen(text: str) -> Platform:
    """What `text` says in lines such as `release=debian 12` and `systemd=252`, as see_host.yml has hosts print."""
    values = dict(line.strip().split("=", 1) for line in text.splitlines() if "=" in line)
    systemd, python = values.get("systemd", ""), values.get("python", "")
    return Platform(
        values.get("release", "an unknown release").strip(),
        int(systemd) if systemd.isdigit() else 0,
        _version(python) if python else None,
        tuple(values.get("addresses", "").split()),
    )


def objection(host: str, platform: Platform, core: str, interpreter: str, bare: bool = False) -> str:
    """Why ansible-core `core` can't manage `host` through `interpreter`, and what mends it; empty where it can.

    A `bare` host, one that may be without Python, is judged by the Python that bootstrap.yml installs.
    """
    line = _version(core)[:2]
    needs = OLDEST[max(known for known in OLDEST if known <= max(line, min(OLDEST)))]
    best = SYSTEM_PYTHON.get(platform.release, platform.python)
    if platform.python is None and not bare:
        return f"{host} has no {interpreter}. To mend it, ansible-playbook playbooks/bootstrap.yml --limit {host}"
    if best is None or (platform.python is not None and _runs(platform.python, line, needs.oldest)):
        return ""
    mends = []
    if not _runs(best, line, needs.oldest):
        mends.append(OLDER_LINE if line > min(OLDEST) else "upgrade its system")
    if platform.release == "ubuntu 16.04" and interpreter != "/usr/bin/python2.7":
        mends.append("set ansible_python_interpreter to /usr/bin/python2.7 for it in the inventory")
    if not mends:
        return ""
    found = f"Python {_shown(platform.python)} as {interpreter}" if platform.python else f"no {interpreter}"
    return (
        f"{host} runs {platform.release} and has {found}; ansible-core {_shown(line)} needs {needs.said}. "
        f"To mend it, {', and '.join(mends)}"
    )


def environment_objection(host: str, systemd: int, environment: Mapping[str, str]) -> str:
    """Which variables the `systemd` of `host` would leave out without a word, by their values; empty where none.

    Before 239 it takes no control character but the tab, before 247 line breaks too, from then on all. 0 takes all.
    """
    taken = "\t" if systemd < 239 else "\t\n"
    left_out = sorted(
        name
        for name, value in environment.items()
        if 0 < systemd < 247 and any((c < " " or c == "\x7f") and c not in taken for c in value)
    )
    if not left_out:
        return ""
    what = "line breaks or other control characters" if systemd < 239 else "control characters"
    return (
        f"{host} has systemd {systemd}, which would start the application without {', '.join(left_out)}: no value may "
        f"have {what} there. To mend it, put the value in a file (`files` in the site model), or encode it"
    )


def _runs(python: Version, core: Version, oldest: Version) -> bool:
    """Whether the modules of `core` run on `python`."""
    return python >= oldest or (core == (2, 16) and python == (2, 7))


def _version(text: str) -> Version:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _shown(version: Version) -> str:
    return ".".join(map(str, version))
