"""`make bench-provision`: how long the playbooks take on fresh hosts and on finished ones, beside a plain playbook.

Every figure is a command that a user types, from its start to its end. The plain playbook (peers/plain) makes the same
host in the way that the well-known roles take; it runs with the same ansible.cfg, and the same bootstrap.yml before it.
It makes hosts of its own and removes them. What else the machine does shows in the figures: leave it alone meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench import report
from bench.commands import environment
from bench.idle import settle
from bench.report import Figure
from hostwright.errors import HostwrightError
from hostwright.lab import machine

ROOT = Path(__file__).resolve().parents[2]
PLAIN = ROOT / "bench/provision/peers/plain/site.yml"
SITE = ROOT / "playbooks/site.yml"
OURS, THEIRS, FOUR = "benchours", "benchplain", "benchfour"
PEER = "plain playbook"


@dataclass(frozen=True)
class Run:
    """One ansible-playbook run: its seconds, the tasks it changed on all hosts, and the seconds of each role."""

    seconds: float
    changed: int
    roles: dict[str, float]


def play(lab: str, playbook: Path) -> Run:
    """Run a playbook on the hosts of `lab`, once the processors are idle; raises HostwrightError if it fails."""
    variables = {
        "ANSIBLE_INVENTORY": f"inventory/{lab}",
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_roles",
    }
    settle(seconds=5)
    started = time.monotonic()
    done = subprocess.run(
        ["ansible-playbook", str(playbook)],
        cwd=ROOT,
        env=environment(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=480,
        check=False,
    )
    seconds = time.monotonic() - started
    if done.returncode:
        raise HostwrightError(f"{playbook.name} failed on {lab}:\n" + "\n".join(done.stdout.splitlines()[-20:]))
    return Run(seconds, *parsed(done.stdout))


def parsed(output: str) -> tuple[int, dict[str, float]]:
    """What a run printed: the changed tasks of all hosts together, and the seconds of each role."""
    changed = sum(int(count) for count in re.findall(r"\bchanged=(\d+)", output))
    known = {path.name for path in (ROOT / "roles").iterdir()}
    costs = re.findall(r"^(\w+) -+ +([\d.]+)s$", output, re.MULTILINE)
    return changed, {role: float(seconds) for role, seconds in costs if role in known}


def first(lab: str, layout: str, playbook: Path) -> float:
    """Boot bare hosts and provision them; returns the seconds of bootstrap.yml and `playbook`."""
    machine.down(lab)
    machine.up(lab, layout, "debian:12")
    return play(lab, ROOT / "playbooks/bootstrap.yml").seconds + play(lab, playbook).seconds


def measure(rounds: int) -> list[Figure]:
    ours_first, theirs_first = first(OURS, "one", SITE), first(THEIRS, "one", PLAIN)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(play(OURS, SITE))
        theirs.append(play(THEIRS, PLAIN))
    for lab in (OURS, THEIRS):
        machine.down(lab)
    four_first = first(FOUR, "four", SITE)
    four = [play(FOUR, SITE) for _ in range(rounds)]

    one_second = report.median(
        "second run, one host", [run.seconds for run in ours], "s", 12, {PEER: [run.seconds for run in theirs]}
    )
    four_second = report.median("second run, four hosts", [run.seconds for run in four], "s", 18)
    return [
        report.median("first provision, one host", [ours_first], "s", 100, {PEER: [theirs_first]}),
        one_second,
        report.median("first provision, four hosts", [four_first], "s"),
        four_second,
        Figure("second run, four hosts to one", round(four_second.value / one_second.value, 2), "x", 1.5),
        Figure("tasks changed by second runs", sum(run.changed for run in ours + four), "", 0),
        *(
            report.median(f"second run, one host, role {role}", [run.roles.get(role, 0.0) for run in ours], "s")
            for role in sorted(ours[-1].roles, key=ours[-1].roles.__getitem__, reverse=True)
        ),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="second runs of each kind (default: 3)")
    chosen = parser.parse_args()
    started = time.monotonic()
    try:
        with contextlib.ExitStack() as labs:
            for lab in (OURS, THEIRS, FOUR):
                labs.callback(machine.down, lab)
            figures = measure(chosen.rounds)
    except HostwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    report.show("Provisioning", figures)
    print(f"{report.write('provision', figures)} ({time.monotonic() - started:.0f} s)")
    return report.status(figures)


if __name__ == "__main__":
    sys.exit(main())
