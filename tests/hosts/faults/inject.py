"""The faults: each is begun, and those that last are ended."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable

from hostwright.errors import HostwrightError
from hostwright.lab import machine, plan
from tests.hosts.faults.matrix import Point

HOLD = 60.0
"""Seconds after which a fault that lasts ends, although the deploy goes on."""

FILL = """
cd /mnt/faults
for size in 64M 8M 1M 64K 4K; do
    number=0
    while fallocate -l $size fill.$size.$number 2>/dev/null; do number=$((number + 1)); done
done
"""
DIRECTORIES = "/srv/shop /var/lib/hostwright/shop"
READ_ONLY = f"for path in {DIRECTORIES}; do mount --bind $path $path && mount -o remount,bind,ro $path; done"
WRITABLE = f"umount {DIRECTORIES}"


class Injector:
    """Does one fault to the host `victim`, or to the controller, which is `process`.

    `go` lets what waits at the point go on; `compete` runs a second operator's deploy.
    """

    def __init__(
        self,
        hosts: dict[str, plan.Host],
        point: Point,
        process: subprocess.Popen[str],
        go: Callable[[], None],
        compete: Callable[[], None],
    ) -> None:
        self.hosts = hosts
        self.victim = hosts[point.victim]
        self.point = point
        self.process = process
        self.go = go
        self.compete = compete
        self.lift: Callable[[], None] | None = None
        """Ends the fault, where it lasts."""
        self.began = self.over = 0.0
        """When the fault came, and when it was over, in seconds since 1970; a moment for those that do not last."""

    def inject(self, fault: str) -> None:
        """Begin the fault, and let the deploy go on."""
        self.began = self.over = time.time()
        getattr(self, f"_{fault.replace(' ', '_').replace('-', '_')}")()

    def end(self) -> None:
        """End the fault, where that is not done yet."""
        if self.lift is not None:
            lift, self.lift = self.lift, None
            lift()
            self.over = time.time()

    def _on(self, name: str, *argv: str) -> str:
        return machine.execute(self.hosts[name], argv)

    def _here(self, script: str) -> str:
        return self._on(self.victim.name, "sh", "-c", script)

    def _controller_killed(self) -> None:
        self.process.kill()
        self.go()

    def _controller_stopped(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        self.lift = lambda: self.process.send_signal(signal.SIGCONT)
        self.go()

    def _connection_cut(self) -> None:
        self._here("pkill -KILL -u deploy sshd")
        self.go()

    def _engine_killed(self) -> None:
        self._on(self.victim.name, "systemctl", "kill", "-s", "KILL", "--kill-who=main", "hostwright-shop-transaction")
        self.go()

    def _host_killed(self) -> None:
        machine.kill(self.victim)
        self.go()
        time.sleep(1)
        machine.start(self.victim)
        self.over = time.time()

    def _disk_full(self) -> None:
        self._here(FILL)
        self.lift = lambda: void(self._here("rm -f /mnt/faults/fill.*"))
        self.go()

    def _read_only(self) -> None:
        self._here(READ_ONLY)
        self.lift = lambda: void(self._here(WRITABLE))
        self.go()

    def _database_down(self) -> None:
        self._on("db1", "systemctl", "stop", "postgresql@*")
        self.lift = lambda: void(self._on("db1", "systemctl", "start", "postgresql"))
        self.go()

    def _command_fails(self) -> None:
        self._replace("fail")

    def _command_hangs(self) -> None:
        self._replace("hang")

    def _replace(self, by: str) -> None:
        program = self._here(f"readlink -f {self.point.program}").strip()
        self._here(f"mount --bind /opt/faults/{by} {program}")

        def back() -> None:
            self._here(f"umount {program}")
            # What hangs already goes on to hang: it is another program.
            with contextlib.suppress(HostwrightError):
                self._here("pkill -KILL -f '^/usr/bin/sleep 600'")

        self.lift = back
        self.go()

    def _second_operator(self) -> None:
        self.compete()
        self.over = time.time()
        self.go()

    def _host_unreachable(self) -> None:
        machine.cut(self.victim)
        self.lift = lambda: machine.mend(self.victim)
        self.go()


def void(_: object) -> None:
    """Nothing."""
