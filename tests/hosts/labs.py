"""Labs of their own for tests that need several hosts, or another distribution than the rest."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from hostwright.errors import HostwrightError
from hostwright.lab import machine, plan
from tests.conftest import need
from tests.hosts.conftest import IMAGE, ROOT, World, sample

all_hosts = pytest.mark.skipif(
    os.environ.get("HOSTWRIGHT_HOSTS") != "all", reason="takes minutes; make test-all, or HOSTWRIGHT_HOSTS=all"
)


class Fleet(World):
    """A lab with its own inventory, which every command is given by -i."""

    def run(self, *argv: str, status: int = 0, timeout: float = 600) -> str:
        return super().run(*argv, "-i", f"inventory/{self.host.lab}", status=status, timeout=timeout)

    def provision(self, *arguments: str) -> None:
        """Run site.yml twice; the second run may change nothing."""
        self.run("ansible-playbook", "playbooks/site.yml", *arguments)
        self.changes_nothing("playbooks/site.yml", *arguments)

    def changes_nothing(self, *arguments: str) -> None:
        again = self.run("ansible-playbook", *arguments)
        changed = [task.split("]")[0] for task in again.split("\nTASK [") if "\nchanged: [" in task]
        assert changed == [], f"the second run changed: {', '.join(changed)}"

    def on(self, name: str, *argv: str) -> str:
        """What a command prints on the host `name`, as root."""
        return machine.execute(next(host for host in self.hosts if host.name == name), argv)

    def says(self, name: str, script: str) -> str:
        """What a shell line prints on the host `name`, whatever its status."""
        return self.on(name, "sh", "-c", f"{{ {script}; }} 2>&1 || true").strip()

    def address(self, name: str) -> str:
        return next(host.address for host in self.hosts if host.name == name)

    def change_site(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the site model in the lab's inventory."""
        path = ROOT / "inventory" / self.host.lab / "group_vars" / "all" / "site.yml"
        variables = yaml.safe_load(path.read_text(encoding="utf-8"))
        change(variables["site"])
        path.write_text(yaml.safe_dump(variables), encoding="utf-8")


@contextlib.contextmanager
def fleet(name: str, layout: str, image: str = IMAGE) -> Iterator[Fleet]:
    """Bare hosts, and a repository with the sample site; both are removed at the end."""
    try:
        machine.prepare()
    except HostwrightError as error:
        need("tests/hosts", error.message, error.hint)
    repository = machine.CACHE.parent / "tests" / name
    machine.down(name)
    shutil.rmtree(repository, ignore_errors=True)
    try:
        hosts: list[plan.Host] = machine.up(name, layout, image)
        sample(name, repository)
        yield Fleet(hosts, repository)
    finally:
        machine.down(name)
        shutil.rmtree(repository, ignore_errors=True)


def certificate(names: str) -> tuple[str, str]:
    """A self-signed certificate for `names` (as in DNS:a,IP:b) and its key, as PEM."""
    request = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test")
    made = subprocess.run(
        (*request, "-addext", f"subjectAltName={names}", "-keyout", "/dev/stdout"),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    start = made.index("-----BEGIN CERTIFICATE")
    key_start = made.index("-----BEGIN PRIVATE KEY")
    parts = sorted([start, key_start])
    first, second = made[parts[0] : parts[1]], made[parts[1] :]
    return (first, second) if start < key_start else (second, first)
