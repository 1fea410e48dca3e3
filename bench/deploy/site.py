"""The hosts that a benchmark deploys to, with the sample site on them, and the repository that it deploys from."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.commands import environment, run
from hostwright.errors import HostwrightError
from hostwright.lab import machine, plan

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / ".cache" / "bench"
BANNER = "shop/templates/banner.txt"


@dataclass(frozen=True)
class Deploy:
    """When a deploy was confirmed and when it ended, in seconds from its start; the first only where it says so."""

    seconds: float
    confirmed: float | None = None


class Site:
    """The lab `name` with the sample site. Every command is one that a user types."""

    def __init__(self, name: str, layout: str) -> None:
        machine.prepare()
        self.name = name
        self.repository = WORK / name / "shop"
        self.hosts: list[plan.Host] = machine.up(name, layout, "debian:12")
        self._make_repository()
        variables = ROOT / "inventory" / name / "group_vars" / "all" / "repository.yml"
        variables.write_text(yaml.safe_dump({"shop_repository": str(self.repository)}), encoding="utf-8")

    def _make_repository(self) -> None:
        shutil.rmtree(self.repository, ignore_errors=True)
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / "examples" / "shop", self.repository, ignore=ignored)
        self._git("init", "-q", "-b", "main")
        self.change("first")

    def provision(self) -> None:
        """Run the playbooks, and deploy a first release."""
        self.run("ansible-playbook", "playbooks/bootstrap.yml")
        self.run("ansible-playbook", "playbooks/site.yml")
        self.deploy()

    def change(self, text: str) -> None:
        """Commit a change of the code alone."""
        (self.repository / BANNER).write_text(f"{text} {time.time():.6f}\n", encoding="utf-8")
        self._git("add", "-A")
        self._git("commit", "-q", "-m", text)

    def _git(self, *argv: str) -> None:
        author = ("-c", "user.name=bench", "-c", "user.email=bench@example.com")
        run(["git", *author, *argv], cwd=self.repository)

    @property
    def environment(self) -> dict[str, str]:
        return environment({"ANSIBLE_INVENTORY": f"inventory/{self.name}"})

    def run(self, *argv: str) -> str:
        return run(argv, cwd=ROOT, env=self.environment)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start `fab` with `argv`; its events can be read from its output."""
        return subprocess.Popen(
            ["fab", *argv, "--json"],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def deploy(self, hosts: Sequence[plan.Host] = (), *argv: str) -> Deploy:
        """`fab deploy`, or the task that `argv` names, on some hosts or all; raises HostwrightError if it fails."""
        limit = [f"--limit={','.join(host.name for host in hosts)}"] if hosts else []
        started = time.monotonic()
        with self.start(*(argv or ("deploy",)), *limit) as process:
            return timed(process, started)

    def stop(self, hosts: Sequence[plan.Host] = ()) -> None:
        """Switch some hosts or all off, so that they do not burden what is measured next."""
        for host, state in machine.states(self.name):
            if state == "running" and host in (hosts or self.hosts):
                machine.kill(host)


def timed(process: subprocess.Popen[str], started: float) -> Deploy:
    """Read the events of a `fab` process to its end."""
    assert process.stdout is not None
    assert process.stderr is not None
    errors: list[str] = []
    reading = threading.Thread(target=lambda stream: errors.append(stream.read()), args=(process.stderr,))
    reading.start()
    confirmed = None
    for line in process.stdout:
        event: Mapping[str, Any] = json.loads(line)
        if event["event"] == "state" and event["state"] == "confirmed":
            confirmed = time.monotonic() - started
    status = process.wait()
    seconds = time.monotonic() - started
    reading.join()
    if status:
        raise HostwrightError(f"fab ended with status {status}:\n{errors[0][-3000:]}")
    return Deploy(seconds, confirmed)
