"""The same steps with pyinfra. Data: `source`, and for each host `first`, which migrates and runs beat."""

from pyinfra import host
from pyinfra.operations import files, pip, server

CURRENT = "/srv/peer/pyinfra/current"
MANAGE = f"set -a; . /srv/peer/pyinfra.env; cd {CURRENT}; /srv/peer/venv/bin/python manage.py"

files.rsync(
    name="Copy the source",
    src=f"{host.data.source}/",
    dest=f"{CURRENT}/",
    flags=["-az", "--delete", "--exclude=.git", "--exclude=/static/"],
)
pip.packages(name="Requirements", requirements=f"{CURRENT}/requirements.txt", virtualenv="/srv/peer/venv")
server.shell(name="Static files", commands=[f"{MANAGE} collectstatic --noinput"])
if host.data.first:
    server.shell(name="Migrate", commands=[f"{MANAGE} migrate --noinput"])
services = ("web", "worker", "beat") if host.data.first else ("web", "worker")
units = " ".join(f"peer-{service}@pyinfra" for service in services)
server.shell(name="Restart", commands=[f"systemctl restart {units}"], _sudo=True)
