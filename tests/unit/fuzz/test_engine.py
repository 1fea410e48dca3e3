"""The engine: arguments, requests, a controller's lines, its contract, and every name it is given."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostwright_engine import (
    VERSION,
    __main__,
    boot,
    commands,
    facts,
    gate,
    server,
    stdio,
    storage,
    transaction,
    units,
    wire,
)
from hostwright_engine import contract as engine_contract
from hostwright_engine.errors import BadRequest, Busy, Failed
from hostwright_engine.paths import Paths, release_name
from hypothesis import strategies as st

from hostwright import config, contract
from tests.unit.engine.test_gate import KEY, Host
from tests.unit.engine.test_hostile import WANTED, Said
from tests.unit.fuzz.hostile import changed, fuzz, mutations, texts, values
from tests.unit.fuzz.test_model import FULL, GROUPS
from tests.unit.systemd import read_environment_file

pytestmark = pytest.mark.usefixtures("as_root")

GOOD = contract.contract(config.load(FULL), GROUPS, "web1")


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        yield Host(Path(root))


@pytest.fixture
def harmless(host: Host, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Nothing is started; what would be is remembered."""
    ran: list[Any] = []

    def run(argv: Any, *_: Any, **__: Any) -> int:
        ran.append(argv)
        return 0

    monkeypatch.setattr(gate.subprocess, "call", run)
    monkeypatch.setattr(gate.restore, "restore", lambda *_: run("restore"))
    monkeypatch.setattr(wire, "_start", lambda unit: run(unit))
    monkeypatch.setattr(wire, "_await_end", lambda unit: None)
    monkeypatch.setattr(wire, "_connect", lambda *_: None)
    monkeypatch.setattr(gate.units, "systemctl", lambda *_, **__: (1, ""))
    monkeypatch.setattr(stdio, "say", json.dumps)
    return ran


