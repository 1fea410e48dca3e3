"""One cell of the matrix: a deploy under load, a fault at a point of it, and what has to be true afterwards."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hostwright.errors import HostwrightError
from hostwright.lab import machine
from tests.hosts.conftest import ROOT, environment
from tests.hosts.faults.inject import HOLD, Injector
from tests.hosts.faults.lab import APP_HOSTS, BUILD_TIMEOUT, LAB, VISIBILITY
from tests.hosts.faults.matrix import Point
from tests.hosts.faults.results import Cell
from tests.hosts.labs import Fleet
from tests.hosts.load import Load

WEB_HOSTS = ("web1", "web2")
REACH = 90
"""Seconds in which the deploy has to come to the point."""

GOAL = 30.0
"""Seconds to recover; a command that hangs has its own limit besides."""

PATIENCE = 60
"""Seconds in which the hosts have to end the transaction by themselves, before the next deploy has to do it."""

RATE = 10
"""Requests a second to each web host."""

LINGER = 5
"""Seconds for the hosts to recover while the fault lasts, once the deploy has ended."""

LOOK_EVERY = 1.0
"""Seconds between two looks at all hosts, which take much of a small machine."""

GLANCE = 60
"""Seconds for a host to say what it serves; the container engine of a busy machine can take many."""

IDLE = 5
"""Seconds without an engine after which the next deploy has to end a transaction."""

TIDY = 60
"""Seconds for old processes to end their work. One that was cut off from its broker hears of it again when TCP next
tries, which may be as long after as the cut has lasted."""

MIGRATION = """\
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("orders", "{before}")]
    operations = []
