"""The other tools, each deploying the sample to a site of its own on the same hosts. peers/ has what they run."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.commands import environment, run
from bench.deploy.site import ROOT, WORK, Deploy, Site
from hostwright.errors import HostwrightError
from hostwright.lab import apt, machine, plan

HERE = Path(__file__).resolve().parent / "peers"


class Peer(ABC):
    """A tool: how it is got on this machine, and the command that deploys with it."""

    name: str
    port: int

    def __init__(self, site: Site) -> None:
        self.site = site
        self.work = WORK / site.name / self.name
        self.work.mkdir(parents=True, exist_ok=True)
        self.ssh_config = self.work / "ssh_config"
        lab = machine.CACHE / site.name
        self.key, self.known_hosts = lab / "key", lab / "known_hosts"
        self.ssh_config.write_text(
            f"Host *\n  User peer\n  IdentityFile {self.key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.known_hosts}\n  StrictHostKeyChecking yes\n",
            encoding="utf-8",
        )

    @abstractmethod
    def install(self) -> None:
        """Get the tool; raises HostwrightError where that can't be."""

    @abstractmethod
    def command(self, hosts: Sequence[plan.Host]) -> list[str]:
        """What deploys to `hosts`."""

    def variables(self, hosts: Sequence[plan.Host]) -> dict[str, str]:
        return {}

    def deploy(self, hosts: Sequence[plan.Host]) -> Deploy:
        """Deploy to `hosts`, the first of which migrates and runs beat."""
        started = time.monotonic()
        run(self.command(hosts), cwd=self.work, env=environment(self.variables(hosts)))
        return Deploy(time.monotonic() - started)


class Floor(Peer):
    """What one writes by hand: rsync and one ssh."""

    name = "floor"
    port = 8001

    def install(self) -> None:
        if not shutil.which("rsync"):
            apt.install(["rsync"], "a peer needs it")

    def command(self, hosts: Sequence[plan.Host]) -> list[str]:
        addresses = [host.address for host in hosts]
        return ["bash", str(HERE / "floor.sh"), str(self.ssh_config), str(self.site.repository), *addresses]


class Pyinfra(Peer):
    name = "pyinfra"
    port = 8002

    def install(self) -> None:
        if not shutil.which("rsync"):
            apt.install(["rsync"], "a peer needs it")
        lock = HERE / "requirements.txt"
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()
        done = WORK / "pyinfra" / ".ready"
        if done.exists() and done.read_text(encoding="utf-8") == digest:
            return
        print("==> Python packages from bench/deploy/peers/requirements.txt (hash-pinned) into .cache/bench/pyinfra")
        run([sys.executable, "-m", "venv", "--clear", str(done.parent)], cwd=ROOT)
        run([str(done.parent / "bin" / "pip"), "install", "-q", "--require-hashes", "-r", str(lock)], cwd=ROOT)
        done.write_text(digest, encoding="utf-8")

    def command(self, hosts: Sequence[plan.Host]) -> list[str]:
        rows = [(host.address, {"first": host == hosts[0]}) for host in hosts]
        data = {
            "source": str(self.site.repository),
            "ssh_user": "peer",
            "ssh_key": str(self.key),
            "ssh_known_hosts_file": str(self.known_hosts),
            "ssh_strict_host_key_checking": "yes",
        }
        (self.work / "inventory.py").write_text(f"hosts = ({rows!r}, {data!r})\n", encoding="utf-8")
        return [str(WORK / "pyinfra/bin/pyinfra"), "-y", "inventory.py", str(HERE / "deploy_with_pyinfra.py")]


class Capistrano(Peer):
    name = "capistrano"
    port = 8003

    def install(self) -> None:
        if not shutil.which("cap"):
            apt.install(["capistrano"], "it is a peer")
        shutil.copytree(HERE / "capistrano", self.work, dirs_exist_ok=True)

    def command(self, hosts: Sequence[plan.Host]) -> list[str]:
        return ["cap", "bench", "deploy"]

    def variables(self, hosts: Sequence[plan.Host]) -> dict[str, str]:
        return {
            "BENCH_HOSTS": ",".join(host.address for host in hosts),
            "BENCH_SSH_CONFIG": str(self.ssh_config),
            "BENCH_REPOSITORY": f"git://{gateway(hosts)}/shop",
        }


def gateway(hosts: Sequence[plan.Host]) -> str:
    """This machine's address in the hosts' network."""
    return str(ipaddress.ip_network(f"{hosts[0].address}/24", strict=False)[1])


@contextmanager
def git_server(site: Site) -> Iterator[None]:
    """Serve the repository to the hosts, which Capistrano has it fetched by."""
    argv = ["git", "daemon", "--reuseaddr", "--export-all", f"--listen={gateway(site.hosts)}"]
    process = subprocess.Popen(
        [*argv, f"--base-path={site.repository.parent}", str(site.repository)], stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def prepare(site: Site, hosts: Sequence[plan.Host]) -> list[Peer]:
    """Get the tools, make their sites on `hosts`, and deploy once with each; says which are left out, and why."""
    peers = []
    for kind in (Floor, Pyinfra, Capistrano):
        peer = kind(site)
        try:
            peer.install()
        except HostwrightError as error:
            print(f"LEFT OUT: {peer.name}: {error.message}")
        else:
            peers.append(peer)
    variables = {
        "peer_ports": {peer.name: peer.port for peer in peers},
        "peer_key": str(machine.CACHE / site.name / "key.pub"),
        "peer_source": str(site.repository / "requirements.txt"),
    }
    limit = ",".join(host.name for host in hosts)
    site.run("ansible-playbook", f"--limit={limit}", "-e", json.dumps(variables), str(HERE / "site.yml"))
    with git_server(site):
        for peer in peers:
            peer.deploy(hosts)
    return peers
