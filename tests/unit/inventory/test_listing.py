"""What Ansible is asked for, and what is said where it refuses an inventory or an expression."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from hostwright.errors import BadInput
from hostwright.inventory import listing, refused
from hostwright.inventory.parse import parse


def ansible(monkeypatch: pytest.MonkeyPatch, status: int, out: str, err: str) -> None:
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
        (
            "ERROR! Decryption failed (no vault secrets were found that could decrypt) on /a b/vault.yml\n",
            "/a b/vault.yml: the vault password is wrong",
        ),
        ("[ERROR]: Decryption failed (no vault secrets were found that could decrypt).", "the vault password is wrong"),
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
    ansible(monkeypatch, 1, "", err)
    with pytest.raises(BadInput) as caught:
        listing.read()
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
    ansible(
        monkeypatch, 4, "", "[ERROR]: YAML parsing failed: Colons in unquoted values must be followed by\n a space."
    )
    argument = {"directory": "production", "file": "production/hosts.yml"}.get(named, "")
    if named == "environment":
        monkeypatch.setenv("ANSIBLE_INVENTORY", "production")
    if named == "ansible.cfg":
        (tmp_path / "ansible.cfg").write_text("[defaults]\ninventory = production\n")
    with pytest.raises(BadInput) as caught:
        listing.read(argument)
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
        listing.read(str(tmp_path))
    assert message.replace("TOP", str(tmp_path)) in caught.value.message
    assert caught.value.message.count(str(tmp_path)) == 1


def test_what_somebody_wants_to_see_of_playbooks_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_VERBOSITY", "1")
    monkeypatch.setenv("ANSIBLE_DEBUG", "1")
    (tmp_path / "hosts").write_text("web1 a=b\n")
    assert listing.read(str(tmp_path))["_meta"]["hostvars"] == {"web1": {"a": "b"}}
    assert listing.evaluate("web1", "{{ 'a' | upper }}", str(tmp_path)) == "A"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("ansible.cfg", "inventory = hosts\n", "ansible.cfg: File contains no section headers."),
        ("group_vars/all.yml", None, "group_vars/all.yml: Permission denied"),
    ],
)
def test_a_file_that_fab_itself_can_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts.yml").write_text("all: {hosts: {web1: {}}}\n")
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content or "")
    if content is None:  # To root nothing is closed.

        def closed(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "read_bytes", closed)
        (tmp_path / "hosts.yml").unlink()
    assert message in refused.why("ERROR! it can't be read", ".").message


def test_a_locale_that_ansible_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    ansible(monkeypatch, 1, "", "ERROR: Ansible requires the locale encoding to be UTF-8; Detected None.")
    with pytest.raises(BadInput) as caught:
        listing.read()
    assert (caught.value.message, caught.value.hint) == (
        "Ansible needs a locale whose encoding is UTF-8",
        "Use: export LC_ALL=C.UTF-8",
    )


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
            listing.read(str(tmp_path / "hosts"))
        assert caught.value.message == f"ANSIBLE_VAULT_PASSWORD_FILE: {why}"


def test_a_value_that_is_encrypted_by_itself_stays_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = '{"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256"}'
    site = f'{{"name": "shop", "source": {{"git": "."}}, "secrets": {{"A": {secret}}}}}'
    ansible(monkeypatch, 0, f'{{"_meta": {{"hostvars": {{"web1": {{"site": {site}}}}}}}}}', "")
    assert parse(listing.read()).site.secrets["A"].get_secret_value() == "encrypted"


def test_an_inventory_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for named, argument in (("-i", f"{tmp_path}/none"), ("ANSIBLE_INVENTORY", "")):
        monkeypatch.setenv("ANSIBLE_INVENTORY", f"{tmp_path}/none")
        with pytest.raises(BadInput) as caught:
            listing.read(argument)
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
    ansible(monkeypatch, status, out, "")
    with pytest.raises(BadInput) as caught:
        listing.evaluate("web1", "{{ x }}")
    assert caught.value.message == message


def test_ansible_evaluates_an_expression(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOSTWRIGHT_TEST", "canary")
    (tmp_path / "hosts").write_text("web1\n")
    expression = "{{ lookup('env', 'HOSTWRIGHT_TEST') | upper }}"
    assert listing.evaluate("web1", expression, str(tmp_path)) == "CANARY"
