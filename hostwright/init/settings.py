"""What a settings module says, read from its text: a project's code is never run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from hostwright.init.sources import module_file
from hostwright.init.values import UNKNOWN, Unknown, Values, condition, joined, name_of, variables

Source = Callable[[PurePosixPath], bytes | None]
"""The content of a file of the project, None where there is none."""


@dataclass
class Settings:
    """Setting -> its value: a literal, a path, a Variable, or Unknown; a list may have some of each.

    Paths are as the module's own was given.
    """

    values: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, bool] = field(default_factory=dict)
    """The environment variables that are read -> whether there is no default."""
    unread: list[tuple[PurePosixPath, str]] = field(default_factory=list)
    """Files that can't be understood, or not all of them, and why."""
    elsewhere: list[str] = field(default_factory=list)
    """Modules outside of the project that everything is taken from: they may have said what is not in `values`."""

    def get(self, name: str) -> Any:
        """The value of a setting, None where nothing says one."""
        return self.values.get(name, UNKNOWN if self.elsewhere or self.unread else None)


def parse(text: bytes) -> ast.Module:
    """The syntax of a module; raises SyntaxError or ValueError. What it could be warned of is its own business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def read(path: PurePosixPath, source: Source) -> Settings:
    """What the settings module at `path`, and those that it takes everything from, say."""
    found = Settings()
    try:
        _read(path, source, found, {})
    except RecursionError:
        found.unread.append((path, "has an expression that goes too deep to be understood"))
    return found


def _read(
    path: PurePosixPath,
    source: Source,
    found: Settings,
    seen: dict[PurePosixPath, Unknown | None],
    unless: Unknown | None = None,
) -> None:
    """Read a module, `unless` being why it may not count. One that counted is not read again; one that may not is."""
    text = source(path)
    if text is None or (path in seen and (unless or not seen[path])):
        return
    seen[path] = unless
    try:
        module = parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        found.unread.append((path, f"line {line} is no Python that this interpreter knows"))
        return
    _Module(path, source, found, seen).run(module.body, unless)
    for variable in variables(module):
        found.variables[variable.name] = found.variables.get(variable.name, False) or variable.needed
    for node in ast.walk(module):  # environ.Env(DEBUG=(bool, False)) gives defaults.
        if isinstance(node, ast.Call) and name_of(node.func).split(".")[-1] in ("Env", "FileAwareEnv"):
            found.variables |= {given.arg: False for given in node.keywords if given.arg in found.variables}


class _Module:
    """The statements of one module, in order."""

    def __init__(
        self, path: PurePosixPath, source: Source, found: Settings, seen: dict[PurePosixPath, Unknown | None]
    ) -> None:
        self.path, self.source, self.found, self.seen = path, source, found, seen
        self.value = Values(path, found.values).of

    def run(self, body: list[ast.stmt], unless: Unknown | None = None, optional: bool = False) -> None:
        """Run `body`; `unless` is why it may not be run. In an `optional` one a module may be missing."""
        for node in body:
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                self._take(node, optional, unless)
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    self._assign(target, self.value(node.value), unless)
            elif isinstance(node, ast.AugAssign):
                self._assign(node.target, joined(self.value(node.target), self.value(node.value)), unless)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self._change(node.value, unless)
            elif isinstance(node, ast.Try):
                self.run([*node.body, *node.orelse, *node.finalbody], unless, optional=True)
            elif isinstance(node, ast.If):
                self.run([*node.body, *node.orelse], unless or condition(node.test), optional)
            elif isinstance(node, ast.For | ast.While | ast.With):
                self.run(node.body, unless or UNKNOWN, optional)
            elif isinstance(node, ast.ClassDef) and any(name_of(base).endswith("Configuration") for base in node.bases):
                self._unread("has settings in a class (django-configurations), which were not read")

    def _assign(self, target: ast.expr, value: Any, unless: Unknown | None) -> None:
        holder, key = None, None
        if isinstance(target, ast.Name):
            holder, key = self.found.values, target.id
        elif isinstance(target, ast.Subscript):
            holder, key = self.value(target.value), self.value(target.slice)
        elif isinstance(target, ast.Tuple | ast.List):
            for inner in target.elts:
                self._assign(inner, UNKNOWN, unless)
        if isinstance(holder, dict) and isinstance(key, str):
            holder[key] = _either(holder.get(key), value, unless) if unless else value

    def _change(self, call: ast.Call, unless: Unknown | None) -> None:
        """A call that stands alone: of a method that changes a list or a mapping."""
        if name_of(call.func).split(".")[-1] == "include":
            self._unread("takes other files with include() (django-split-settings), which were not read")
        if not isinstance(call.func, ast.Attribute) or not call.args:
            return
        holder, given = self.value(call.func.value), self.value(call.args[-1])
        if isinstance(holder, list) and call.func.attr in ("append", "insert"):
            self._assign(call.func.value, [*holder, given], unless)
        elif isinstance(holder, list) and call.func.attr == "extend":
            self._assign(call.func.value, joined(holder, given), unless)
        elif isinstance(holder, dict) and call.func.attr == "update":
            self._assign(call.func.value, {**holder, **given} if isinstance(given, dict) else given, unless)

    def _unread(self, why: str) -> None:
        self.found.unread.append((self.path, why))

    def _take(self, node: ast.ImportFrom, optional: bool, unless: Unknown | None) -> None:
        """from X import *"""
        module = node.module or ""
        if node.level:
            start = self.path.parents[node.level - 1] if node.level <= len(self.path.parents) else None
            starts = [start] if start else []
        else:
            starts = list(self.path.parents)  # The project is on the path; where it begins, the names tell.
        for start in starts if module else ():
            path = module_file(start, module, self.source)
            if path:
                _read(path, self.source, self.found, self.seen, unless)
                return
        if module and not node.level and not optional:
            self.found.elsewhere.append(module)
            self._unread(f"takes everything from {module}, which is not in this project: what that says was not read")


def _either(before: Any, after: Any, why: Unknown) -> Any:
    """What is certain of a value that is one of two."""
    if isinstance(before, list) and isinstance(after, list):
        return [*(item for item in before if item in after), why]
    return before if before == after else why
