"""The hosts that a benchmark deploys to, with the sample site on them, and the repository that it deploys from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

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


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, with the project's programs first on PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "ANSIBLE_NOCOLOR": "1", **more}


def run(argv: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed; raises HostwrightError with its last lines."""
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = (done.stdout + done.stderr)[-3000:]
        raise HostwrightError(f"{' '.join(argv[:4])} ended with status {done.returncode}:\n{tail}")
    return done.stdout


def settle(busy: float = 0.2, seconds: float = 10.0) -> None:
    """Wait until the processors have been idle for a second, so that one measurement does not burden the next."""
    deadline = time.monotonic() + seconds
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        before = _cpu()
        time.sleep(0.5)
        after = _cpu()
        idle, total = after[0] - before[0], after[1] - before[1]
        quiet = quiet + 1 if 1 - idle / max(total, 1) < busy else 0


def _cpu() -> tuple[int, int]:
    """Ticks that the processors were idle, and all ticks."""
    ticks = [int(word) for word in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
