"""What those who deploy, build or run the application could try in order to be root, or to stop the engine for good."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from hostwright_engine import archive, commands, facts, server, transaction, venvs
from hostwright_engine.errors import BadRequest, Failed
from hostwright_engine.paths import release_name

from tests.unit.engine.conftest import ENGINE
from tests.unit.engine.test_archive import BUILDER, entry, packed
from tests.unit.engine.test_gate import KEY, OP, Host
from tests.unit.engine.test_transaction import Host as Transacting
from tests.unit.engine.test_transaction import request

pytestmark = pytest.mark.usefixtures("as_root")

MIB = 1 << 20


def as_builder(*argv: str) -> int:
    return subprocess.run(argv, user=BUILDER, group=BUILDER, extra_groups=[], stderr=subprocess.DEVNULL).returncode


# --- archives


def test_a_process_of_the_builder_can_not_lead_root_elsewhere(open_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would swap a directory for a link just before root writes a file in it."""
    release, outside = open_path / "release", open_path / "outside"
    outside.mkdir(mode=0o700)
    (open_path / "artifact").write_bytes(packed(entry("d/job", b"* * * * * root evil")))
    write = archive._write

    def raced(tar: Any, member: Any, full: str) -> None:
        as_builder("mv", f"{release}/d", f"{release}/e")
        as_builder("ln", "-s", str(outside), f"{release}/d")
        write(tar, member, full)

    monkeypatch.setattr(archive, "_write", raced)
    archive.unpack(str(open_path / "artifact"), str(release), BUILDER, BUILDER)
    assert list(outside.iterdir()) == []


def hungry(limit: int, data: bytes, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Unpack `data` in a process that gets `limit` bytes of memory beside those that Python takes."""
    (tmp_path / "artifact").write_bytes(data)
    script = f"""
import resource, sys
sys.path.insert(0, {str(ENGINE)!r})
from hostwright_engine import archive, errors
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {limit}, used + {limit}))
try:
    archive.unpack(sys.argv[1] + "/artifact", sys.argv[1] + "/release", {BUILDER}, {BUILDER})
    print("unpacked")
except errors.BadRequest as error:
    print(error.message[:60])
"""
    return subprocess.run(
        [sys.executable, "-I", "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )


def pax(name: str, kind: bytes, **records: str) -> tuple[tarfile.TarInfo, bytes]:
    data = b""
    for key, value in records.items():
        text = f" {key}={value}\n".encode()
        size = len(text) + 1
        while len(str(size)) + len(text) != size:
            size = len(str(size)) + len(text)
        data += str(size).encode() + text
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    return info, data


def raw(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """The entries as they are, whatever their type says of data."""
    blocks = [info.tobuf(tarfile.USTAR_FORMAT) + data + b"\0" * (-len(data) % 512) for info, data in entries]
    return b"".join([*blocks, b"\0" * 1024])


def test_headers_for_all_entries_do_not_add_up(tmp_path: Path) -> None:
    """Each may be as long as allowed, and tarfile keeps what each of them says for every later entry."""
    entries = []
    for number in range(400):
        entries += [pax("g", tarfile.XGLTYPE, **{f"k{number}": "x" * (200 * 1024)}), entry(f"f{number}", b"")]
    done = hungry(48 * MIB, gzip.compress(raw(*entries), 1), tmp_path)
    assert (done.stdout, done.stderr) == ("unpacked\n", "")


def test_a_map_of_holes_does_not_fill_the_memory(tmp_path: Path) -> None:
    """An old GNU sparse file says in blocks of 512 bytes where its holes are, as many as it likes."""
    info = tarfile.TarInfo("sparse")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1  # isextended
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    block = bytearray(512)
    for at in range(0, 504, 24):
        block[at : at + 24] = b"00000000001\0" * 2
    block[504] = 1
    done = hungry(64 * MIB, gzip.compress(bytes(header) + bytes(block) * 200_000, 1), tmp_path)
    assert done.stderr == ""
    assert done.stdout.startswith("the archive can't be read: a header of more than")


@pytest.mark.parametrize("size", ["-1", "-512", "-1024"])
def test_an_entry_that_goes_backwards_is_refused(tmp_path: Path, size: str) -> None:
    header = pax("p", tarfile.XHDTYPE, size=size)
    (tmp_path / "artifact").write_bytes(raw(header, entry("a", b"x" * 512)))
    with pytest.raises(BadRequest, match="the archive"):
        archive.unpack(str(tmp_path / "artifact"), str(tmp_path / "release"), BUILDER, BUILDER)


def test_a_large_file_of_the_release_is_not_held_in_memory(tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text("")
    with (tmp_path / "large").open("w") as large:
        large.truncate(256 * MIB)
    script = f"""
