"""What a web server asks and is asked: the application, its name, a page that shows that it lives."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any, TypeGuard

from hostwright.init.reading import Reading
from hostwright.init.settings import parse

_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}")


def domain(reading: Reading, name: str) -> str:
    hosts = reading.value("ALLOWED_HOSTS")
    texts = [host for host in hosts if isinstance(host, str)] if isinstance(hosts, list) else []
    own = [host for host in texts if _DOMAIN.fullmatch(host)]
    if not own:
        reading.site_needs("web.domains: the names that the site answers for")
    return own[0] if own else f"{name}.example.com"


def applications(reading: Reading) -> tuple[str, str]:
    """(wsgi, asgi), each `module:object` or empty."""
    found = []
    for kind in ("WSGI", "ASGI"):
        said = reading.value(f"{kind}_APPLICATION")
        if isinstance(said, str) and reading.path(said.rpartition(".")[0]):
            found.append(":".join(said.rsplit(".", 1)))
        else:
            files = reading.sources.named(f"{kind.lower()}.py", reading.base, 2)
            found.append(f"{reading.name(files[0])}:application" if files else "")
    wsgi, asgi = found
    if not wsgi and not asgi:
        said = "there is no wsgi.py and no asgi.py"
        if reading.settings.elsewhere:
            wsgi = f"{reading.settings.elsewhere[0].split('.')[0]}.wsgi:application"
            said += f" here; {wsgi} is a guess"
        reading.site_needs(f"web.wsgi: {said}")
    return wsgi, asgi


def health(reading: Reading) -> str:
    routes = set(_reachable(reading, reading.value("ROOT_URLCONF")))
    if "" in routes:
        return "/"
    if "admin/" in routes:
        return "/admin/login/"
    reading.site_needs("health.path: a page that answers 200 without a login")
    return "/"


def _reachable(reading: Reading, module: Any, within: tuple[str, ...] = ()) -> Iterator[str]:
    """The routes of a URL configuration, with those that it includes by the name of a module of the project."""
    if not isinstance(module, str) or not module or module in within:
        return
    path = reading.path(module)
    for route, included in _routes(reading.sources.source(path) if path else None):
        if included is None:
            yield route
        else:
            yield from (route + inner for inner in _reachable(reading, included, (*within, module)))


def _routes(source: bytes | None) -> Iterator[tuple[str, Any]]:
    """The routes of a URL configuration's own path() and re_path(), with what they include: None where a view is."""
    try:
        tree = parse(source or b"")
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if _calls(node, "path", "re_path", "url") and len(node.args) > 1:
            first, view = node.args[:2]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value.strip("^$"), _included(view) if _calls(view, "include") else None


def _calls(node: ast.AST, *names: str) -> TypeGuard[ast.Call]:
    """Whether `node` calls a function of one of these names."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _included(call: ast.Call) -> Any:
    """What include() names, alone or in a pair with an application's name; empty where that is not written there."""
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Tuple) and first.elts:
        first = first.elts[0]
    return first.value if isinstance(first, ast.Constant) else ""
