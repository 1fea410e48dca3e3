"""What a settings module says, read from its text: a project's code is never run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

Source = Callable[[PurePosixPath], bytes | None]
"""The content of a file of the project, None where there is none."""


class Unknown:
    """A value that only running the code would tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Variable:
    """A value that is read from the environment."""

    name: str
    needed: bool
    """There is no default for it."""
    default: Any = None
    """The default, where it is a literal."""


@dataclass
class Settings:
    """Setting -> its value: a literal, a path, a Variable, or UNKNOWN. Paths are as the module's own was given."""

    values: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, bool] = field(default_factory=dict)
    """The environment variables that are read -> whether there is no default."""
    unread: list[tuple[PurePosixPath, str]] = field(default_factory=list)
    """Files that can't be understood, or not all of them, and why."""
    elsewhere: list[str] = field(default_factory=list)
    """Modules outside of the project that everything is taken from: they may have said what is not in `values`."""

    def get(self, name: str) -> Any:
        """The value of a setting, None where nothing says one."""
        return self.values.get(name, UNKNOWN if self.elsewhere else None)


def parse(text: bytes) -> ast.Module:
    """The syntax of a module; raises SyntaxError or ValueError. What it could be warned of is its own business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def read(path: PurePosixPath, source: Source) -> Settings:
    """What the settings module at `path`, and those that it takes everything from, say."""
    found = Settings()
    _read(path, source, found, set())
    return found


def _read(path: PurePosixPath, source: Source, found: Settings, seen: set[PurePosixPath]) -> None:
    text = source(path)
    if text is None or path in seen:
        return
    seen.add(path)
    try:
        module = parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        found.unread.append((path, f"line {line} is no Python that this interpreter knows"))
        return
    _Module(path, source, found, seen).run(module.body)
    for variable in _variables(module):
        found.variables[variable.name] = found.variables.get(variable.name, False) or variable.needed
    for node in ast.walk(module):  # environ.Env(DEBUG=(bool, False)) gives defaults.
        if isinstance(node, ast.Call) and _name(node.func).split(".")[-1] in ("Env", "FileAwareEnv"):
            found.variables |= {given.arg: False for given in node.keywords if given.arg in found.variables}


class _Module:
    """The statements of one module, in order."""

    def __init__(self, path: PurePosixPath, source: Source, found: Settings, seen: set[PurePosixPath]) -> None:
        self.path, self.source, self.found, self.seen = path, source, found, seen

    def run(self, body: list[ast.stmt], certain: bool = True, optional: bool = False) -> None:
        """Run `body`; in an `optional` one a module may be missing."""
        values = self.found.values
        for node in body:
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                self._take(node, optional)
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for name in (target.id for target in targets if isinstance(target, ast.Name)):
                    values[name] = self.value(node.value) if certain else UNKNOWN
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                name = node.target.id
                values[name] = _sum(values.get(name, UNKNOWN), self.value(node.value)) if certain else UNKNOWN
            elif isinstance(node, ast.Try):
                self.run(node.body, certain, optional=True)
            elif isinstance(node, ast.If | ast.With):
                self.run([*node.body, *getattr(node, "orelse", [])], certain=False, optional=optional)

    def _take(self, node: ast.ImportFrom, optional: bool) -> None:
        """from X import *"""
        parts = (node.module or "").split(".") if node.module else []
        if node.level:
            start = self.path.parents[node.level - 1] if node.level <= len(self.path.parents) else None
            starts = [start] if start else []
        else:
            starts = list(self.path.parents)  # The project is on the path; where it begins, the names tell.
        for start in starts:
            below = start.joinpath(*parts)
            for candidate in (below.with_name(below.name + ".py"), below / "__init__.py"):
                if parts and self.source(candidate) is not None:
                    _read(candidate, self.source, self.found, self.seen)
                    return
        if parts and not node.level and not optional:
            module = ".".join(parts)
            self.found.elsewhere.append(module)
            said = f"takes everything from {module}, which is not in this project: what that says was not read"
            self.found.unread.append((self.path, said))

    def value(self, node: ast.expr) -> Any:
        """The value of an expression, as far as it can be known."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return PurePosixPath(self.path) if node.id == "__file__" else self.found.values.get(node.id, UNKNOWN)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [self.value(item) for item in node.elts]
        if isinstance(node, ast.Dict):
            pairs = [
                (self.value(key), self.value(item)) for key, item in zip(node.keys, node.values, strict=True) if key
            ]
            return {key: item for key, item in pairs if isinstance(key, str)}
        known = self._path(node)
        if known is not UNKNOWN:
            return known
        return next(_variables(node), UNKNOWN)

    def _path(self, node: ast.expr) -> Any:
        """The value of what is put together of paths and texts."""
        if isinstance(node, ast.BinOp):
            left, right = self.value(node.left), self.value(node.right)
            if isinstance(node.op, ast.Add):
                return _sum(left, right)
            if (
                isinstance(node.op, ast.Div)
                and isinstance(left, PurePosixPath)
                and isinstance(right, str | PurePosixPath)
            ):
                return left / right
        if isinstance(node, ast.Attribute) and node.attr == "parent":
            inner = self.value(node.value)
            return inner.parent if isinstance(inner, PurePosixPath) else UNKNOWN
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "parents":
            inner, number = self.value(node.value.value), self.value(node.slice)
            if isinstance(inner, PurePosixPath) and isinstance(number, int) and 0 <= number < len(inner.parents):
                return inner.parents[number]
        if isinstance(node, ast.Call):
            return self._call(node)
        return UNKNOWN

    def _call(self, node: ast.Call) -> Any:
        function = _name(node.func).split(".")[-1]
        given = [self.value(argument) for argument in node.args]
        if isinstance(node.func, ast.Attribute) and function in ("resolve", "absolute", "joinpath", "as_posix"):
            given = [self.value(node.func.value), *given]
        elif function not in ("Path", "str", "abspath", "realpath", "normpath", "dirname", "join", "fspath"):
            return UNKNOWN
        if not given or not all(isinstance(part, str | PurePosixPath) for part in given):
            return UNKNOWN
        if function == "join" and _name(node.func) not in ("os.path.join", "path.join", "join"):
            return UNKNOWN  # "".join(...)
        whole = PurePosixPath(*given)
        return whole.parent if function == "dirname" else whole


