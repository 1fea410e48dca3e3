"""What a project requires, and how Hostwright is told to install that."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from hostwright.init.sources import SITE, TOP, Need, Sources, normal, shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = None

KINDS = ("production", "prod")
REQUIREMENTS = (
    *(f"requirements{between}{kind}.txt" for between in "/-_." for kind in KINDS),
    "requirements.txt",
    "requirements/requirements.txt",
    "requirements/base.txt",
)
"""Requirements files for production, the first that is there counts."""

DRIVERS = {"psycopg", "psycopg-binary", "psycopg2", "psycopg2-binary"}

PYTHONS = ((6, 0, "3.12"), (5, 0, "3.10"), (4, 0, "3.8"))
"""From this Django on, the oldest Python that it runs on."""

HOST_PYTHONS = "such as 3.11 on Debian 12, 3.13 on Debian 13, 3.12 on Ubuntu 24.04"
"""The distributions' own, of the releases that most have."""


@dataclass(frozen=True)
class Dependencies:
    """What is to be installed."""

    requirements: tuple[str, ...] = ()
    project: str = ""
    """The directory of the project itself, where it is installed with what it requires."""
    packages: tuple[str, ...] = ()
    """Requirements beside those."""
    build: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    """Distribution packages."""
    python: str = ""
    """What the project says of its Python version, and where."""