def tree(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


FIELDS = st.fixed_dictionaries(
    {"verb": st.one_of(st.sampled_from(sorted(gate.VERBS)), values)},
    optional={
        "protocol": st.one_of(st.just(VERSION), values),
        "op": st.one_of(st.just("o1"), values),
        "kind": st.one_of(st.sampled_from(["deploy", "rollback", "restart"]), values),
        "release": st.one_of(st.sampled_from(["r0", "r1", "r2"]), values),
        "artifact": st.one_of(st.just("r2.tar.gz"), values),
        "sha256": values,
        "owner": values,
        "ref": values,
        "after": values,
        "key": st.one_of(st.just(KEY), values),
        "argv": st.one_of(st.lists(texts, max_size=3), values),
        "manage": st.one_of(st.lists(texts, max_size=3), values),
        "tty": values,
        "database": st.one_of(st.just("shop"), values),
        "do": st.one_of(st.sampled_from(["dump", "restore", "psql", "shell"]), values),
        "on": st.one_of(st.booleans(), values),
    },
)
CHANGES = {"request.json", "lock", "lock.begin", "maintenance"}
"""What requests that are in order may leave behind."""


def asked(host: Host, ran: list[Any], data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(host.root)
    ran.clear()
    monkeypatch.setattr(stdio, "read_line", lambda: data)
    agreed = engine_contract.load(host.paths.contract)
    try:
        status = gate.serve(agreed, host.paths)
        assert status in (0, 1, 127)
    except (BadRequest, Busy):
        assert ran == []
        after = tree(host.root)
        assert {path: after.get(path) for path in before} == before
        # A request that the lock's file is made for was in order that far.
        assert {Path(path).name for path in set(after) - set(before)} <= {"lock", "lock.begin"}
    except Failed:
        pass
    for argv in ran:
        if isinstance(argv, list):
            assert all(isinstance(word, str) and "\0" not in word for word in argv)
            os.fsencode("".join(argv))
        else:
            assert argv in ("restore", "hostwright-shop-transaction.service")
    after = tree(host.root)
    assert {Path(path).name for path in set(after) - set(before)} <= CHANGES
    for path in before:
        assert Path(path).name in CHANGES or after[path] == before[path]
    wanted = Path(host.paths.request)
    if wanted.exists():
        request = json.loads(wanted.read_text())
        release_name(request["op"])
        for key in ("owner", "ref", "commit", "sha256"):
            assert request[key] is None or (request[key].isprintable() and len(request[key]) <= 200)
        wanted.unlink()


@fuzz(FIELDS)
def test_a_hostile_request(host: Host, harmless: list[Any], monkeypatch: pytest.MonkeyPatch, request_: Any) -> None:
    asked(host, harmless, json.dumps(request_).encode(), monkeypatch)


@pytest.mark.parametrize(
    ("request_", "ran"),
    [
        ({"verb": "exec", "argv": ["id", "-u"]}, ["id", "-u"]),
        ({"verb": "begin", "op": "o1", "kind": "restart"}, "hostwright-shop-transaction.service"),
    ],
)
def test_a_request_that_is_in_order_is_acted_on(
    host: Host, harmless: list[Any], monkeypatch: pytest.MonkeyPatch, request_: dict[str, Any], ran: Any
) -> None:
    """Else the hostile ones could all be refused before anything is looked at."""
    asked(host, harmless, json.dumps({"protocol": VERSION, **request_}).encode(), monkeypatch)
    assert harmless == [ran]


@fuzz(st.one_of(values.map(lambda value: json.dumps(value).encode()), st.binary(max_size=200)))
def test_what_is_no_request(host: Host, harmless: list[Any], monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    asked(host, harmless, data, monkeypatch)
    assert harmless == []


@fuzz(st.lists(st.one_of(st.sampled_from(["shop", "--boot", "--transaction", "--check-contract"]), texts), max_size=3))
def test_a_hostile_command_line(host: Host, monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    done: list[str] = []
    said: list[Any] = []
    monkeypatch.setattr(__main__, "Paths", lambda site: Paths(site, root=str(host.root)))
    monkeypatch.setattr(boot, "run", lambda *_: done.append("--boot") or 0)
    monkeypatch.setattr(server.Server, "run", lambda *_: done.append("--transaction") or 0)
    monkeypatch.setattr(gate, "serve", lambda *_: done.append("") or 0)
    monkeypatch.setattr(stdio, "say", said.append)
    before = tree(host.root)
    status = __main__.main(argv)
    assert done == (
        ["".join(argv[1:])] if argv[:1] == ["shop"] and argv[1:] in ([], ["--boot"], ["--transaction"]) else []
    )
    assert (status == 0) == bool(done)
    assert [event["event"] for event in said] == ([] if done else ["error"])
    assert tree(host.root) == before


COMMAND = st.fixed_dictionaries(
    {"do": st.one_of(st.sampled_from([*transaction.WHEN, "attach", "ping"]), values)},
    optional={
        "n": st.one_of(st.integers(0, 9), values),
        "after": values,
        "check": values,
        "heads": values,
        "artifact": values,
    },
)


@fuzz(st.one_of(COMMAND, values), st.sampled_from(transaction.PHASES))
def test_a_hostile_controller(monkeypatch: pytest.MonkeyPatch, host: Host, command: Any, phase: str) -> None:
    heard = server._command(json.dumps(command))
    if heard is None:
        return
    assert isinstance(heard["do"], str)
    assert type(heard.get("n", 0)) is type(heard.get("after", 0)) is int
    state = storage.State(host.paths.state + ".none")
    state.data["transaction"] = {"phase": phase, "kind": "deploy", "release": "r2", "slot": None, "artifact": None}
    monkeypatch.setattr(state, "save", lambda **changes: state.data.update(changes))
    work = transaction.Transaction({}, host.paths, state, lambda event: None)
    for word in transaction.WHEN:
        if word != "standby":
            monkeypatch.setattr(work, word, lambda _: {})
    try:
        work.obey(heard)
    except BadRequest:
        assert state.data["transaction"]["phase"] == phase
    for record in state.data["releases"].values():
        assert facts.is_heads(record["heads"])


@fuzz(
    st.one_of(
        mutations(GOOD).map(lambda data: json.dumps(data).encode()),
        values.map(lambda data: json.dumps(data).encode()),
        st.binary(max_size=300),
    )
)
def test_a_hostile_contract(host: Host, data: bytes) -> None:
    path = host.root / "fuzzed.json"
    path.write_bytes(data)
    path.chmod(0o600)
    try:
        agreed = engine_contract.load(str(path))
    except Failed:
        return
    finally:
        path.unlink()
    env = commands.environment(agreed, host.paths, "r1", host.paths.venv(KEY))
    assert all(isinstance(text, str) and "\0" not in key + text for key, text in env.items())
    for argv in (agreed["manage"], *(hook["command"] for hook in agreed["hooks"])):
        assert len(commands.expand(argv, env)) == len(argv)


@fuzz(st.one_of(texts, values))
def test_a_hostile_name(name: Any) -> None:
    paths = Paths("shop", root="/root-of-tests")
    for make, top in ((paths.release, paths.releases), (paths.upload, paths.incoming), (paths.venv, paths.venvs)):
        try:
            path = make(name)
        except BadRequest:
            continue
        assert os.path.dirname(os.path.normpath(path)) == top  # noqa: PTH120  # as the engine does it
        assert set(name) <= set("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-")
        assert name[0] not in "._-"
    if isinstance(name, str):
        try:
            site = Paths(name).site
        except BadRequest:
            return
        assert set(site) <= set("0123456789abcdefghijklmnopqrstuvwxyz-")


@fuzz(st.dictionaries(st.sampled_from(["A", "HOSTWRIGHT_RELEASE_DIR", "b_2"]), texts, max_size=3))
def test_hostile_variables_of_a_unit(host: Host, values: dict[str, str]) -> None:
    try:
        units.write_instance(host.paths, "shop-web@a", values)
    except UnicodeEncodeError:
        with pytest.raises(UnicodeEncodeError):
            "".join(values.values()).encode()
    else:
        written = Path(host.paths.instances, "shop-web@a.env")
        assert read_environment_file(written.read_bytes().decode()) == values
        written.unlink()


@fuzz(st.dictionaries(st.sampled_from(["A", "LANG", "b_2"]), texts, max_size=3), st.lists(texts, max_size=3))
def test_hostile_variables_and_arguments_of_a_command(host: Host, values: dict[str, str], arguments: list[str]) -> None:
    """They come to a program as they are; what no program can be given is refused."""
    log = str(host.root / "log" / "step.log")
    script = 'printf "%s\\0" "$@"; exec /usr/bin/env -0'
    if not all(map(gate._is_word, [*values.values(), *arguments])):
        with pytest.raises(ValueError, match=r"null byte|surrogates not allowed"):
            commands.run("step", ["/bin/sh", "-c", script, "sh", *arguments], "nobody", "/", values, log, 20)
        return
    commands.run("step", ["/bin/sh", "-c", script, "sh", *arguments, "end"], "nobody", "/", values, log, 20)
    printed = Path(log).read_bytes().decode("utf-8", "surrogateescape").split("\0")[:-1]
    assert printed[: len(arguments) + 1] == [*arguments, "end"]
    assert set(printed[len(arguments) + 1 :]) >= {f"{key}={text}" for key, text in values.items()}


@fuzz(st.one_of(mutations({"plan": [["a", "1"]], "reversible": True, "heads": {"a": ["1"]}}).map(json.dumps), texts))
def test_a_hostile_application_in_place_of_the_probe(text: str) -> None:
    try:
        found = facts.read_answer(Said(facts.MARK + text), WANTED)
    except Failed:
        return
    assert all(len(one) == 2 and isinstance(one[0] + one[1], str) for one in found["plan"])
    assert all(isinstance("".join(names), str) for names in found["heads"].values())


def test_the_good_contract_is_good() -> None:
    assert engine_contract.check(GOOD) == GOOD
    assert changed({"a": [1, 2]}, ("a", 1), 3) == {"a": [1, 3]}
