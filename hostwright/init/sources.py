"""The files of a project: their texts, read and never run."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from hostwright.errors import BadInput, HostwrightError

TOP = PurePosixPath("/project")
"""Stands for the project's directory in the paths that its settings make."""

Need = tuple[str, str]
"""(file, what is to be said or changed there)."""
SITE = "inventory/production/group_vars/all/site.yml"
VAULT = "inventory/production/group_vars/all/vault.yml"
HOSTS = "inventory/production/hosts.yml"
"""Those that are written, below deploy/."""

NOT_OURS = {"node_modules", "site-packages", "venv", "env", "deploy"}


class Sources:
    """The texts of a directory's files, by their paths below TOP."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def source(self, path: PurePosixPath) -> bytes | None:
        if not path.is_relative_to(TOP):
            return None
        here = self.root / path.relative_to(TOP)
        try:
            return here.read_bytes() if here.is_file() else None
        except OSError as error:
            raise HostwrightError(f"{here} can't be read: {error.strerror}") from None

    def text(self, path: PurePosixPath) -> str | None:
        content = self.source(path)
        if content is None:
            return None
        # PowerShell's `pip freeze > requirements.txt`; pip reads it too.
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if wide else "utf-8-sig", errors="replace")

    def named(self, name: str, below: PurePosixPath, depth: int) -> list[PurePosixPath]:
        """The files called `name`, at most `depth` directories down, the nearest first."""
        start = self.root / below.relative_to(TOP)
        found = [path for level in range(depth + 1) for path in sorted(start.glob("*/" * level + name))]
        inner = [path.relative_to(self.root) for path in found if path.is_file()]
        return [TOP / path.as_posix() for path in inner if self._is_ours(path)]

    def _is_ours(self, path: Path) -> bool:
        above = list(path.parents)[:-1]
        return not any(
            part.name in NOT_OURS or part.name.startswith(".") or (self.root / part / "pyvenv.cfg").exists()
            for part in above
        )


def manage_py(sources: Sources) -> PurePosixPath:
    """The project's manage.py, the nearest. Raises BadInput where there is none, or there are several."""
    found = [path for path in sources.named("manage.py", TOP, 2) if "django" in (sources.text(path) or "").lower()]
    if not found:
        raise BadInput(
            f"there is no Django project in {sources.root}: no manage.py here, or one or two directories down",
            "Run `hostwright init` in the project's own directory, the one that its repository begins with. "
            "An application that comes as a package needs a manage.py here that names its settings.",
        )
    nearest = [path for path in found if len(path.parts) == len(found[0].parts)]
    if len(nearest) > 1:
        several = ", ".join(shown(path) for path in nearest)
        raise BadInput(
            f"there are several Django projects in {sources.root}: {several}", "Run `hostwright init` in one of them."
        )
    return nearest[0]


def module_file(
    start: PurePosixPath, module: str, source: Callable[[PurePosixPath], bytes | None]
) -> PurePosixPath | None:
    """The file of the module or package called `module`, as imports from the directory `start` find it."""
    below = start.joinpath(*module.split("."))
    candidates = (below.with_name(below.name + ".py"), below / "__init__.py")
    return next((path for path in candidates if source(path) is not None), None)


def shown(path: PurePosixPath) -> str:
    """`path` as a reader knows it: from the project's directory on."""
    return str(path.relative_to(TOP))


def normal(path: PurePosixPath) -> PurePosixPath:
    """`path` without `..`."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)
