"""The contract: what root allows on this host, written by Ansible to a file that only root may write."""

import json
import os
import pwd
import stat

from .errors import Failed

VERSION = 1
MEND = "Run: ansible-playbook playbooks/site.yml"
_SHAPE = {
    "site": str,
    "host": str,
    "user": str,
    "build_user": str,
    "python": str,
    "project_dir": str,
    "dependencies": {
        "requirements": [str],
        "constraints": [str],
        "project": (str, None),
        "extras": [str],
        "groups": [str],
        "packages": [str],
        "require_hashes": bool,
    },
    "manage": [str],
    "modules": [str],
    "applications": [str],
    "env": {str: str},
    "links": [{"path": str, "target": str}],
    "hooks": [{"name": str, "stage": str, "command": [str], "timeout": int}],
    "static": ({"root": str, "env": (str, None), "collect": ([str], None)}, None),
    "databases": [str],
    "web": (
        {
            "health": {"path": str, "headers": {str: str}, "status": [int], "deadline": int, "timeout": int},
            "timeout": int,
        },
        None,
    ),
    "processes": [{"name": str, "count": int, "singleton": bool, "stop_timeout": int, "notify": bool}],
    "timers": [str],
    "releases": {
        "keep": int,
        "lock_timeout": int,
        "migrate_timeout": int,
        "dump_before_migrate": bool,
        "build_timeout": int,
        "confirm_timeout": int,
        "drain_timeout": int,
    },
}
"""What is in a contract: [x] is a list of x, {str: x} a mapping to x, (x, None) x or null."""
_WORDS = {str: "text without NUL", int: "a whole number", bool: "true or false"}


def check(data):
    """`data` if it is a contract of this engine's version; raises Failed that says what is wrong."""
    if not isinstance(data, dict) or data.get("version") != VERSION:
        found = data.get("version") if isinstance(data, dict) else None
        raise Failed("the contract is of version {}, the engine needs {}".format(found, VERSION), MEND)
    missing = sorted(set(_SHAPE) - set(data))
    if missing:
        raise Failed("the contract has no {}".format(", ".join(missing)), MEND)
    wrong = _misfit(data, _SHAPE, "")
    if wrong:
        raise Failed("the contract's {}".format(wrong), MEND)
    if data["user"] == data["build_user"]:
        raise Failed("the contract's user and build_user are the same: builds would write what serves", MEND)
    return data


def _misfit(value, shape, path):
    """What is wrong with `value`, by its path and never by what it is; empty where nothing is."""
    if isinstance(shape, tuple):
        return "" if value is None else _misfit(value, shape[0], path)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return path + " must be a list"
        inner = [(inside, shape[0], "{}.{}".format(path, number)) for number, inside in enumerate(value)]
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            return path + " must be a mapping"
        if str in shape:
            inner = [(key, str, path + " (a key)") for key in value] + [(value[key], shape[str], path) for key in value]
        else:
            inner = [(value.get(key), shape[key], "{}.{}".format(path, key).lstrip(".")) for key in sorted(shape)]
    elif type(value) is not shape or (shape is str and "\0" in value):
        return "{} must be {}".format(path, _WORDS[shape])
    else:
        return ""
    for found in (_misfit(*one) for one in inner):
        if found:
            return found
    return ""


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
