"""Filters that give playbooks the validated site model and what follows from it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from jinja2 import Undefined

try:
    from hostwright import config, contract
    from hostwright.errors import HostwrightError
    from hostwright.hosts import obstacles, platforms, sites
except ImportError as error:
    raise AnsibleFilterError(
        "the Python package hostwright is not importable by Ansible's interpreter: install it there, "
        f"or run ansible-playbook from its virtualenv ({error})"
    ) from error


def _plain(value: Any) -> Any:
    """The same in plain containers: those of core 2.19 and newer fill themselves only when Python reads them."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _undefined(data: Undefined) -> str:
    """What is undefined: Ansible's own message shows all of the site model with it, its secrets too."""
    found = re.findall(r"'[\w. ]+' (?:is undefined|has no (?:attribute|element) '?\w+'?)", str(data._undefined_message))
    what = found[-1] if found else "it names what is undefined"
    return f"site: {what}\n  `fab config.check` says for which key."


def _site(data: Any) -> config.Site:
    if isinstance(data, Undefined):
        raise AnsibleFilterError(_undefined(data))
    try:
        return config.load(_plain(data))
    except HostwrightError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """`site | hostwright_site` and its companions: most take the raw `site` variable, three what a host printed."""

    def filters(self) -> dict[str, Any]:
        return {
            "hostwright_site": lambda data: config.revealed(_site(data)),
            "hostwright_contract": lambda data, groups, host: contract.contract(_site(data), groups, host),
            "hostwright_environment_file": lambda data: contract.environment_file(contract.environment(_site(data))),
            "hostwright_app_hosts": contract.app_hosts,
            "hostwright_shared": lambda data: contract.shared(_site(data)),
            "hostwright_databases": lambda data, groups, variables, deploy_user: contract.databases(
                _site(data),
                groups,
                {host: variables[host].get("ansible_host", host) for host in contract.app_hosts(groups)},
                deploy_user,
            ),
            "hostwright_processes": lambda data, groups, host: [
                {
                    "name": process.name,
                    "exec_start": contract.exec_start(process.command),
                    "stop_signal": process.stop_signal,
                    "stop_timeout": process.stop_timeout,
                    "notify": process.notify,
                }
                for process in contract.processes_on(_site(data), groups, host)
            ],
            "hostwright_timers": lambda data, groups, host: [
                {
                    "name": timer["name"],
                    "exec_start": contract.exec_start(timer["command"]),
                    "calendar": timer["calendar"],
                    "timeout": timer["timeout"],
                }
                for timer in contract.timers_on(_site(data), groups, host)
            ],
            "hostwright_fingerprint": sites.fingerprint,
            "hostwright_together": lambda text, host, own, tags, skipped: sites.together(
                host, text, _plain(own), tags, skipped
            ),
            "hostwright_host": lambda text: platforms.seen(text).facts(),
            "hostwright_environment_objection": lambda data, host, systemd: platforms.environment_objection(
                host, systemd, contract.environment(_site(data))
            ),
            "hostwright_objection": lambda text, host, core, interpreter, bare: platforms.objection(
                host, platforms.seen(text), core, interpreter, bare
            ),
            "hostwright_obstacle": lambda text, host: obstacles.objection(host, text, time.time()),
            "hostwright_application_files": lambda data: [
                {"path": file.path, "content": file.content.get_secret_value(), "mode": file.mode}
                for file in _site(data).files
            ],
        }
