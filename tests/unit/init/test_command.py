"""What `hostwright init` says where something is in its way: one message, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hostwright import cli
from hostwright.init import files, project
from hostwright.init.sources import SITE
from tests.unit.init.test_init import MANAGE, READY, SHOP, run, tree


def hostwright(*argv: str, cwd: Path, **how: str) -> subprocess.CompletedProcess[str]:
    """Run `hostwright` as a program of its own."""
    program = [sys.executable, "-c", "import sys; from hostwright.cli import main; sys.exit(main())", *argv]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **how}
    return subprocess.run(program, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"shop/settings.py": READY + 'STATIC_ROOT = BASE_DIR / "static files"\n'}, "static.root: must have no spaces"),
        ({"shop/settings.py": READY + 'os.environ["ÄPFEL"]\n'}, "env.ÄPFEL: the name must be letters, digits and _"),
        ({"öl/celery.py": 'Celery("x")'}, "celery.app: must be a module such as"),
    ],
)
def test_what_the_site_model_refuses_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    texts: dict[str, str],
    said: str,
) -> None:
    assert run(tree(tmp_path, {**SHOP, **texts}), monkeypatch) == 0
    assert f"      - {said}" in capsys.readouterr().out


def test_nothing_is_refused_of_a_good_site(tmp_path: Path) -> None:
    made = files.files(project.look(tree(tmp_path, SHOP)), "..", "new-key")
    assert files.refused(made[SITE]) == []


def test_a_site_that_lacks_nothing_says_nothing(tmp_path: Path) -> None:
    texts = {**SHOP, "requirements.txt": "django\n"}
    made = files.files(project.look(tree(tmp_path, texts)), "..", "new-key")
    assert "could not tell" not in made[SITE]


# --- Git


def test_gits_own_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = tmp_path / "bin/git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\necho \"fatal: detected dubious ownership in repository at '$2'\" >&2\nexit 128\n")
    git.chmod(0o755)
    root = tree(tmp_path / "shop", SHOP)
    monkeypatch.setenv("PATH", str(git.parent))
    looked = project.look(root)
    reason = f"git says: detected dubious ownership in repository at '{root}'"
    rest = "without git, all that lies in the directory is in each release, deploy/ as well"
    assert looked.needs[-1] == (SITE, f"source: {reason}; {rest}")
    assert f"since {reason}: with git," in files.files(looked, "..", "new-key")[SITE]


def test_what_git_tells_a_hook_is_not_about_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, root = tree(tmp_path / "other", SHOP), tree(tmp_path / "shop", SHOP, git=False)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert project.look(root).no_git == "it is no git repository"


def test_a_machine_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path, SHOP)
    monkeypatch.setenv("PATH", "/nowhere")
    said = project.look(root).needs[-1][1]
    assert said.startswith("source: git can't be run here (No such file or directory); without git")


# --- What is in its way


def test_a_directory_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone() -> Path:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "cwd", gone)
    assert cli.main(["init"]) == 2
    assert capsys.readouterr().err == (
        "error: the current directory is not there any more\n  Go into the project's directory.\n"
    )


def test_a_file_of_deploy_that_can_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tree(tmp_path, SHOP), monkeypatch)
    capsys.readouterr()
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "ansible.cfg":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert run(tmp_path, monkeypatch) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/deploy/ansible.cfg can't be read: Permission denied\n"


@pytest.mark.parametrize("into", ["x" * 300, f"{'x' * 300}/y"])
def test_a_name_that_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], into: str
) -> None:
    assert run(tree(tmp_path, SHOP), monkeypatch, "--into", into) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "File name too long" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
def test_an_output_that_takes_nothing(tmp_path: Path) -> None:
    program = "import sys; from hostwright.cli import main; sys.exit(main())"
    with Path("/dev/full").open("w") as full:
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        done = subprocess.run(
            [sys.executable, "-c", program, "example"], stdout=full, stderr=subprocess.PIPE, env=env, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"error: the output can't be written: No space left on device\n")


def test_a_name_that_the_terminal_can_not_show(tmp_path: Path) -> None:
    texts = {"manage.py": MANAGE.format("shop.settings"), "shop/settings.py": READY + 'os.environ["ÄPFEL"]\n'}
    done = hostwright("init", cwd=tree(tmp_path, texts), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "env.\\xc4PFEL" in done.stdout
