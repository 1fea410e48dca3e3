"""What was read of a project, for those who look for something in it, and what they have to say."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from hostwright.init.dependencies import Required
from hostwright.init.settings import Settings
from hostwright.init.settings import read as read_settings
from hostwright.init.sources import SITE, Need, Sources, module_file, shown

SAYS_SETTINGS = re.compile(r"DJANGO_SETTINGS_MODULE['\"]\]?\s*[,=]\s*['\"]([\w.]+)['\"]")


class Reading:
    """The project whose manage.py is in `base`: its settings, what it requires, and what is still to be said of it."""

    def __init__(self, sources: Sources, base: PurePosixPath) -> None:
        self.sources, self.base = sources, base
        self.start = base
        """Where the names of modules begin: below the directory of manage.py, where that puts it on the path."""
        self.needs: list[Need] = []
        self.settings = Settings()
        self.module, self.settings_file = self._settings_module()
        if self.settings_file:
            self.settings = read_settings(self.settings_file, sources.source)
        self.needs += [(shown(path), why) for path, why in self.settings.unread]
        self.required = Required(sources, base, self.needs)

    def need(self, what: str) -> None:
        """Something that the settings must say."""
        self.needs.append((shown(self.settings_file) if self.settings_file else self.module or "manage.py", what))

    def lacks(self, name: str, said: str, mend: str) -> None:
        """A setting that is not as it must be. One that may be in what was not read is said with that, once."""
        if name in self.settings.values or self.settings.elsewhere or not self.settings.unread:
            self.need(f"{name} {said}: {mend}")

    def site_needs(self, what: str) -> None:
        """Something that site.yml must say."""
        self.needs.append((SITE, what))

    def value(self, setting: str) -> Any:
        return self.settings.get(setting)

    def path(self, module: str) -> PurePosixPath | None:
        """The file of a module of the project."""
        return module_file(self.start, module, self.sources.source)

    def name(self, path: PurePosixPath) -> str:
        """The name of the module that this file is."""
        start = self.start if path.is_relative_to(self.start) else self.base
        return ".".join(path.relative_to(start).with_suffix("").parts)

    def named(self, *names: str, depth: int = 2) -> list[PurePosixPath]:
        """The project's files of these names."""
        return [path for name in names for path in self.sources.named(name, self.base, depth)]

    def _settings_module(self) -> tuple[str, PurePosixPath | None]:
        """The settings for production: those that are called so, else those of the WSGI module or manage.py."""
        texts = [self.sources.text(path) or "" for path in (*self.named("wsgi.py"), self.base / "manage.py")]
        said = [match[1] for match in map(SAYS_SETTINGS.search, texts) if match]
        self.start = next(filter(None, map(self._start, said)), self.base)
        files = self.named("settings.py", "settings/production.py", "settings/prod.py", "settings/base.py")
        modules = [*said, *map(self.name, files)]
        for module in modules:
            package = module.rpartition(".")[0]
            for other in (f"{module}.production", f"{module}.prod", f"{package}.production", f"{package}.prod"):
                if other.split(".")[-2:-1] == ["settings"] and self.path(other):
                    return other, self.path(other)
        for module in modules:
            if self.path(module):
                return module, self.path(module)
        if not modules:
            self.site_needs("env.DJANGO_SETTINGS_MODULE: no settings module was found")
            self.settings.unread.append((self.base / "manage.py", "names no settings module that was understood"))
            return "", None
        self.settings.elsewhere.append(modules[0])
        self.site_needs(f"env.DJANGO_SETTINGS_MODULE: {modules[0]} is not in this project: what it says was not read")
        return modules[0], None

    def _start(self, module: str) -> PurePosixPath | None:
        """The directory that the name of this module begins in, the nearest."""
        below = module.replace(".", "/")
        depth = len(PurePosixPath(below).parts)
        starts = [path.parents[depth - 1] for path in self.named(f"{below}.py")]
        starts += [path.parents[depth] for path in self.named(f"{below}/__init__.py")]
        return min(starts, key=lambda start: len(start.parts), default=None)
