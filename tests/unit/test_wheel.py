"""The wheel, installed in a virtualenv of its own and used from a project, with this environment's dependencies."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import need

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections/hostwright/hostwright"
PROGRAMS = ("ansible", "ansible-inventory", "ansible-playbook", "fab")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target), str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if "No matching distribution found for hatchling" in done.stderr:
        need("the wheel", "pip can't fetch what builds it, hatchling", "Give pip an index that answers.")
    assert done.returncode == 0, done.stderr
    return next(target.glob("hostwright-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of a virtualenv with the wheel, where nothing leads to this checkout."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, capture_output=True, check=True)
    paths = sysconfig.get_paths("venv", {"base": str(home), "platbase": str(home)})
    (Path(paths["purelib"]) / "dependencies.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    for program in PROGRAMS:
        _, _, script = Path(sys.executable).with_name(program).read_text().partition("\n")
        (home / "bin" / program).write_text(f"#!{python}\n{script}")
        (home / "bin" / program).chmod(0o755)
    return home / "bin"


@pytest.fixture(scope="module")
def deploy(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `hostwright init` writes into a project of `django-admin startproject`."""
    project = tmp_path_factory.mktemp("project")
    subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", str(project)], check=True)
    run(installed, project, "hostwright", "init")
    return project / "deploy"


def run(installed: Path, where: Path, program: str, *arguments: str, status: int = 0) -> str:
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "HOME": str(where)}
    environment.pop("ANSIBLE_CONFIG", None)
    done = subprocess.run(
        [installed / program, *arguments], cwd=where, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_wheel_has_all_that_playbooks_and_tasks_use(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    parts = ["roles", "playbooks", "plugins", "templates", "meta", "inventory"]
    files = [path for part in parts for path in _tracked(part)]
    assert {f"{COLLECTION}/{path}" for path in files} - names == set()
    assert set(_tracked("hostwright")) - names == set()
    assert {name for name in names if name.endswith(".pyc") or "/.cache/" in name} == set()
    inventories = {name.split("/")[4] for name in names if name.startswith(f"{COLLECTION}/inventory/")}
    assert inventories == {"example", "minimal"}


def _tracked(part: str) -> list[str]:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", part], capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.splitlines() if (ROOT / path).exists()]


def test_fab_and_ansible_work_in_what_init_wrote(installed: Path, deploy: Path) -> None:
    assert "name: mysite" in run(installed, deploy, "fab", "config.check")
    playbooks = [f"playbooks/{name}.yml" for name in ("bootstrap", "site", "upgrade")]
    assert run(installed, deploy, "ansible-playbook", "--syntax-check", *playbooks).split() == [
        word for playbook in playbooks for word in ("playbook:", playbook)
    ]
    listed = run(installed, deploy, "ansible-playbook", "--list-tasks", "playbooks/site.yml")
    assert "hostwright.hostwright.firewall : Write the rules and their unit" in listed


def test_the_playbooks_bring_their_filters(installed: Path, deploy: Path) -> None:
    (deploy / "seen.yml").write_text(
        "- import_playbook: hostwright.hostwright.upgrade\n"
        "- hosts: localhost\n"
        "  gather_facts: false\n"
        "  tasks:\n"
        "    - ansible.builtin.debug:\n"
        "        msg: \"owner={{ ({'name': 'mysite', 'source': {'git': '.'}} | hostwright_site).name }}\"\n"
    )
    (deploy / "nobody.yml").write_text("all: {}\n")
    said = run(installed, deploy, "ansible-playbook", "-i", "nobody.yml", "seen.yml")
    assert "owner=mysite" in said


def test_a_wrong_key_is_explained_by_what_is_installed(installed: Path, deploy: Path) -> None:
    site = deploy / "inventory/production/group_vars/all/site.yml"
    text = site.read_text()
    site.write_text(text.replace("  web:", "  wep:"))
    said = run(installed, deploy, "fab", "config.check", status=2)
    site.write_text(text)
    assert said == ("error: site.wep: unknown key (did you mean web?)\n  `hostwright example` shows every key.\n")
    assert "  wsgi: shop.wsgi:application" in run(installed, deploy, "hostwright", "example")
