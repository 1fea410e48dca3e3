"""The contract: what root allows on this host, written by Ansible to a file that only root may write."""

import json
import os
import pwd
import stat

from .errors import Failed

VERSION = 1
MEND = "Run: ansible-playbook playbooks/site.yml"
_KEYS = (
    "site host user build_user python project_dir dependencies manage modules applications env links hooks static databases web "
    "processes timers releases"
).split()


def check(data):
    """`data` if it is a contract of this engine's version; raises Failed that says what is wrong."""
    if not isinstance(data, dict) or data.get("version") != VERSION:
        found = data.get("version") if isinstance(data, dict) else None
        raise Failed("the contract is of version {}, the engine needs {}".format(found, VERSION), MEND)
    missing = sorted(set(_KEYS) - set(data))
    if missing:
        raise Failed("the contract has no {}".format(", ".join(missing)), MEND)
    return data


def load(path):
    """The contract at `path`, which must belong to root and to nobody else."""
    try:
        with open(path, encoding="utf-8") as source:
            about = os.fstat(source.fileno())
            if about.st_uid != os.getuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise Failed("{} can be written by others than root".format(path), MEND)
            return check(json.load(source))
    except FileNotFoundError:
        raise Failed("no site of this name is set up here ({} is missing)".format(path), MEND) from None
    except ValueError as error:
        raise Failed("{} is no JSON: {}".format(path, error), MEND) from None


def account(name):
    """The passwd entry of `name`, one of the site's users; root is none of them."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise Failed("the user {} is missing".format(name), MEND) from None
    if entry.pw_uid == 0:
        raise Failed("the user {} is root: a site needs users of its own".format(name), MEND)
    return entry
