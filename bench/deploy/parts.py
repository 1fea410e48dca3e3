"""What is measured. Each part takes hosts that are ready, and returns figures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from bench import report
from bench.deploy.memory import Peaks
from bench.deploy.peers import Peer, git_server
from bench.deploy.site import Deploy, Site, timed
from bench.idle import settle
from bench.report import Figure
from hostwright.errors import HostwrightError
from hostwright.lab import plan
from tests.hosts.load import Load

OURS = "hostwright"
GOALS = {1: (3.7, 5.0), 4: (6.6, 8.0)}
"""Hosts -> the largest number of seconds until the flip is confirmed, and until the whole command has ended."""


def speed(site: Site, hosts: Sequence[plan.Host], peers: Sequence[Peer], rounds: int, loaded: int) -> list[Figure]:
    """Deploys of a code-only change with each tool in turn: `rounds` for the time, `loaded` under load for failures."""
    turns: dict[str, Callable[[], Deploy]] = {OURS: partial(site.deploy, hosts)}
    turns |= {peer.name: partial(peer.deploy, hosts) for peer in peers}
    ports = {OURS: 80} | {peer.name: peer.port for peer in peers}
    names = list(turns)
    deploys: dict[str, list[Deploy]] = {name: [] for name in names}
    failed: dict[str, list[int]] = {name: [] for name in names}
    with git_server(site):
        for number in range(rounds + loaded):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                site.change(f"round {number}")
                settle()
                if number < rounds:
                    done = turns[name]()
                    deploys[name].append(done)
                    said = f"{done.seconds:.2f} s"
                else:
                    failures, requests = _failures(hosts, ports[name], turns[name])
                    failed[name].append(failures)
                    said = f"{failures} of {requests} requests failed"
                print(f"  {len(hosts)} hosts, round {number + 1}: {name:<12} {said}", flush=True)
    where = "one host" if len(hosts) == 1 else f"{len(hosts)} hosts"
    confirmed = [done.confirmed for done in deploys[OURS] if done.confirmed is not None]
    whole = {name: [done.seconds for done in of_one] for name, of_one in deploys.items()}
    beside = {name: values for name, values in whole.items() if name != OURS}
    goals = GOALS.get(len(hosts), (None, None))
    figures = [
        report.median(f"deploy to {where}: confirmed", confirmed, "s", goals[0], beside),
        report.median(f"deploy to {where}: whole command", whole[OURS], "s", goals[1], beside),
    ]
    if loaded:
        means = {name: statistics.mean(values) for name, values in failed.items()}
        others = {name: value for name, value in means.items() if name != OURS}
        name = f"failed requests of a deploy to {where} at 50 a second"
        figures.append(Figure(name, means[OURS], "requests", 0, None, others))
    return figures


def _failures(hosts: Sequence[plan.Host], port: int, deploy: Callable[[], object]) -> tuple[int, int]:
    """Failed and sent requests, at 50 a second over all hosts, from before a deploy to after it."""
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(f"{host.address}:{port}", rate=50 / len(hosts))) for host in hosts]
        time.sleep(1)
        deploy()
        time.sleep(2)
    return sum(len(load.failed) for load in loads), sum(load.done for load in loads)


def row(site: Site, number: int = 30) -> list[Figure]:
    """`number` deploys, each as soon as the one before has ended."""
    seconds, failures = [], []
    for _ in range(number):
        site.change("row")
        try:
            seconds.append(site.deploy().seconds)
        except HostwrightError as error:
            failures.append(error)
            print(error.message)
    print(f"  {number} deploys in a row: {len(failures)} failed", flush=True)
    return [
        Figure(f"failed deploys of {number} in a row", len(failures), "deploys", 0),
        report.median("a deploy in a row of them", seconds, "s"),
    ]


def load(site: Site, deploys: int = 20, rollbacks: int = 5, rate: float = 100.0) -> list[Figure]:
    """Deploys, with a rollback after every few, under load: GET and POST, kept-alive connections and new ones."""
    with Load(site.hosts[0].address, rate=rate) as under:
        time.sleep(1)
        for number in range(deploys):
            site.change("load")
            site.deploy()
            if (number + 1) % (deploys // rollbacks) == 0:
                site.deploy((), "rollback", "--yes")
        time.sleep(1)
    for line in under.failed[:20]:
        print(f"  {line}")
    print(f"  {under.done} requests to {len(under.releases)} releases: {len(under.failed)} failed", flush=True)
    what = f"{deploys} deploys and {rollbacks} rollbacks at {rate:g} requests a second"
    return [
        Figure(f"failed requests of {what}", len(under.failed), "requests", 0),
        Figure(f"requests of {what}", under.done, "requests"),
    ]


def memory(site: Site) -> list[Figure]:
    """The peak memory of one deploy to all hosts."""
    site.change("memory")
    started = time.monotonic()
    with site.start("deploy") as process, Peaks(process.pid) as peaks:
        timed(process, started)
    where = f"{len(site.hosts)} hosts"
    return [
        Figure(f"peak memory of fab, {where}", round(peaks.process, 1), "MiB", 120),
        Figure(f"peak memory of fab and what it starts, {where}", round(peaks.tree, 1), "MiB"),
        Figure("peak memory of the engine on a host", round(peaks.engine, 1), "MiB"),
    ]
