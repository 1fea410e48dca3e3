"""A clean host that stands for somebody's own machine, or for what a pipeline's job runs on, beside bare servers."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from hostwright.errors import HostwrightError
from hostwright.lab import machine, plan
from tests.conftest import need
from tests.hosts.conftest import IMAGE, ROOT

on_debian_12 = pytest.mark.skipif(IMAGE != "debian:12", reason="its clean host is a Debian 12, with Python 3.11")

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GIT = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "test"), ("EMAIL", "test@example.com"))
}


@dataclass(frozen=True)
class Machine:
    """The clean host, and the servers, which let its key in as root."""

    engine: plan.Engine
    host: plan.Host
    servers: list[plan.Host]

    @property
    def key(self) -> str:
        return (machine.CACHE / self.host.lab / "key").read_text(encoding="utf-8")

    @property
    def public_key(self) -> str:
        return (machine.CACHE / self.host.lab / "key.pub").read_text(encoding="utf-8").strip()

    @property
    def known_hosts(self) -> str:
        return (machine.CACHE / self.host.lab / "known_hosts").read_text(encoding="utf-8")

    def put(self, path: str, data: bytes | str, mode: str = "644") -> None:
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
        content = data.encode() if isinstance(data, str) else data
        machine.execute(self.host, ["sh", "-c", script, "put", path, mode], stdin=content)

    def read(self, path: str) -> str:
        return machine.execute(self.host, ["cat", path])

    def run(self, script: str, environment: Mapping[str, str] = {}, status: int = 0, timeout: float = 1200) -> str:
        """Run a bash script with an environment of its own, and nobody at its terminal; returns all that it printed."""
        self.put("/root/.script", script)
        variables = {"HOME": "/root", "PATH": PATH, "LANG": "C.UTF-8", **GIT, **environment}
        pairs = [f"{name}={value}" for name, value in variables.items()]
        argv = [self.engine.program, "exec", self.host.container, "env", "-i", *pairs]
        done = subprocess.run(
            [*argv, "bash", "/root/.script"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        printed = done.stdout.decode(errors="replace")
        assert done.returncode == status, f"it ended with {done.returncode}, not {status}:\n{printed[-6000:]}"
        return printed

    def clone(self, repository: Path, path: str) -> None:
        """Bring a repository of this machine there, with all that is committed, as a bare one."""
        packed = subprocess.run(
            ["git", "-C", str(repository), "bundle", "create", "-q", "-", "--all", "HEAD"],
            capture_output=True,
            check=True,
        ).stdout
        self.put("/root/.bundle", packed)
        self.run(f"rm -rf {path} && git clone --quiet --bare /root/.bundle {path} && rm /root/.bundle")


@contextlib.contextmanager
def clean(name: str) -> Iterator[Machine]:
    """The lab `name`, with a clean host and two servers. It is removed at the end."""
    try:
        engine = machine.prepare()
    except HostwrightError as error:
        need("tests/hosts", error.message, error.hint)
    machine.down(name)
    try:
        host, *servers = machine.up(name, "two", IMAGE)
        made = Machine(engine, host, servers)
        made.put("/root/.ssh/id_ed25519", made.key, "600")
        made.put("/root/.ssh/id_ed25519.pub", made.public_key + "\n")
        yield made
    finally:
        machine.down(name)


def wheel(target: Path) -> Path:
    """This checkout as what `pip install hostwright` gets."""
    argv = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target), str(ROOT)]
    subprocess.run(argv, capture_output=True, check=True)
    return next(target.glob("hostwright-*.whl"))


def offer(made: Machine, target: Path) -> dict[str, str]:
    """Have `pip install hostwright` take this checkout, with the locked versions; returns the variables that say so."""
    built = wheel(target)
    made.put(f"/root/wheels/{built.name}", built.read_bytes())
    locked = re.findall(r"^([^ #\n]+==[^\\\n]+?) ?\\?$", (ROOT / "requirements/runtime.txt").read_text(), re.MULTILINE)
    made.put("/root/constraints.txt", "\n".join([f"hostwright @ file:///root/wheels/{built.name}", *locked]) + "\n")
    return {"PIP_CONSTRAINT": "/root/constraints.txt", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
