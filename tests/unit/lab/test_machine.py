"""Whose files a lab touches on this machine."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.exceptions import Exit

from hostwright import tree
from hostwright.errors import BadInput, HostwrightError
from hostwright.lab import machine, plan
from hostwright.tasks import lab

HOSTS = [plan.Host("/here", "try", "host1", "198.18.0.11", ("web",))]


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(machine, "CACHE", tmp_path / ".cache" / "lab")
    return tmp_path


def test_an_inventory_of_the_users_own_is_no_lab(top: Path) -> None:
    (top / "inventory" / "production").mkdir(parents=True)
    with pytest.raises(BadInput) as caught:
        machine._check_free("production")
    assert str(caught.value) == (
        "inventory/production is an inventory of your own\n  Choose another --name for the lab."
    )
    (machine.CACHE / "production").mkdir(parents=True)
    machine._check_free("production")  # One that a lab made.
    machine._check_free("other")  # One that is not there yet.


def test_a_lab_below_a_path_that_ssh_would_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ROOT", tmp_path / "my project")
    with pytest.raises(BadInput) as caught:
        machine._check_free("try")
    assert caught.value.message == f"a lab can't be in {tmp_path}/my project: ssh would split that at the blank"


def test_a_lab_of_an_installed_hostwright_has_the_site_of_the_project(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "INSTALLED", True)
    variables = top / "inventory" / "production" / "group_vars" / "all"
    variables.mkdir(parents=True)
    (variables / "site.yml").write_text("site: {}\n")
    for _ in range(2):  # lab.up again writes the same.
        machine._write_inventory("try", HOSTS, machine.CACHE / "try", "debian:12")
    made = top / "inventory" / "try"
    assert sorted(path.name for path in made.iterdir()) == [".gitignore", "group_vars", "hosts.yml"]
    assert (made / "group_vars" / "all" / "site.yml").read_text() == "site: {}\n"


def test_the_inventory_of_a_lab_is_no_part_of_the_repository(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "INSTALLED", True)
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    machine._write_inventory("try", HOSTS, machine.CACHE / "try", "debian:12")
    status = subprocess.run(["git", "-C", str(top), "status", "--porcelain"], capture_output=True, check=True)
    assert status.stdout == b""
    ansible_inventory = Path(sys.executable).with_name("ansible-inventory")
    said = subprocess.run([ansible_inventory, "-i", str(top / "inventory" / "try"), "--list"], capture_output=True)
    assert (said.returncode, said.stderr) == (0, b"")
    assert json.loads(said.stdout)["web"]["hosts"] == ["host1"]


def test_the_first_image_of_a_fresh_clone_finds_its_directory(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str], timeout: float = 600) -> str:
        if argv[0] == "mmdebstrap":
            Path(argv[-1]).write_text("the tree")
        return ""

    monkeypatch.setattr(machine, "run", run)
    assert machine.image(plan.Engine("/bin/false", ()), "debian:12") == "localhost/hostwright-lab:debian-12"
    assert list(machine.CACHE.iterdir()) == []


def test_the_lab_of_a_checkout_that_is_gone_is_removed(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (top / "there").mkdir()
    networks = [
        {"name": name, "subnets": [], "labels": labels}
        for name, labels in (
            ("bridge", {}),
            ("hostwright-lab-1", {"hostwright.checkout": str(top / "there")}),
            ("hostwright-lab-2", {"hostwright.checkout": str(top / "gone")}),
        )
    ]
    removed = []

    def run(argv: list[str]) -> str:
        if argv[1:3] == ["network", "ls"]:
            return "\n".join(str(network["name"]) for network in networks)
        if argv[1:3] == ["network", "inspect"]:
            return json.dumps(networks)
        if argv[1] == "ps":
            assert argv == ["podman", "ps", "-aq", f"--filter=label=hostwright.checkout={top / 'gone'}"]
            return "c1\nc2"
        removed.append(argv[1:])
        return ""

    monkeypatch.setattr(machine, "run", run)
    machine._without_orphans(plan.Engine("podman"))
    assert removed == [["rm", "-f", "c1"], ["rm", "-f", "c2"], ["network", "rm", "hostwright-lab-2"]]


@pytest.mark.parametrize("docker", [None, "exit 1"], ids=["none", "stopped"])
def test_without_an_engine_there_is_no_lab_to_remove(
    top: Path, monkeypatch: pytest.MonkeyPatch, docker: str | None
) -> None:
    monkeypatch.setattr(machine.os, "geteuid", lambda: 0)
    monkeypatch.setattr(machine, "LOCK", top / "lock")
    programs = top / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    if docker:
        (programs / "docker").write_text(f"#!/bin/sh\n{docker}\n")
        (programs / "docker").chmod(0o755)
    assert machine.down("try") == []
    (machine.CACHE / "try").mkdir(parents=True)
    assert machine.down("try") == [".cache/lab/try"]
    machine._write_inventory("try", HOSTS, machine.CACHE / "try", "debian:12")
    (machine.CACHE / "try").mkdir()
    described = {"lab": "try", "name": "host1", "address": "198.18.0.11", "groups": ["web"]}
    (machine.CACHE / "try" / "hosts.json").write_text(json.dumps([described]))
    with pytest.raises(HostwrightError) as caught:
        machine.down("try")
    assert str(caught.value) == (
        "the hosts of the lab try can't be removed: no container engine answers\n"
        f"  Start Docker, or install podman; if they are gone, delete {top}/.cache/lab/try and inventory/try."
    )
    assert (top / "inventory" / "try").exists()


def described(top: Path, text: str) -> None:
    path = machine.CACHE / "try" / "hosts.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)


HOST = '[{"lab": "try", "name": "host1", "address": "198.18.0.11", "groups": ["web"]}]'


@pytest.mark.parametrize("spoilt", ["", "{", "5", '{"a": 1}', '["host1"]', "[{}]", HOST.replace("address", "adress")])
def test_a_spoilt_description_of_a_lab(top: Path, spoilt: str) -> None:
    described(top, spoilt)
    with pytest.raises(HostwrightError) as caught:
        machine.hosts("try")
    assert str(caught.value) == (
        f"{machine.CACHE}/try/hosts.json does not describe the hosts of the lab try\n"
        "  Remove the lab, and make it anew: fab lab.down --name try; fab lab.up --name try"
    )


def test_a_lab_without_the_programs_for_it(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described(top, HOST)
    monkeypatch.setenv("PATH", str(top))
    for task, message in ((lab.status, "no container engine answers"), (lab.ssh, "ssh is not installed")):
        with pytest.raises(Exit) as caught:
            task.body(None, name="try")
        assert caught.value.code == 1
        assert message in caught.value.message


@pytest.mark.parametrize(
    ("nofile", "nproc", "limits"),
    [
        (1024, 30000, ["--ulimit=nofile=1024:1024", "--ulimit=nproc=16384:16384"]),
        (resource.RLIM_INFINITY, 512, ["--ulimit=nofile=20000:20000", "--ulimit=nproc=512:512"]),
    ],
)
def test_a_host_gets_no_higher_limits_than_this_machine_may_give(
    monkeypatch: pytest.MonkeyPatch, nofile: int, nproc: int, limits: list[str]
) -> None:
    hard = {resource.RLIMIT_NOFILE: nofile, resource.RLIMIT_NPROC: nproc}
    monkeypatch.setattr(machine.resource, "getrlimit", lambda limit: (1, hard[limit]))
    monkeypatch.setattr(machine, "_state", lambda engine, host: "")
    commands: list[list[str]] = []
    monkeypatch.setattr(machine, "run", commands.append)
    machine.boot(machine.PODMAN, HOSTS[0], "image")
    assert [word for argv in commands for word in argv if word.startswith("--ulimit")] == limits


def test_a_file_of_a_host_is_put_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def here(host: plan.Host, argv: list[str], stdin: bytes) -> None:
        subprocess.run(argv, input=stdin, umask=0o022, check=True)

    monkeypatch.setattr(machine, "execute", here)
    file = tmp_path / "some directory" / "secret"
    for data in (b"first\0", b"second"):
        machine.put(HOSTS[0], str(file), data, "600")
        assert file.read_bytes() == data
    machine.put(HOSTS[0], str(file.with_name("script")), b"", "755")
    assert [f"{path.stat().st_mode & 0o777:o}" for path in (file.parent, file, file.with_name("script"))] == [
        "755",
        "600",
        "755",
    ]
    with pytest.raises(subprocess.CalledProcessError):
        machine.put(HOSTS[0], str(file), b"third", "no mode")
    assert file.read_bytes() == b"second"
