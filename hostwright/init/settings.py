"""What a settings module says, read from its text: a project's code is never run."""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

Source = Callable[[PurePosixPath], bytes | None]
"""The content of a file of the project, None where there is none."""


@dataclass(frozen=True)
class Unknown:
    """A value that only running the code would tell."""

    why: str = field(default="was not understood", compare=False)


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
    _read(path, source, found, {})
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
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 1
        found.unread.append((path, f"line {line} is no Python that this interpreter knows"))
        return
    _Module(path, source, found, seen).run(module.body, unless)
    for variable in _variables(module):
        found.variables[variable.name] = found.variables.get(variable.name, False) or variable.needed
    for node in ast.walk(module):  # environ.Env(DEBUG=(bool, False)) gives defaults.
        if isinstance(node, ast.Call) and _name(node.func).split(".")[-1] in ("Env", "FileAwareEnv"):
            found.variables |= {given.arg: False for given in node.keywords if given.arg in found.variables}


class _Module:
    """The statements of one module, in order."""

    def __init__(
        self, path: PurePosixPath, source: Source, found: Settings, seen: dict[PurePosixPath, Unknown | None]
    ) -> None:
        self.path, self.source, self.found, self.seen = path, source, found, seen

    def run(self, body: list[ast.stmt], unless: Unknown | None = None, optional: bool = False) -> None:
        """Run `body`; `unless` is why it may not be run. In an `optional` one a module may be missing."""
        for node in body:
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                self._take(node, optional, unless)
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    self._assign(target, self.value(node.value), unless)
            elif isinstance(node, ast.AugAssign):
                self._assign(node.target, _sum(self.value(node.target), self.value(node.value)), unless)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self._change(node.value, unless)
            elif isinstance(node, ast.Try):
                self.run([*node.body, *node.orelse, *node.finalbody], unless, optional=True)
            elif isinstance(node, ast.If):
                self.run([*node.body, *node.orelse], unless or _condition(node.test), optional)
            elif isinstance(node, ast.For | ast.While | ast.With):
                self.run(node.body, unless or UNKNOWN, optional)
            elif isinstance(node, ast.ClassDef) and any(_name(base).endswith("Configuration") for base in node.bases):
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
        if _name(call.func).split(".")[-1] == "include":
            self._unread("takes other files with include() (django-split-settings), which were not read")
        if not isinstance(call.func, ast.Attribute) or not call.args:
            return
        holder, given = self.value(call.func.value), self.value(call.args[-1])
        if isinstance(holder, list) and call.func.attr in ("append", "insert"):
            self._assign(call.func.value, [*holder, given], unless)
        elif isinstance(holder, list) and call.func.attr == "extend":
            self._assign(call.func.value, _sum(holder, given), unless)
        elif isinstance(holder, dict) and call.func.attr == "update":
            self._assign(call.func.value, {**holder, **given} if isinstance(given, dict) else given, unless)

    def _unread(self, why: str) -> None:
        self.found.unread.append((self.path, why))

    def _take(self, node: ast.ImportFrom, optional: bool, unless: Unknown | None) -> None:
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
                    _read(candidate, self.source, self.found, self.seen, unless)
                    return
        if parts and not node.level and not optional:
            module = ".".join(parts)
            self.found.elsewhere.append(module)
            self._unread(f"takes everything from {module}, which is not in this project: what that says was not read")

    def value(self, node: ast.expr) -> Any:
        """The value of an expression, as far as it can be known."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return PurePosixPath(self.path) if node.id == "__file__" else self.found.values.get(node.id, UNKNOWN)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [item for element in node.elts for item in self._elements(element)]
        if isinstance(node, ast.Dict):
            return self._mapping(node)
        known = self._path(node)
        return known if known != UNKNOWN else self._whole(node)

    def _elements(self, node: ast.expr) -> list[Any]:
        return items(self.value(node.value)) if isinstance(node, ast.Starred) else [self.value(node)]

    def _mapping(self, node: ast.Dict) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in zip(node.keys, node.values, strict=True):
            name, value = self.value(key) if key else None, self.value(item)
            if isinstance(name, str):
                found[name] = value
            elif key is None and isinstance(value, dict):  # {**others}
                found |= value
        return found

    def _whole(self, node: ast.AST) -> Any:
        """The variable that is the value, and no mere part of it."""
        read = _variable_of(node)
        if read:
            return read
        if isinstance(node, ast.Name):
            value = self.found.values.get(node.id)
            return value if isinstance(value, Variable) else UNKNOWN
        if isinstance(node, ast.IfExp):
            taken, asked = self.value(node.body), [variable.name for variable in _variables(node.test)]
            its_own = isinstance(taken, Variable) and taken.name in asked
            return Variable(taken.name, needed=False) if its_own else _condition(node.test)
        makes_another = isinstance(node, ast.Call) and _name(node.func).split(".")[-1] in MAKES_ANOTHER
        if makes_another or isinstance(node, ast.BinOp | ast.JoinedStr):
            return UNKNOWN
        inner = map(self._whole, ast.iter_child_nodes(node))
        return next((value for value in inner if isinstance(value, Variable)), UNKNOWN)

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
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            holder = self.value(node.value)
            if isinstance(holder, dict):
                return holder.get(node.slice.value, UNKNOWN)
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
    if isinstance(left, list) or isinstance(right, list):
        return [*items(left), *items(right)]
    return left + right if isinstance(left, str) and isinstance(right, str) else UNKNOWN


def items(value: Any) -> list[Any]:
    """The items of a list. What is no list, such as a variable or an unknown value, stands for those that it has."""
    return value if isinstance(value, list) else [value]


def _either(before: Any, after: Any, why: Unknown) -> Any:
    """What is certain of a value that is one of two."""
    if isinstance(before, list) and isinstance(after, list):
        return [*(item for item in before if item in after), why]
    return before if before == after else why


def _condition(test: ast.expr) -> Unknown:
    """Why a value is not known that depends on `test`."""
    asked = dict.fromkeys(variable.name for variable in _variables(test))
    return Unknown(f"depends on {', '.join(asked) or textwrap.shorten(ast.unparse(test), 60)}")


MAKES_ANOTHER = {"join", "joinpath", "format", "open", "read", "read_text", "read_bytes", "load", "loads"}
"""What makes another value of a variable's than the variable's own."""


def _name(node: ast.expr) -> str:
    """`os.environ.get` of such an expression; empty where it is another."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _name(node.value)
        return f"{inner}.{node.attr}" if inner else node.attr
    return ""


