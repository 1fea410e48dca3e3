"""The order in which the engine writes, by its system calls: killing a container does not lose what was not synced.

A file that is replaced is written aside, synced, renamed, and then its directory is synced. An event is in the journal,
and synced, before anybody is told.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path, PurePosixPath

from hostwright.lab import apt
from tests.hosts.faults import cell
from tests.hosts.faults.matrix import POINTS
from tests.hosts.labs import Fleet

CALLS = "write,fsync,rename,sendto"
LINE = re.compile(r"(?P<call>\w+)\((?:\d+<(?P<path>[^>]*)>)?(?P<rest>.*?)(?:\) += (?P<result>-?\d+)| <unfinished)")
RENAME = re.compile(r'"(?P<source>[^"]*)", "(?P<target>[^"]*)"')
KEPT = ("/var/lib/hostwright/", "/srv/")
"""What has to survive a power cut; /run does not."""


def problems(trace: str) -> tuple[list[str], int, int]:
    """What is out of order in the output of strace -y; and how many files were replaced and events told in order."""
    found: list[str] = []
    replaced = told = 0
    state: dict[str, str] = {}
    waiting: set[str] = set()
    for number, line in enumerate(trace.splitlines(), 1):
        match = LINE.match(line)
        if not match:
            continue
        call, path = match["call"], match["path"] or ""
        if call == "write":
            state[path] = "written"
        elif call == "fsync":
            state[path] = "synced"
            if path in waiting:
                waiting.remove(path)
                replaced += 1
        elif call == "rename":
            named = RENAME.search(match["rest"])
            if not named or not named["target"].startswith(KEPT):
                continue
            directory = str(PurePosixPath(named["target"]).parent)
            found += [f"line {number}: {other} is not synced yet" for other in waiting if other != directory]
            if state.get(named["source"], "link") == "written":
                found.append(f"line {number}: {named['source']} is renamed before it is synced")
            waiting.add(directory)
        elif call == "sendto" and '"seq"' in match["rest"].replace("\\", ""):
            told += 1
            if any(kind == "written" and name.endswith("journal.jsonl") for name, kind in state.items()):
                found.append(f"line {number}: an event is told before it is on the disk")
    found += [f"{directory} is never synced" for directory in waiting]
    return found, replaced, told


def trace(fleet: Fleet) -> str:
    """The system calls of web2's engine, without the commands that it runs, in a deploy from `locked` on."""
    if not shutil.which("strace"):
        apt.install(["strace"], "it tells the order of the engine's writes")
    fleet.commit({"shop/templates/banner.txt": f"traced at {time.time()}\n"}, "traced")
    with tempfile.TemporaryDirectory() as directory, cell.running(fleet, POINTS[0]) as deploy:
        deploy.await_point()
        own = fleet.on("web2", "readlink", "/proc/1/ns/pid").strip()
        pids = [
            entry.name
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit()
            and b"--transaction" in _read(entry / "cmdline")
            and str((entry / "ns" / "pid").readlink()) == own
        ]
        out = Path(directory) / "trace"
        with subprocess.Popen(
            ("strace", "-y", "-s", "4096", "-e", f"trace={CALLS}", "-o", str(out), "-p", pids[0]),
            stderr=subprocess.DEVNULL,
        ) as tracer:
            time.sleep(1)
            deploy.go()
            deploy.process.wait(timeout=120)
            tracer.wait(timeout=30)
        return out.read_text(errors="replace")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
