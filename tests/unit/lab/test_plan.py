"""The commands that make a lab, and its inventory."""

from __future__ import annotations

import pytest

from hostwright.errors import BadInput
from hostwright.lab import plan

PODMAN = plan.Engine("podman", ("--runtime=runc",))
HOST = plan.Host("/here", "lab", "web1", "198.18.0.11", ("web",))


def test_the_network() -> None:
    assert plan.make_network(PODMAN, "/here", "lab", "198.18.3.0/24") == [
        "podman",
        "network",
        "create",
        "--label",
        "hostwright.lab=lab",
        "--label",
        "hostwright.checkout=/here",
        "--subnet",
        "198.18.3.0/24",
        "hostwright-lab-2effeafb",
    ]


def test_a_host_of_podman() -> None:
    assert plan.start_host(PODMAN, HOST, "image", 20000, 16384) == [
        "podman",
        "--runtime=runc",
        "run",
        "--detach",
        "--label=hostwright.lab=lab",
        "--label=hostwright.checkout=/here",
        "--name=hostwright-lab-2effeafb-web1",
        "--hostname=web1",
        "--privileged",
        "--systemd=always",
        "--ulimit=nofile=20000:20000",
        "--ulimit=nproc=16384:16384",
        "--network=hostwright-lab-2effeafb",
        "--ip=198.18.0.11",
        "image",
        "/sbin/init",
    ]


def test_a_host_of_docker() -> None:
    argv = plan.start_host(plan.Engine("docker"), HOST, "image", 1, 1)
    assert argv[:3] == ["docker", "run", "--detach"]
    assert "--cgroupns=host" in argv
    assert "--tmpfs=/run" in argv
    assert "--systemd=always" not in argv


def test_an_image() -> None:
    assert plan.bootstrap_image("bookworm", "/x.tar") == [
        "mmdebstrap",
        "--variant=minbase",
        "--include=systemd-sysv,openssh-server,ca-certificates,iproute2,dbus,procps",
        "bookworm",
        "/x.tar",
    ]


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("debian:12", "debian-12"),
        ("quay.io/x_y/ubuntu:16.04", "quay.io-x-y-ubuntu-16.04"),
        ("a@sha256:1", "a-sha256-1"),
    ],
)
def test_the_name_of_an_image(image: str, tag: str) -> None:
    assert plan.tag(image) == tag


@pytest.mark.parametrize(
    ("layout", "hosts"),
    [
        ("one", [("host1", "198.18.5.11", ("web", "worker", "beat", "db", "broker"))]),
        (
            "two",
            [
                ("web1", "198.18.5.11", ("web", "worker", "beat")),
                ("web2", "198.18.5.12", ("web",)),
                ("db1", "198.18.5.13", ("db", "broker")),
            ],
        ),
        (
            "four",
            [
                ("web1", "198.18.5.11", ("web",)),
                ("web2", "198.18.5.12", ("web",)),
                ("jobs1", "198.18.5.13", ("worker", "beat")),
                ("db1", "198.18.5.14", ("db", "broker")),
            ],
        ),
        (
            "eight",
            [
                ("app1", "198.18.5.11", ("web", "worker", "beat", "db", "broker")),
                ("app2", "198.18.5.12", ("web", "worker")),
                ("app3", "198.18.5.13", ("web", "worker")),
                ("app4", "198.18.5.14", ("web", "worker")),
                ("app5", "198.18.5.15", ("web", "worker")),
                ("app6", "198.18.5.16", ("web", "worker")),
                ("app7", "198.18.5.17", ("web", "worker")),
                ("app8", "198.18.5.18", ("web", "worker")),
            ],
        ),
    ],
)
def test_layouts(layout: str, hosts: list[tuple[str, str, tuple[str, ...]]]) -> None:
    assert plan.hosts("/here", "lab", layout, "198.18.5.0/24") == [plan.Host("/here", "lab", *host) for host in hosts]


def test_a_layout_that_is_none() -> None:
    with pytest.raises(BadInput) as caught:
        plan.hosts("/here", "lab", "ten", "198.18.5.0/24")
    assert str(caught.value) == "there is no layout 'ten'\n  Layouts: one, two, four, eight"


