"""Where links lead that a build left among the static files: nginx follows them, and reads what builders may not."""

import os

from .errors import Failed

HOPS = 40
"""Links on a way; the kernel, too, follows no more."""


def refuse_outside(release_dir, static, venv, agreed):
    """Refuse a link below `static`, a directory of the release, that leads anywhere but into release and virtualenv.

    Both are root's by now, so what is found stays so. `agreed` are the contract's links, which may lead out from there.
    """
    release_dir = os.path.realpath(release_dir)
    roots = (release_dir, os.path.realpath(venv))
    static = os.path.normpath(static)
    known = {os.path.normpath(link["path"]): link["target"] for link in agreed}
    if any(_below(static, path) and _is_link(os.path.join(release_dir, path), known[path]) for path in known):
        return  # All of it is elsewhere, by the site model.
    # Only those that it has there: a build could link to others, such as one to files that nobody is to see.
    known = {os.path.join(release_dir, path): known[path] for path in known if _below(path, static)}
    waiting = [os.path.join(release_dir, static)]
    seen = set()
    while waiting:
        path = waiting.pop()
        if path in known and _is_link(path, known[path]):
            continue
        end = _follow(path, roots)
        if end is None:
            raise Failed(
                "the build left {}, which leads out of the release, to {}: nginx would show what is there".format(
                    path, os.path.realpath(path)
                ),
                "Let the build copy what it links to; a directory that outlives releases is one of shared in the site model",
            )
        if end not in seen and os.path.isdir(end):
            waiting += [os.path.join(end, name) for name in os.listdir(end)]
        seen.add(end)


def _follow(path, roots):
    """Where `path` leads; None where it leaves `roots`, even on the way: others may change what is there later."""
    here, left = "/", path.split("/")[::-1]
    hops = 0
    while left:
        part = left.pop()
        if part == "..":
            here = os.path.dirname(here)
        elif part not in ("", "."):
            step = os.path.join(here, part)
            if not os.path.islink(step):
                here = step
            elif hops == HOPS:
                return step
            else:
                hops += 1
                target = os.readlink(step)
                left += target.split("/")[::-1]
                here = "/" if target.startswith("/") else here
        if not any(_below(here, root) or _below(root, here) for root in roots):
            return None
    return here if any(_below(here, root) for root in roots) else None


def _below(path, top):
    """Whether `path` is `top` or lies below it."""
    return top in ("/", ".", path) or path.startswith(top + "/")


def _is_link(path, target):
    return os.path.islink(path) and os.readlink(path) == target