import resource, sys
sys.path.insert(0, {str(ENGINE)!r})
from hostwright_engine import venvs
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {64 * MIB}, used + {64 * MIB}))
print(sorted(venvs._tree(sys.argv[1], ".", float("inf"))))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("['large', 'setup.py']\n", "")


# --- processes of the build user


def owner(process: Path) -> int | None:
    try:
        return process.stat().st_uid
    except FileNotFoundError:
        return None


def test_a_process_that_forks_and_ends_is_ended() -> None:
    """It is not there any more when its turn comes, and its child is."""
    uid = 65000 + os.getpid() % 500
    run_away = "f() { f & }; for _ in 1 2 3 4 5 6 7 8; do f; done"

    def sh(script: str) -> None:
        subprocess.run(["/bin/sh", "-c", script], user=uid, group=uid, extra_groups=[], cwd="/", check=False)

    def there() -> bool:
        return uid in map(owner, Path("/proc").glob("[0-9]*"))

    try:
        sh(run_away)
        assert there()
        commands.kill_user(uid)
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            assert not there()
    finally:
        sh("kill -KILL -1")


def test_whoever_kills_the_killer_is_not_taken_for_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands.subprocess, "call", lambda *_, **__: -signal.SIGKILL)
    monkeypatch.setattr(commands.time, "sleep", lambda _: None)
    with pytest.raises(Failed, match="processes of the build user can't be ended"):
        commands.kill_user(65499)


def test_a_build_starts_without_anybody_of_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Transacting(tmp_path)
    host.transaction.agreed.update(build_user="nobody", python="/usr/bin/python3")
    host.transaction.begin(request("deploy", "r9"))
    order: list[str] = []
    monkeypatch.setattr(transaction.commands, "kill_user", lambda uid: order.append(f"killed {uid}"))
    monkeypatch.setattr(host.transaction, "_make_build_home", lambda: None)
    monkeypatch.setattr(host.transaction, "_unpack", lambda: order.append("unpacked"))
    monkeypatch.setattr(transaction.venvs, "interpreter", lambda python, user: ((3, 11), f"asked as {user}"))
    monkeypatch.setattr(transaction.venvs, "key", lambda *_: order.append("read") or KEY)
    monkeypatch.setattr(transaction.archive, "hand_over", lambda *_: order.append("handed over"))
    assert host.transaction.obey({"do": "prepare"})["platform"] == "asked as nobody"
    assert order == ["killed 65534", "unpacked", "read", "handed over"]


def test_the_interpreter_is_not_run_as_root(open_path: Path) -> None:
    python = open_path / "python3"
    python.write_text('#!/bin/sh\nid -u > /dev/stderr\necho "[[3, $(id -u)], \\"p\\"]"\n')
    python.chmod(0o755)
    assert venvs.interpreter(str(python), "nobody") == ((3, BUILDER), f"p-py3.{BUILDER}")


@pytest.mark.parametrize("printed", ["", "no json", "3", "[[3], 1, 2]", "[" * 5000])
def test_an_interpreter_that_says_something_else(open_path: Path, printed: str) -> None:
    python = open_path / "python3"
    python.write_text(f"#!/bin/sh\necho '{printed}'\n")
    python.chmod(0o755)
    with pytest.raises(Failed, match="does not run"):
        venvs.interpreter(str(python), "nobody")


def test_no_command_runs_as_root(tmp_path: Path) -> None:
    for user in ("root",):
        with pytest.raises(Failed, match="the user root is root: a site needs users of its own"):
            commands.run("step", ["/bin/true"], user, "/", {}, str(tmp_path / "log"), 5)


# --- the gate


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_wheelhouse_that_is_being_built_is_not_sent(host: Host) -> None:
    """Its builder could swap a wheel for a link while root reads it; the deploy user would get /etc/shadow."""
    house = Path(host.paths.wheelhouse(KEY))
    (house / "a-1.whl").write_text("wheel")
    assert host.ask({"verb": "wheelhouse", "key": KEY}, status=2)["message"].endswith("is not on this host")
    os.chown(house, BUILDER, BUILDER)
    (house / venvs.READY).touch()  # The mark of the one that was here when root looked.
    assert host.ask({"verb": "wheelhouse", "key": KEY}, status=2)["message"].endswith("is being made anew")


