#!/usr/bin/python
"""Writes a role's files in one round trip, all of them or none. Runs on the hosts, from Python 2.7 on."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import glob
import os
import shlex
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_bytes, to_native, to_text

DOCUMENTATION = r"""
module: hostwright_files
short_description: Write several files in one round trip
description:
  - Writes the files of a role. M(ansible.builtin.template) takes two round trips for each file, this takes one for all.
  - New contents are validated before the first file is replaced, and each file is replaced by a rename.
  - Parent directories that are missing are made, with mode 0755.
options:
  directory:
    type: str
    default: /
    description: What relative paths are relative to.
  files:
    type: list
    elements: dict
    required: true
    description: The files.
    suboptions:
      path:
        type: str
        required: true
        description: Where it is.
      content:
        type: str
        required: true
        description: What it holds, such as what the lookup ansible.builtin.template gives.
      owner:
        type: str
        description: Its owner, where it is not the task's.
      group:
        type: str
        description: Its group, where it is not the task's.
      mode:
        type: str
        description: Its mode, where it is not the task's.
      validate:
        type: str
        description: A command that accepts the new file, C(%s), or fails. It does not run in check mode.
  exclusive:
    type: list
    elements: str
    default: []
    description: Patterns of paths, relative to O(directory); a file that matches one and is not listed is removed.
  owner:
    type: str
    default: root
    description: The owner of files that name none.
  group:
    type: str
    default: root
    description: The group of files that name none.
  mode:
    type: str
    default: "0644"
    description: The mode of files that name none.
author: Hostwright authors
"""

EXAMPLES = r"""
- name: Write the units
  hostwright_files:
    directory: /etc/systemd/system
    files:
      - {path: shop.socket, content: "{{ lookup('ansible.builtin.template', 'shop.socket.j2') }}"}
      - {path: shop.service, content: "{{ lookup('ansible.builtin.template', 'shop.service.j2') }}"}
  notify: Reload systemd
"""

RETURN = r"""
written:
  description: Paths of the files whose content, owner or mode was changed.
  returned: always
  type: list
  elements: str
removed:
  description: Paths of the files that were removed.
  returned: always
  type: list
  elements: str
"""


def content_of(path):
    """The bytes of the file `path`; None where there is none."""
    if not os.path.exists(path):
        return None
    with open(path, "rb") as existing:
        return existing.read()


def stage(module, path, content, attributes, validate):
    """Write `content` to a file beside `path`, with its final owner and mode, and validate it; returns its path."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        os.makedirs(parent, 0o755)
    # A name with a dot in front: directories such as sudoers.d are never read with half a file.
    handle, staged = tempfile.mkstemp(prefix=".", suffix="." + os.path.basename(path), dir=parent)
    module.add_cleanup_file(staged)
    with os.fdopen(handle, "wb") as new:
        new.write(content)
    module.set_fs_attributes_if_different(dict(attributes, path=staged), False)
    if validate:
        command = [part.replace("%s", staged) for part in shlex.split(validate)]
        status, output, error = module.run_command(command)
        if status != 0:
            said = (error or output).strip().replace(staged, path)
            module.fail_json(msg="%s would not be valid: %s" % (path, said))
    return staged


def text(content):
    return to_text(content or b"", errors="replace")


def write(module):
    """Bring every file to what it should be; returns the paths that were changed, and their diffs."""
    written, diffs, staged = [], [], []
    for entry in module.params["files"]:
        path = os.path.join(module.params["directory"], entry["path"])
        attributes = module.load_file_common_arguments(
            {name: entry[name] or module.params[name] for name in ("owner", "group", "mode")}, path=path
        )
        before, after = content_of(path), to_bytes(entry["content"])
        diff = {"before_header": path, "after_header": path}
        if before != after:
            diff.update(before=text(before), after=text(after))
            if not module.check_mode:
                staged.append((stage(module, path, after, attributes, entry["validate"]), path))
        elif not module.set_fs_attributes_if_different(attributes, False, diff):
            continue
        written.append(path)
        diffs.append(diff)
    for new, path in staged:
        os.rename(new, path)
    return written, diffs


def remove(module):
    """Remove what `exclusive` matches and `files` does not list; returns the removed paths, and their diffs."""
    directory = module.params["directory"]
    listed = {os.path.join(directory, entry["path"]) for entry in module.params["files"]}
    matching = [path for pattern in module.params["exclusive"] for path in glob.glob(os.path.join(directory, pattern))]
    removed = sorted({path for path in matching if not os.path.isdir(path)} - listed)
    diffs = [{"before_header": path, "before": text(content_of(path)), "after": ""} for path in removed]
    if not module.check_mode:
        for path in removed:
            os.unlink(path)
    return removed, diffs


def main():
    suboptions = {
        "path": {"type": "str", "required": True},
        "content": {"type": "str", "required": True},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "str"},
        "validate": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "str", "default": "/"},
            "files": {"type": "list", "elements": "dict", "required": True, "options": suboptions},
            "exclusive": {"type": "list", "elements": "str", "default": []},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "default": "0644"},
        },
        supports_check_mode=True,
    )
    try:
        written, diffs = write(module)
        removed, further = remove(module)
    except (IOError, OSError) as error:
        module.fail_json(msg=to_native(error))
    module.exit_json(
        changed=bool(written or removed),
        written=written,
        removed=removed,
        diff=diffs + further if module._diff else [],
    )


if __name__ == "__main__":
    main()
