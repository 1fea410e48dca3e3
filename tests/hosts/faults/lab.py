"""The fleet that the faults happen to: two web hosts, a worker host and a database host, with small disks."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from hostwright.errors import HostwrightError
from hostwright.lab import machine, plan
from tests.hosts.conftest import eventually, sample
from tests.hosts.faults import version
from tests.hosts.labs import Fleet

LAB = "faults"
APP_HOSTS = ("web1", "web2", "jobs1")
READY = machine.CACHE / LAB / "ready"
"""Is there once the lab is whole."""

INSTALLED = machine.CACHE / LAB / "version"
"""Which code was put onto the hosts."""

REPOSITORY = machine.CACHE.parent / "tests" / LAB
DISK = 600 * 1024 * 1024
"""Bytes of the file system on which a host has its releases and its state, so that filling it harms nobody else."""

BUILD_TIMEOUT = 45
"""Seconds for a command of the build: enough for an honest one on a machine that others use too."""

VISIBILITY = 20
"""Seconds after which Redis gives the tasks of a killed worker to another."""

MOUNTS = {"/mnt/faults/srv": "/srv/shop", "/mnt/faults/var": "/var/lib/hostwright/shop"}
PROGRAMS = {"fail": "#!/bin/sh\nexit 1\n", "hang": "#!/bin/sh\nexec /usr/bin/sleep 600\n"}
DISK_UNIT = """\
[Unit]
DefaultDependencies=no
Before=local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=mount {device} /mnt/faults
{mounts}
[Install]
WantedBy=local-fs.target
"""
"""Not in fstab: without udev, systemd waits for the device."""

DROP_IN = """\
[Service]
ExecStart=
ExecStart=/usr/bin/python3 /opt/faults/paused_engine.py shop --transaction
"""


def up() -> Fleet:
    """The lab as it stands, or a new one: provisioned, with a first release."""
    if READY.exists() and all(state != "gone" for _, state in machine.states(LAB)):
        fleet = Fleet(machine.hosts(LAB), REPOSITORY)
        if any(state != "running" for _, state in machine.states(LAB)):
            take_faults_away(fleet)
        return fleet
    down()
    fleet = Fleet(machine.up(LAB, "four", "debian:12"), REPOSITORY)
    sample(LAB, REPOSITORY)
    fleet.change_site(_impatient)
    for host in fleet.hosts:
        if host.name in APP_HOSTS:
            _add_disk(host)
            add_pause(host)
    fleet.run("ansible-playbook", "playbooks/bootstrap.yml")
    provision(fleet)
    for name in APP_HOSTS:
        # For the driver: those that the faults do not replace.
        fleet.on(name, "cp", "-L", "/usr/bin/python3", "/usr/bin/systemctl", "/opt/faults/")
    fleet.deploy_text("the first release")
    READY.touch()
    return fleet


def provision(fleet: Fleet) -> None:
    """Bring the engine of this checkout onto the hosts."""
    installed = version.digest()
    fleet.run("ansible-playbook", "playbooks/site.yml")
    INSTALLED.write_text(installed, encoding="utf-8")


def outdated() -> str:
    """What is to be said where the hosts have another engine than this checkout; else nothing."""
    installed = INSTALLED.read_text(encoding="utf-8")
    return "" if installed == version.digest() else f"the hosts have the engine {installed}"


def take_faults_away(fleet: Fleet) -> None:
    """Boot what is down, connect what is cut, end what hangs, whatever the cell was that left it so."""
    for host, state in machine.states(LAB):
        if state != "running":
            machine.start(host)
        with contextlib.suppress(HostwrightError):  # It is connected.
            machine.mend(host)
        if host.name in APP_HOSTS:
            machine.kill(host)
            machine.start(host)
            fleet.says(host.name, "rm -rf /run/faults /mnt/faults/fill.*")
    fleet.on("db1", "systemctl", "restart", "postgresql", "redis-server")
    for host in fleet.hosts:
        eventually(f"sshd of {host.name}", partial(_answers, host.address), seconds=60)


def _answers(address: str) -> bool:
    """Whether sshd does. After a boot the network may still look for the host where it was."""
    try:
        with socket.create_connection((address, 22), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def down() -> None:
    """Remove the lab and its disks."""
    machine.down(LAB)
    for entry in json.loads(subprocess.run(["losetup", "--json"], capture_output=True, check=True).stdout or "{}").get(
        "loopdevices", ()
    ):
        if Path(entry["back-file"].removesuffix(" (deleted)")).parent == machine.CACHE / LAB:
            subprocess.run(["losetup", "--detach", entry["name"]], check=True)
    shutil.rmtree(REPOSITORY, ignore_errors=True)


def _impatient(site: dict[str, Any]) -> None:
    """Limits that a person would choose longer, so that a cell is short."""
    site["releases"] = {
        "keep": 2,
        "confirm_timeout": 10,
        "drain_timeout": 5,
        "build_timeout": BUILD_TIMEOUT,
        "migrate_timeout": 15,
    }
    site["env"]["VISIBILITY_TIMEOUT"] = str(VISIBILITY)
    site["health"]["deadline"] = 15


def _add_disk(host: plan.Host) -> None:
    image = machine.CACHE / LAB / f"{host.name}.img"
    with image.open("wb") as sparse:
        sparse.truncate(DISK)
    # A virtualenv is ten thousand small files: with fewer inodes than that these would be used up first.
    machine.run(["mkfs.ext4", "-q", "-m", "0", "-i", "4096", str(image)])
    device = machine.run(["losetup", "--find", "--show", str(image)]).strip()
    mounts = "".join(f"ExecStart=mount --bind {source} {target}\n" for source, target in MOUNTS.items())
    script = f"""set -e
mkdir -p /mnt/faults {" ".join(MOUNTS.values())}
chmod 755 /var/lib/hostwright
cat > /etc/systemd/system/faults-disk.service
mount {device} /mnt/faults
mkdir -p {" ".join(MOUNTS)}
umount /mnt/faults
systemctl enable --now faults-disk
"""
    machine.execute(host, ["sh", "-c", script], stdin=DISK_UNIT.format(device=device, mounts=mounts).encode())


def add_pause(host: plan.Host) -> None:
    """The engine's transaction starts by way of a script that can make it wait."""
    files = {
        "/opt/faults/paused_engine.py": (Path(__file__).with_name("paused_engine.py").read_text(), "644"),
        "/etc/systemd/system/hostwright-shop-transaction.service.d/faults.conf": (DROP_IN, "644"),
        **{f"/opt/faults/{name}": (text, "755") for name, text in PROGRAMS.items()},
    }
    for path, (text, mode) in files.items():
        script = 'mkdir -p "$(dirname "$1")"; cat > "$1"; chmod "$2" "$1"'
        machine.execute(host, ["sh", "-c", script, "put", path, mode], stdin=text.encode())