class Required:
    """What the project in `base` requires: found once, then asked by name. What is missing is added to `needs`."""

    def __init__(self, sources: Sources, base: PurePosixPath, needs: list[Need]) -> None:
        self._sources, self._needs = sources, needs
        self._places = tuple(dict.fromkeys((base, TOP)))
        self._place, self._pyproject = self._find_pyproject()
        self._files: tuple[str, ...] = ()
        self._project = ""
        self._copied: tuple[str, ...] = ()
        self.names = self._find()
        """Distribution -> extras and version, as they are written."""

    def dependencies(self, asgi: bool, database: bool, geographic: bool) -> Dependencies:
        """What to install for a site: with an ASGI application, with a database of PostgreSQL's, or of PostGIS."""
        extras = re.findall(r"\w+", self.names.get("psycopg", "").partition("]")[0])
        plain = "psycopg" in self.names and "binary" not in extras
        compiled = "psycopg2" in self.names or "c" in extras
        return Dependencies(
            requirements=self._files,
            project=self._project,
            packages=(*self._copied, *self._added(asgi, database)),
            build=("gcc", "libpq-dev", "python3-dev") if compiled else (),
            run=(*(["gdal-bin"] if geographic else []), *(["libpq5"] if plain or compiled else [])),
            python=", ".join(self._python()),
        )

    def _added(self, asgi: bool, database: bool) -> Iterator[str]:
        """What Hostwright needs in the virtualenv, and the project does not require."""
        if "gunicorn" not in self.names:
            yield "gunicorn==23.0.0"
        if asgi and "uvicorn" not in self.names:
            yield "uvicorn"
        has_websockets = {"websockets", "wsproto"} & set(self.names) or "standard" in self.names.get("uvicorn", "")
        if asgi and "channels" in self.names and not has_websockets:
            yield "websockets"
        if database and not DRIVERS & set(self.names):
            yield "psycopg[binary]"

    def _find(self) -> dict[str, str]:
        for place in reversed(self._places):
            for path in (place / name for name in REQUIREMENTS):
                if self._sources.source(path) is not None:
                    self._files = (shown(path),)
                    return self._in_file(path, set())
        project, poetry = self._table("project"), self._table("tool", "poetry")
        listed = project.get("dependencies")
        dependencies = [line for line in listed if isinstance(line, str)] if isinstance(listed, list) else []
        extras = ", ".join(
            {**self._table("project", "optional-dependencies"), **self._table("tool", "poetry", "extras")}
        )
        no_package = poetry.get("package-mode") is False
        if "build-system" in self._pyproject and (project or poetry) and not no_package:
            self._project = shown(self._place)
            if extras:
                self._say(f"dependencies.extras: pyproject.toml has {extras}: name those that a server needs")
            lock = next(filter(None, map(self._beside, ("uv.lock", "poetry.lock", "pdm.lock"))), None)
            if lock:
                self._say(
                    f"dependencies: pip knows no {shown(lock)}, and installs the project with what is newest; "
                    "a requirements file made of the lock is better"
                )
            return _names([*dependencies, *self._table("tool", "poetry", "dependencies")])
        if dependencies:
            self._copied = tuple(dependencies)
            lacks = "says package-mode = false" if no_package else "has no [build-system] to install it with"
            left = f" without its extras {extras}" if extras else ""
            self._say(
                f"dependencies.packages: copied from pyproject.toml{left}, which {lacks}; "
                "a requirements file made of your lock is better"
            )
            return _names(dependencies)
        for place in self._places:
            if self._is_set_up(place):
                self._project = shown(place)
                return {}
        self._copied = ("django",)
        found = next(filter(None, map(self._beside, ("Pipfile", "uv.lock", "poetry.lock"))), None)
        hint = f" ({shown(found)} is there: export it to one)" if found else ""
        self._say(f"dependencies: no requirements file was found{hint}; Django alone is filled in")
        return {}

    def _say(self, what: str) -> None:
        self._needs.append((SITE, what))

    def _beside(self, name: str) -> PurePosixPath | None:
        """The file of this name beside manage.py, or at the top."""
        return next((place / name for place in self._places if self._sources.source(place / name) is not None), None)

    def _is_set_up(self, place: PurePosixPath) -> bool:
        """Whether setuptools finds a project here: a setup.cfg may be of linters alone."""
        configured = re.search(r"(?m)^\[(metadata|options)\]", self._sources.text(place / "setup.cfg") or "")
        return bool(configured) or self._sources.source(place / "setup.py") is not None

    def _in_file(self, path: PurePosixPath, seen: set[PurePosixPath]) -> dict[str, str]:
        """What a requirements file, and those that it includes, name."""
        if path in seen:
            return {}
        seen.add(path)
        found: dict[str, str] = {}
        for line in (self._sources.text(path) or "").replace("\\\n", " ").splitlines():
            included = re.match(r"\s*(?:-r|--requirement)[\s=]*(\S+)", line)
            if included:
                found |= self._in_file(normal(path.parent / included[1]), seen)
            else:
                found |= _names([line])
        return found

    def _python(self) -> Iterator[str]:
        for name in (".python-version", "runtime.txt"):
            path = self._beside(name)
            version = re.search(r"3\.[0-9]+(\.[0-9]+)?", self._sources.text(path) or "") if path else None
            if version:
                yield f"{name} says {version[0]}"
        wanted = self._table("project").get("requires-python")
        if isinstance(wanted, str):
            yield f"pyproject.toml says {' '.join(wanted.split())}"
        least = _least_python(self.names)
        if least:
            yield f"its Django needs {least} or newer"

    def _find_pyproject(self) -> tuple[PurePosixPath, dict[str, Any]]:
        """(its directory, what it says): the nearest that describes a project, not linters alone."""
        found = [(place, self._read_pyproject(place / "pyproject.toml")) for place in self._places]
        described = (pair for pair in found if _inner(pair[1], "project") or _inner(pair[1], "tool", "poetry"))
        return next(described, found[-1])

    def _read_pyproject(self, path: PurePosixPath) -> dict[str, Any]:
        text = self._sources.text(path)
        if text is None:
            return {}
        if tomllib is None:
            self._needs.append((shown(path), "was not read: that needs Python 3.11 or newer on this machine"))
            return {}
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self._needs.append((shown(path), f"can't be read: {error}"))
            return {}

    def _table(self, *path: str) -> dict[str, Any]:
        """A table of pyproject.toml, empty where it is not there."""
        return _inner(self._pyproject, *path)


def _inner(found: Any, *path: str) -> dict[str, Any]:
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^]]*\])?\s*([^;#]*)")


def _names(lines: Iterable[str]) -> dict[str, str]:
    """The distributions that requirements name -> extras and version."""
    found = {}
    for match in filter(None, map(_REQUIREMENT.match, lines)):
        found[re.sub(r"[-_.]+", "-", match[1]).lower()] = f"{match[2] or ''}{match[3]}".split(" --")[0].strip()
    return found


def _least_python(required: Mapping[str, str]) -> str:
    """The oldest Python that the required Django runs on, such as 3.12; empty where that is not known."""
    version = re.search(r"(?:==|>=|~=)\s*([0-9]+)\.?([0-9]*)", required.get("django", ""))
    wanted = (int(version[1]), int(version[2] or 0)) if version else (0, 0)
    return next((python for major, minor, python in PYTHONS if wanted >= (major, minor)), "")