def _variables(tree: ast.AST) -> Iterator[Variable]:
    """The environment variables that are read in a piece of code."""
    return filter(None, map(_variable_of, ast.walk(tree)))


def _variable_of(node: ast.AST) -> Variable | None:
    """The environment variable that this piece of code reads itself: by os.environ, django-environ, decouple, environs
    and dj_database_url."""
    if isinstance(node, ast.Subscript) and _name(node.value).endswith("environ"):
        return _variable(node.slice, isinstance(node.ctx, ast.Load))
    if isinstance(node, ast.Call):
        function = _name(node.func)
        defaults = [*node.args[1:], *(given.value for given in node.keywords if given.arg == "default")]
        default = next((given.value for given in defaults if isinstance(given, ast.Constant)), None)
        if function in ("dj_database_url.config", "env.db", "env.db_url") and not node.args:
            return Variable("DATABASE_URL", not defaults, default)
        if node.args and function.endswith(("environ.get", "getenv")):
            return _variable(node.args[0], False, default)
        if node.args and function.split(".")[0] in ("env", "config", "ENV"):
            return _variable(node.args[0], not defaults, default)
    return None


NOT_ASKED = {"DJANGO_SETTINGS_MODULE", "PATH", "HOME", "VIRTUAL_ENV"}
"""Variables that every process of a site has already."""


def _variable(name: ast.expr, needed: bool, default: Any = None) -> Variable | None:
    """The variable whose name is this expression, if it is a name for one."""
    text = name.value if isinstance(name, ast.Constant) else None
    if isinstance(text, str) and text.isidentifier() and text not in NOT_ASKED:
        return Variable(text, needed, default)
    return None
