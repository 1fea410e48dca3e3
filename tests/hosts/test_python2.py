"""Ansible's modules under Python 2.7, which is what Ubuntu 16.04 has for them: on Debian 11, the last that packages it.

Two of its libraries are packaged nowhere any more. psycopg2 comes from its last wheel. Without python-apt the apt
module can't run, so that packages are installed beforehand, through the host's Python 3.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from hostwright.lab import machine
from tests.hosts.conftest import ROOT
from tests.hosts.labs import Fleet, all_hosts, fleet

pytestmark = [pytest.mark.hosts, all_hosts]

CONTROL = """Package: python-psycopg2
Version: 2.8.6
Architecture: all
Maintainer: nobody <nobody@example.com>
Description: psycopg2 for Python 2.7, from its wheel
"""


def psycopg2(directory: Path) -> bytes:
    """A tree for dpkg-deb, as tar, with psycopg2's last wheel for Python 2.7."""
    wanted = ["--python-version", "27", "--abi", "cp27mu", "--platform", "manylinux1_x86_64", "--only-binary", ":all:"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(directory)]
    subprocess.run([*pip, *wanted, "psycopg2-binary==2.8.6"], check=True, capture_output=True)
    files = {"DEBIAN/control": CONTROL.encode()}
    with zipfile.ZipFile(next(directory.glob("*.whl"))) as wheel:
        files.update({f"usr/lib/python2.7/dist-packages/{name}": wheel.read(name) for name in wheel.namelist()})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o755 if path.endswith(".so") else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def become_old(host: Fleet, directory: Path) -> None:
    """Give the host Python 2.7, and have Ansible use it."""
    host.on_host("apt-get", "update", "-q")
    host.on_host("apt-get", "install", "-q", "-y", "--no-install-recommends", "python2.7")
    script = "mkdir /root/deb && tar -xC /root/deb && dpkg-deb --build /root/deb /root/deb.deb && dpkg -i /root/deb.deb"
    machine.execute(host.host, ["sh", "-c", script], stdin=psycopg2(directory))
    path = ROOT / "inventory" / host.host.lab / "hosts.yml"
    inventory = json.loads(path.read_text())
    inventory["all"]["vars"]["ansible_python_interpreter"] = "/usr/bin/python2.7"
    path.write_text(json.dumps(inventory), encoding="utf-8")


def test_a_site_through_python_2_7(tmp_path: Path) -> None:
    with fleet("python2", "one", "debian:11") as host:
        become_old(host, tmp_path)
        host.run("ansible-playbook", "playbooks/bootstrap.yml")
        host.run(
            "ansible-playbook",
            "playbooks/site.yml",
            "--tags",
            "apt",
            "-e",
            "ansible_python_interpreter=/usr/bin/python3",
        )
        host.run("ansible-playbook", "playbooks/site.yml", "--check", "--diff")
        host.provision()
        host.changes_nothing("playbooks/bootstrap.yml")
        host.deploy_text("through Python 2.7")
        assert "through Python 2.7" in host.page()