def test_labs_of_two_checkouts_have_nothing_in_common() -> None:
    here, there = (plan.hosts(checkout, "lab", "one", "198.18.5.0/24")[0] for checkout in ("/here", "/there"))
    assert here.network != there.network
    assert here.container != there.container


def test_a_lab_that_is_there_is_not_changed_into_another() -> None:
    two, four = (plan.hosts("/here", "lab", layout, "198.18.5.0/24") for layout in ("two", "four"))
    there = {host.container: "debian-12" for host in two}
    plan.check_same("lab", there, two, two, "debian-12")
    plan.check_same("lab", {}, two, four, "debian-12")
    for known, wanted, image, message in (
        (
            two,
            four,
            "debian-12",
            "the lab lab has other hosts than this layout's: "
            "hostwright-lab-2effeafb-db1, hostwright-lab-2effeafb-web1, hostwright-lab-2effeafb-web2",
        ),
        (
            two,
            two,
            "debian-13",
            "the lab lab has hosts of another image: hostwright-lab-2effeafb-web1 is of debian-12",
        ),
    ):
        with pytest.raises(BadInput) as caught:
            plan.check_same("lab", there, known, wanted, image)
        assert str(caught.value) == (f"{message}\n  Choose another --name, or remove it first: fab lab.down --name lab")


@pytest.mark.parametrize(
    ("used", "free"),
    [
        ([], "198.18.0.0/24"),
        (["198.18.0.0/24", "198.18.1.0/24"], "198.18.2.0/24"),
        (["198.18.1.0/24"], "198.18.0.0/24"),
        (["198.18.0.0/22"], "198.18.4.0/24"),
        (["198.18.0.77/24"], "198.18.1.0/24"),
        (["10.0.0.0/8", "fd00::/64"], "198.18.0.0/24"),
        (["198.18.0.0/16"], "198.19.0.0/24"),
    ],
)
def test_a_free_subnet(used: list[str], free: str) -> None:
    assert plan.free_subnet(used) == free


def test_no_free_subnet() -> None:
    with pytest.raises(BadInput, match="every test network is taken"):
        plan.free_subnet(["198.18.0.0/15"])


@pytest.mark.parametrize("name", ["lab", "a", "l2", "a" * 16])
def test_lab_names(name: str) -> None:
    assert plan.lab_name(name) == name


@pytest.mark.parametrize("name", ["", "Lab", "2lab", "my-lab", "../x", "a" * 17, "lab\n", "lab;x"])
def test_bad_lab_names(name: str) -> None:
    with pytest.raises(BadInput, match="can't name a lab"):
        plan.lab_name(name)


def test_the_inventory() -> None:
    hosts = [
        plan.Host("/here", "lab", "web1", "198.18.0.11", ("web", "beat")),
        plan.Host("/here", "lab", "db1", "198.18.0.12", ("db",)),
    ]
    assert plan.inventory(hosts, "/k", "/h", "debian:12") == {
        "all": {
            "hosts": {"web1": {"ansible_host": "198.18.0.11"}, "db1": {"ansible_host": "198.18.0.12"}},
            "vars": {
                "ansible_user": "root",
                "ansible_ssh_private_key_file": "/k",
                "ansible_ssh_common_args": "-o UserKnownHostsFile=/h -o StrictHostKeyChecking=yes",
                "hostwright_authorized_keys": ["/k.pub"],
            },
            "children": {
                "web": {"hosts": {"web1": {}}},
                "beat": {"hosts": {"web1": {}}},
                "db": {"hosts": {"db1": {}}},
            },
        }
    }


def test_the_inventory_names_the_python_of_an_old_release() -> None:
    hosts = [plan.Host("/here", "lab", "web1", "198.18.0.11", ("web",))]
    variables = plan.inventory(hosts, "/k", "/h", "ubuntu:16.04")["all"]["vars"]
    assert variables["ansible_python_interpreter"] == "/usr/bin/python2.7"
