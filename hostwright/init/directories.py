"""The directories of files that nginx shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from hostwright.init.reading import Reading
from hostwright.init.sources import TOP, normal, shown
from hostwright.init.values import UNKNOWN, Unknown, Variable

NOT_INSIDE = "is no directory of the project"


@dataclass(frozen=True)
class Directory:
    """A directory of files that nginx shows: relative to the release, or in a variable of the environment."""

    url: str
    path: str = ""
    variable: str = ""


def static(reading: Reading) -> Directory | None:
    apps = reading.value("INSTALLED_APPS")
    if isinstance(apps, list) and UNKNOWN not in apps and "django.contrib.staticfiles" not in apps:
        return None
    url, root = _url(reading.value("STATIC_URL"), "/static/"), reading.value("STATIC_ROOT")
    if isinstance(root, Variable):
        return Directory(url, "staticfiles", root.name)
    inside = _inside(reading, root)
    if not inside:
        inside = shown(reading.base / "staticfiles")
        said = "is not set" if root is None else root.why if isinstance(root, Unknown) else NOT_INSIDE
        reading.lacks("STATIC_ROOT", said, 'STATIC_ROOT = BASE_DIR / "staticfiles"')
    return Directory(url, inside)


def media(reading: Reading) -> Directory | None:
    root = reading.value("MEDIA_ROOT")
    url = _url(reading.value("MEDIA_URL"), "/media/")
    if isinstance(root, Variable):
        return Directory(url, "", root.name)
    if root in (None, ""):
        return None
    inside = _inside(reading, root)
    if not inside:
        said = root.why if isinstance(root, Unknown) else NOT_INSIDE
        reading.lacks("MEDIA_ROOT", said, 'MEDIA_ROOT = BASE_DIR / "media"')
    return Directory(url, inside or shown(reading.base / "media"))


def _inside(reading: Reading, value: Any) -> str:
    """`value`, a directory, relative to the project; empty where it is none inside of it."""
    if not isinstance(value, str | PurePosixPath) or not str(value):
        return ""
    path = normal(reading.base / value)
    return shown(path) if path.is_relative_to(TOP) and path != TOP else ""


def _url(value: Any, otherwise: str) -> str:
    """A URL prefix as nginx is told it."""
    if isinstance(value, str) and re.fullmatch(r"/?[\w./-]*[\w-][\w./-]*", value):
        return f"/{value.strip('/')}/"
    return otherwise
