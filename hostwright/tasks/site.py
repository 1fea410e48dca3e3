"""A day's work on a site: deploy, roll back, look, run."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hostwright import console, events, interrupts
from hostwright.errors import BadInput, Failures, HostwrightError
from hostwright.events import Reporter
from hostwright.tasks import _fleet
from hostwright.tasks._task import task


def _transact(
    found: Any,
    hosts: list[str],
    request: dict[str, Any],
    json: bool,
    artifact: Any = None,
    migrations: bool = False,
    lock_wait: float = 0,
    batch: int = 0,
    junit: str = "",
) -> None:
    """Drive one transaction, in batches if asked, and say how it ended."""
    from hostwright.release import drive, plan

    if junit and not Path(junit).parent.is_dir():
        raise BadInput(f"--junit: there is no directory {Path(junit).parent}", "Make it first.")
    op = _fleet.operation()
    log = events.log_path(found.site.name, op)
    reporter = Reporter(json, log)
    reporter.event(
        "begin", op=op, kind=request["kind"], site=found.site.name, hosts=hosts, release=request.get("release")
    )
    try:
        with interrupts.noted():
            for number, some in enumerate(plan.batches(hosts, batch)):
                fleet = drive.Fleet(_fleet.remotes(found, some), f"{op}-{number}", reporter)
                first = number == 0
                web = plan.web_hosts(found.site, found.groups, some)
                drive.run(fleet, found.site, request, artifact, migrations and first, lock_wait, migrate=first, web=web)
    except BaseException as error:
        said = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__
        reporter.event("end", result="failed", detail=said.split("\n")[0], error=said, log=str(log))
        if not json:
            print(f"events: {log}", file=sys.stderr)
        raise
    else:
        reporter.event("end", result="done", detail=request.get("release") or "", log=str(log))
    finally:
        page = os.environ.get("GITHUB_STEP_SUMMARY", "")
        if junit or page:
            from hostwright import summary

            summary.publish(reporter.told, junit, page)


@task(
    help={
        "ref": "branch, tag or commit (default: source.ref of the site model)",
        "batch": "this many hosts at a time, each batch whole, one after another",
        "dry-run": "show every step for every host, and change nothing",
        "lock-wait": "seconds to wait for someone else's deploy to end",
        "junit": "write the run's steps to this file, as JUnit's XML",
        "dirty": "deploy the last commit although there are changes that are not committed",
    }
)
def deploy(
    c: Any,
    inventory: str = "",
    ref: str = "",
    limit: str = "",
    batch: int = 0,
    lock_wait: int = 0,
    dry_run: bool = False,
    json: bool = False,
    junit: str = "",
    dirty: bool = False,
) -> None:
    """Build once, ship everywhere, go live together."""
    found, hosts = _fleet.read(inventory, limit)
    from hostwright.release import plan, source

    artifact = source.build(found.site.source, ref, dirty)
    if dry_run:
        steps = plan.steps(found.site, found.groups, hosts, batch)
        if json:
            about = {"release": artifact.release, "ref": artifact.ref, "commit": artifact.commit}
            Reporter(True).event("plan", **about, site=found.site.name, steps=[dataclasses.asdict(s) for s in steps])
            return
        print(f"release {artifact.release} ({artifact.ref}, {artifact.commit[:12]}, {len(artifact.data) // 1024} KiB)")
        rows = [(step.state, step.do, host, step.detail) for step in steps for host in step.hosts]
        console.table("", ("state", "step", "host", ""), rows)
        return
    request = {
        "kind": "deploy",
        "release": artifact.release,
        "owner": _fleet.owner(),
        "artifact": artifact.name,
        "sha256": artifact.sha256,
        "ref": artifact.ref,
        "commit": artifact.commit,
    }
    _transact(found, hosts, request, json, artifact, lock_wait=lock_wait, batch=batch, junit=junit)


@task(
    help={
        "release": "default: the one before",
        "migrations": "undo the migrations that came with the newer releases",
        "lock-wait": "seconds to wait for someone else's deploy to end",
        "junit": "write the run's steps to this file, as JUnit's XML",
    },
)
def rollback(
    c: Any,
    release: str = "",
    inventory: str = "",
    limit: str = "",
    migrations: bool = False,
    lock_wait: int = 0,
    json: bool = False,
    junit: str = "",
    yes: bool = False,
) -> None:
    """Go back to the release before, or to a named one."""
    if release:
        from hostwright.release.source import release_name

        release_name(release)
    found, hosts = _fleet.read(inventory, limit)
    answers = _fleet.ask_all(found, hosts, {"verb": "releases"})
    listed: dict[str, list[dict[str, Any]]] = {}
    failed: dict[str, HostwrightError] = {}
    for host, answer in answers.items():
        if isinstance(answer, HostwrightError):
            failed[host] = answer
        else:
            listed[host] = answer["releases"]
    if failed:
        raise Failures(failed)
    target, applied = _target(listed, release)
    question = f"Roll {found.site.name} back to {target} on {', '.join(hosts)}?"
    if migrations:
        question += f" Migrations that it does not have are undone: {', '.join(applied) or 'none that are known of'}."
    elif applied:
        note = f"these migrations stay applied: {', '.join(applied)} (--migrations undoes them)"
        print(f"note: {note}", file=sys.stderr)
    console.confirm(question, yes or json)
    request = {"kind": "rollback", "release": target, "owner": _fleet.owner()}
    _transact(found, hosts, request, json, migrations=migrations, lock_wait=lock_wait, junit=junit)


def _target(listed: Mapping[str, list[dict[str, Any]]], release: str) -> tuple[str, list[str]]:
    """The release to go back to, by the releases of each host, and the migrations that came with newer ones.

    Without a name it is the newest good one of all hosts that is older than the newest that one of them is on: going
    back twice goes back two, and where some hosts have gone back already, the others follow.
    """
    fleet: dict[str, dict[str, dict[str, Any]]] = {}
    for host, rows in listed.items():
        for row in rows:
            fleet.setdefault(row["release"], {})[host] = row
    created = {name: min(row["created"] for row in there.values()) for name, there in fleet.items()}
    newest_first = sorted(fleet, key=lambda name: created[name], reverse=True)
    current = next((name for name in newest_first if any(row["current"] for row in fleet[name].values())), None)
    if current is None:
        raise BadInput("nothing is deployed yet", "Use: fab deploy")

    def have(name: str) -> list[str]:
        """The hosts that can go back to it. Of one that is named, the engine says it where it was never live."""
        return [host for host, row in fleet[name].items() if release or row["status"] == "good"]

    if release:
        wanted = [release] if release in fleet else []
    else:
        wanted = [name for name in newest_first if created[name] < created[current] and have(name)]
    if not wanted:
        raise BadInput(
            f"there is no release {release}" if release else "there is no earlier release to go back to",
            "fab releases lists those that are there.",
        )
    target = next((name for name in wanted if len(have(name)) == len(listed)), wanted[0])
    missing = [host for host in listed if host not in have(target)]
    if missing:
        commits = [row["commit"] for row in fleet[target].values() if re.fullmatch("[0-9a-f]{40}", row["commit"] or "")]
        raise BadInput(
            f"the release {target} is not on {', '.join(missing)}, or was never live there",
            f"Use: fab deploy{f' --ref {commits[0]}' if commits else ''}",
        )
    if all(row["current"] for row in fleet[target].values()):
        raise BadInput(f"the release {target} is the current one already", "fab releases lists the others.")
    newer = [row for name in newest_first if created[name] > created[target] for row in fleet[name].values()]
    return target, list(dict.fromkeys(f"{app}.{name}" for row in newer for app, name in row["applied"] or []))


@task()
def restart(c: Any, inventory: str = "", limit: str = "", lock_wait: int = 0, json: bool = False) -> None:
    """Start the current release afresh, without a failed request."""
    found, hosts = _fleet.read(inventory, limit)
    _transact(found, hosts, {"kind": "restart", "owner": _fleet.owner()}, json, lock_wait=lock_wait)


@task()
def releases(c: Any, inventory: str = "", limit: str = "", json: bool = False) -> None:
    """List the releases on the hosts."""
    found, hosts = _fleet.read(inventory, limit)
    answers = _fleet.ask_all(found, hosts, {"verb": "releases"})
    rows = []
    failed: dict[str, HostwrightError] = {}
    for host, answer in answers.items():
        if isinstance(answer, HostwrightError):
            failed[host] = answer
            continue
        for row in answer["releases"]:
            if json:
                Reporter(True).event("release", host=host, **row)
            mark = "current" if row["current"] else "previous" if row["previous"] else ""
            commit = (row["commit"] or "")[:12]
            rows.append(
                (
                    row["release"],
                    host,
                    mark,
                    console.since(row["created"]),
                    row["ref"] or "",
                    commit,
                    row["owner"] or "",
                )
            )
    if not json:
        console.table("", ("release", "host", "", "created", "ref", "commit", "by"), sorted(rows, reverse=True))
    if failed:
        raise Failures(failed)


def _release_of(instance: str) -> str:
    """The release of a process's instance: `RELEASE.NUMBER`, or `RELEASE-rOPERATION.NUMBER` if it was started anew."""
    return re.sub(r"(-r[0-9a-f]{8})?\.\d+$", "", instance)


