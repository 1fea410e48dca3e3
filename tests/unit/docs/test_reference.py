"""What a stranger reads is true: generated pages are fresh, links lead somewhere, commands and events exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hostwright.tasks import namespace

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/*/README.md")])
ROLES = sorted(ROOT.glob("roles/*"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


@pytest.mark.parametrize("tool", ["role_readmes", "site_reference", "fab_reference", "faults_table", "peers_table"])
def test_pages_made_from_the_code_are_fresh(tool: str) -> None:
    argv = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--check"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stale_page_is_named(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, 'tools'); import generated; generated.ROOT = generated.Path(sys.argv.pop());"
        "sys.exit(generated.publish({generated.ROOT / 'page.md': 'new'}, None))"
    )
    (tmp_path / "page.md").write_text("old")
    argv = [sys.executable, "-c", script, "--check", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (1, "page.md is stale: run `make docs`\n")
    assert (tmp_path / "page.md").read_text() == "old"


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_each_row_of_a_table_is_one_line(page: Path) -> None:
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert [row for row in rows if not row.endswith("|")] == []


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_task_playbook_and_make_target_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    tasks = set(re.findall(r"(?:^ {4}|`)fab ([a-z][a-z._]*)(?![a-z.*])", text, re.MULTILINE))
    assert sorted(tasks - set(namespace.task_names)) == []
    playbooks = re.findall(r"playbooks/[a-z_]+\.yml", text)
    assert [playbook for playbook in playbooks if not (ROOT / playbook).is_file()] == []
    targets = set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, re.MULTILINE))
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert sorted(targets - known) == []


def test_a_message_that_a_page_explains_is_one_that_is_said() -> None:
    text = (ROOT / "docs" / "howto" / "troubles.md").read_text(encoding="utf-8")
    seen = [row.split(" | ")[0] for row in text.splitlines() if row.startswith("| ")]
    quoted = [message for cell in seen for message in re.findall(r"`([^`]+ [^`]+)`", cell)]
    assert len(quoted) > 10
    patterns = ("hostwright/**/*.py", "roles/**/*.py", "roles/*/tasks/*.yml", "roles/nginx/templates/*")
    code = [path for pattern in patterns for path in ROOT.glob(pattern)]
    said = "\n".join(path.read_text(encoding="utf-8") for path in code)
    # But for a number or a name in it, which each case has its own of.
    parts = [part.strip(" :") for message in quoted for part in re.split(r"\b(?:[0-9]+|status|[A-Z]{3,})\b", message)]
    assert [part for part in parts if part not in said] == []


def test_every_event_is_described() -> None:
    engine = ROOT / "roles" / "release" / "files" / "hostwright_engine"
    emitted = {
        name
        for path in [*ROOT.glob("hostwright/**/*.py"), engine / "server.py", engine / "transaction.py"]
        for name in re.findall(r'(?:\.event\(\s*|"event": )"([a-z]+)"', path.read_text(encoding="utf-8"))
    }
    described = set(
        re.findall(r"^(?:\| )?`([a-z]+)`", (ROOT / "docs/events.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert {"begin", "state", "step", "done", "end", "status", "release"} <= emitted
    # Between engine and controller only.
    assert sorted(emitted - described - {"attached"}) == []


@pytest.mark.parametrize("role", ROLES, ids=[role.name for role in ROLES])
def test_a_roles_example_agrees_with_its_argument_specs(role: Path) -> None:
    spec = load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]
    used = [entry for play in yaml.safe_load(spec["examples"]) for entry in play["roles"]]
    assert [entry["role"] for entry in used] == [role.name]
    assert sorted(set(used[0]["vars"]) - set(spec["options"])) == []


def test_the_collection_and_the_package_have_one_version() -> None:
    package = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert [load(ROOT / "galaxy.yml")["version"]] == package
