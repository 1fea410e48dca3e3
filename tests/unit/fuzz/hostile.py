"""Texts and values that mean harm, to whatever takes them for more than data."""

from __future__ import annotations

import collections
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MANY = "HOSTWRIGHT_FUZZ" in os.environ
EXAMPLES = int(os.environ.get("HOSTWRIGHT_FUZZ", "15"))
CANARY = Path(tempfile.gettempdir()) / f"hostwright-executed-{os.getpid()}"

counts: collections.Counter[str] = collections.Counter()
"""Name of a test -> how many inputs it was given."""

SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=not MANY,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def fuzz(*strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a test as many inputs as were asked for, and count them."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def counted(*args: Any, **kwargs: Any) -> None:
            counts[test.__name__] += 1
            test(*args, **kwargs)

        return SETTINGS(given(*strategies)(counted))

    return decorate


COMMANDS = [
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"; touch {CANARY} #",
    f"| touch {CANARY}",
    f"\n[Service]\nExecStart=/usr/bin/touch {CANARY}\n",
    f'"; touch {CANARY}; "',
    f"'; touch {CANARY}; '",
    f"-c touch${{IFS}}{CANARY}",
    f"--upload-pack=touch {CANARY}",
    f"--output={CANARY}",
    f"ext::sh -c touch% {CANARY}",
    f"{{{{ lookup('pipe', 'touch {CANARY}') }}}}",
]
PATHS = ["..", ".", "/", "../../etc/passwd", "/etc/shadow", "a/../../b", "~root", "-", "--", "con\0/../x", "a" * 300]
WORDS = ["%h", "%%n", "${HOME}", "$HOME", "{venv}", "{instance}", "\\", '"', "'", "\\\n", "\r\n", " a ", "\t", "", "0"]
TURNS = ["a\u202eb", "\u2066a\u2069", "\u200f", "\u2028", "\ufeff", "\x1b]0;x\x07", "\x9b31m", "\x7f"]
HALVES = ["\ud800", "a\udcffb"]
ALL = COMMANDS + PATHS + WORDS + TURNS + HALVES

texts = st.one_of(
    st.sampled_from(ALL),
    st.text(alphabet="\"'\\$`\n\r\t ;|&<>(){}[]*?~#%!=:@/.,-_aA0\0\x1b\x7f\x9b\u202e\u2066\u00fc\ud800", max_size=12),
    st.text(max_size=30),
    st.lists(st.sampled_from(ALL), min_size=2, max_size=3).map("".join),
)
values = st.recursive(
    st.one_of(
        texts,
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-1, 70000),
        st.sampled_from([2**63, -(2**63), 10**400]),
        st.floats(),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


LIKE: dict[type, st.SearchStrategy[Any]] = {
    str: texts,
    int: st.integers(-1, 70000),
    bool: st.booleans(),
    list: st.lists(texts, max_size=3),
    dict: st.dictionaries(texts, texts, max_size=3),
}
"""Type -> hostile values of it."""


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in `data`: the path of each value in it, its own first."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(found for key, value in inner for found in places(value, (*path, key)))]


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """`data` with `value` at `path`."""
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


def mutations(data: Any) -> st.SearchStrategy[Any]:
    """`data` with hostile values in one to three of its places, or keys that it does not know."""

    @st.composite
    def mutated(draw: st.DrawFn) -> Any:
        result = data
        for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
            path = draw(st.sampled_from(places(result)))
            kind = type(at(result, path))
            # Mostly of the type that is wanted: else little would be accepted, and looked at further.
            value = draw(LIKE.get(kind, values) if draw(st.integers(0, 4)) else values)
            if path and draw(st.integers(0, 9)) == 0:
                *parent, _ = path
                result = changed(result, (*parent,), _with_key(at(result, parent), draw(texts), value))
            else:
                result = changed(result, path, value)
        return result

    return mutated()


def at(data: Any, path: Any) -> Any:
    for part in path:
        data = data[part]
    return data


def _with_key(data: Any, key: str, value: Any) -> Any:
    return {**data, key: value} if isinstance(data, dict) else [*data, value]
