"""What a host is told about a site: pure functions from the site model and the fleet to plain data.

The contract is the JSON file that the release engine obeys, /etc/hostwright/SITE/contract.json; it is made
here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hostwright.config import Process, Site

VERSION = 1
"""Of the contract's format; an engine refuses any other."""

Groups = Mapping[str, Sequence[str]]
"""Group name -> its hosts in the inventory's order."""

_PLACEHOLDERS = {
    "venv": "HOSTWRIGHT_VENV",
    "release": "HOSTWRIGHT_RELEASE_DIR",
    "project": "HOSTWRIGHT_PROJECT_DIR",
    "instance": "HOSTWRIGHT_INSTANCE",
    "release_id": "HOSTWRIGHT_RELEASE",
}


def app_hosts(groups: Groups) -> list[str]:
    """The hosts that get releases, web hosts first. The first of them migrates."""
    return list(dict.fromkeys(host for group in ("web", "worker", "beat") for host in groups.get(group, ())))


def processes(site: Site) -> list[Process]:
    """All processes beside the web server, Celery's among them."""
    found = []
    if site.celery:
        celery = site.celery
        base = ["python", "-m", "celery", "-A", celery.app]
        for worker in celery.workers:
            command = [
                *base,
                "worker",
                "-n",
                f"{site.name}-{worker.name}-{{instance}}@%h",
                "-Q",
                ",".join(worker.queues),
            ]
            command += ["-P", worker.pool, "-c", str(worker.concurrency), "-l", celery.loglevel]
            command += ["--without-gossip", "--without-mingle", "-I", "hostwright_ready"]
            if worker.max_tasks_per_child:
                command += ["--max-tasks-per-child", str(worker.max_tasks_per_child)]
            found.append(
                Process(
                    name=f"worker-{worker.name}",
                    command=[*command, *worker.args],
                    count=worker.count,
                    stop_timeout=worker.stop_timeout,
                    notify=True,
                )
            )
        if celery.beat:
            command = [
                *base,
                "beat",
                "-l",
                celery.loglevel,
                "--pidfile=",
                "-s",
                f"/srv/{site.name}/shared/beat/schedule",
            ]
            if celery.scheduler:
                command += ["-S", celery.scheduler]
            found.append(Process(name="beat", command=command, group="beat", singleton=True, stop_timeout=30))
    return [*found, *site.processes]


def processes_on(site: Site, groups: Groups, host: str) -> list[Process]:
    """The processes that run on `host`; a singleton runs on the first host of its group."""
    return [
        process
        for process in processes(site)
        if host in groups.get(process.group, ()) and (not process.singleton or host == groups[process.group][0])
    ]


def timers_on(site: Site, groups: Groups, host: str) -> list[dict[str, Any]]:
    """The timers of `host`, which is the first of their group."""
    return [timer.model_dump() for timer in site.timers if list(groups.get(timer.group, ()))[:1] == [host]]


def shared(site: Site) -> list[str]:
    """The directories below /srv/SITE/shared that the application may write."""
    media = ["media"] if site.media else []
    beat = ["beat"] if site.celery and site.celery.beat else []
    return list(dict.fromkeys([*media, *beat, *site.shared]))


def connections(site: Site, groups: Groups) -> int:
    """The connections that the database must allow: each thread and each worker process of the fleet may hold one.

    Twice that, as old and new run side by side in a deploy, and some for commands and people.
    """
    web = site.web.workers * site.web.threads * len(groups.get("web", ())) if site.web else 0
    celery = site.celery.workers if site.celery else []
    tasks = sum(worker.count * (worker.concurrency + 1) for worker in celery) * len(groups.get("worker", ()))
    others = sum(p.count * (1 if p.singleton else len(groups.get(p.group, ()))) for p in site.processes)
    return 2 * (web + tasks + others) + 20


