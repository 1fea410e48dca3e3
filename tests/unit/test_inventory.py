"""The inventory as Ansible lists it: groups, limits, and the expressions in the site model."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from hostwright import inventory
from hostwright import listing as ansible_listing
from hostwright.errors import BadInput

SITE: dict[str, Any] = {"name": "shop", "source": {"git": "."}}
LISTED: dict[str, Any] = {
    "_meta": {"hostvars": {"web1": {"site": SITE, "ansible_host": "10.0.0.1"}, "web2": {}, "db1": {"site": SITE}}},
    "all": {"children": ["ungrouped", "web", "data", "site_a"]},
    "web": {"hosts": ["web1", "web2"]},
    "data": {"children": ["db"]},
    "db": {"hosts": ["db1"]},
    "site_a": {"children": ["web", "data"]},
}


def refusal(listed: Any) -> str:
    with pytest.raises(BadInput) as caught:
        inventory.parse(listed, "inventory/x")
    return caught.value.message


def test_groups_with_their_children() -> None:
    found = inventory.parse(LISTED)
    assert found.site.name == "shop"
    assert found.groups == {
        "all": ["web1", "web2", "db1"],
        "web": ["web1", "web2"],
        "data": ["db1"],
        "db": ["db1"],
        "site_a": ["web1", "web2", "db1"],
    }
    assert found.variables["web1"]["ansible_host"] == "10.0.0.1"


def test_groups_that_hold_each_other() -> None:
    listed = {**LISTED, "a": {"children": ["b"], "hosts": ["web1"]}, "b": {"children": ["a"], "hosts": ["db1"]}}
    assert inventory.parse(listed).groups["a"] == ["web1", "db1"]


def test_an_inventory_without_hosts_or_site() -> None:
    assert refusal({"_meta": {"hostvars": {}}, "all": {"children": ["ungrouped"]}}) == "inventory/x has no hosts"
    assert refusal({}) == "inventory/x has no hosts"
    assert refusal({"_meta": {"hostvars": {"web1": {}}}}) == "inventory/x has no variable `site`"


def test_a_wrong_site_is_named() -> None:
    wrong = {"_meta": {"hostvars": {"web1": {"site": {**SITE, "helth": 1}}}}}
    assert refusal(wrong) == "site.helth: unknown key (did you mean health?)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"web": {"wsgi": "a"}}, "the group web has no hosts: site.web needs one"),
        ({"celery": {"app": "a"}}, "the group worker has no hosts: site.celery needs one"),
        ({"celery": {"app": "a", "workers": [], "beat": True}}, "the group beat has no hosts: site.celery needs one"),
        (
            {"processes": [{"name": "relay", "command": ["x"]}]},
            "the group worker has no hosts: site.processes: relay needs one",
        ),
        (
            {"timers": [{"name": "night", "command": ["x"], "calendar": "daily"}]},
            "the group beat has no hosts: site.timers: night needs one",
        ),
        ({"services": {"redis": {}}}, "the group broker has no hosts: site.services.redis needs one"),
        (
            {"services": {"amqp": {"vhost": "v", "user": "u", "password": "p"}}},
            "the group broker has no hosts: site.services.amqp needs one",
        ),
        (
            {"services": {"databases": [{"name": "shop"}]}},
            "the group db has no hosts: site.services.databases needs one",
        ),
    ],
)
def test_a_group_that_the_site_needs_and_that_is_empty(changes: dict[str, Any], message: str) -> None:
    listed = {"_meta": {"hostvars": {"h1": {"site": {**SITE, **changes}}}}, "other": {"hosts": ["h1"]}, "web": {}}
    assert refusal(listed) == message


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ({"ansible_host": "web1.example.com"}, "it is web1.example.com"),
        ({"ansible_host": "2001:db8::1"}, "it is 2001:db8::1"),
        ({}, "it is web1"),
    ],
)
def test_a_host_that_another_lets_in_has_an_ipv4_address(address: dict[str, str], message: str) -> None:
    site = {**SITE, "services": {"databases": [{"name": "shop"}]}}

    def listed(database: str, address: dict[str, str]) -> dict[str, Any]:
        variables = {"web1": {"site": site, **address}, database: {"site": site}}
        return {"_meta": {"hostvars": variables}, "web": {"hosts": ["web1"]}, "db": {"hosts": [database]}}

    assert refusal(listed("db1", address)) == (
        f"web1: ansible_host must be an IPv4 address, as db1 lets it in by that; {message}"
    )
    inventory.parse(listed("web1", address))
    inventory.parse(listed("db1", {"ansible_host": "10.0.0.1"}))
    assert refusal(listed("db1", {"ansible_host": "{{ 'web1' }}.example.com"})).endswith("it is web1.example.com")


def connected(**variables: Any) -> inventory.Inventory:
    web1 = {"site": {**SITE, "web": {"wsgi": "a"}}, "number": 9, "nothing": None, **variables}
    unused = {"ansible_host": "{{ missing }}"}
    listed = {"_meta": {"hostvars": {"web1": web1, "other": unused}}, "web": {"hosts": ["web1"]}}
    return inventory.parse(listed, evaluate=lambda host, expression: f"{host} {expression}")


def test_the_databases_are_on_one_host() -> None:
    site = {**SITE, "services": {"databases": [{"name": "shop"}]}}
    listed = {"_meta": {"hostvars": {"db1": {"site": site}, "db2": {"site": site}}}, "db": {"hosts": ["db1", "db2"]}}
    assert refusal(listed) == "the group db has 2 hosts, and site.services.databases is on one: db1, db2"


def test_a_host_without_variables() -> None:
    """Ansible lists none of it."""
    listed = {"_meta": {"hostvars": {"web1": {"site": SITE}}}, "web": {"hosts": ["web1", "web2"]}}
    assert inventory.parse(listed).variables["web2"] == {}


def test_a_host_s_own_expressions_say_how_to_connect_to_it() -> None:
    found = connected(
        ansible_host="10.0.0.{{ number }}", ansible_port="{{ number }}", ansible_ssh_private_key_file="{{ 'k' | own }}"
    ).variables["web1"]
    assert (found["ansible_host"], found["ansible_port"]) == ("10.0.0.9", 9)
    assert found["ansible_ssh_private_key_file"] == "web1 {{ 'k' | own }}"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ansible_host", "{{ missing }}", "web1: ansible_host: 'missing' is undefined"),
        ("ansible_host", None, "web1: ansible_host is null"),
        ("ansible_port", "{{ nothing }}", "web1: ansible_port is null"),
        ("hostwright_deploy_user", None, "web1: hostwright_deploy_user is null"),
    ],
)
def test_a_connection_that_is_not_known(key: str, value: Any, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        connected(**{key: value})
    assert caught.value.message == message


# --- limits


@pytest.mark.parametrize(
    ("limit", "hosts"),
    [
        ("", ["web1", "web2", "db1"]),
        ("web1", ["web1"]),
        ("db1,web1", ["web1", "db1"]),
        ("db1:web1", ["web1", "db1"]),
        ("web", ["web1", "web2"]),
        ("data", ["db1"]),
        ("web*", ["web1", "web2"]),
        ("*1", ["web1", "db1"]),
        ("web,!web2", ["web1"]),
        ("!web2,web", ["web1"]),
        ("!db", ["web1", "web2"]),
        ("all:!web1:!db", ["web2"]),
        ("site_a:&web", ["web1", "web2"]),
        ("&web,*1", ["web1"]),
        ("&db", ["db1"]),
        ("web:&*1:!db1", ["web1"]),
        ("web:!web", []),
        ("web1,", ["web1"]),
    ],
)
def test_a_limit_means_what_it_means_to_ansible(limit: str, hosts: list[str]) -> None:
    assert inventory.parse(LISTED).select(["web1", "web2", "db1"], limit) == hosts


def test_a_limit_keeps_to_the_hosts_that_it_was_given() -> None:
    assert inventory.parse(LISTED).select(["web2", "web1"], "all") == ["web2", "web1"]


@pytest.mark.parametrize("limit", ["web3", "nope", "web1,nope", "!nope", "web:&nope"])
def test_a_limit_that_matches_nothing(limit: str) -> None:
    with pytest.raises(BadInput) as caught:
        inventory.parse(LISTED).select(["web1"], limit)
    assert caught.value.message.startswith("--limit: no host or group matches '")
    assert caught.value.hint == "Hosts: web1, web2, db1"


# --- expressions

VARIABLES: dict[str, Any] = {
    "text": "shop",
    "number": 5,
    "digits": "0123",
    "flag": True,
    "listing": ["a", "b"],
    "nothing": None,
    "indirect": "{{ text }}-x",
    "twice": "{{ indirect }}",
    "python": "[1, 2]",
    "itself": "{{ itself }}",
    "there": "{{ back }}",
    "back": "{{ there }}",
    "hostvars": {"db1": {"ansible_host": "10.0.0.9"}},
    "groups": {"db": ["db1"]},
}


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("plain", "plain"),
        (5, 5),
        ("{{ text }}", "shop"),
        ("x-{{ text }}-{{ number }}", "x-shop-5"),
        # Types are kept, and a text stays a text, whatever it looks like.
        ("{{ number }}", 5),
        ("{{ flag }}", True),
        ("{{ listing }}", ["a", "b"]),
        ("{{ nothing }}", None),
        ("{{ digits }}", "0123"),
        ("{{ python }}", "[1, 2]"),
        ("{{ 'None' }}", "None"),
        ("{{ number }}0", "50"),
        ("{{ twice }}", "shop-x"),
        ("{{ text | upper }}", "SHOP"),
        ("{% if flag %}on{% endif %}", "on"),
        ("{{ hostvars[groups.db[0]].ansible_host }}", "10.0.0.9"),
        ({"a": ["{{ text }}", {"b": "{{ number }}"}]}, {"a": ["shop", {"b": 5}]}),
        # These need Ansible.
        ("{{ lookup('env', 'HOME') }}", "{{ lookup('env', 'HOME') }}"),
        ("{{ text | ansible_only }}", "{{ text | ansible_only }}"),
    ],
)
def test_expressions(value: Any, resolved: Any) -> None:
    found = inventory.resolve(value, VARIABLES)
    assert found == resolved
    assert type(found) is type(resolved)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{{ missing }}", "site.env.A: 'missing' is undefined"),
        ("x{{ missing }}", "site.env.A: 'missing' is undefined"),
        ("{{ itself }}", "site.env.A: a variable refers to itself"),
        ("{{ there }}", "site.env.A: a variable refers to itself"),
        ("{{ text", "site.env.A: unexpected end of template, expected 'end of print statement'."),
        ("{{ number + text }}", "site.env.A: unsupported operand type(s) for +: 'int' and 'str'"),
        ("{{ 1 // 0 }}", "site.env.A: integer division or modulo by zero"),
        ("{{ text.encode('nope') }}", "site.env.A: unknown encoding: nope"),
        ("{{ [].pop() }}", "site.env.A: pop from empty list"),
        ("{{ 'x' * 10 ** 18 }}", "site.env.A: MemoryError"),
    ],
)
def test_an_expression_that_can_not_be_resolved_is_named_by_its_key(value: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        inventory.resolve({"env": {"A": value}}, VARIABLES)
    assert caught.value.message == message


@pytest.mark.parametrize(
    "value",
    [
        "{{ lookup('env', 'X') }}",
        "{{ lookup('file', inventory_dir ~ '/x') }}",
        "{{ secret }}",
        "{{ text | ansible_only }}",
        "{{ inventory_dir }}/x",
    ],
)
def test_what_only_ansible_can_resolve_is_asked_of_it(value: str) -> None:
    asked = []

    def ansible(path: str, expression: str) -> str:
        asked.append((path, expression))
        return "answer"

    variables = {**VARIABLES, "secret": "{{ query('env', 'X') }}"}
    assert inventory.resolve({"env": {"A": value}}, variables, ansible) == {"env": {"A": "answer"}}
    assert asked == [("site.env.A", value)]


def test_fab_asks_ansible_for_the_source_alone_and_config_check_for_all() -> None:
    site = {"name": "shop", "source": {"git": "{{ 'a' | own }}"}, "env": {"A": "{{ 'b' | own }}"}}
    listed = {"_meta": {"hostvars": {"web1": {"site": site}}}}

    def evaluate(host: str, expression: str) -> str:
        return f"{host} {expression}"

    found = inventory.parse(listed, evaluate=evaluate).site
    assert (found.source.git, found.env["A"]) == ("web1 {{ 'a' | own }}", "{{ 'b' | own }}")
    assert inventory.parse(listed, evaluate=evaluate, whole=True).site.env["A"] == "web1 {{ 'b' | own }}"


def test_what_ansible_makes_of_a_key_with_a_type_is_what_a_deploy_works_with() -> None:
    """As `fab config.check` does."""
    web = {"wsgi": "a", "workers": "{{ '3' | own }}"}
    site = {**SITE, "web": web, "partitions": [{"table": "{{ 't' | own }}", "key": "k"}]}
    listed = {"_meta": {"hostvars": {"web1": {"site": site}}}, "web": {"hosts": ["web1"]}}

    def evaluate(host: str, expression: str) -> str:
        return expression.split("'")[1]

    found = inventory.parse(listed, evaluate=evaluate).site
    assert found == inventory.parse(listed, evaluate=evaluate, whole=True).site
    assert found.web is not None
    assert (found.web.workers, found.partitions[0].table) == (3, "t")


def test_fab_asks_ansible_for_no_secret() -> None:
    """Also where a key with a type needs Ansible, or something else is wrong."""
    asked = []

    def evaluate(host: str, expression: str) -> str:
        asked.append(expression.split("'")[1])
        return "3"

    secret = {"secrets": {"A": "{{ 'secret' | own }}"}}
    site = {**SITE, **secret, "releases": {"keep": "{{ 'a' | own }}", "lock_timeout": "{{ 'b' | own }}"}}
    listed = {"_meta": {"hostvars": {"web1": {"site": site}}}}
    assert inventory.parse(listed, evaluate=evaluate).site.releases.lock_timeout == 3
    assert sorted(asked) == ["a", "b"]
    asked.clear()
    site["releases"] = {"keep": "many"}
    with pytest.raises(BadInput, match=r"site.releases.keep: must be a whole number"):
        inventory.parse(listed, evaluate=evaluate)
    assert asked == []


def test_what_ansible_can_not_resolve_is_named_by_its_key() -> None:
    def evaluate(host: str, expression: str) -> str:
        raise BadInput("no filter own")

    with pytest.raises(BadInput) as caught:
        inventory.parse(
            {"_meta": {"hostvars": {"web1": {"site": {"name": "shop", "source": {"git": "{{ 'a' | own }}"}}}}}},
            evaluate=evaluate,
        )
    assert caught.value.message == "site.source.git: no filter own"


def test_an_expression_can_not_reach_python() -> None:
    for value in ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ text.__init__.__globals__ }}"):
        with pytest.raises(BadInput, match=r"site: "):
            inventory.resolve(value, VARIABLES)


# --- what ansible-inventory says


def listing(monkeypatch: pytest.MonkeyPatch, status: int, out: str, err: str) -> None:
    def run(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], status, out, err)

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.parametrize(
    ("err", "message"),
    [
        (
            "[WARNING]: Unable to parse /no/such as an inventory source\n"
            "ERROR! Completely failed to parse inventory source /no/such",
            "ansible.cfg: there is no inventory /no/such",
        ),
        ("ERROR! Completely failed to parse inventory source /", "ansible.cfg: / holds no inventory"),
        (
            "[WARNING]:  * Failed to parse /x/hosts.yml with yaml plugin: We\nwere unable to read either. "
            "Syntax Error while\nloading YAML.   did not find expected node content  The error appears to be in\n"
            "'/a-\nb/hosts.yml': line 2, column 1, but may\nERROR! Completely failed to parse inventory source /",
            "/a-b/hosts.yml: line 2, column 1: did not find expected node content",
        ),
        (
            "[WARNING]:  * Failed to parse /x with ini plugin: /x:3: Expected\nkey=value\n"
            "ERROR! Completely failed to parse inventory source /",
            "/x:3: Expected key=value",
        ),
        ("ERROR! Decryption failed (no vault secrets were found that could decrypt)", "the vault password is wrong"),
        (
            "ERROR! Attempting to decrypt but no vault secrets found",
            "the inventory has an encrypted file, and no vault password was given",
        ),
        (
            "[WARNING]: x\nERROR! mapping values\n are not allowed",
            "the inventory can't be read: x ERROR! mapping values are not allowed",
        ),
    ],
)
def test_what_ansible_complains_of(monkeypatch: pytest.MonkeyPatch, err: str, message: str) -> None:
    monkeypatch.delenv("ANSIBLE_INVENTORY", raising=False)
    listing(monkeypatch, 1, "", err)
    with pytest.raises(BadInput) as caught:
        ansible_listing.read()
    assert caught.value.message == message


@pytest.mark.parametrize("named", ["directory", "file", "environment", "ansible.cfg"])
def test_the_file_that_is_no_yaml_is_named_where_ansible_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """As ansible-core 2.19 says it."""
    top = tmp_path / "production"
    (top / "group_vars" / "all").mkdir(parents=True)
    (top / "hosts.yml").write_text("all: {hosts: {web1: }}\n")
    (top / "group_vars" / "all" / "vault.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n6364\n")
    (top / "group_vars" / "all" / "site.yml").write_text("site:\n  name: shop: x\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANSIBLE_INVENTORY", raising=False)
    listing(
        monkeypatch, 4, "", "[ERROR]: YAML parsing failed: Colons in unquoted values must be followed by\n a space."
    )
    argument = {"directory": "production", "file": "production/hosts.yml"}.get(named, "")
    if named == "environment":
        monkeypatch.setenv("ANSIBLE_INVENTORY", "production")
    if named == "ansible.cfg":
        (tmp_path / "ansible.cfg").write_text("[defaults]\ninventory = production\n")
    with pytest.raises(BadInput) as caught:
        ansible_listing.read(argument)
    assert caught.value.message == (
        "production/group_vars/all/site.yml: line 2, column 13: mapping values are not allowed here"
    )


MEMBERS = "all:\n  children:\n    web:\n      hosts: [web1, web2]\n"
LOOP = "all: {children: {a: {children: {b: {children: {a: }}}}}}\n"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("hosts.yml", MEMBERS.encode(), 'TOP/hosts.yml: Invalid "hosts" entry for "web" group, requires a dictionary'),
        ("hosts.yml", LOOP.encode(), "TOP/hosts.yml: Adding group 'b' as child to 'a' creates a recursive dependency"),
        ("hosts.yml", b"all: {hosts: {web1: {x: caf\xe9}}}\n", "TOP/hosts.yml: it is no UTF-8"),
        ("hosts.yml", b"all:\n  hosts:\n    a:\n  hosts:\n    b:\n", "TOP/hosts.yml: line 4: hosts is there twice"),
        ("group_vars/all/site.yml", b"site: caf\xe9\n", "TOP/group_vars/all/site.yml: it is no UTF-8"),
        ("group_vars/all/site.yml", "site: x\n".encode("utf-16"), "TOP/group_vars/all/site.yml: it is no UTF-8"),
        ("group_vars/all/site.yml", b"site: a\0b\n", "TOP/group_vars/all/site.yml: unacceptable character #x0000"),
        (
            "group_vars/all/site.yml",
            b"site:\n  env: [{a: 1, b: 2}, {a: 1,\n    a: 2}]\n",
            "TOP/group_vars/all/site.yml: line 3: a is there twice",
        ),
    ],
)
def test_a_file_that_ansible_can_not_read_is_named(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    (tmp_path / "group_vars" / "all").mkdir(parents=True)
    (tmp_path / "hosts.yml").write_text("all: {hosts: {web1: }}\n")
    (tmp_path / file).write_bytes(content)
    with pytest.raises(BadInput) as caught:
        ansible_listing.read(str(tmp_path))
    assert message.replace("TOP", str(tmp_path)) in caught.value.message
    assert caught.value.message.count(str(tmp_path)) == 1


def test_what_somebody_wants_to_see_of_playbooks_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_VERBOSITY", "1")
    monkeypatch.setenv("ANSIBLE_DEBUG", "1")
    (tmp_path / "hosts").write_text("web1 a=b\n")
    assert ansible_listing.read(str(tmp_path))["_meta"]["hostvars"] == {"web1": {"a": "b"}}
    assert ansible_listing.evaluate("web1", "{{ 'a' | upper }}", str(tmp_path)) == "A"


def test_a_vault_password_that_can_not_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts").write_text("web1\n")
    for name, content in (("empty", ""), ("script", "#!/bin/sh\necho 'no agent' >&2\nexit 3\n")):
        (tmp_path / name).write_text(content)
    (tmp_path / "script").chmod(0o755)
    for name, why in (
        ("none", f"The vault password file {tmp_path}/none was not found"),
        ("empty", f"Invalid vault password was provided from file ({tmp_path}/empty)"),
        ("script", f"Vault password script {tmp_path}/script returned non-zero (3): no agent"),
    ):
        monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / name))
        with pytest.raises(BadInput) as caught:
            ansible_listing.read(str(tmp_path / "hosts"))
        assert caught.value.message == f"ANSIBLE_VAULT_PASSWORD_FILE: {why}"


def test_a_value_that_is_encrypted_by_itself_stays_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = '{"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256"}'
    site = f'{{"name": "shop", "source": {{"git": "."}}, "secrets": {{"A": {secret}}}}}'
    listing(monkeypatch, 0, f'{{"_meta": {{"hostvars": {{"web1": {{"site": {site}}}}}}}}}', "")
    assert inventory.of(ansible_listing.read()).site.secrets["A"].get_secret_value() == "encrypted"


def test_an_inventory_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for named, argument in (("-i", f"{tmp_path}/none"), ("ANSIBLE_INVENTORY", "")):
        monkeypatch.setenv("ANSIBLE_INVENTORY", f"{tmp_path}/none")
        with pytest.raises(BadInput) as caught:
            ansible_listing.read(argument)
        assert str(caught.value) == (
            f"{named}: there is no inventory {tmp_path}/none\n"
            "  Copy inventory/minimal or inventory/example and fill it in; fab lab.up makes throwaway hosts."
        )


@pytest.mark.parametrize(
    ("status", "out", "message"),
    [
        (2, 'web1 | FAILED! => {"msg": "The \'file\' lookup had an issue"}', "The 'file' lookup had an issue"),
        (2, 'web1 | FAILED! => {"msg": "template error while templating string: no x. String: {{ y }}. no x"}', "no x"),
        (1, "canary", "Ansible said canary"),
    ],
)
def test_an_expression_that_ansible_refuses(
    monkeypatch: pytest.MonkeyPatch, status: int, out: str, message: str
) -> None:
    listing(monkeypatch, status, out, "")
    with pytest.raises(BadInput) as caught:
        ansible_listing.evaluate("web1", "{{ x }}")
    assert caught.value.message == message


def test_ansible_evaluates_an_expression(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOSTWRIGHT_TEST", "canary")
    (tmp_path / "hosts").write_text("web1\n")
    expression = "{{ lookup('env', 'HOSTWRIGHT_TEST') | upper }}"
    assert ansible_listing.evaluate("web1", expression, str(tmp_path)) == "CANARY"
