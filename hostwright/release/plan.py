"""A deploy as a list of steps: what each host will be told, in order. Pure, so that --dry-run shows what a run does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hostwright.config import Site
from hostwright.contract import Groups, app_hosts, processes_on
from hostwright.errors import BadInput


@dataclass(frozen=True)
class Step:
    """One command of the protocol for some hosts, side by side. `state` is what the fleet has reached after it."""

    do: str
    hosts: tuple[str, ...]
    state: str
    detail: str = ""


def hosts_of(site: Site, groups: Groups, selected: Sequence[str]) -> list[str]:
    """The hosts that take part: those that run something of the site, in order. The first one migrates."""
    wanted = [host for host in app_hosts(groups) if host in set(selected)]
    if not wanted:
        raise BadInput(
            "no host to deploy to", "The inventory needs hosts in the groups web, worker or beat (or see --limit)."
        )
    return wanted


def web_hosts(site: Site, groups: Groups, hosts: Sequence[str]) -> list[str]:
    """Those of `hosts` that have a web slot."""
    return [host for host in hosts if site.web and host in groups.get("web", ())]


def steps(site: Site, groups: Groups, hosts: Sequence[str], kind: str, migrations: bool = False) -> list[Step]:
    """What happens, in order, for a deploy, a rollback or a restart of `hosts`."""
    everyone = tuple(hosts)
    leader = everyone[:1]
    web = web_hosts(site, groups, hosts)
    plan = [Step("prepare", everyone, "uploaded" if kind == "deploy" else "found")]
    if kind == "deploy":
        plan.append(
            Step("wheels", leader, "built", "only where the virtualenv is not there yet; made once for each platform")
        )
        plan.append(Step("build", everyone, "checked", "virtualenv, hooks, collectstatic, checks, migration plan"))
        if site.releases.migrate == "auto":
            plan.append(Step("migrate", leader, "migrated", "once, only where something is to be done"))
    else:
        plan.append(Step("build", everyone, "checked", "nothing is built"))
    plan.append(
        Step("standby", everyone, "standby healthy", f"asks {site.health.path} on {', '.join(web) or 'no host'}")
    )
    if migrations:
        plan.append(Step("unmigrate", leader, "migrations undone", "with the code of the release that serves now"))
    plan.append(Step("flip", everyone, "flipped", "after the barrier: every host is ready"))
    plan.append(Step("confirm", everyone, "confirmed"))
    replaced = sorted({process.name for host in hosts for process in processes_on(site, groups, host)})
    plan.append(
        Step("finish", everyone, "workers replaced", f"drain, then {', '.join(replaced) or 'no processes'}, clean up")
    )
    return plan


def batches(hosts: Sequence[str], size: int) -> list[list[str]]:
    """`hosts` in groups of `size`; 0 is one group."""
    if size < 0:
        raise BadInput("--batch must be 1 or more, or left out")
    return [list(hosts[at : at + size]) for at in range(0, len(hosts), size)] if size else [list(hosts)]
