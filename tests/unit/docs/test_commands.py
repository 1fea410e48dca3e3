"""The commands of README and tutorial: each is run by tests/hosts/test_docs.py, or is said to be run elsewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from hostwright.tasks import namespace
from tests import documents

PAGES = [documents.README, documents.TUTORIAL]
NAMES = [page.name for page in PAGES]
ALL_PAGES = sorted([documents.README, *documents.ROOT.glob("docs/**/*.md")])

PAGE = """\
Words.

    one    # why
    two

    three
Words, and a list:

- item

    four

```sh
five
```

```yaml
six: no command
```
"""


def test_what_a_block_of_commands_is() -> None:
    found = documents.blocks(Path("page.md"), PAGE)
    assert [(block.line, block.text) for block in found] == [
        (3, "one    # why\ntwo\n\nthree\n"),
        (11, "four\n"),
        (14, "five\n"),
    ]


def test_a_block_that_says_no_language_is_refused() -> None:
    with pytest.raises(ValueError, match=r"page\.md:1: a fenced block says what it holds"):
        documents.blocks(Path("page.md"), "```\nrm -rf x\n```\n")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_script_has_every_line_of_every_block(page: Path) -> None:
    typed = [line for block in documents.blocks(page) for line in block.text.splitlines()]
    assert len(typed) > 15
    script = documents.script(page).splitlines()
    left = [line for line in typed if not all(part in script for part in line.split(" && "))]
    known = [*documents.SUBSTITUTIONS[page], *documents.ELSEWHERE[page]]
    assert [line for line in left if not line.startswith(tuple(known))] == []
    done = subprocess.run(["bash", "-n"], input=documents.script(page), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_what_is_typed_instead_stands_for_something(page: Path) -> None:
    """No row of a table is left over from a command that is gone."""
    text = "".join(block.text for block in documents.blocks(page))
    for old in [*documents.SUBSTITUTIONS[page], *documents.ELSEWHERE[page]]:
        assert re.search(rf"^(.* && )?{re.escape(old)}( .*)?$", text, re.MULTILINE), old


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        (
            "fab rollback                  # to the one before",
            "fab rollback --yes                  # to the one before",
        ),
        ("fab rollback --migrations", "fab rollback --migrations --yes"),
        ("fab rollbacks", "fab rollbacks"),
        ("make demo     # a throwaway host", ""),
        ("fab status", "fab status"),
    ],
)
def test_what_is_typed(line: str, typed: str) -> None:
    assert documents.typed(line, documents.README) == typed


@pytest.mark.parametrize("page", ALL_PAGES, ids=[str(page.relative_to(documents.ROOT)) for page in ALL_PAGES])
def test_every_option_of_a_fab_command_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for task, rest in re.findall(r"(?:^ {4}|`)fab ([a-z]+(?:\.[a-z]+)?)((?: [^`#\n|]+)?)", text, re.MULTILINE):
        if task not in namespace.task_names:
            continue  # test_reference.py says so.
        known = {name for argument in namespace[task].get_arguments() for name in argument.names}
        given = re.findall(r"(?<=\s)--?([a-z][a-z-]*)", re.sub(r'"[^"]*"', "", rest))
        assert sorted(set(given) - {name.replace("_", "-") for name in known}) == [], f"{page.name}: fab {task}{rest}"
