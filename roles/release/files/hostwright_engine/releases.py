"""Which releases may be used again, and which are removed."""

import os
import time

from . import commands, ownership, venvs
from .contract import account
from .errors import BadRequest

FORGOTTEN = 86400
"""Seconds after which an upload that nobody took belongs to nobody; a newer one may wait for the lock."""


def usable(paths, state, release):
    """Refuse a release that is not here whole, or was never good."""
    hint = "fab releases lists those that can be used"
    if not release:
        raise BadRequest("there is no earlier release to go back to", hint)
    record = state["releases"].get(release)
    if record is None or not os.path.isdir(paths.release(release)):
        raise BadRequest("the release {} is not on this host".format(release), hint)
    if record.get("status") != "good":
        raise BadRequest("the release {} was never live ({})".format(release, record.get("status")), hint)
    if not venvs.ready(paths.venv(record["venv"])):
        raise BadRequest("the virtualenv of release {} is not here any more".format(release), hint)


def before(state):
    """The release to go back to: the newest good one that is older than the one that serves; None where there is none."""
    records = state["releases"]
    current = state["current"]
    if not current or current["release"] not in records:
        return None
    since = records[current["release"]]["created"]
    older = [name for name in records if records[name].get("status") == "good" and records[name]["created"] < since]
    return max(older, key=lambda name: records[name]["created"]) if older else None


def kept(records, current, previous, keep):
    """The releases to keep: the `keep` newest good ones, and those that serve or served last."""
    good = sorted((name for name in records if records[name].get("status") == "good"), key=lambda n: records[n]["created"])
    return set(good[-keep:]) | {name for name in (current, previous) if name}


def clean_up(agreed, paths, state):
    """Remove old releases, virtualenvs and wheelhouses that none of the others use, and leftovers. Returns their names."""
    current = state["current"]["release"] if state["current"] else None
    keep = kept(state["releases"], current, state["previous"], agreed["releases"]["keep"])
    # What still works with one, such as a worker at a long task, finds its files.
    keep |= commands.releases_of(account(agreed["user"]).pw_uid) & set(state["releases"])
    removed = []
    for name in _directories(paths.releases):
        if name not in keep:
            ownership.remove(os.path.join(paths.releases, name))
            removed.append(name)
    records = {name: record for name, record in state["releases"].items() if name in keep}
    state.save(releases=records)
    used = {record["venv"] for record in records.values()}
    for top in (paths.venvs, paths.wheelhouses):
        for key in _directories(top):
            if key not in used:
                ownership.remove(os.path.join(top, key))
    for entry in os.scandir(paths.incoming):
        if time.time() - entry.stat(follow_symlinks=False).st_mtime > FORGOTTEN:
            ownership.remove(entry.path)
    for entry in os.scandir(paths.dumps) if os.path.isdir(paths.dumps) else ():
        if os.path.splitext(entry.name)[0] not in keep:
            os.unlink(entry.path)
    trim_logs(paths.log)
    return removed


def remove_dumps(paths, state):
    """Remove dumps of deploys that failed since, but for the oldest: their migrations may have been applied in part."""
    names = [entry for entry in os.scandir(paths.dumps) if os.path.splitext(entry.name)[0] not in state["releases"]]
    for entry in sorted(names, key=lambda entry: entry.stat(follow_symlinks=False).st_mtime)[1:]:
        os.unlink(entry.path)


def remove_unfinished(paths):
    """Remove virtualenvs and wheelhouses that were not completed."""
    for top in (paths.venvs, paths.wheelhouses):
        for key in _directories(top):
            if not venvs.ready(os.path.join(top, key)):
                ownership.remove(os.path.join(top, key))


def trim_logs(directory, keep=200):
    """Remove all files of `directory` but the `keep` newest."""
    entries = os.scandir(directory) if os.path.isdir(directory) else ()
    files = sorted((entry.stat().st_mtime, entry.path) for entry in entries if entry.is_file(follow_symlinks=False))
    for _, path in files[:-keep]:
        os.unlink(path)


def _directories(top):
    return sorted(entry.name for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False))