@task()
def status(c: Any, inventory: str = "", limit: str = "", json: bool = False) -> None:
    """Show hosts x services x release x slot x since; status 1 where something is not as it should be."""
    found, hosts = _fleet.read(inventory, limit)
    answers = _fleet.ask_all(found, hosts, {"verb": "status"})
    rows, serving, problems = [], set(), []
    for host, answer in answers.items():
        if isinstance(answer, HostwrightError):
            problems.append(str(answer))
            rows.append((host, "", "", "", "no answer", ""))
            continue
        if json:
            Reporter(True).event("status", **{key: value for key, value in answer.items() if key != "event"})
        current = answer["current"] or {"release": "none", "slot": None, "since": None}
        serving.add(current["release"])
        state = "maintenance" if answer["maintenance"] else "live" if answer["current"] else "nothing deployed"
        rows.append(
            (host, "release", current["release"], current["slot"] or "", state, console.since(current["since"]))
        )
        for unit in answer["units"]:
            service, _, instance = unit["unit"].rpartition(".")[0].partition("@")
            slot = instance if service == f"{found.site.name}-web" else ""
            # A timer, which has no instance, starts what is current.
            release = current["release"] if slot == current["slot"] or not instance else _release_of(instance)
            rows.append((host, service, release, slot, unit["state"], console.since(unit["since"])))
            if unit["state"] not in ("active", "activating", "deactivating"):
                dies = unit["state"] == "auto-restart"
                said = "died, and is about to be started again" if dies else f"is {unit['state']}"
                problems.append(f"{host}: {unit['unit']} {said}")
        if answer["transaction"] and not answer["lock"]:
            problems.append(f"{host}: a deploy was interrupted; the next one ends it first")
        if answer["lock"]:
            lock = answer["lock"]
            rows.append(
                (host, "deploy", lock.get("release") or "", "", f"by {lock.get('owner')}", lock.get("since") or "")
            )
    if not json:
        console.table(found.site.name, ("host", "service", "release", "slot", "state", "since"), rows)
    if len(serving) > 1:
        problems.append(f"the hosts are on different releases: {', '.join(sorted(serving))}. Mend it with: fab deploy")
    if problems:
        raise HostwrightError("\n".join(problems))


