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
  - Parent directories that are missing are made, with mode 0755, whatever the umask.
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
    description:
      - Patterns of paths, relative to O(directory); a file that matches one and is not listed is removed.
      - The pattern C(**) matches every file below O(directory), with a dot in front or not.
  keep:
    type: list
    elements: str
    default: []
    description: Paths that O(exclusive) matches and that stay all the same, such as what a program has made.
  pristine:
    type: list
    elements: str
    default: []
    description:
      - Configuration files of packages, or links to them, that are removed where they are as the package brought them.
      - What somebody has changed stays.
  check:
    type: str
    description:
      - A command that accepts all files where they are, or fails; then everything is put back as it was.
      - It runs where something has changed, and not in check mode.
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
    """Stage every file that should be another; returns (staged, path) pairs, the paths that change, and their diffs."""
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
    return staged, written, diffs


def matching(directory, pattern):
    """Paths of what there is in `directory` that `pattern` matches."""
    if pattern != "**":
        return glob.glob(os.path.join(directory, pattern))
    return [os.path.join(parent, name) for parent, _, names in os.walk(directory) for name in names]


def superfluous(module):
    """Paths that `exclusive` matches and `files` does not list, and the `pristine` ones that nobody has changed."""
    directory = module.params["directory"]
    named = [entry["path"] for entry in module.params["files"]] + module.params["keep"]
    listed = {os.path.normpath(os.path.join(directory, path)) for path in named}
    matched = [path for pattern in module.params["exclusive"] for path in matching(directory, pattern)]
    found = {os.path.normpath(path) for path in matched if not os.path.isdir(path)} - listed
    there = [os.path.join(directory, path) for path in module.params["pristine"]]
    there = [path for path in there if os.path.isfile(path)]
    if there:
        brought = conffiles(module)
        found.update(
            path for path in there if brought.get(os.path.realpath(path)) == module.digest_from_file(path, "md5")
        )
    return sorted(found)


def conffiles(module):
    """The md5 of each configuration file, by its path, as its package brought it."""
    query = ["dpkg-query", "--show", "--showformat=${Conffiles}\n"]
    _, output, _ = module.run_command(query, check_rc=True)
    return dict(line.split()[:2] for line in output.splitlines() if len(line.split()) > 1)


def put_in_place(module, staged, removed):
    """Replace and remove files; where `check` then fails, all are what they were."""
    before = [(path, set_aside(module, path)) for path in [path for _, path in staged] + removed]
    for new, path in staged:
        os.rename(new, path)
    for path in removed:
        os.unlink(path)
    command = module.params["check"]
    if not command or not before:
        return
    status, output, error = module.run_command(shlex.split(command))
    if status != 0:
        for path, kept in before:
            if kept:
                os.rename(kept, path)
            else:
                os.unlink(path)
        module.fail_json(msg="not accepted, and put back as it was: %s" % (error or output).strip())


def set_aside(module, path):
    """A second name for what is at `path`, as long as the module runs; None where nothing is there."""
    if not module.params["check"] or not os.path.lexists(path):
        return None
    kept = os.path.join(os.path.dirname(path), ".%s.before" % os.path.basename(path))
    if os.path.lexists(kept):
        os.unlink(kept)
    if os.path.islink(path):
        os.symlink(os.readlink(path), kept)
    else:
        os.link(path, kept)
    module.add_cleanup_file(kept)
    return kept


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
            "keep": {"type": "list", "elements": "str", "default": []},
            "pristine": {"type": "list", "elements": "str", "default": []},
            "check": {"type": "str"},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "default": "0644"},
        },
        supports_check_mode=True,
    )
    # A login's own, such as 077, is not meant for directories of services.
    os.umask(0o022)
    try:
        removed = superfluous(module)
        staged, written, diffs = write(module)
        diffs += [{"before_header": path, "before": text(content_of(path)), "after": ""} for path in removed]
        if not module.check_mode:
            put_in_place(module, staged, removed)
    except (IOError, OSError) as error:
        module.fail_json(msg=to_native(error))
    module.exit_json(
        changed=bool(written or removed),
        written=written,
        removed=removed,
        diff=diffs if module._diff else [],
    )


if __name__ == "__main__":
    main()
