"""`make demo`: a throwaway host, provisioned; the sample site deployed, partitioned, deployed again and rolled back.

Every stage is a command that a user types; this only types them, and times them. Running it again, or after an
interruption, goes on from what is there. `--down` removes the host, its inventory, and what the demo wrote.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".cache" / "demo"
REPOSITORY = WORK / "shop"
INVENTORY = ROOT / "inventory" / "lab"
BANNER = "shop/templates/banner.txt"

console = Console(highlight=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--down", action="store_true", help="remove the host, and what the demo wrote")
    if parser.parse_args().down:
        return down()
    WORK.mkdir(parents=True, exist_ok=True)
    stages = [
        ("a throwaway host", ["fab", "lab.up"]),
        ("bare host to managed host", ["ansible-playbook", "playbooks/bootstrap.yml"]),
        ("all services", ["ansible-playbook", "playbooks/site.yml"]),
        ("first release", ["fab", "deploy"]),
        ("partitions", ["fab", "partition.apply", "--yes"]),
        ("second release", ["fab", "deploy"]),
        ("rollback", ["fab", "rollback", "--yes"]),
    ]
    times: list[tuple[str, str, float]] = []
    for number, (title, command) in enumerate(stages):
        if command == ["fab", "deploy"]:
            commit_sample(f"release {number}, {time.strftime('%H:%M:%S')}")
        seconds = run(title, command, WORK / f"{number + 1}-{title.replace(' ', '-')}.log")
        times.append((title, " ".join(command), seconds))
        if number == 0:
            (INVENTORY / "group_vars/all/demo.yml").write_text(
                yaml.safe_dump({"shop_repository": str(REPOSITORY)}), encoding="utf-8"
            )
    summary(times)
    return 0


def run(title: str, command: list[str], log: Path) -> float:
    """Run `command` with its output in `log`, and return the seconds that it took; exit with its status if it fails."""
    console.print(f"[bold]{title}[/]: {' '.join(command)}  [dim](log: {log.relative_to(ROOT)})[/]")
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        status = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    seconds = time.monotonic() - started
    if status:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
        console.print(tail, markup=False)
        console.print(f"[red]failed[/] with status {status} after {seconds:.1f} s; the whole output is in {log}")
        sys.exit(status)
    console.print(f"  [green]done[/] in {seconds:.1f} s")
    return seconds


def commit_sample(text: str) -> None:
    """Bring the sample site into a repository of its own, with `text` as its newest change."""
    shutil.copytree(
        ROOT / "examples" / "shop", REPOSITORY, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    (REPOSITORY / BANNER).write_text(f"{text}\n", encoding="utf-8")
    author = ["-c", "user.name=demo", "-c", "user.email=demo@example.com"]
    for arguments in (["init", "-q"], ["add", "-A"], [*author, "commit", "-q", "-m", text]):
        subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True)


def summary(times: list[tuple[str, str, float]]) -> None:
    host = next(iter(yaml.safe_load((INVENTORY / "hosts.yml").read_text(encoding="utf-8"))["all"]["hosts"].values()))
    table = Table(title="make demo", caption="What to try next: fab --list")
    for heading in ("stage", "command", "seconds"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for title, command, seconds in times:
        table.add_row(title, command, f"{seconds:.1f}")
    table.add_section()
    table.add_row("all of it", "", f"{sum(seconds for *_, seconds in times):.1f}")
    console.print(table)
    console.print(f"The site answers at [bold]http://{host['ansible_host']}/[/]")
    for command, purpose in (
        (". .venv/bin/activate", "puts fab on your PATH"),
        ("fab status", "hosts, services, releases"),
        ("fab logs --follow", "what the hosts say"),
        ("fab partition.status", "the partitions of the event log"),
        ("fab lab.ssh", "a look around on the host"),
        ("make demo-down", "remove all of it"),
    ):
        console.print(f"  {command:<24}{purpose}")


def down() -> int:
    status = subprocess.run(["fab", "lab.down", "--yes"], cwd=ROOT, check=False).returncode
    shutil.rmtree(WORK, ignore_errors=True)
    console.print("What other labs may use is kept: podman and its companions, and the image (fab lab.down --images).")
    return status


if __name__ == "__main__":
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Whatever inventory the shell is set up for, the demo has its own.
    os.environ["ANSIBLE_INVENTORY"] = str(INVENTORY)
    # The events of its deploys, which --down removes.
    os.environ["XDG_STATE_HOME"] = str(WORK / "state")
    for name in ("ANSIBLE_VAULT_PASSWORD_FILE", "ANSIBLE_VAULT_IDENTITY_LIST"):
        os.environ.pop(name, None)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        console.print("interrupted; make demo goes on from here")
        sys.exit(130)
