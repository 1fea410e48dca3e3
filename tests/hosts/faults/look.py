"""On a lab host: print as JSON what it serves, and what a deploy has left over."""

from __future__ import annotations

import fcntl
import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

SRV, VAR = Path("/srv/shop"), Path("/var/lib/hostwright/shop")
TEMPORARY = (Path("/var/cache/hostwright/shop/home"), VAR / "artifact", VAR / "reserve", VAR / "request.json")


def served() -> str | None:
    """The release that answers through nginx; None on a host without a web server, or what went wrong."""
    if not Path("/etc/nginx").exists():
        return None
    try:
        with urllib.request.urlopen("http://127.0.0.1/api/orders", timeout=3) as answer:
            return str(json.loads(answer.read().decode())["release"])
    except (OSError, ValueError) as error:
        return f"nobody ({error})"


def locked() -> bool:
    """Whether somebody holds the deploy lock."""
    with (VAR / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def leftovers(state: dict[str, Any]) -> list[str]:
    """All that is there and belongs to no release that is kept, and all that should be there and is not."""
    return [*_files(state), *_links(state), *_units(state), *_processes()]


def _files(state: dict[str, Any]) -> list[str]:
    directories = [SRV, SRV / "releases", SRV / "venvs", SRV / "wheelhouses", VAR, VAR / "instances"]
    found: list[Any] = [
        path for top in directories for end in ("new", "root", "built") for path in top.glob(f"*.{end}")
    ]
    found += [path for path in TEMPORARY if path.exists()]
    found += (SRV / "incoming").iterdir()
    # A whole virtualenv that no release uses may stay: the next deploy takes or removes it.
    made = [*(SRV / "venvs").iterdir(), *(SRV / "wheelhouses").iterdir()]
    found += [path for path in made if not (path / ".hostwright-ready").exists()]
    there = {path.name for path in (SRV / "releases").iterdir()}
    return [*map(str, found), *(f"release {name}" for name in there ^ set(state["releases"]))]


def _links(state: dict[str, Any]) -> list[str]:
    wanted = {SRV / "current": f"releases/{state['current']['release']}"}
    if state["current"]["slot"]:
        wanted[Path("/run/shop/web.sock")] = f"web-{state['current']['slot']}.sock"
    return [f"{path} -> {path.readlink()}" for path, target in wanted.items() if str(path.readlink()) != target]


def _units(state: dict[str, Any]) -> list[str]:
    wanted = {f"{name}.service" for name in state["processes"]}
    if state["current"]["slot"]:
        wanted |= {f"shop-web@{state['current']['slot']}.{kind}" for kind in ("service", "socket")}
    listing = [
        "/opt/faults/systemctl",
        "list-units",
        "--all",
        "--plain",
        "--no-legend",
        "shop-*@*.service",
        "shop-web@*.socket",
    ]
    lines = [line.split() for line in subprocess.check_output(listing, text=True).splitlines()]
    active = {line[0] for line in lines if line[2] != "inactive"}
    return [f"unit {name}" for name in active ^ wanted]


def _processes() -> list[str]:
    builders = subprocess.run(["pgrep", "-u", "shop-build"], capture_output=True, text=True, check=False)
    return [f"process {pid} of the build" for pid in builders.stdout.split()]


shown = json.loads((VAR / "state.json").read_text())
print(
    json.dumps(
        {
            "transaction": shown["transaction"],
            "locked": locked(),
            "current": shown["current"]["release"],
            "served": served(),
            "leftovers": leftovers(shown),
        }
    )
)