def test_a_link_in_a_wheelhouse_is_not_followed(host: Host) -> None:
    house = Path(host.paths.wheelhouse(KEY))
    (house / venvs.READY).touch()
    (house / "a-1.whl").symlink_to("/etc/shadow")
    done = host.run("shop", stdin=json.dumps({"verb": "wheelhouse", "key": KEY}).encode() + b"\n")
    assert done.returncode == 1
    assert b"root:" not in done.stdout


@pytest.mark.parametrize("name", ["r1.root", "r1.built"])
def test_no_release_is_called_as_another_while_it_is_given_to_root(name: str) -> None:
    with pytest.raises(BadRequest, match="is no release name"):
        release_name(name)


@pytest.mark.parametrize("text", ["a\x7fb", "a\x9bb", "a\u202eb", "a\u2066b", "a\u2028b", "\ud800"])
def test_a_text_that_would_move_a_cursor_or_turn_the_writing_is_refused(host: Host, text: str) -> None:
    assert host.ask({**OP, "owner": text}, status=2)["message"] == "owner must be a line of text"


def test_half_a_character_is_no_word(host: Host) -> None:
    event = host.ask({"verb": "exec", "argv": ["id", "\ud800"]}, status=2)
    assert event["message"] == "argv must be a list of words"


def test_a_state_of_another_kind_is_said_to_be_damaged(host: Host) -> None:
    for text in ("3", '"ab"', "[1]", "[" * 100_000):
        Path(host.paths.state).write_text(text)
        assert "is damaged" in host.ask({"verb": "releases"}, status=1)["message"]


def test_a_contract_of_endless_depth_is_no_traceback(host: Host, tmp_path: Path) -> None:
    (tmp_path / "contract.json").write_text("[" * 100_000)
    assert host.run("--check-contract", str(tmp_path / "contract.json")).returncode == 1


# --- a transaction


def test_a_directory_in_place_of_the_upload_does_not_stop_the_undoing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Transacting(tmp_path)
    host.transaction.agreed["build_user"] = "nobody"
    host.transaction.begin(request("deploy", "r9"))
    monkeypatch.setattr(transaction.commands, "kill_user", lambda _: None)
    monkeypatch.setattr(transaction.releases, "remove_unfinished", lambda _: None)
    for name in ("kill", "stop"):
        monkeypatch.setattr(transaction.slots, name, lambda *_: None)
    upload = Path(host.paths.upload("r9.tar.gz"))
    (upload / "full").mkdir(parents=True)
    host.transaction.obey({"do": "abort"})
    assert host.on_disk()["transaction"] is None
    assert not upload.exists()


class Said:
    """A probe that has ended, and what it printed."""

    step = log = "check"

    def __init__(self, *lines: str) -> None:
        self.lines = lines

    def output(self) -> str:
        return "\n".join(self.lines)


GOOD = '{"plan": [["a", "0001"]], "reversible": true, "heads": {"a": ["0001"]}}'
WANTED = {"plan": facts.is_migrations, "reversible": facts.is_bool, "heads": facts.is_heads}


@pytest.mark.parametrize(
    "said",
    [
        "",
        "no json",
        "[" * 100_000,
        "3",
        "[]",
        "{}",
        GOOD.replace('["a", "0001"]', '["a"]'),
        GOOD.replace('["a", "0001"]', "7"),
        GOOD.replace('["a", "0001"]', '["a", {}]'),
        GOOD.replace('"reversible": true', '"reversible": 1'),
        GOOD.replace('{"a": ["0001"]}', '{"a": "0001"}'),
        GOOD.replace('{"a": ["0001"]}', '{"a": [3]}'),
        GOOD.replace('{"a": ["0001"]}', "[]"),
    ],
)
def test_what_the_application_says_in_place_of_the_probe_is_no_answer(said: str) -> None:
    with pytest.raises(Failed, match="check ended without an answer"):
        facts.read_answer(Said("noise", facts.MARK + said), WANTED)
    answer = facts.read_answer(Said(facts.MARK + said, facts.MARK + GOOD), WANTED)
    assert answer == json.loads(GOOD)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no json",
        "[" * 100_000,
        "3",
        "[]",
        '["do"]',
        "{}",
        '{"do": 3}',
        '{"do": ["abort"]}',
        '{"do": {}}',
        '{"do": "ping", "n": 1e999}',
        '{"do": "ping", "n": "7"}',
        '{"do": "ping", "n": true}',
        '{"do": "attach", "after": "x"}',
        '{"do": "attach", "after": []}',
    ],
)
def test_a_controllers_line_that_is_no_command_is_passed_over(line: str) -> None:
    assert server._command(line) is None
    assert server._command('{"do": "abort", "n": 2}') == {"do": "abort", "n": 2}
