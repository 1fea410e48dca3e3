"""What a web server asks and is asked: the application, its name, a page that shows that it lives."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

from hostwright.init.reading import Reading
from hostwright.init.settings import parse
from hostwright.init.values import Variable

_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}")


def domain(reading: Reading, name: str) -> str:
    hosts = reading.value("ALLOWED_HOSTS")
    texts = [host for host in hosts if isinstance(host, str)] if isinstance(hosts, list) else []
    own = [found for found in (host.lower().lstrip(".") for host in texts) if _DOMAIN.fullmatch(found)]
    if own:
        return own[0]
    reading.site_needs("web.domains: the names that the site answers for")
    if texts and texts == hosts and "*" not in texts:
        reading.need(f"ALLOWED_HOSTS has {', '.join(texts)} alone, and lacks the names of web.domains")
    return f"{name}.example.com"


def applications(reading: Reading) -> tuple[str, str]:
    """(wsgi, asgi): `module:object` of the one that is served, and empty."""
    found = []
    for kind in ("WSGI", "ASGI"):
        said = reading.value(f"{kind}_APPLICATION")
        if isinstance(said, str) and reading.path(said.rpartition(".")[0]):
            found.append(":".join(said.rsplit(".", 1)))
        else:
            files = reading.sources.named(f"{kind.lower()}.py", reading.base, 2)
            found.append(f"{reading.name(files[0])}:application" if files else "")
    wsgi, asgi = found
    apps = reading.value("INSTALLED_APPS")
    channels = "channels" in reading.required.names or (
        isinstance(apps, list) and ("channels" in apps or "daphne" in apps)
    )
    if wsgi and asgi and channels and reading.value("ASGI_APPLICATION"):
        reading.site_needs(f"web.asgi: taken for Channels, in place of web.wsgi: {wsgi}, which has no websockets")
        wsgi = ""
    if not wsgi and not asgi:
        said = "there is no wsgi.py and no asgi.py"
        if reading.settings.elsewhere:
            wsgi = f"{reading.settings.elsewhere[0].split('.')[0]}.wsgi:application"
            said += f" here; {wsgi} is a guess"
        reading.site_needs(f"web.wsgi: {said}")
    return wsgi, "" if wsgi else asgi


@dataclass(frozen=True)
class Health:
    path: str
    scheme: str = "http"


def health(reading: Reading) -> Health:
    # What redirects on some condition alone does no harm to a request that counts as https.
    redirects = reading.settings.values.get("SECURE_SSL_REDIRECT")
    secure = (redirects.default if isinstance(redirects, Variable) else redirects or False) is not False
    if secure and reading.value("SECURE_PROXY_SSL_HEADER") is None:
        mend = 'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")'
        reading.need(f"SECURE_SSL_REDIRECT redirects without end behind nginx, which asks by http: {mend}")
    return Health(_health_path(reading), "https" if secure else "http")


def _health_path(reading: Reading) -> str:
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
    """The routes of a URL configuration's own path() and re_path(), with what they include: None where a view is.

    Those that are known to redirect are left out.
    """
    try:
        tree = parse(source or b"")
    except (SyntaxError, ValueError, RecursionError):
        return
    by_language = {inner for node in ast.walk(tree) if _is_by_language(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if _calls(node, "path", "re_path", "url") and len(node.args) > 1 and node not in by_language:
            first, view = node.args[:2]
            if "RedirectView" in ast.unparse(view):
                continue
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value.strip("^$"), _included(view) if _calls(view, "include") else None


def _calls(node: ast.AST, *names: str) -> TypeGuard[ast.Call]:
    """Whether `node` calls a function of one of these names."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _is_by_language(node: ast.AST) -> bool:
    """Whether these are routes that redirect to the same below a language's prefix."""
    if not _calls(node, "i18n_patterns"):
        return False
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    prefix = given.get("prefix_default_language")
    return not (isinstance(prefix, ast.Constant) and prefix.value is False)


def _included(call: ast.Call) -> Any:
    """What include() names, alone or in a pair with an application's name; empty where that is not written there."""
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Tuple) and first.elts:
        first = first.elts[0]
    return first.value if isinstance(first, ast.Constant) else ""
