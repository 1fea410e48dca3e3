"""Where everything of a site is on a host."""

import os
import re

from .errors import BadRequest
from .ownership import LEFTOVERS

_SITE = re.compile(r"[a-z][a-z0-9-]{0,23}\Z")
_RELEASE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}\Z")
_KEY = re.compile(r"[0-9a-f]{32}\Z")
_FILE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}\Z")


def release_name(value):
    """`value` if it can name a release; raises BadRequest for anything that could leave the releases directory.

    Another release may be called so while it is given to root.
    """
    if not isinstance(value, str) or not _RELEASE.match(value) or ".." in value or value.endswith(LEFTOVERS):
        raise BadRequest("{!r} is no release name".format(value), "fab releases lists those that are there")
    return value


def venv_key(value):
    """`value` if it is a virtualenv key."""
    if not isinstance(value, str) or not _KEY.match(value):
        raise BadRequest("{!r} is no virtualenv key".format(value))
    return value


class Paths:
    """The paths of one site; `root` is `/` but in tests."""

    def __init__(self, site, root="/"):
        if not _SITE.match(site):
            raise BadRequest("{!r} is no site name".format(site))
        self.site = site
        self.etc = os.path.join(root, "etc/hostwright", site)
        self.contract = os.path.join(self.etc, "contract.json")
        self.srv = os.path.join(root, "srv", site)
        self.releases = os.path.join(self.srv, "releases")
        self.venvs = os.path.join(self.srv, "venvs")
        self.wheelhouses = os.path.join(self.srv, "wheelhouses")
        self.incoming = os.path.join(self.srv, "incoming")
        self.current = os.path.join(self.srv, "current")
        self.previous = os.path.join(self.srv, "previous")
        self.maintenance = os.path.join(self.srv, "maintenance")
        self.var = os.path.join(root, "var/lib/hostwright", site)
        self.state = os.path.join(self.var, "state.json")
        self.request = os.path.join(self.var, "request.json")
        self.artifact = os.path.join(self.var, "artifact")
        self.journal = os.path.join(self.var, "journal.jsonl")
        self.lock = os.path.join(self.var, "lock")
        self.instances = os.path.join(self.var, "instances")
        self.reserve = os.path.join(self.var, "reserve")
        self.dumps = os.path.join(self.var, "dumps")
        self.run = os.path.join(root, "run/hostwright", site)
        self.control = os.path.join(self.run, "control.sock")
        self.sockets = os.path.join(root, "run", site)
        self.upstream = os.path.join(self.sockets, "web.sock")
        self.log = os.path.join(root, "var/log/hostwright", site)
        self.cache = os.path.join(root, "var/cache/hostwright", site)
        self.build_home = os.path.join(self.cache, "home")

    def release(self, name):
        return os.path.join(self.releases, release_name(name))

    def venv(self, key):
        return os.path.join(self.venvs, venv_key(key))

    def wheelhouse(self, key):
        return os.path.join(self.wheelhouses, venv_key(key))

    def dump(self, release):
        """The dump of the database that was made before `release` migrated it."""
        return os.path.join(self.dumps, release_name(release) + ".dump")

    def unfinished_dump(self, release):
        return self.dump(release) + ".part"

    def upload(self, name):
        """An uploaded file, by its bare name."""
        if not isinstance(name, str) or not _FILE.match(name) or ".." in name:
            raise BadRequest("{!r} is no name of an uploaded file".format(name))
        return os.path.join(self.incoming, name)

    def slot_socket(self, slot):
        return os.path.join(self.sockets, "web-{}.sock".format(slot))
