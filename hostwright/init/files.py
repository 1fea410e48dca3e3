"""The files of deploy/ for a project."""

from __future__ import annotations

from typing import Any

import jinja2
import yaml

from hostwright import config, tree
from hostwright.errors import BadInput
from hostwright.init.project import Project
from hostwright.init.sources import HOSTS, SITE, VAULT, Need

PLAYBOOKS = ("bootstrap", "site", "upgrade")
PLAYBOOK = "# Plays of your own may stand beside it.\n- import_playbook: hostwright.hostwright.{}\n"

FABFILE = '''\
"""The tasks of Hostwright: `fab --list` shows them. A task of your own is added with namespace.add_task()."""

from hostwright.tasks import namespace

__all__ = ["namespace"]
'''

CHECKOUTS = ("roles_path", "library", "filter_plugins")
"""Settings of a checkout's ansible.cfg; what is installed needs none of them."""


def files(project: Project, up: str, secret_key: str) -> dict[str, str]:
    """Path below deploy/ -> content. `up` is the path from there to the project, `secret_key` a new random text."""
    names = [*project.secrets, *(["AMQP_PASSWORD"] if project.broker.kind == "amqp" else [])]
    secrets = dict.fromkeys(names, "change-me") | {project.secret_key: secret_key}
    untold = [" ".join(what.split()) for place, what in project.needs if place == SITE]
    return {
        # A release has no use for what is here.
        ".gitattributes": "* export-ignore\n",
        ".gitignore": "/.cache/\n/inventory/lab/\n",
        "ansible.cfg": _ansible_cfg(),
        "fabfile.py": FABFILE,
        HOSTS: _hosts(),
        SITE: _render("site.yml", p=project, up=up, untold=untold),
        VAULT: _render("vault.yml", names=names, secrets=secrets),
        **{f"playbooks/{name}.yml": PLAYBOOK.format(name) for name in PLAYBOOKS},
    }


def refused(site: str) -> list[Need]:
    """What `fab config.check` would refuse in this site.yml, though the project says it so."""
    try:
        config.load(yaml.safe_load(site)["site"])
    except BadInput as error:
        return [(SITE, line.removeprefix("site.")) for line in error.message.splitlines()]
    return []


def _ansible_cfg() -> str:
    lines = (tree.TREE / "ansible.cfg").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = "".join(line for line in lines if line.split(" ")[0] not in CHECKOUTS)
    return kept.replace("inventory = inventory/lab", "inventory = inventory/production")


def _hosts() -> str:
    """The minimal inventory's hosts, without what is said of the checkout."""
    _, _, hosts = (tree.INVENTORIES / "minimal" / "hosts.yml").read_text(encoding="utf-8").partition("\n")
    return "# One server that does everything; `hostwright example hosts` shows several.\n" + hosts


def _flow(value: Any) -> str:
    """`value` as YAML on one line."""
    if isinstance(value, str):
        return yaml.safe_dump(value, width=float("inf"), allow_unicode=True).removesuffix("\n").removesuffix("\n...")
    return yaml.safe_dump(list(value), default_flow_style=True, width=float("inf"), allow_unicode=True).strip()


_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(tree.TEMPLATES / "init"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,
)
_environment.filters["flow"] = _flow


def _render(name: str, **values: Any) -> str:
    return _environment.get_template(f"{name}.j2").render(values)
