"""The documentation as a site: it is built without a warning, and each link leads to a page."""

from __future__ import annotations

import html
import html.parser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def build(config: Path, target: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(target)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", target)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return target


class Links(html.parser.HTMLParser):
    """What a page links to, and the anchors that it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if given.get("id"):
            self.anchors.add(str(given["id"]))


def test_every_link_of_every_page_leads_somewhere(site: Path) -> None:
    pages = {page: Links(page) for page in site.rglob("*.html") if page.name != "404.html"}
    assert len(pages) > 40
    broken = []
    for page, found in pages.items():
        for link in found.links:
            path, _, anchor = link.partition("#")
            if "://" in link or link.startswith("mailto:"):
                continue
            target = (page.parent / path / "index.html").resolve() if path else page
            if target not in pages or (anchor and anchor not in pages[target].anchors):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


def test_the_first_page_is_the_readme(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert "See it work" in text
    assert 'href="tutorial/"' in text
    assert 'href="contributing/"' in text


def test_a_file_that_a_page_links_to_is_a_page(site: Path) -> None:
    shown = site / "files" / "examples" / "pipelines" / "pipeline.sh" / "index.html"
    assert "trap 'rm -rf" in html.unescape(re.sub("<[^>]+>", "", shown.read_text(encoding="utf-8")))


def test_every_page_and_role_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")]
    roles = [f"roles/{path.name}.md" for path in ROOT.glob("roles/*")]
    assert [page for page in [*pages, *roles] if f": {page}\n" not in text] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[x](nowhere.md)\n", "nowhere.md"),
        ("[x](../roles/none/README.md)\n", "roles/none"),
        ("[x](index.md#no-such-heading)\n", "no-such-heading"),
    ],
)
def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(text)
    config, _, _ = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("not_in_nav:")
    config = config.replace("hooks: [", f"hooks: [{ROOT}/")
    (tmp_path / "mkdocs.yml").write_text(f"{config}not_in_nav: '*'\nnav: [page.md]\n")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 1
    assert said in done.stderr
