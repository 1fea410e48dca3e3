"""A throwaway host with the sample site on it, for the tests in this folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from hostwright.errors import HostwrightError
from hostwright.lab import machine, plan
from tests.conftest import need

ROOT = Path(__file__).resolve().parent.parent.parent
LAB = "test"
IMAGE = os.environ.get("HOSTWRIGHT_IMAGE", "debian:12")
"""What the hosts run, such as ubuntu:16.04 where a registry answers."""


@dataclass
class World:
    """The lab, its inventory, and the repository that is deployed from."""

    hosts: list[plan.Host]
    repository: Path

    @property
    def host(self) -> plan.Host:
        return self.hosts[0]

    @property
    def url(self) -> str:
        return f"http://{self.host.address}"

    def run(self, *argv: str, status: int = 0, timeout: float = 600) -> str:
        """Run a command of the project; returns all that it printed. `status` is what it has to end with."""
        done = subprocess.run(
            argv, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
        )
        printed = done.stdout + done.stderr
        assert done.returncode == status, f"{' '.join(argv)} ended with {done.returncode}:\n{printed[-6000:]}"
        # Of the application's, indented, there may be one: it is the cause that an error shows.
        assert not re.search(r"^Traceback", done.stderr, re.MULTILINE), printed[-6000:]
        assert "[DEPRECATION WARNING]" not in printed, printed[-6000:]
        return printed

    def fab(self, *argv: str, status: int = 0) -> str:
        return self.run("fab", *argv, status=status)

    def page(self, path: str = "/") -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return str(answer.read().decode())

    def serving(self) -> tuple[str, str]:
        """The banner and the release of what serves."""
        page = self.page()
        return page.split("<p>")[1].split("</p>")[0].strip(), page.split("<code>")[1].split("</code>")[0]

    def on_host(self, *argv: str) -> str:
        return machine.execute(self.host, argv)

    def commit(self, changes: dict[str, str | None], message: str = "change") -> None:
        """Commit files by their paths; None removes one."""
        for path, text in changes.items():
            target = self.repository / path
            if text is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
        git(self.repository, "add", "-A")
        git(self.repository, "commit", "-q", "--allow-empty", "-m", message)

    def undo_commit(self) -> None:
        git(self.repository, "reset", "-q", "--hard", "HEAD~1")

    def deploy_text(self, text: str) -> str:
        """Deploy a release whose page says `text`."""
        self.commit({"shop/templates/banner.txt": text + "\n"}, text)
        return self.fab("deploy")

    def releases(self) -> list[str]:
        return self.on_host("ls", "/srv/shop/releases").split()


def git(repository: Path, *argv: str) -> None:
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(("git", *author, *argv), cwd=repository, check=True, capture_output=True)


def sample(lab: str, repository: Path) -> None:
    """Commit the sample project as it is now to `repository`, which the lab's inventory is told to deploy from."""
    ignored = shutil.ignore_patterns("__pycache__", "deploy")
    shutil.copytree(ROOT / "examples" / "shop", repository, ignore=ignored, dirs_exist_ok=True)
    git(repository, "init", "-q")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "--allow-empty", "-m", "the sample project")
    variables = ROOT / "inventory" / lab / "group_vars" / "all" / "repository.yml"
    variables.write_text(yaml.safe_dump({"shop_repository": str(repository)}), encoding="utf-8")


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "ANSIBLE_INVENTORY": f"inventory/{LAB}", "ANSIBLE_NOCOLOR": "1"}


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """A bare host, and a repository with the sample site. HOSTWRIGHT_KEEP_LAB=1 keeps the host for the next run."""
    try:
        machine.prepare()
    except HostwrightError as error:
        need("tests/hosts", error.message, error.hint)
    keep = bool(os.environ.get("HOSTWRIGHT_KEEP_LAB"))
    repository = machine.CACHE.parent / "tests" / "shop"
    if not keep:
        machine.down(LAB)
    hosts = machine.up(LAB, "one", IMAGE)
    shutil.rmtree(repository, ignore_errors=True)
    sample(LAB, repository)
    yield World(hosts, repository)
    if not keep:
        machine.down(LAB)
        shutil.rmtree(repository)


@pytest.fixture(scope="session")
def provisioned(world: World) -> World:
    """The same, after bootstrap and site playbooks."""
    world.run("ansible-playbook", "playbooks/bootstrap.yml")
    world.run("ansible-playbook", "playbooks/site.yml")
    return world


@pytest.fixture(scope="session")
def deployed(provisioned: World) -> World:
    """The same, with a first release live."""
    provisioned.deploy_text("the first release")
    return provisioned


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def started() -> Iterator[Start]:
    """Start a command whose output is read as it comes; it has ended, or is ended, with the test."""
    shown = {**environment(), "PYTHONFAULTHANDLER": "1"}
    with contextlib.ExitStack() as stack:

        def start(*argv: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                argv, cwd=ROOT, env=shown, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            stack.enter_context(process)
            stack.callback(_end, process)
            return process

        yield start


def _end(process: subprocess.Popen[str]) -> None:
    """End a command that a failed test left running; it says where it is."""
    if process.poll() is None:
        process.send_signal(signal.SIGABRT)
        try:
            print(process.communicate(timeout=10)[0])
        finally:
            process.kill()


def eventually(what: str, condition: object, seconds: float = 30) -> None:
    """Wait until `condition()` is true."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.2)
