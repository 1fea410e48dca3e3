"""The values of a project's expressions, as far as their text tells."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any


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


class Values:
    """The values of expressions in the module at `path`, by the values of the names that are `known`."""

    def __init__(self, path: PurePosixPath, known: Mapping[str, Any]) -> None:
        self._file, self._known = path, known

    def of(self, node: ast.expr) -> Any:
        """The value of an expression, as far as it can be known."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._file if node.id == "__file__" else self._known.get(node.id, UNKNOWN)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [item for element in node.elts for item in self._elements(element)]
        if isinstance(node, ast.Dict):
            return self._mapping(node)
        known = self._path(node)
        return known if known != UNKNOWN else self._whole(node)

    def _elements(self, node: ast.expr) -> list[Any]:
        return items(self.of(node.value)) if isinstance(node, ast.Starred) else [self.of(node)]

    def _mapping(self, node: ast.Dict) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in zip(node.keys, node.values, strict=True):
            name, value = self.of(key) if key else None, self.of(item)
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
            value = self._known.get(node.id)
            return value if isinstance(value, Variable) else UNKNOWN
        if isinstance(node, ast.IfExp):
            taken, asked = self.of(node.body), [variable.name for variable in variables(node.test)]
            its_own = isinstance(taken, Variable) and taken.name in asked
            return Variable(taken.name, needed=False) if its_own else condition(node.test)
        makes_another = isinstance(node, ast.Call) and name_of(node.func).split(".")[-1] in MAKES_ANOTHER
        if makes_another or isinstance(node, ast.BinOp | ast.JoinedStr):
            return UNKNOWN
        inner = map(self._whole, ast.iter_child_nodes(node))
        return next((value for value in inner if isinstance(value, Variable)), UNKNOWN)

    def _path(self, node: ast.expr) -> Any:
        """The value of what is put together of paths and texts."""
        if isinstance(node, ast.BinOp):
            left, right = self.of(node.left), self.of(node.right)
            if isinstance(node.op, ast.Add):
                return joined(left, right)
            if (
                isinstance(node.op, ast.Div)
                and isinstance(left, PurePosixPath)
                and isinstance(right, str | PurePosixPath)
            ):
                return left / right
        if isinstance(node, ast.Attribute) and node.attr == "parent":
            inner = self.of(node.value)
            return inner.parent if isinstance(inner, PurePosixPath) else UNKNOWN
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            holder = self.of(node.value)
            if isinstance(holder, dict):
                return holder.get(node.slice.value, UNKNOWN)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "parents":
            inner, number = self.of(node.value.value), self.of(node.slice)
            if isinstance(inner, PurePosixPath) and isinstance(number, int) and 0 <= number < len(inner.parents):
                return inner.parents[number]
        if isinstance(node, ast.Call):
            return self._call(node)
        return UNKNOWN

    def _call(self, node: ast.Call) -> Any:
        function = name_of(node.func).split(".")[-1]
        given = [self.of(argument) for argument in node.args]
        if isinstance(node.func, ast.Attribute) and function in ("resolve", "absolute", "joinpath", "as_posix"):
            given = [self.of(node.func.value), *given]
        elif function not in ("Path", "str", "abspath", "realpath", "normpath", "dirname", "join", "fspath"):
            return UNKNOWN
        if not given or not all(isinstance(part, str | PurePosixPath) for part in given):
            return UNKNOWN
        if function == "join" and name_of(node.func) not in ("os.path.join", "path.join", "join"):
            return UNKNOWN  # "".join(...)
        whole = PurePosixPath(*given)
        return whole.parent if function == "dirname" else whole


def joined(left: Any, right: Any) -> Any:
    """`left + right`, or what is certain of it."""
    if isinstance(left, PurePosixPath) and isinstance(right, str):
        return PurePosixPath(f"{left}{right}")
    if isinstance(left, list) or isinstance(right, list):
        return [*items(left), *items(right)]
    return left + right if isinstance(left, str) and isinstance(right, str) else UNKNOWN


def items(value: Any) -> list[Any]:
    """The items of a list. What is no list, such as a variable or an unknown value, stands for those that it has."""
    return value if isinstance(value, list) else [value]


def condition(test: ast.expr) -> Unknown:
    """Why a value is not known that depends on `test`."""
    asked = dict.fromkeys(variable.name for variable in variables(test))
    return Unknown(f"depends on {', '.join(asked) or textwrap.shorten(ast.unparse(test), 60)}")


MAKES_ANOTHER = {"join", "joinpath", "format", "open", "read", "read_text", "read_bytes", "load", "loads"}
"""What makes another value of a variable's than the variable's own."""


def name_of(node: ast.expr) -> str:
    """`os.environ.get` of such an expression; empty where it is another."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = name_of(node.value)
        return f"{inner}.{node.attr}" if inner else node.attr
    return ""


def variables(tree: ast.AST) -> Iterator[Variable]:
    """The environment variables that are read in a piece of code."""
    return filter(None, map(_variable_of, ast.walk(tree)))


def _variable_of(node: ast.AST) -> Variable | None:
    """The environment variable that this piece of code reads itself: by os.environ, django-environ, decouple, environs
    and dj_database_url."""
    if isinstance(node, ast.Subscript) and name_of(node.value).endswith("environ"):
        return _variable(node.slice, isinstance(node.ctx, ast.Load))
    if isinstance(node, ast.Call):
        function = name_of(node.func)
        defaults = [*node.args[1:], *(given.value for given in node.keywords if given.arg == "default")]
        default = next((given.value for given in defaults if isinstance(given, ast.Constant)), None)
        if function in ("dj_database_url.config", "env.db", "env.db_url") and not node.args:
            return Variable("DATABASE_URL", not defaults, default)
        if node.args and function.endswith(("environ.get", "getenv")):
            return _variable(node.args[0], False, default)
        # decouple's `config` is called; what has methods is a ConfigParser, whose first argument is a section.
        if node.args and (function == "config" or function.split(".")[0] in ("env", "ENV")):
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