"""
LOOK = (Path(__file__).with_name("look.py")).read_text(encoding="utf-8")
TOO_LATE = "the deploy was over before it came to the point"


class Running:
    """A `fab deploy` that waits at a point, by itself or in the victim's engine."""

    def __init__(self, fleet: Fleet, point: Point, directory: Path) -> None:
        self.fleet, self.point, self.directory = fleet, point, directory
        self.out = (directory / "out").open("w+", encoding="utf-8")
        if point.step:
            fleet.on(point.victim, "sh", "-c", f"mkdir -p /run/faults && echo '{point.step}' > /run/faults/pause")
        self.process: subprocess.Popen[str] = subprocess.Popen(
            (sys.executable, "-m", "tests.hosts.faults.paused_fab", "deploy", "--json", "-i", f"inventory/{LAB}"),
            cwd=ROOT,
            env={**environment(), "FAULTS_STATE": point.state, "FAULTS_DIRECTORY": str(directory)},
            stdout=self.out,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def await_point(self) -> None:
        deadline = time.monotonic() + REACH
        while not self._reached():
            if self.process.poll() is not None:
                raise HostwrightError(f"{TOO_LATE}:\n{self.output()[-1500:]}")
            if time.monotonic() > deadline:
                raise HostwrightError(f"the deploy did not come to {self.point.name}:\n{self.output()[-1500:]}")
            time.sleep(0.05 if self.point.state else 0.5)

    def _reached(self) -> bool:
        if self.point.state:
            return (self.directory / "reached").exists()
        return self.fleet.says(self.point.victim, "ls /run/faults/reached") == "/run/faults/reached"

    def go(self) -> None:
        """Let it go on."""
        (self.directory / "go").touch()
        if self.point.step:
            # A host that was killed does not wait at the point any more.
            with contextlib.suppress(HostwrightError):
                self.fleet.says(self.point.victim, "touch /run/faults/go")

    def output(self) -> str:
        return (self.directory / "out").read_text(encoding="utf-8")

    @property
    def release(self) -> str:
        """The release that it deploys."""
        return str(json.loads(self.output().splitlines()[0])["release"])


@contextlib.contextmanager
def running(fleet: Fleet, point: Point) -> Iterator[Running]:
    """A deploy on its way to `point`; at the end nothing of it or of its pause is left."""
    with tempfile.TemporaryDirectory(prefix="hostwright-faults-") as directory:
        deploy = Running(fleet, point, Path(directory))
        try:
            yield deploy
        finally:
            deploy.process.kill()
            deploy.process.wait()
            deploy.out.close()
            for name in APP_HOSTS:
                fleet.says(name, "rm -rf /run/faults")


def looks(fleet: Fleet) -> dict[str, dict[str, Any]]:
    """What each host of the application says of itself; one that says nothing has the key `error`."""
    hosts = {host.name: host for host in fleet.hosts}

    def look(name: str) -> dict[str, Any]:
        try:
            argv = ("env", "PYTHONHOME=/usr", "/opt/faults/python3", "-c", LOOK)
            return dict(json.loads(machine.execute(hosts[name], argv, timeout=GLANCE)))
        except (HostwrightError, ValueError) as error:
            return {"error": str(error)[-300:]}

    with ThreadPoolExecutor() as pool:
        return dict(zip(APP_HOSTS, pool.map(look, APP_HOSTS), strict=True))


def unsettled(seen: dict[str, dict[str, Any]], known: set[str]) -> list[str]:
    """Why the fleet has not recovered yet: each host ends its transaction and serves one of the two releases."""
    problems = []
    for name, look in seen.items():
        if "error" in look:
            problems.append(f"{name} says nothing: {look['error']}")
            continue
        if look["transaction"] or look["locked"]:
            phase = (look["transaction"] or {}).get("phase", "none")
            problems.append(f"{name} is in a transaction ({phase}{', locked' if look['locked'] else ''})")
        serving = look["current"] if look["served"] is None else look["served"]
        if serving not in known or look["current"] not in known:
            problems.append(f"{name} serves {serving}, {look['current']} is recorded, neither old nor new")
        elif serving != look["current"]:
            problems.append(f"{name} serves {serving}, and has {look['current']} recorded")
    return problems


def unsound(fleet: Fleet) -> str:
    """Why no cell can begin on these hosts; nothing where one can."""
    down = [f"{host.name} is {state}" for host, state in machine.states(LAB) if state != "running"]
    if down:
        return "; ".join(down)
    deadline = time.monotonic() + TIDY
    while True:
        seen = looks(fleet)
        current = {look.get("current", "") for look in seen.values()}
        problems = unsettled(seen, current)
        problems += [
            f"{name} has left over {', '.join(look['leftovers'])}"
            for name, look in seen.items()
            if look.get("leftovers")
        ]
        if len(current) > 1:
            problems.append(f"they are of different releases: {', '.join(sorted(current))}")
        if not problems or time.monotonic() > deadline:
            return "; ".join(problems)
        time.sleep(1)


def run(fleet: Fleet, point: Point, fault: str, cell: Cell) -> None:
    """Run one cell, and note in `cell` what came of it. Raises HostwrightError where it never came to the point."""
    number = int(time.time())
    old = looks(fleet)["web1"]["current"]
    fleet.commit(_changes(fleet, point, number), f"cell {number}")
    loads = {name: Load(fleet.address(name), rate=RATE) for name in WEB_HOSTS}
    with contextlib.ExitStack() as stack:
        for load in loads.values():
            stack.enter_context(load)
        deploy = stack.enter_context(running(fleet, point))
        deploy.await_point()
        known = {old, deploy.release}
        hosts = {host.name: host for host in fleet.hosts}
        injector = Injector(hosts, point, deploy.process, deploy.go, lambda: _compete(fleet, cell, number))
        stack.callback(injector.end)
        injector.inject(fault)
        seen = _settle(fleet, known, cell, injector)
        cell.status = None if deploy.process.poll() == -9 else deploy.process.poll()
        if "Traceback" in deploy.output():
            cell.broken.append(f"I3 a traceback: {last_lines(deploy.output())}")
        _one_release(fleet, cell, seen, deploy, old)
        if cell.alone:
            _tidy(fleet, cell, "after it")
        fleet.commit({"shop/templates/banner.txt": f"after cell {number}\n"}, f"after cell {number}")
        again = deploy_as_usual(fleet)
        if again.returncode:
            cell.broken.append(f"I4 the next deploy ended with {again.returncode}: {last_lines(again.stdout)}")
        _tidy(fleet, cell, "after the next deploy")
        last = looks(fleet)["web1"]
        if "error" in last:
            raise HostwrightError(f"web1 can't be looked at: {last['error']}")
        known.add(last["current"])
    _requests(cell, loads, known, point, fault, injector)
    _tasks(fleet, cell)


def _changes(fleet: Fleet, point: Point, number: int) -> dict[str, str | None]:
    """What has to differ in the release, so that the deploy comes to the point."""
    changes: dict[str, str | None] = {"shop/templates/banner.txt": f"cell {number}\n"}
    if point.name == "built":
        plain = (ROOT / "examples" / "shop" / "requirements.txt").read_text(encoding="utf-8")
        changes["requirements.txt"] = f"{plain}# cell {number}\n"
    if point.name == "migrated":
        before = sorted(path.stem for path in (fleet.repository / "orders/migrations").glob("0*.py"))[-1]
        changes[f"orders/migrations/{int(before[:4]) + 1:04}_cell.py"] = MIGRATION.format(before=before)
    return changes


def deploy_as_usual(fleet: Fleet) -> subprocess.CompletedProcess[str]:
    """`fab deploy` of what was committed last; with status 124 where it does not end."""
    argv = ("fab", "deploy", "-i", f"inventory/{LAB}")
    try:
        return subprocess.run(
            argv,
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return subprocess.CompletedProcess(argv, 124, str(late.stdout), "")


def _compete(fleet: Fleet, cell: Cell, number: int) -> None:
    """A second operator deploys something else, and has to be told who is deploying."""
    fleet.commit({"shop/templates/banner.txt": f"second operator {number}\n"}, "second operator")
    second = deploy_as_usual(fleet)
    if second.returncode != 75 or not re.search(r"\S+@\S+ is deploying", second.stdout):
        cell.broken.append(f"I4 the second operator got {second.returncode}: {last_lines(second.stdout)}")


def _settle(fleet: Fleet, known: set[str], cell: Cell, injector: Injector) -> dict[str, dict[str, Any]]:
    """Wait until the deploy and the fault have ended and the fleet has recovered; note in how many seconds."""
    deadline = time.time() + HOLD + PATIENCE
    idle = left = None
    while True:
        exited = injector.process.poll() is not None
        seen = looks(fleet)
        at = time.time()
        problems = unsettled(seen, known)
        if problems:
            cell.seconds = None
        elif cell.seconds is None:
            cell.seconds = round(at - injector.over, 1)
        left = (left or at) if exited else None
        if at - injector.began > HOLD or (left and (not problems or at - left > LINGER)):
            injector.end()
        over = exited and injector.lift is None
        if over and cell.seconds is not None:
            # A deploy that went on to its end had nothing to recover from.
            patience = BUILD_TIMEOUT if cell.fault == "command hangs" else 0
            if cell.seconds > GOAL + patience and injector.process.poll() != 0:
                cell.broken.append(f"late: recovered after {cell.seconds} s")
            return seen
        idle = (idle or at) if over and _idle(fleet, seen) else None
        if at > deadline or (idle and at - idle > IDLE):
            cell.alone = False
            if not exited:
                cell.broken.append(f"I3 fab is still there after {at - injector.began:.0f} s")
            if wrong := [problem for problem in problems if "transaction" not in problem]:
                cell.broken.append(f"I2 {'; '.join(wrong)}")
            return seen
        time.sleep(LOOK_EVERY)


def _idle(fleet: Fleet, seen: dict[str, dict[str, Any]]) -> bool:
    """Whether there are transactions that no engine is at work on."""
    waiting = [name for name, look in seen.items() if look.get("transaction")]
    engines = "systemctl is-active hostwright-shop-transaction hostwright-shop-boot"
    states = [fleet.says(name, engines).split() for name in waiting]
    return bool(waiting) and all("activating" not in both and both[0] in ("failed", "inactive") for both in states)


def _one_release(fleet: Fleet, cell: Cell, seen: dict[str, dict[str, Any]], deploy: Running, old: str) -> None:
    """I3: one release, or the difference is reported."""
    releases = {look.get("current") for look in seen.values()}
    cell.serves = "both" if len(releases) > 1 else "old" if releases == {old} else "new"
    status = cell.status
    if status == 0 and cell.serves != "new":
        cell.broken.append(f"I3 fab said that all is well, and {cell.serves} serves")
    if status not in (0, 1, None):
        cell.broken.append(f"I3 fab ended with {status}: {last_lines(deploy.output())}")
    if cell.serves == "both" or not cell.alone:
        told = subprocess.run(
            ("fab", "status", "-i", f"inventory/{LAB}"),
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if told.returncode != 1 or not re.search(r"different releases|was interrupted", told.stderr):
            cell.broken.append(
                f"I3 fab status ended with {told.returncode} and does not say so: {last_lines(told.stderr)}"
            )
        if status == 0:
            cell.broken.append("I3 fab deploy ended with 0")


def _tidy(fleet: Fleet, cell: Cell, when: str) -> None:
    """I5: nothing is left over, once old processes have had their time."""
    deadline = time.monotonic() + TIDY
    while True:
        found = {name: look.get("leftovers", [look.get("error")]) for name, look in looks(fleet).items()}
        if not any(found.values()):
            return
        if time.monotonic() > deadline:
            lines = [f"{name}: {', '.join(map(str, some[:6]))}" for name, some in found.items() if some]
            cell.broken.append(f"I5 left over {when}: {'; '.join(lines)}")
            return
        time.sleep(0.5)


def _requests(
    cell: Cell, loads: dict[str, Load], known: set[str], point: Point, fault: str, injector: Injector
) -> None:
    """I1 and I2, as seen from outside: no failed request on a surviving host, and no release but the three."""
    for name, load in loads.items():
        cell.requests += load.done
        failed = load.failed
        if name == point.victim and fault in ("host killed", "host unreachable"):
            cell.failed_elsewhere += len(failed)
            failed = []
        if fault == "database down":
            # A request may have begun its wait before, and answers name the second in which they came.
            first, last = (
                time.strftime("%H:%M:%S", time.localtime(at)) for at in (injector.began - 1, injector.over + 3)
            )
            inside = [line for line in failed if first <= line.split()[0] <= last]
            cell.failed_elsewhere += len(inside)
            failed = [line for line in failed if line not in inside]
        if failed:
            cell.broken.append(f"I1 {len(failed)} of {load.done} requests to {name} failed: {'; '.join(failed[:3])}")
        if load.releases - known:
            cell.broken.append(f"I2 {name} answered as {', '.join(load.releases - known)}")


def _tasks(fleet: Fleet, cell: Cell) -> None:
    """I6: every order that was taken has had its task done."""
    orders = ("runuser", "-u", "postgres", "--", "psql", "-XAtd", "shop", "-c", "SELECT id FROM orders_order")
    deadline = time.monotonic() + VISIBILITY + TIDY
    while True:
        wanted = {f"order-{number}" for number in fleet.on("db1", *orders).split()}
        done = set(
            re.findall(r"^end (order-\d+) ", fleet.says("jobs1", "cat /srv/shop/shared/tasks/log"), re.MULTILINE)
        )
        if wanted <= done:
            return
        if time.monotonic() > deadline:
            cell.broken.append(f"I6 {len(wanted - done)} of {len(wanted)} tasks are not done")
            return
        time.sleep(1)


def last_lines(text: str, lines: int = 6) -> str:
    """What a command said was wrong, in one line: its first error, or else the end of what it printed."""
    said = [line.strip()[-400:] for line in text.strip().splitlines()]
    errors = [line for line in said if line.startswith("error: ")]
    return errors[0] if errors else " / ".join(said[-lines:])


def forget(fleet: Fleet) -> None:
    """Throw away the orders and their tasks of the cells before, so that counting them stays cheap."""
    truncate = "TRUNCATE orders_order, outbox_message RESTART IDENTITY"
    fleet.on("db1", "runuser", "-u", "postgres", "--", "psql", "-Xqd", "shop", "-c", truncate)
    fleet.says("jobs1", "truncate -c -s 0 /srv/shop/shared/tasks/log")
    shutil.rmtree(ROOT / ".cache" / "faults", ignore_errors=True)
