"""A series of rounds: tasks are sent, and while they run comes a deploy, then a SIGKILL."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hostwright.errors import HostwrightError
from hostwright.lab import machine, plan
from tests.hosts.labs import Fleet
from tests.hosts.tasks.check import Deploy, Kill, Run, runs
from tests.hosts.tasks.lab import LAB, WORKERS

LOG = "/srv/shop/shared/tasks/log"
SERVERS = {"rabbitmq": "rabbitmq-server", "redis": "redis-server"}
SCHEDULE = {"send-outbox": 5.0, "count-orders": 60.0}
"""Of the sample's beat, in seconds."""

TURN = ("process", "worker", "host", "broker", "broker's host", "beat")
"""What is killed, one after another."""

PATIENCE = 90
"""Seconds for whatever was killed to be back."""

DRAIN = 240
"""Seconds for the last tasks to be done."""

SEND = """\
INSERT INTO outbox_message (created_at, task, arguments)
SELECT now(), 'orders.tasks.stamp',
       json_build_array('{series}' || n, CASE WHEN n % 100 = 0 THEN 4 ELSE round((random() / 3)::numeric, 2) END)
FROM generate_series({first}, {last}) AS n"""
"""Tasks of up to 0.3 s, and now and then one of 4 s."""

PROCESS = """\
for unit in $(systemctl list-units --plain --no-legend 'shop-worker-default@*' | cut -d' ' -f1); do
    main=$(systemctl show --property=MainPID --value $unit)
    pgrep -P $main | head -n 1 | xargs -r kill -KILL
done"""
UP = {
    "rabbitmq": "rabbitmqctl -q await_startup --timeout 5 && rabbitmq-diagnostics -q check_port_connectivity",
    "redis": "redis-cli ping | grep -e PONG -e NOAUTH",
}


