"""The commands that README and tutorial show, and how a test runs them: all, from top to bottom, in one shell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"

SUBSTITUTIONS = {
    README: {
        # The repository has no address yet.
        "git clone … hostwright": "git clone --quiet /root/hostwright.git hostwright",
        # It does not end by itself.
        "fab logs --follow": "timeout 5 fab logs --follow || test $? = 124",
        # Two rollbacks need three releases.
        "fab deploy --ref v2.4.1": "fab deploy --ref v2.4.0 && fab deploy --ref v2.4.1",
        # Nobody is there to answer.
        "fab rollback": "fab rollback --yes",
        "fab rollback --migrations": "fab rollback --migrations --yes",
        # Its status says that changes are pending.
        "fab partition.plan": "fab partition.plan || test $? = 3",
    },
    TUTORIAL: {
        # The clean machine's user is root, and has no sudo.
        "sudo apt-get update && sudo apt-get install": "apt-get update -q && apt-get install",
        # The server of the lab.
        "export SERVER=192.0.2.11": "export SERVER=$LAB_SERVER",
        # Nobody is there to compare the fingerprint.
        "ssh root@$SERVER true": "ssh -o StrictHostKeyChecking=accept-new root@$SERVER true",
        "fab rollback": "fab rollback --yes",
    },
}
"""Page -> a command, or the beginning of one -> what the test types in its place. All else is run as it stands."""

ELSEWHERE = {
    README: {
        "make demo": "tests/hosts/test_docs.py, on this machine: it makes the host itself",
        "make test": "what runs these tests",
    },
    TUTORIAL: {},
}
"""Page -> a command that is not run in the clean machine -> what runs it."""


@dataclass(frozen=True)
class Block:
    """A block of commands, and the line of its page where it begins."""

    page: Path
    line: int
    text: str


def blocks(page: Path, text: str | None = None) -> list[Block]:
    """The blocks of commands in a page: what is indented by four spaces, and what is fenced as `sh`.

    Raises ValueError for a block that may be commands or not: one that is fenced and says no language.
    """
    return list(_blocks(page, page.read_text(encoding="utf-8") if text is None else text))


def _blocks(page: Path, text: str) -> Iterator[Block]:
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        start = number
        fence = re.match(r" *(```+|~~~+) *([a-z]*)", lines[number])
        if fence:
            end = next(n for n in range(start + 1, len(lines)) if lines[n].strip() == fence[1])
            if not fence[2]:
                raise ValueError(f"{page.name}:{start + 1}: a fenced block says what it holds, such as ```text")
            if fence[2] in ("sh", "bash", "console"):
                yield Block(page, start + 2, "\n".join(lines[start + 1 : end]) + "\n")
            number = end + 1
        elif lines[number].startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number].strip()):
                number += 1
            shown = [line[4:] for line in lines[start:number]]
            yield Block(page, start + 1, "\n".join(shown).rstrip() + "\n")
        else:
            number += 1


def typed(line: str, page: Path) -> str:
    """What the test types for a line of a block; nothing where the command is run elsewhere."""
    command, comment = re.fullmatch(r"(.*?)(\s+# .*)?", line, re.DOTALL).groups()
    if command in ELSEWHERE[page]:
        return ""
    known = SUBSTITUTIONS[page]
    # Of those that fit, the longest: `fab rollback --migrations` is not `fab rollback`.
    fits = sorted((old for old in known if command == old or command.startswith(f"{old} ")), key=len)
    return (command.replace(fits[-1], known[fits[-1]], 1) if fits else command) + (comment or "")


def script(page: Path) -> str:
    """A shell script that runs the commands of the page, says where each block stands, and ends at a failure."""
    parts = ["set -e -o pipefail\n"]
    for block in blocks(page):
        # What came before may have ended without a line's end, as a page that curl shows.
        parts.append(f"printf '\\n==> {page.name}:{block.line}\\n' >&2\n")
        # Of `a && b` the shell would not end at a failure of a.
        parts += [typed(line, page).replace(" && ", "\n") + "\n" for line in block.text.splitlines()]
    return "".join(parts)
