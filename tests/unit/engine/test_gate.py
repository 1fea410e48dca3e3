"""Requests at the gate, in a process of its own as on a host: what is malformed is refused without a traceback."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostwright_engine import contract as engine_contract
from hostwright_engine import gate, lock, stdio, storage, venvs
from hostwright_engine.errors import BadRequest
from hostwright_engine.paths import Paths

from hostwright import config, contract
from tests.unit.engine.conftest import ENGINE

# The program itself, but for where the host's files are.
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from hostwright_engine import __main__, paths
__main__.Paths = lambda site: paths.Paths(site, root=sys.argv[2])
sys.exit(__main__.main(sys.argv[3:]))
"""
KEY = "0" * 32
SITE = config.load(
    {
        "name": "shop",
        "source": {"git": "."},
        "web": {"wsgi": "shop.wsgi"},
        "services": {"databases": [{"name": "shop"}]},
        "secrets": {"SECRET_KEY": "canary"},
    }
)


class Host:
    """A host's files below a directory, with a release that serves."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = Paths("shop", root=str(root))
        for directory in (self.paths.etc, self.paths.var, self.paths.srv, self.paths.run, self.paths.instances):
            Path(directory).mkdir(parents=True, exist_ok=True)
        told = {**contract.contract(SITE, {"web": ["web1"]}, "web1"), "user": "nobody"}
        Path(self.paths.contract).write_text(json.dumps(told))
        Path(self.paths.contract).chmod(0o600)
        Path(self.paths.release("r1")).mkdir(parents=True)
        Path(self.paths.wheelhouse(KEY)).mkdir(parents=True)
        record = {"venv": KEY, "created": 5.0, "status": "good", "ref": "v1", "applied": [["orders", "0001"]]}
        storage.State(self.paths.state).save(
            current={"release": "r1", "slot": "a", "since": 7.0},
            previous="r0",
            releases={"r1": record, "r0": {**record, "created": 4.0}},
        )
        # Nothing here may reach the machine's own services.
        (root / "bin").mkdir()
        for name in ("systemctl", "journalctl"):
            (root / "bin" / name).write_text("#!/bin/sh\nexit 1\n")
            (root / "bin" / name).chmod(0o755)

    def run(self, *argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [sys.executable, "-I", "-c", PROGRAM, str(ENGINE), str(self.root), *argv],
            input=stdin,
            capture_output=True,
            timeout=20,
            check=False,
            env={"PATH": f"{self.root}/bin:/usr/bin:/bin"},
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done

    def ask(self, request: Any, status: int = 0) -> dict[str, Any]:
        """The one event that comes back for `request`, JSON or bytes."""
        data = request if isinstance(request, bytes) else json.dumps(request).encode()
        done = self.run("shop", stdin=data + b"\n")
        assert done.returncode == status, (done.stdout, done.stderr)
        event: dict[str, Any] = json.loads(done.stdout)
        return event


@pytest.fixture
def host(open_path: Path) -> Host:
    return Host(open_path)


@pytest.fixture
def refusal(host: Host, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], str]:
    """What a request is refused with, in this process, which is faster. Nothing can be started from here."""

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a malformed request was acted on")

    monkeypatch.setattr(gate.subprocess, "call", never)
    monkeypatch.setattr(gate.units, "systemctl", never)

    def ask(data: bytes) -> str:
        monkeypatch.setattr(stdio, "read_line", lambda: data)
        with pytest.raises(BadRequest) as caught:
            gate.serve(engine_contract.load(host.paths.contract), host.paths)
        return str(caught.value.message)

    return ask


VERBS = "attach, begin, db, exec, maintenance, releases, status, wheelhouse"
NO_REQUEST = f"standard input must begin with a JSON request; verbs: {VERBS}"


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"no json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"3",
        b'"status"',
        b"{}",
        b'{"verb": "reboot"}',
        b'{"verb": []}',
        b'{"verb": null}',
        b"[" * 100_000,
        b'{"verb": "status"',
    ],
)
def test_what_is_no_request(host: Host, refusal: Callable[[bytes], str], request_: bytes) -> None:
    assert refusal(request_) == NO_REQUEST


def test_a_refusal_is_one_event_and_a_status(host: Host) -> None:
    for request in (b"no json", b"[" * 100_000):
        event = host.ask(request, status=2)
        assert (event["event"], event["kind"], event["message"]) == ("error", "bad_input", NO_REQUEST)


def test_a_request_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(stdio.os, "read", lambda *_: b"x")
        with pytest.raises(BadRequest, match="the request is longer than 10 bytes"):
            stdio.read_line(10)


OP = {"verb": "begin", "op": "o1", "kind": "deploy", "release": "r2", "artifact": "r2.tar.gz"}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"verb": "begin"}, "kind must be deploy, rollback or restart"),
        ({"verb": "begin", "kind": []}, "kind must be deploy, rollback or restart"),
        ({"verb": "begin", "kind": "restart"}, "None is no release name"),
        ({**OP, "op": "../x"}, "'../x' is no release name"),
        ({**OP, "op": 3}, "3 is no release name"),
        ({**OP, "release": None}, "a deploy needs the name of its release"),
        ({**OP, "release": "../x"}, "'../x' is no release name"),
        ({**OP, "release": ["r2"]}, "['r2'] is no release name"),
        ({**OP, "artifact": "../../etc/passwd"}, "'../../etc/passwd' is no name of an uploaded file"),
        ({**OP, "artifact": None}, "None is no name of an uploaded file"),
        ({**OP, "owner": "a\nb"}, "owner must be a line of text"),
        ({**OP, "owner": {}}, "owner must be a line of text"),
        ({**OP, "ref": "x" * 201}, "ref must be a line of text"),
        ({"verb": "begin", "op": "o", "kind": "rollback", "release": "r9"}, "the release r9 is not on this host"),
        ({"verb": "begin", "op": "o", "kind": "rollback"}, "the release r0 is not on this host"),
        ({"verb": "attach", "op": "o1"}, "there is no transaction o1 on this host"),
        ({"verb": "attach", "op": "o1", "after": "x"}, "after must be a number"),
        ({"verb": "attach"}, "None is no release name"),
        ({"verb": "wheelhouse", "key": "../x"}, "'../x' is no virtualenv key"),
        ({"verb": "wheelhouse"}, "None is no virtualenv key"),
        ({"verb": "wheelhouse", "key": "1" * 32}, f"the wheelhouse {'1' * 32} is not on this host"),
        ({"verb": "exec"}, "argv must be a list of words"),
        ({"verb": "exec", "argv": "id"}, "argv must be a list of words"),
        ({"verb": "exec", "argv": []}, "argv must be a list of words"),
        ({"verb": "exec", "argv": ["id", 3]}, "argv must be a list of words"),
        ({"verb": "exec", "argv": ["a\0b"]}, "argv must be a list of words"),
        ({"verb": "exec", "manage": "check"}, "argv must be a list of words"),
        ({"verb": "exec", "manage": 3}, "argv must be a list of words"),
        ({"verb": "exec", "manage": [[]]}, "argv must be a list of words"),
        ({"verb": "db", "do": "drop"}, "do must be dump, restore, psql or shell"),
        ({"verb": "db", "do": []}, "do must be dump, restore, psql or shell"),
        ({"verb": "db", "do": "dump", "database": "other"}, "the site has no database 'other'"),
        ({"verb": "db", "do": "dump", "database": ["shop"]}, "the site has no database ['shop']"),
        ({"verb": "maintenance"}, "on must be true or false"),
        ({"verb": "maintenance", "on": "yes"}, "on must be true or false"),
        ({"verb": "status", "protocol": 3}, "the engine on this host speaks protocol 2, fab speaks 3"),
        ({"verb": "status", "protocol": []}, "the engine on this host speaks protocol 2, fab speaks []"),
    ],
)
def test_a_wrong_field_is_named(
    host: Host, refusal: Callable[[bytes], str], request_: dict[str, Any], message: str
) -> None:
    before = sorted(str(path) for path in host.root.rglob("*"))
    assert refusal(json.dumps(request_).encode()) == message
    assert sorted(str(path) for path in host.root.rglob("*")) == before


def test_psql_keeps_no_history(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(gate, "_interactive", lambda agreed, argv, env, cwd, tty: given.append((argv, env)))
    gate.database(engine_contract.load(host.paths.contract), host.paths, {"do": "shell"})
    assert [(argv, env["PSQL_HISTORY"]) for argv, env in given] == [(["psql", "-d", "shop"], "/dev/null")]


@pytest.mark.parametrize("argv", [[], ["--boot"], ["shop", "--check"], ["shop", "--boot", "x"], ["../x"], ["Shop"]])
def test_other_arguments_are_refused(host: Host, argv: list[str]) -> None:
    done = host.run(*argv)
    assert done.returncode == 2
    assert json.loads(done.stdout)["kind"] == "bad_input"


def test_a_site_that_is_not_set_up(host: Host) -> None:
    done = host.run("other", stdin=b'{"verb": "status"}\n')
    assert done.returncode == 1
    assert "no site of this name is set up here" in json.loads(done.stdout)["message"]


@pytest.mark.parametrize(("text", "status"), [("{}", 1), ("no json", 1), (None, 0)])
def test_a_contract_is_checked_before_it_is_used(host: Host, tmp_path: Path, text: str | None, status: int) -> None:
    path = tmp_path / "contract.json"
    path.write_text(text if text is not None else Path(host.paths.contract).read_text())
    assert host.run("--check-contract", str(path)).returncode == status


def test_a_state_that_can_not_be_read(host: Host) -> None:
    Path(host.paths.state).write_text("{")
    event = host.ask({"verb": "releases"}, status=1)
    assert (event["event"], event["kind"]) == ("error", "failed")
    assert f"{host.paths.state} is damaged" in event["message"]


def test_releases(host: Host) -> None:
    row = {"created": 5.0, "status": "good", "ref": "v1", "commit": None, "owner": None}
    row |= {"applied": [["orders", "0001"]], "heads": None}
    assert host.ask({"verb": "releases"}) == {
        "event": "releases",
        "releases": [
            {**row, "release": "r1", "current": True, "previous": False},
            {**row, "release": "r0", "created": 4.0, "current": False, "previous": True},
        ],
    }


def test_status_says_who_deploys_and_no_secret(host: Host) -> None:
    with lock.take(host.paths.lock, {"owner": "ann", "release": "r2", "op": "o2"}):
        done = host.run("shop", stdin=b'{"verb": "status"}\n')
    assert b"canary" not in done.stdout
    answer = json.loads(done.stdout)
    assert answer["lock"].pop("since")
    assert answer == {
        "event": "status",
        "engine": 2,
        "site": "shop",
        "host": "web1",
        "current": {"release": "r1", "slot": "a", "since": 7.0},
        "previous": "r0",
        "transaction": None,
        "lock": {"owner": "ann", "release": "r2", "op": "o2"},
        "units": [],
        "maintenance": False,
        "applied": [["orders", "0001"]],
        "heads": {},
    }


def test_status_shows_slots_and_what_is_expected_or_still_runs(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    states = {
        "shop-egg-timer-x@r1.1.service": "failed",
        "shop-web@a.service": "active",
        "shop-web@b.service": "inactive",
        "shop-worker-mail@r0.1.service": "deactivating",
        "shop-worker-web@r0.1.service": "inactive",
    }
    for unit in (*states, "shop-timer-sweep.service"):
        Path(host.paths.instances, unit.replace(".service", ".env")).touch()
    storage.State(host.paths.state).save(processes=["shop-egg-timer-x@r1.1"])
    said: list[Any] = []
    monkeypatch.setattr(gate.units, "states", lambda names: [states[name] for name in names])
    monkeypatch.setattr(gate.units, "show", list)
    monkeypatch.setattr(stdio, "say", said.append)
    gate.status({**engine_contract.load(host.paths.contract), "timers": ["sweep"]}, host.paths, {})
    shown = [unit for unit in states if unit != "shop-worker-web@r0.1.service"]
    assert said[0]["units"] == [*shown, "shop-timer-sweep.timer"]


def test_a_second_deploy_is_told_of_the_first(host: Host) -> None:
    with lock.take(host.paths.lock, {"owner": "ann", "release": "r2", "op": "o2"}):
        event = host.ask({**OP, "release": "r3", "op": "o3"}, status=75)
    assert event["kind"] == "busy"
    assert event["message"].startswith("ann is deploying r2 since ")
    assert not Path(host.paths.request).exists()


def test_a_transaction_that_can_not_be_started_says_so(host: Host) -> None:
    event = host.ask({**OP, "owner": "ann", "sha256": "x"}, status=1)
    assert event["message"].startswith("the transaction can't be started")
    assert json.loads(Path(host.paths.request).read_text()) == {
        "op": "o1",
        "kind": "deploy",
        "release": "r2",
        "artifact": "r2.tar.gz",
        "owner": "ann",
        "ref": None,
        "commit": None,
        "sha256": "x",
    }
    # Who looks at the lock before the transaction has written its name there does not take it for somebody else's.
    assert json.loads(Path(host.paths.lock).read_text())["op"] == "o1"
    assert lock.holder(host.paths.lock) is None


def test_the_end_of_a_transaction_is_replayed(host: Host) -> None:
    journal = storage.Journal(host.paths.journal, "web1", "o1")
    for name in ("begun", "step", "end"):
        journal.append({"event": name})
    journal.close()
    done = host.run("shop", stdin=b'{"verb": "attach", "op": "o1", "after": 1}\n')
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["step", "end"]


def test_maintenance(host: Host) -> None:
    assert host.ask({"verb": "maintenance", "on": True}) == {"event": "done", "maintenance": True}
    assert Path(host.paths.maintenance).exists()
    for _ in range(2):
        assert host.ask({"verb": "maintenance", "on": False}) == {"event": "done", "maintenance": False}
    assert not Path(host.paths.maintenance).exists()


def test_a_command_gets_the_rest_of_the_input_and_gives_its_status(host: Host) -> None:
    script = 'read line; echo "$line $HOSTWRIGHT_RELEASE $SECRET_KEY"; exit 7'
    request = {"verb": "exec", "argv": ["/bin/sh", "-c", script]}
    done = host.run("shop", stdin=json.dumps(request).encode() + b"\nhello\n")
    assert (done.returncode, done.stdout) == (7, b"\x1e\nhello r1 canary\n")


def test_a_command_that_a_signal_ends(host: Host) -> None:
    done = host.run("shop", stdin=b'{"verb": "exec", "argv": ["/bin/sh", "-c", "kill -KILL $$"]}\n')
    assert (done.returncode, done.stdout) == (128 + signal.SIGKILL, b"\x1e\n")


def test_a_command_that_is_not_there(host: Host) -> None:
    done = host.run("shop", stdin=b'{"verb": "exec", "argv": ["/no/such"]}\n')
    assert (done.returncode, done.stderr) == (127, b"/no/such can't be run: No such file or directory\n")


def test_a_command_is_not_started_where_its_user_may_not_go(host: Host) -> None:
    Path(host.paths.release("r1")).chmod(0o700)
    done = host.run("shop", stdin=b'{"verb": "exec", "argv": ["/bin/ls"]}\n')
    directory = Path(host.paths.release("r1"))
    assert (done.returncode, done.stdout) == (126, b"\x1e\n")
    assert done.stderr.decode() == f"nobody can't enter {directory}: Permission denied\n"


def test_no_command_before_the_first_deploy(host: Host) -> None:
    storage.State(host.paths.state).save(current=None)
    assert host.ask({"verb": "exec", "argv": ["id"]}, status=2)["message"] == "nothing is deployed on this host yet"


def test_a_wheelhouse_is_sent_as_a_tar(host: Host) -> None:
    for name in ("b-1.whl", "a-1.whl", venvs.READY):
        Path(host.paths.wheelhouse(KEY), name).write_text(name)
    done = host.run("shop", stdin=json.dumps({"verb": "wheelhouse", "key": KEY}).encode() + b"\n")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames() == ["a-1.whl", "b-1.whl"]


def test_a_reader_that_leaves_ends_it_quietly(host: Host) -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, str(ENGINE), str(host.root), "shop"],
        input=b'{"verb": "releases"}\n',
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=20,
        check=False,
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (1, b"")
