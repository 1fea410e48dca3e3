"""What a project requires, by its requirements files or its pyproject.toml."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^]]*\])?\s*([^;#]*)")


def read(path: PurePosixPath, text_of: Callable[[PurePosixPath], str | None]) -> dict[str, str]:
    """The distributions that a requirements file, and those that it includes, name -> extras and version."""
    return _read(path, text_of, set())


def _read(
    path: PurePosixPath, text_of: Callable[[PurePosixPath], str | None], seen: set[PurePosixPath]
) -> dict[str, str]:
    if path in seen:
        return {}
    seen.add(path)
    found: dict[str, str] = {}
    for line in (text_of(path) or "").replace("\\\n", " ").splitlines():
        included = re.match(r"\s*(?:-r|--requirement)[\s=]*(\S+)", line)
        if included:
            found |= _read(normal(path.parent / included[1]), text_of, seen)
        else:
            found |= of([line])
    return found


def of(lines: Iterable[str]) -> dict[str, str]:
    """The distributions that requirements name -> extras and version."""
    found = {}
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match:
            found[re.sub(r"[-_.]+", "-", match[1]).lower()] = f"{match[2] or ''}{match[3]}".split(" --")[0].strip()
    return found


def normal(path: PurePosixPath) -> PurePosixPath:
    """`path` without `..`."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)


def least_python(required: Mapping[str, str]) -> str:
    """The oldest Python that the required Django runs on, such as 3.12; empty where that is not known."""
    version = re.search(r"(?:==|>=|~=)\s*([0-9]+)\.?([0-9]*)", required.get("django", ""))
    if not version:
        return ""
    major, minor = int(version[1]), int(version[2] or 0)
    for django, python in (((6, 0), "3.12"), ((5, 0), "3.10"), ((4, 0), "3.8")):
        if (major, minor) >= django:
            return python
    return ""
