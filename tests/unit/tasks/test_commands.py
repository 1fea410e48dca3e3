"""Tasks that run a command on a host: what they ask for there, and what becomes of its exit status."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

from hostwright import config, console, terminal
from hostwright.errors import HostwrightError
from hostwright.inventory import Inventory
from hostwright.remote import Remote
from hostwright.tasks import _fleet, db, site

FOUND = Inventory(
    config.load({"name": "shop", "source": {"git": "."}, "services": {"databases": [{"name": "shop"}]}}),
    {"web": ["web1", "web2"], "db": ["db1"]},
    {"web1": {}, "web2": {}, "db1": {}},
)

IDLE: dict[str, Any] = {"lock": None, "transaction": None}


class Hosts:
    """All hosts: they note what they are asked for, and each command prints `output` and ends with `status`."""

    def __init__(self) -> None:
        self.status = 0
        self.output = b""
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.given = b""
        self.status_of: dict[str, dict[str, Any] | HostwrightError] = {"web1": IDLE, "web2": IDLE}

    def ask_all(self, found: Inventory, hosts: list[str], request: Mapping[str, Any]) -> dict[str, Any]:
        assert request == {"verb": "status"}
        return {host: self.status_of[host] for host in hosts}

    def attach(self, remote: Remote, request: Mapping[str, Any]) -> int:
        self.asked.append((remote.name, request))
        return self.status

    def copy(self, remote: Remote, request: Mapping[str, Any], source: Any, target: Any) -> int:
        self.given = source.read() if source else b""
        target.write(self.output)
        return self.attach(remote, request)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    made = Hosts()
    monkeypatch.setattr(_fleet, "inventory", lambda name: FOUND)
    monkeypatch.setattr(_fleet, "ask_all", made.ask_all)
    monkeypatch.setattr(terminal, "attach", made.attach)
    monkeypatch.setattr(terminal, "copy", made.copy)
    return made


def refusal(run: Callable[[], None]) -> tuple[int, str]:
    with pytest.raises(Exit) as caught:
        run()
    return caught.value.code, caught.value.message


COMMANDS: list[tuple[Callable[[], None], tuple[str, dict[str, Any]], str]] = [
    (
        lambda: site.manage.body(None, "check --tag 'a b'"),
        ("web1", {"verb": "exec", "manage": ["check", "--tag", "a b"]}),
        "web1: the command ended",
    ),
    (
        lambda: site.run.body(None, "ls -l", host="web2"),
        ("web2", {"verb": "exec", "argv": ["ls", "-l"]}),
        "web2: the command ended",
    ),
    (lambda: site.shell.body(None), ("web1", {"verb": "exec", "manage": ["shell"]}), "web1: the command ended"),
]


@pytest.mark.parametrize(("run", "asked", "message"), COMMANDS, ids=["manage", "run", "shell"])
def test_a_command_that_fails_fails_the_task(
    hosts: Hosts, run: Callable[[], None], asked: tuple[str, dict[str, Any]], message: str
) -> None:
    run()
    hosts.status = 3
    assert refusal(run) == (1, f"error: {message} with status 3")
    assert hosts.asked == [asked, asked]


def test_a_host_that_does_not_run_the_site(hosts: Hosts) -> None:
    assert refusal(lambda: site.manage.body(None, "check", host="db1")) == (
        2,
        "error: --host: 'db1' is no host that runs the site\n  Hosts: web1, web2",
    )
    assert hosts.asked == []


@pytest.mark.parametrize(("is_terminal", "do"), [(True, "shell"), (False, "psql")])
def test_a_shell_of_the_database(hosts: Hosts, monkeypatch: pytest.MonkeyPatch, is_terminal: bool, do: str) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: is_terminal)
    db.shell.body(None, database="reports")
    hosts.status = 3
    assert refusal(lambda: db.shell.body(None)) == (1, "error: db1: psql ended with status 3")
    assert hosts.asked == [
        ("db1", {"verb": "db", "do": do, "database": "reports"}),
        ("db1", {"verb": "db", "do": do, "database": None}),
    ]


def test_a_dump_is_for_its_owner_alone(hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hosts.output = b"PGDMP"
    file = tmp_path / "x.dump"
    db.dump.body(None, to=str(file))
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"PGDMP", 0o600)
    assert list(tmp_path.iterdir()) == [file]
    assert hosts.asked == [("db1", {"verb": "db", "do": "dump", "database": None})]
    assert capsys.readouterr().out == f"{file}: 5 bytes\n"


def test_a_dump_that_fails_leaves_nothing(hosts: Hosts, tmp_path: Path) -> None:
    hosts.output, hosts.status = b"PGD", 3
    refused = refusal(lambda: db.dump.body(None, to=str(tmp_path / "x.dump")))
    assert refused == (1, "error: db1: pg_dump failed with status 3")
    assert list(tmp_path.iterdir()) == []


def test_a_restore(hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.dump"
    file.write_bytes(b"PGDMP")
    db.restore.body(None, str(file), yes=True)
    assert hosts.given == b"PGDMP"
    assert hosts.asked == [("db1", {"verb": "db", "do": "restore", "database": None})]
    assert capsys.readouterr().out == f"db1: the database is that of {file}\n"
    hosts.status = 3
    assert refusal(lambda: db.restore.body(None, str(file), database="reports", yes=True)) == (
        1,
        "error: db1: pg_restore failed with status 3; nothing was changed",
    )


LOCK = {"owner": "ann@pc", "release": "r2", "op": "x", "since": "2026-11-30T03:00:00+0000"}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            {"lock": LOCK, "transaction": {"owner": "ann@pc"}},
            "ann@pc is deploying r2 since 2026-11-30T03:00:00+0000\n  Restore once fab status shows no deploy.",
        ),
        (
            {"lock": {}, "transaction": None},
            "someone is deploying ? since ?\n  Restore once fab status shows no deploy.",
        ),
        (
            {"lock": None, "transaction": {"owner": "ann@pc", "release": "r2", "since": 1.5}},
            f"a deploy of r2 by ann@pc since {console.since(1.5)} was interrupted"
            "\n  The next fab deploy ends it; restore then.",
        ),
    ],
    ids=["under way", "of nobody knows whom", "interrupted"],
)
def test_a_restore_beside_a_deploy(hosts: Hosts, tmp_path: Path, status: dict[str, Any], message: str) -> None:
    file = tmp_path / "x.dump"
    file.write_bytes(b"PGDMP")
    hosts.status_of["web2"] = status
    # Nobody is asked whether to: that would be refused where nobody is there.
    assert refusal(lambda: db.restore.body(None, str(file))) == (75, f"error: web2: {message}")
    assert hosts.asked == []


def test_a_restore_without_an_answer_from_a_host(
    hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.dump"
    file.write_bytes(b"PGDMP")
    hosts.status_of["web1"] = HostwrightError("web1: the connection was lost")
    db.restore.body(None, str(file), yes=True)
    assert hosts.given == b"PGDMP"
    assert capsys.readouterr().err == (
        "note: whether a deploy is under way on web1 is not known: web1: the connection was lost\n"
    )


def test_a_restore_without_a_file_a_file(hosts: Hosts, tmp_path: Path) -> None:
    assert refusal(lambda: db.restore.body(None, f"{tmp_path}/none", yes=True)) == (
        2,
        f"error: --source: there is no file {tmp_path}/none\n  fab db.dump writes one.",
    )
    assert hosts.asked == []
