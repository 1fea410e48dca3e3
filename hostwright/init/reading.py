"""What was read of a project, for those who look for something in it, and what they have to say."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from hostwright.init.dependencies import Required
from hostwright.init.settings import Settings
from hostwright.init.settings import read as read_settings
from hostwright.init.sources import SITE, Need, Sources, shown


class Reading:
    """The project whose manage.py is in `base`: its settings, what it requires, and what is still to be said of it."""

    def __init__(self, sources: Sources, base: PurePosixPath) -> None:
        self.sources, self.base = sources, base
        self.needs: list[Need] = []
        self.settings = Settings()
        self.module, self.settings_file = self._settings_module()
        if self.settings_file:
            self.settings = read_settings(self.settings_file, sources.source)
        self.needs += [(shown(path), why) for path, why in self.settings.unread]
        self.required = Required(sources, base, self.needs)

    def need(self, what: str) -> None:
        """Something that the settings must say."""
        self.needs.append((shown(self.settings_file) if self.settings_file else self.module, what))

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
        below = self.base.joinpath(*module.split("."))
        for candidate in (below.with_name(below.name + ".py"), below / "__init__.py"):
            if self.sources.source(candidate) is not None:
                return candidate
        return None

    def name(self, path: PurePosixPath) -> str:
        """The name of the module that this file is."""
        return ".".join(path.relative_to(self.base).with_suffix("").parts)

    def named(self, *names: str, depth: int = 2) -> list[PurePosixPath]:
        """The project's files of these names."""
        return [path for name in names for path in self.sources.named(name, self.base, depth)]

    def _settings_module(self) -> tuple[str, PurePosixPath | None]:
        """The settings for production: those that are called so, else those of the WSGI module or manage.py."""
        named = []
        for path in (*self.sources.named("wsgi.py", self.base, 2), self.base / "manage.py"):
            match = re.search(
                r"DJANGO_SETTINGS_MODULE['\"]\]?\s*[,=]\s*['\"]([\w.]+)['\"]", self.sources.text(path) or ""
            )
            named += [match[1]] if match else []
        named += [self.name(path) for path in self.sources.named("settings.py", self.base, 2)]
        for module in named:
            package = module.rpartition(".")[0]
            for other in (f"{module}.production", f"{module}.prod", f"{package}.production", f"{package}.prod"):
                if other.split(".")[-2:-1] == ["settings"] and self.path(other):
                    return other, self.path(other)
        for module in named:
            if self.path(module):
                return module, self.path(module)
        if not named:
            self.needs.append((SITE, "env.DJANGO_SETTINGS_MODULE: no settings module was found"))
            return f"{self.base.name}.settings", None
        self.settings.elsewhere.append(named[0])
        self.needs.append(
            (SITE, f"env.DJANGO_SETTINGS_MODULE: {named[0]} is not in this project: what it says was not read")
        )
        return named[0], None
