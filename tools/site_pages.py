"""MkDocs' hook for what is not in docs/: the first page is README.md, and what a page links to elsewhere is a page too.

Links stay as they are in the repository, where they lead to files; in the site they lead to the pages of these.
"""

from __future__ import annotations

import os.path
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent

LINK = re.compile(r"\]\(([^)#:\s]+)((?:#[^)\s]*)?)\)")
"""A link to a file, and its anchor."""

LANGUAGES = {".yml": "yaml", ".sh": "sh", ".json": "json"}


def outside() -> dict[str, str]:
    """Files that are pages of their own, and the pages: README.md -> index.md."""
    roles = sorted(path.parent.name for path in ROOT.glob("roles/*/README.md"))
    return {
        "README.md": "index.md",
        "CONTRIBUTING.md": "contributing.md",
        "SECURITY.md": "security.md",
        "CHANGELOG.md": "changelog.md",
        "bench/README.md": "bench.md",
        **{f"roles/{role}/README.md": f"roles/{role}.md" for role in roles},
    }


def page_of(path: str) -> str:
    """The page of a file of the repository: `docs/fab.md` is fab.md, `fabfile.py` is files/fabfile.py.md."""
    if path.startswith("docs/") and path.endswith(".md"):
        return path.removeprefix("docs/")
    return outside().get(path) or f"files/{path}.md"


def file_of(page: str) -> str:
    """The file of a page, by its path in the repository."""
    return next((path for path, known in outside().items() if known == page), f"docs/{page}")


def targets(path: str, text: str) -> Iterator[str]:
    """The files of the repository that the page of `path` links to."""
    for link, _ in LINK.findall(text):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
        if (ROOT / target).is_file():
            yield target


def shown(path: str) -> str:
    """The page of a file that is no page by itself."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return f"# {path}\n\n```{LANGUAGES.get(Path(path).suffix, 'text')}\n{text}```\n"


def on_files(files: Files, *, config: Any) -> Files:
    """Add what is outside of docs/ and is linked to."""
    for path, page in outside().items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    pages = [(file_of(file.src_uri), file.content_string) for file in files.documentation_pages()]
    linked = {target for path, text in pages for target in targets(path, text)}
    for path in sorted(linked):
        if page_of(path).startswith("files/"):
            files.append(File.generated(config, page_of(path), content=shown(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Let the links lead to pages."""
    if page.file.src_uri.startswith("files/"):
        return markdown
    path = file_of(page.file.src_uri)

    def lead(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), found[1]))
        if not (ROOT / target).is_file():
            return found[0]
        return f"]({os.path.relpath(page_of(target), posixpath.dirname(page.file.src_uri) or '.')}{found[2]})"

    return LINK.sub(lead, markdown)
