"""A deploy as a list of steps: what each host will be told, in order. Pure, so that --dry-run shows what a run does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def steps(site: Site, groups: Groups, hosts: Sequence[str], batch: int = 0) -> list[Step]:
    """What a deploy of `hosts` does, in order, `batch` hosts at a time; 0: all of them together."""
    return [
        step
        for number, some in enumerate(batches(hosts, batch))
        for step in _of_batch(site, groups, tuple(some), migrate=number == 0)
    ]


def _of_batch(site: Site, groups: Groups, hosts: tuple[str, ...], migrate: bool) -> Iterator[Step]:
    web = web_hosts(site, groups, hosts)
    replaced = sorted({process.name for host in hosts for process in processes_on(site, groups, host)})
    yield Step("prepare", hosts, "uploaded")
    yield Step("wheels", hosts, "built", "only where the virtualenv is not there yet; made once for each platform")
    yield Step("build", hosts, "checked", "virtualenv, hooks, collectstatic, checks, migration plan")
    hooks = any(hook.stage in ("before_migrate", "after_migrate") for hook in site.hooks)
    if migrate and (hooks or site.releases.migrate == "auto"):
        yield Step("migrate", hosts[:1], "migrated", "once, only where something is to be done")
    yield Step("standby", hosts, "standby healthy", f"asks {site.health.path} on {', '.join(web) or 'no host'}")
    yield Step("flip", hosts, "flipped", "after the barrier: every host is ready")
    yield Step("confirm", hosts, "confirmed")
    yield Step("finish", hosts, "workers replaced", f"drain, then {', '.join(replaced) or 'no processes'}, clean up")


def batches(hosts: Sequence[str], size: int) -> list[list[str]]:
    """`hosts` in groups of `size`; 0 is one group."""
    return [list(hosts[at : at + size]) for at in range(0, len(hosts), size)] if size else [list(hosts)]