def _units(site: Any, service: str) -> list[str]:
    """Patterns of the units of one service, with or without the site's name, or of all that belong to the site."""
    from hostwright.contract import processes

    units = {"web": f"{site.name}-web@*"} if site.web else {}
    units |= {process.name: f"{site.name}-{process.name}@*" for process in processes(site)}
    units |= {f"timer-{timer.name}": f"{site.name}-timer-{timer.name}.service" for timer in site.timers}
    engine = [f"hostwright-{site.name}-{unit}.service" for unit in ("transaction", "boot")]
    if not service:
        return [*units.values(), f"{site.name}-partitions.service", *engine]
    known = units.get(service) or units.get(service.removeprefix(f"{site.name}-"))
    if not known:
        raise BadInput(f"--process: the site has no service {service!r}", f"It has {', '.join(units) or 'none'}.")
    return [known]


@task(
    help={
        "follow": "go on until interrupted",
        "process": "one service, such as web, worker-default, beat or timer-NAME",
        "lines": "how many of each host's last lines",
    }
)
def logs(
    c: Any, inventory: str = "", limit: str = "", follow: bool = False, process: str = "", lines: int = 50
) -> None:
    """Show what the site's services say, on all hosts."""
    import threading
    from queue import SimpleQueue

    from hostwright import remote

    found, hosts = _fleet.read(inventory, limit)
    command = ["env", "LC_ALL=C.UTF-8", "journalctl", "--no-pager", "-q", "-o", "short-iso", "-n", str(int(lines))]
    command += ["-f"] if follow else []
    command += [f"--unit={unit}" for unit in _units(found.site, process)]
    prefix = len(hosts) > 1
    # sys.stdout does not say when its reader is gone, and then there is nothing to follow for.
    out = open(1, "w", closefd=False, errors="replace")  # noqa: SIM115  # A `with` would flush once more.

    def show(host: Any) -> None:
        channel = host.channel(shlex.join(command))
        pending = b""
        while block := channel.recv(65536):
            *whole, pending = (pending + block).split(b"\n")
            for line in whole:
                text = remote.printable(line.decode(errors="replace"))
                print(f"{host.name:<12} {text}" if prefix else text, file=out, flush=True)
        complaint = b"".join(iter(lambda: channel.recv_stderr(65536), b"")).decode(errors="replace").strip()
        status = channel.recv_exit_status()
        if status == -1:
            raise remote.Unreachable(f"{host.name}: the connection was lost")
        # journalctl says so where no unit of a pattern has ever said anything, as on a host without workers.
        if status and "No data available" not in complaint:
            said = remote.printable(complaint)[-500:] or f"it ended with status {status}"
            raise HostwrightError(f"{host.name}: journalctl: {said}")

    ended: SimpleQueue[tuple[str, BaseException | None]] = SimpleQueue()

    def shown(host: Any) -> None:
        failure: BaseException | None = None
        try:
            show(host)
        except BaseException as error:
            failure = error
        ended.put((host.name, failure))

    for host in _fleet.remotes(found, hosts):
        threading.Thread(target=shown, args=(host,), daemon=True).start()
    failed: dict[str, HostwrightError] = {}
    for _ in hosts:
        name, error = ended.get()
        if isinstance(error, HostwrightError):
            failed[name] = error
        elif isinstance(error, BrokenPipeError):
            return
        elif isinstance(error, OSError):
            raise HostwrightError(f"standard output can't be written: {error.strerror}")
        elif error:
            raise error
    if failed:
        raise Failures(failed)