def _sum(left: Any, right: Any) -> Any:
    if isinstance(left, PurePosixPath) and isinstance(right, str):
        return PurePosixPath(f"{left}{right}")
    alike = any(isinstance(left, kind) and isinstance(right, kind) for kind in (str, list))
    return left + right if alike else UNKNOWN


def _name(node: ast.expr) -> str:
    """`os.environ.get` of such an expression; empty where it is another."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _name(node.value)
        return f"{inner}.{node.attr}" if inner else node.attr
    return ""


def _variables(tree: ast.AST) -> Iterator[Variable]:
    """The environment variables that are read in a piece of code: by os.environ, django-environ, decouple, environs
    and dj_database_url."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _name(node.value).endswith("environ"):
            yield from _variable(node.slice, isinstance(node.ctx, ast.Load))
        elif isinstance(node, ast.Call):
            function = _name(node.func)
            defaults = [*node.args[1:], *(given.value for given in node.keywords if given.arg == "default")]
            default = next((given.value for given in defaults if isinstance(given, ast.Constant)), None)
            if function in ("dj_database_url.config", "env.db", "env.db_url") and not node.args:
                yield Variable("DATABASE_URL", not defaults, default)
            elif node.args and function.endswith(("environ.get", "getenv")):
                yield from _variable(node.args[0], False, default)
            elif node.args and function.split(".")[0] in ("env", "config", "ENV"):
                yield from _variable(node.args[0], not defaults, default)


def _variable(name: ast.expr, needed: bool, default: Any = None) -> Iterator[Variable]:
    """The variable whose name is this expression, if it is a name for one."""
    text = name.value if isinstance(name, ast.Constant) else None
    if isinstance(text, str) and text.isidentifier() and text != "DJANGO_SETTINGS_MODULE":
        yield Variable(text, needed, default)
