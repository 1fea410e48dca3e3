"""The program `hostwright`: what is done once for a project, before there is a fabfile."""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import os
import secrets
import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from hostwright import tree
from hostwright.errors import BadInput, HostwrightError

EXAMPLES = {"site": "group_vars/all/site.yml", "hosts": "hosts.yml", "vault": "group_vars/all/vault.yml"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `hostwright`; returns its exit status."""
    given = _parser().parse_args(argv)
    try:
        if given.command == "example":
            said = (tree.INVENTORIES / "example" / EXAMPLES[given.what]).read_text(encoding="utf-8")
        else:
            said = init(_here(), given.into) + "\n"
        return _show(said)
    except HostwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "a file"
        print(f"error: {place} can't be used: {error.strerror}", file=sys.stderr)
        return 1


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise BadInput("the current directory is not there any more", "Go into the project's directory.") from None


def _show(text: str) -> int:
    """Print `text`; returns the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # A name that the terminal can't show is no failure.
    try:
        print(text, end="", flush=True)
    except OSError as error:
        # What is left of it must not be tried again at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # The reader of our output went away, which is no failure.
            raise HostwrightError(f"the output can't be written: {error.strerror}") from None
    return 0


def init(root: Path, into: str) -> str:
    """Write the directory `into` for the Django project in `root`, and return what to do next."""
    from hostwright.init import files, project, sources, write

    target = root / into
    if not target.resolve().is_relative_to(root.resolve()) or target.resolve() == root.resolve():
        raise BadInput(f"--into: {into} is no directory inside of the project", "The default is deploy.")
    if not target.parent.is_dir():
        raise BadInput(f"--into: there is no directory {target.parent}", "Make it first.")
    found = project.look(root)
    made = files.files(found, os.path.relpath(root, target), secrets.token_urlsafe(48))
    write.write(target, made, {sources.VAULT})
    needs = [(sources.HOSTS, "your server's address, and the keys of those who deploy"), *found.needs]
    needs += files.refused(made[sources.SITE])
    return _summary(found.name, Path(into), made, needs)


def _summary(name: str, into: Path, made: Collection[str], needs: Sequence[tuple[str, str]]) -> str:
    """What was written, what it lacks, file by file, and what to do then."""
    places: dict[str, list[str]] = {}
    for place, what in sorted(needs, key=lambda need: need[0] not in made):
        places.setdefault(f"{into}/{place}" if place in made else place, []).append(what)
    lines = [
        f"{into}/ is written for {name}:",
        *(f"    {path}" for path in made),
        "",
        "What it could not tell, and what has to change:",
    ]
    for place, whats in places.items():
        lines += [f"    {place}", *(f"      - {what}" for what in whats)]
    return "\n".join([*lines, "", "Then:", f"    cd {shlex.quote(str(into))}", *(f"    {command}" for command in NEXT)])


NEXT = (
    "(umask 077; openssl rand -base64 30 > ~/.vault-password)    # keep a copy: without it the secrets are lost",
    "export ANSIBLE_VAULT_PASSWORD_FILE=~/.vault-password",
    "ansible-vault encrypt inventory/production/group_vars/all/vault.yml",
    "fab config.check",
    "ssh root@ADDRESS true    # each server once: its host key has to be known",
    "ansible-playbook playbooks/bootstrap.yml",
    "ansible-playbook playbooks/site.yml",
    "fab deploy",
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hostwright", description="Prepare a Django project for its deploys.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    starts = commands.add_parser("init", help="write deploy/ for the Django project in this directory")
    starts.add_argument("--into", default="deploy", metavar="DIRECTORY", help="default: deploy")
    example = commands.add_parser("example", help="show an example inventory, with every key")
    example.add_argument("what", nargs="?", choices=EXAMPLES, default="site", help="default: site")
    return parser


def _version() -> str:
    try:
        return importlib.metadata.version("hostwright")
    except importlib.metadata.PackageNotFoundError:
        return "(a checkout)"
