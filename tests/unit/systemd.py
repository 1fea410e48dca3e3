"""How systemd reads the texts that we write for it: a small model, after its parsers, and compared with systemd 252."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping


def _quoted(text: str, at: int, known: str) -> tuple[str, int]:
    """The double-quoted string at `at`, and where it ends. Versions differ in what they do with a backslash before
    anything but `known`, so that there must be none."""
    assert text[at] == '"', f"no quote at {text[at:][:40]!r}"
    at += 1
    value = []
    while text[at] != '"':
        if text[at] == "\\":
            at += 1
            assert text[at] in known, f"an escape that versions read differently: {text[at - 1 : at + 1]!r}"
        value.append(text[at])
        at += 1
    return "".join(value), at + 1


def read_environment_file(text: str) -> dict[str, str]:
    """What EnvironmentFile= makes of `text`."""
    found = {}
    at = 0
    while at < len(text):
        key = text[at : text.index("=", at)]
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key), f"no assignment: {text[at:][:40]!r}"
        found[key], at = _quoted(text, at + len(key) + 1, '"\\$`')
        assert text[at] == "\n", f"something after the value: {text[at:][:40]!r}"
        at += 1
    return found


def read_exec_start(line: str, environment: Mapping[str, str]) -> list[str]:
    """The arguments that ExecStart= makes of `line`: quotes and escapes first, then specifiers, then variables."""
    return [_expanded(_specified(word), environment) for word in _words(line)]


def _words(line: str) -> Iterator[str]:
    at = 0
    while at < len(line):
        word, at = _quoted(line, at, '"\\')
        yield word
        assert line[at : at + 1] in ("", " "), f"something after the argument: {line[at:][:40]!r}"
        at += 1


def _specified(word: str) -> str:
    assert "%" not in word.replace("%%", ""), f"a specifier that nobody meant: {word!r}"
    return word.replace("%%", "%")


def _expanded(word: str, environment: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else environment[found[2]]

    return re.sub(r"\$(\$|\{(\w+)\})", value, word)
