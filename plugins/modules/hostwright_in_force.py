#!/usr/bin/python
"""Tells whether a service has read its files since they were written. Runs on the hosts, from Python 2.7 on."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import calendar
import glob
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_native

DOCUMENTATION = r"""
module: hostwright_in_force
short_description: Tell whether a service has read its files since they were written
description:
  - A run that is broken off between a file and its service's restart leaves the old settings in force, and the next run
    finds the file as it should be. Then this reports a change, so that what the task notifies is done after all.
  - It changes nothing itself.
  - A service that does not run has no old settings in force.
options:
  unit:
    type: str
    required: true
    description: The service's unit.
  files:
    type: list
    elements: str
    required: true
    description: What it reads, as patterns of absolute paths.
  read_at:
    type: str
    choices: [start, reload]
    required: true
    description: Whether it reads them at a start alone, or at a reload too.
author: Hostwright authors
"""

EXAMPLES = r"""
- name: See whether the settings are in force
  hostwright_in_force:
    unit: redis-server
    files: [/etc/redis/redis.conf]
    read_at: start
  notify: Restart Redis
"""

RETURN = r"""
unread:
  description: Paths of the files that were written after the service has read them last.
  returned: always
  type: list
  elements: str
"""

STAMPS = {"start": "ActiveEnterTimestamp", "reload": "StateChangeTimestamp"}


def last_read(module):
    """When the service has read its files, in seconds since 1970; None where it does not run, or systemd can't tell."""
    stamp = STAMPS[module.params["read_at"]]
    _, output, _ = module.run_command(
        ["systemctl", "show", "--property=ActiveState,%s" % stamp, module.params["unit"]],
        environ_update={"TZ": "UTC", "LC_ALL": "C"},
        check_rc=True,
    )
    shown = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    if shown.get("ActiveState") not in ("active", "reloading"):
        return None
    try:
        # Such as `Mon 2026-11-30 16:15:39 UTC`.
        when = time.strptime(shown.get(stamp, "").partition(" ")[2], "%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return None
    return calendar.timegm(when)


def unread(patterns, since):
    """Paths of the files written after the second `since`. One from the future says nothing: a clock was set back."""
    paths = [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    return [path for path in paths if since < int(os.stat(path).st_mtime) <= time.time()]


def main():
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "str", "required": True},
            "read_at": {"type": "str", "choices": ["start", "reload"], "required": True},
        },
        supports_check_mode=True,
    )
    since = last_read(module)
    try:
        found = [] if since is None else unread(module.params["files"], since)
    except OSError as error:
        module.fail_json(msg=to_native(error))
    module.exit_json(changed=bool(found), unread=found)


if __name__ == "__main__":
    main()
