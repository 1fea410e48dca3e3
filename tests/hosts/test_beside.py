"""Two sites on one host: each is provisioned and deployed by itself, and leaves the other as it is."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests import documents
from tests.hosts.conftest import ROOT
from tests.hosts.labs import Fleet, all_hosts, certificate, fleet

pytestmark = [pytest.mark.hosts, all_hosts]

LAB = "beside"
BLOG = "inventory/besideblog"
PAGE = ROOT / "docs" / "howto" / "second-site.md"
PEM = "/etc/ssl/certs/hostwright-shop.pem"


class Two(Fleet):
    """The host, and the inventories of both sites."""

    def blog(self, *argv: str) -> str:
        # Ansible and fab take the last inventory that they are given.
        return super(Fleet, self).run(*argv, "-i", BLOG)

    def text(self, name: str) -> tuple[int, str]:
        """The status and the page of a site by its name."""
        request = urllib.request.Request(self.url, headers={"Host": f"{name}.example.com"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    with fleet(LAB, "one") as made:
        found = Two(made.hosts, made.repository)
        found.change_site(given)
        further = ROOT / "inventory" / LAB / "group_vars" / "all" / "further.yml"
        further.write_text("firewall_further_rules: [{port: 9999}]\n")
        try:
            describe_blog()
            yield found
        finally:
            shutil.rmtree(ROOT / BLOG, ignore_errors=True)


def describe_blog() -> None:
    """Write the second site's inventory, from that of the first one."""
    shutil.rmtree(ROOT / BLOG, ignore_errors=True)
    shutil.copytree(ROOT / "inventory" / LAB, ROOT / BLOG, ignore=shutil.ignore_patterns("further.yml"))
    path = ROOT / BLOG / "group_vars" / "all" / "site.yml"
    path.write_text(yaml.safe_dump(blog(yaml.safe_load(path.read_text()))))


def given(site: dict[str, Any]) -> None:
    """The shop, with a certificate that its inventory holds."""
    pem, key = certificate("DNS:shop.example.com")
    tls = {"tls": "files", "tls_certificate_pem": pem, "tls_key_pem": key, "redirect_to_tls": False}
    site["web"].update(domains=["shop.example.com"], **tls)


def blog(variables: dict[str, Any]) -> dict[str, Any]:
    """The sample once more, under another name, with a database and a Redis database of its own."""
    site = variables["site"]
    site["name"] = "blog"
    site["web"].update(domains=["blog.example.com"], tls="none", tls_certificate_pem=None, tls_key_pem=None)
    site["env"] |= {"DB_NAME": "blog", "SHOP_TASK_LOG": "/srv/blog/shared/tasks/log"}
    site["secrets"]["BROKER_URL"] = site["secrets"]["BROKER_URL"].replace(":6379/0", ":6379/1")
    site["services"]["databases"] = [{"name": "blog", "password": "{{ shop_database_password }}"}]
    site["services"]["redis"]["databases"] = {"broker": 1}
    return variables


def test_each_leaves_the_other_as_it_is(two: Two) -> None:
    two.run("ansible-playbook", "playbooks/bootstrap.yml")
    two.run("ansible-playbook", "playbooks/site.yml")
    two.deploy_text("the shop")
    two.blog("ansible-playbook", "playbooks/site.yml")
    assert two.text("blog")[0] == 502  # nginx knows it, and there is no release yet.
    assert "the shop" in two.text("shop")[1]
    two.commit({"shop/templates/banner.txt": "the blog\n"}, "the blog")
    two.blog("fab", "deploy")
    assert ("the shop" in two.text("shop")[1], "the blog" in two.text("blog")[1]) == (True, True)
    assert two.text("nobody")[0] == 404
    assert "tcp dport 9999 accept" in two.on_host("nft", "-n", "list", "table", "inet", "hostwright")
    assert "shop.example.com" in two.on_host("openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", PEM)

    two.changes_nothing("playbooks/site.yml")
    again = two.blog("ansible-playbook", "playbooks/site.yml")
    assert "changed=0 " in again
    two.fab("restart")
    two.blog("fab", "restart")
    assert ("the shop" in two.text("shop")[1], "the blog" in two.text("blog")[1]) == (True, True)


