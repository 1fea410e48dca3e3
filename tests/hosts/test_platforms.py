"""Every Debian that is supported: bare, bootstrapped, provisioned, deployed to, and changed by no second run."""

from __future__ import annotations

import re
import threading

import pytest

from hostwright.lab import machine, plan
from tests.hosts.conftest import IMAGE, eventually
from tests.hosts.labs import Fleet, all_hosts, fleet

pytestmark = [pytest.mark.hosts, all_hosts]


@pytest.mark.parametrize("image", plan.SUITES if IMAGE in plan.SUITES else [IMAGE])
def test_a_site_on(image: str) -> None:
    with fleet("platform", "one", image) as host:
        host.run("ansible-playbook", "playbooks/bootstrap.yml")
        host.changes_nothing("playbooks/bootstrap.yml")
        host.run("ansible-playbook", "playbooks/site.yml", "--check", "--diff")
        host.provision()
        host.run("ansible-playbook", "playbooks/site.yml", "--check", "--diff")
        host.deploy_text(f"on {image}")
        assert f"on {image}" in host.page()
        host.page(re.findall(r'href="(/static/[^"]+)"', host.page())[0])
        eventually("a task", lambda: "succeeded" in host.fab("logs", "--process", "worker-default"))
        host.changes_nothing("playbooks/site.yml")
        upgrade(host)
        assert f"on {image}" in host.page()


def upgrade(host: Fleet) -> None:
    """upgrade.yml reboots a host that asks for it. A container that reboots stops; somebody has to start it again."""
    before = host.on_host("systemctl", "show", "--property=UserspaceTimestamp")
    host.on_host("touch", "/var/run/reboot-required")

    def power() -> None:
        eventually("the reboot", lambda: machine.states(host.host.lab)[0][1] in ("exited", "stopped"), 300)
        machine.start(host.host)

    button = threading.Thread(target=power)
    button.start()
    host.run("ansible-playbook", "playbooks/upgrade.yml", "-e", "upgrade_policy=security")
    button.join()
    assert host.on_host("systemctl", "show", "--property=UserspaceTimestamp") != before
    host.changes_nothing("playbooks/upgrade.yml")