def databases(site: Site, groups: Groups, addresses: Mapping[str, str], deploy_user: str) -> dict[str, Any]:
    """What the database host needs: roles, databases, access rules and the map of system users.

    On its own host the application, and who deploys it, is known by its system user; over the network, by a password.
    Where some of its hosts use the network, all may: they have one environment, which names one address.
    """
    wanted = site.services.databases
    remote = list(addresses.values()) if set(addresses) - set(groups.get("db", ())) else []
    passwords = {
        site.database_owner(d): d.password.get_secret_value() for d in wanted if d.password is not None and remote
    }
    owners = list(dict.fromkeys(site.database_owner(d) for d in wanted))
    rules: list[dict[str, str]] = []
    for database in wanted:
        owner = site.database_owner(database)
        rule = {"database": database.name, "user": owner}
        rules.append({"type": "local", **rule, "method": "peer", "options": "map=hostwright"})
        rules += [{"type": "host", **rule, "address": f"{a}/32", "method": "password"} for a in remote]
    return {
        "connections": connections(site, groups),
        "roles": [{"name": owner, "password": passwords.get(owner, "")} for owner in owners],
        "databases": [
            {"name": d.name, "owner": site.database_owner(d), "extensions": list(d.extensions)} for d in wanted
        ],
        "hba": rules,
        "ident": [
            {"map": "hostwright", "system_user": user, "role": owner}
            for owner in owners
            for user in (site.name, deploy_user)
        ],
    }


def environment(site: Site) -> dict[str, str]:
    """The application's environment on every host, secrets in the clear."""
    derived = {}
    if site.media and site.media.env:
        derived[site.media.env] = f"/srv/{site.name}/shared/media"
    return {**derived, **site.env, **{key: secret.get_secret_value() for key, secret in site.secrets.items()}}


def environment_file(values: Mapping[str, str]) -> str:
    """`values` as systemd's EnvironmentFile= reads them, whatever characters they hold.

    Inside double quotes systemd takes back the backslash before `"`, `\\`, `$` and a backtick, and keeps
    line breaks.
    """
    lines = []
    for key in sorted(values):
        quoted = re.sub(r'(["\\$`])', r"\\\1", values[key])
        lines.append(f'{key}="{quoted}"\n')
    return "".join(lines)


def exec_start(command: Sequence[str]) -> str:
    """`command` as systemd's ExecStart= takes it: every argument stays one, only our placeholders expand.

    `{venv}`, `{release}`, `{project}`, `{instance}` and `{release_id}` become the variables that the engine
    sets for the unit.
    """
    return " ".join(_exec_argument(argument) for argument in command)


def _exec_argument(argument: str) -> str:
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$").replace("%", "%%")
    for word, variable in _PLACEHOLDERS.items():
        escaped = escaped.replace("{" + word + "}", "${" + variable + "}")
    return f'"{escaped}"'


def contract(site: Site, groups: Groups, host: str) -> dict[str, Any]:
    """What the engine on `host` obeys, as JSON-serializable data. It holds the application's secrets."""
    name = site.name
    links = [
        {"path": file.link, "target": f"/etc/hostwright/{name}/files/{file.path}"} for file in site.files if file.link
    ] + [{"path": link, "target": f"/srv/{name}/shared/{child}"} for child, link in site.shared.items() if link]
    health = site.health
    web = site.web if host in groups.get("web", ()) else None
    return {
        "version": VERSION,
        "site": name,
        "host": host,
        "user": name,
        "build_user": f"{name}-build",
        "python": site.python.interpreter or f"/usr/bin/python{site.python.version}",
        "project_dir": site.project_dir,
        "dependencies": site.dependencies.model_dump(),
        "manage": list(site.manage),
        "modules": [*(["gunicorn"] if web else []), *(["celery"] if site.celery else [])],
        "applications": [
            *([web.wsgi or web.asgi] if web else []),
            *([site.celery.app] if site.celery else []),
        ],
        "env": environment(site),
        "links": links,
        "hooks": [
            hook.model_dump(exclude={"once"})
            for hook in site.hooks
            if not hook.once or hook.stage.endswith("migrate") or app_hosts(groups)[:1] == [host]
        ],
        "static": site.static.model_dump() if site.static.root else None,
        "databases": [database.name for database in site.services.databases],
        "web": {
            "health": {
                "path": health.path,
                "headers": {
                    "Host": health.host or next(iter(web.domains), "localhost"),
                    "X-Forwarded-Proto": health.scheme,
                    **health.headers,
                },
                "status": list(health.status),
                "deadline": health.deadline,
                "timeout": health.timeout,
            },
            "timeout": web.timeout,
        }
        if web
        else None,
        "processes": [
            {
                "name": p.name,
                "count": p.count,
                "singleton": p.singleton,
                "stop_timeout": p.stop_timeout,
                "notify": p.notify,
            }
            for p in processes_on(site, groups, host)
        ],
        "timers": [timer["name"] for timer in timers_on(site, groups, host)],
        "releases": site.releases.model_dump(),
    }