def test_another_password_for_the_one_redis_is_refused(two: Two) -> None:
    path = ROOT / BLOG / "group_vars" / "all" / "vars.yml"
    kept = path.read_text()
    path.write_text(kept.replace("nor-is-this", "another"))
    try:
        said = super(Fleet, two).run("ansible-playbook", "playbooks/site.yml", "-i", BLOG, status=2)
    finally:
        path.write_text(kept)
    assert "shop is there, and its Redis has another password" in said


def test_a_site_that_is_not_served_any_more_keeps_its_workers(two: Two) -> None:
    path = ROOT / BLOG / "group_vars" / "all" / "site.yml"
    variables = yaml.safe_load(path.read_text())
    variables["site"]["web"] = None
    path.write_text(yaml.safe_dump(variables))
    two.blog("ansible-playbook", "playbooks/site.yml")
    assert two.text("blog")[0] == 404
    assert "the shop" in two.text("shop")[1]
    files = "find /etc /run/blog /usr/local/lib/hostwright /var/lib/hostwright -name '*blog-web*' -o -path '*blog/web*'"
    assert two.on_host("sh", "-c", f"{files}; systemctl list-units --all --plain --no-legend 'blog-web@*'") == ""
    assert "changed=0 " in two.blog("ansible-playbook", "playbooks/site.yml")
    two.commit({"shop/templates/banner.txt": "unseen\n"}, "workers only")
    assert "workers replaced" in two.blog("fab", "deploy")
    assert "blog-worker" in two.on_host("systemctl", "list-units", "--plain", "--no-legend", "--state=active", "blog-*")
    assert "the shop" in two.text("shop")[1]


def test_a_host_that_leaves_the_groups_of_a_site_keeps_nothing_that_runs(two: Two) -> None:
    """It stays in one of them, and the site has neither databases nor partitions any more."""
    hosts, path = ROOT / BLOG / "hosts.yml", ROOT / BLOG / "group_vars" / "all" / "site.yml"
    variables, groups = yaml.safe_load(path.read_text()), json.loads(hosts.read_text())
    variables["site"] |= {"partitions": [], "env": {}, "secrets": {}}
    variables["site"]["services"]["databases"] = []
    path.write_text(yaml.safe_dump(variables))
    groups["all"]["children"] = {"broker": groups["all"]["children"]["broker"]}
    hosts.write_text(json.dumps(groups))
    # Of what its roles did not do, the host forgets nothing.
    two.blog("ansible-playbook", "playbooks/site.yml", "--tags", "firewall")
    assert "blog-worker" in two.on_host("systemctl", "list-units", "--plain", "--no-legend", "--state=active", "blog-*")
    two.blog("ansible-playbook", "playbooks/site.yml")
    left = "systemctl list-units --plain --no-legend 'blog-*'; find /etc/systemd/system -name 'blog-*'"
    assert two.on_host("sh", "-c", left) == ""
    assert "blog" not in two.on_host("sh", "-c", "cat /etc/postgresql/*/main/pg_hba.conf")
    assert "changed=0 " in two.blog("ansible-playbook", "playbooks/site.yml")
    assert "the shop" in two.text("shop")[1]


def test_one_is_taken_away(two: Two) -> None:
    """By the lines of the page, from a host where it has units that run and units that begin at boot."""
    remove = next(block.text for block in documents.blocks(PAGE) if "systemctl stop" in block.text)
    units = "systemctl list-units --plain --no-legend --state=active 'blog-*' 'hostwright-blog-*'"
    files = "find /etc/systemd/system -name 'blog-*' -o -name 'hostwright-blog-*'"
    describe_blog()
    two.blog("ansible-playbook", "playbooks/site.yml")
    assert "blog-timer-clear-sessions.timer" in two.on_host("sh", "-c", units)
    assert "multi-user.target.wants/hostwright-blog-boot.service" in two.on_host("sh", "-c", files)
    two.on_host("sh", "-ec", remove)
    assert two.on_host("sh", "-c", f"{units}; {files}") == ""
    two.run("ansible-playbook", "playbooks/site.yml")
    assert "the shop" in two.text("shop")[1]
    assert two.text("blog")[0] == 404
    assert "blog" not in two.on_host("sh", "-c", "cat /etc/postgresql/*/main/pg_hba.conf")