@dataclass
class Series:
    """What was done so far; kept in a file, so that another run can go on with it."""

    broker: str
    tasks: int
    deploys: int
    kills: int
    began: float
    sent: int = 0
    rounds: int = 0
    deployed: list[Deploy] = field(default_factory=list)
    killed: list[Kill] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    """What beat's units said, as JSON: a throwaway host has its journal in memory."""

    @property
    def name(self) -> str:
        """Begins the names of its tasks."""
        return f"{self.began:.0f}-"

    @property
    def names(self) -> list[str]:
        return [f"{self.name}{number}" for number in range(1, self.sent + 1)]

    @property
    def length(self) -> int:
        """In rounds."""
        return max(self.deploys, self.kills)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Series:
    """The series in the file `path`."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["deployed"] = [Deploy(**row) for row in fields["deployed"]]
    fields["killed"] = [Kill(**{**row, "hosts": tuple(row["hosts"])}) for row in fields["killed"]]
    return Series(**fields)


def one(fleet: Fleet, series: Series, say: Callable[[str], None]) -> None:
    """One round: a deploy and a kill, as far as the series has still some to come, each with tasks under way."""
    number = series.rounds
    todo = [what for what, count in (("deploy", series.deploys), ("kill", series.kills)) if number < count]
    for part, what in enumerate(todo):
        done = number * len(todo) + part + 1
        _send(fleet, series, series.tasks * done // (series.length * len(todo)))
        if what == "deploy":
            began = time.time()
            fleet.deploy_text(f"round {number}")
            series.deployed.append(Deploy(began, time.time()))
            say(f"{number + 1:>3} deploy: {time.time() - began:.1f} s")
        else:
            kill = _kill(fleet, series.broker, number)
            series.killed.append(kill)
            say(f"{number + 1:>3} {kill.kind} killed: back after {kill.back - kill.over:.1f} s")
        _keep_journal(fleet, series)
    series.rounds += 1


def _send(fleet: Fleet, series: Series, until: int) -> None:
    """Put the tasks up to number `until` into the outbox, and wait until one of them runs."""
    before = series.sent
    if until <= before:
        return  # This round was begun before.
    _sql(fleet, SEND.format(series=series.name, first=before + 1, last=until))
    series.sent = until
    fresh = set(series.names[before:])
    _await("the first new task", lambda: any(run.name in fresh for run in found(fleet, series)))


def _kill(fleet: Fleet, broker: str, number: int) -> Kill:
    """SIGKILL what is next in turn, and wait until all is back."""
    kind = TURN[number % len(TURN)]
    host = WORKERS[number // len(TURN) % len(WORKERS)]
    victim = {"broker": "db1", "broker's host": "db1", "beat": WORKERS[0]}.get(kind, host)
    hosts = {"broker": WORKERS, "broker's host": WORKERS, "beat": ()}.get(kind, (host,))
    began = time.time()
    if kind == "process":
        fleet.on(victim, "sh", "-c", PROCESS)
    elif kind in ("host", "broker's host"):
        machine.kill(_host(fleet, victim))
    else:
        unit = {"worker": "shop-worker-default@*", "beat": "shop-beat@*"}.get(kind, SERVERS[broker])
        fleet.on(victim, "systemctl", "kill", "--signal=KILL", "--kill-who=all", unit)
    over = time.time()
    if kind in ("host", "broker's host"):
        time.sleep(1)
        machine.start(_host(fleet, victim))
        # A host keeps its network card over a power cut, a container gets another: no one is to wait for the old one.
        for each in fleet.hosts:
            fleet.on(each.name, "ip", "neigh", "flush", "all")
    _await(f"all after the {kind} was killed", lambda: _back(fleet, broker))
    return Kill(kind, tuple(hosts), began, over, time.time())


def _host(fleet: Fleet, name: str) -> plan.Host:
    return next(host for host in fleet.hosts if host.name == name)


def _back(fleet: Fleet, broker: str) -> bool:
    """Whether the broker answers, and each process of the application is there."""
    if not _succeeds(fleet, "db1", f"{UP[broker]} && runuser -u postgres -- psql -Xqc 'SELECT 1' shop"):
        return False
    wanted = {name: ["shop-worker-default@*"] for name in WORKERS}
    wanted[WORKERS[0]].append("shop-beat@*")
    return all(
        _succeeds(fleet, name, f"systemctl list-units --plain --no-legend --state=running '{unit}' | grep -q running")
        for name, units in wanted.items()
        for unit in units
    )


def _succeeds(fleet: Fleet, name: str, script: str) -> bool:
    try:
        fleet.on(name, "sh", "-c", script)
    except HostwrightError:
        return False
    return True


def found(fleet: Fleet, series: Series) -> list[Run]:
    """All runs of the series' tasks."""
    return [run for name in WORKERS for run in runs(fleet.says(name, f"cat {LOG} 2>/dev/null"), name, series.name)]


def drain(fleet: Fleet, series: Series) -> None:
    """Wait until every task has ended, but no longer than the broker may keep one back."""
    names = set(series.names)
    deadline = time.monotonic() + DRAIN
    while time.monotonic() < deadline:
        if names <= {run.name for run in found(fleet, series) if run.end is not None}:
            return
        time.sleep(1)


def _keep_journal(fleet: Fleet, series: Series) -> None:
    """Add what beat's units have said since the last time."""
    last = json.loads(series.journal[-1])["__REALTIME_TIMESTAMP"] if series.journal else f"{series.began * 1e6:.0f}"
    query = f"journalctl --no-pager -q -o json -u 'shop-beat@*' --since=@{int(last) // 10**6}"
    lines = fleet.says(WORKERS[0], f"{query} --output-fields=MESSAGE,UNIT,_SYSTEMD_UNIT").splitlines()
    series.journal += [line for line in lines if int(json.loads(line)["__REALTIME_TIMESTAMP"]) > int(last)]


def _sql(fleet: Fleet, statement: str) -> None:
    fleet.on("db1", "runuser", "-u", "postgres", "--", "psql", "-Xqd", "shop", "-c", statement)


def _await(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise HostwrightError(f"{what}: not there after {PATIENCE} s", f"Look at the lab {LAB}.")
        time.sleep(0.3)