@task(positional=["command"], help={"command": "such as 'check --deploy', in quotes", "host": "default: the first"})
def manage(c: Any, command: str, inventory: str = "", host: str = "") -> None:
    """Run one of Django's management commands on a host."""
    _execute(inventory, host, {"manage": _words(command)})


@task(help={"host": "default: the first"})
def shell(c: Any, inventory: str = "", host: str = "") -> None:
    """Open Django's shell on a host."""
    _execute(inventory, host, {"manage": ["shell"]})


@task(positional=["command"], help={"command": "in quotes", "host": "default: the first"})
def run(c: Any, command: str, inventory: str = "", host: str = "") -> None:
    """Run a command as the application's user, in the current release."""
    _execute(inventory, host, {"argv": _words(command)})


def _words(command: str) -> list[str]:
    """The words of a command line, by the shell's rules for quotes."""
    import shlex

    try:
        return shlex.split(command)
    except ValueError as error:
        raise BadInput(f"the command {command} can't be read: {error}", "Close its quotes.") from None


def _execute(inventory: str, host: str, request: dict[str, Any]) -> None:
    from hostwright.terminal import attach

    found, hosts = _fleet.read(inventory)
    if host and host not in hosts:
        raise BadInput(f"--host: {host!r} is no host that runs the site", f"Hosts: {', '.join(hosts)}")
    chosen = host or hosts[0]
    status = attach(_fleet.remotes(found, [chosen])[0], {"verb": "exec", **request})
    if status:
        raise HostwrightError(f"{chosen}: the command ended with status {status}")
