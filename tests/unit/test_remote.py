"""Connections: what Ansible's variables say of them, and what goes wrong, in words."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fabric
import paramiko
import pytest

from hostwright import remote, terminal
from hostwright.errors import BadInput, Busy, HostwrightError
from tests.unit import ssh


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        ({}, {}),
        (
            {"ansible_ssh_common_args": "-o UserKnownHostsFile=/k -o StrictHostKeyChecking=yes"},
            {"userknownhostsfile": "/k", "stricthostkeychecking": "yes"},
        ),
        ({"ansible_ssh_common_args": "-oProxyJump=bastion"}, {"proxyjump": "bastion"}),
        ({"ansible_ssh_extra_args": "-J ann@bastion:2222 -v"}, {"proxyjump": "ann@bastion:2222"}),
        ({"ansible_ssh_extra_args": "-Jbastion"}, {"proxyjump": "bastion"}),
        (
            {"ansible_ssh_common_args": "-o ProxyCommand=\"ssh -i '/a key' -W %h:%p -q bastion\""},
            {"proxycommand": "ssh -i '/a key' -W %h:%p -q bastion"},
        ),
        ({"ansible_ssh_common_args": "-o 'UserKnownHostsFile=/a b'"}, {"userknownhostsfile": "/a b"}),
        ({"ansible_ssh_common_args": "-o", "ansible_ssh_extra_args": "-J"}, {"proxyjump": ""}),
        ({"ansible_ssh_common_args": "-o Port = 22"}, {}),
        (
            {"ansible_ssh_common_args": "-o A=1", "ansible_ssh_extra_args": "-o A=2 -o B=x=y"},
            {"a": "2", "b": "x=y"},
        ),
    ],
)
def test_ssh_options(variables: dict[str, Any], options: dict[str, str]) -> None:
    assert remote.ssh_options(variables) == options


def test_arguments_that_are_not_quoted_right() -> None:
    with pytest.raises(BadInput) as caught:
        remote.Remote("web1", {"ansible_ssh_common_args": "-o 'x"}, "shop")
    assert caught.value.message == "web1: the ssh arguments \"-o 'x\" can't be read: No closing quotation"


def test_what_a_host_is_by_default() -> None:
    host = remote.Remote("web1", {}, "shop")
    assert (host.address, host.user, host.port) == ("web1", "deploy", 22)
    assert (host.known_hosts, host.jump, host.key) == ("~/.ssh/known_hosts", "", "")


def test_what_the_inventory_says_of_a_host() -> None:
    host = remote.Remote(
        "web1",
        {
            "ansible_host": "10.0.0.1",
            "ansible_port": "2222",
            "ansible_user": "root",
            "hostwright_deploy_user": "ship",
            "ansible_ssh_private_key_file": "/key",
            "ansible_ssh_common_args": "-o UserKnownHostsFile=/k -J bastion",
        },
        "shop",
    )
    assert (host.address, host.user, host.port, host.key) == ("10.0.0.1", "ship", 2222, "/key")
    assert (host.known_hosts, host.jump) == ("/k", "bastion")


@pytest.mark.parametrize("port", ["ssh", "{{ port }}", "", None])
def test_a_port_that_is_no_number(port: Any) -> None:
    with pytest.raises(BadInput) as caught:
        remote.Remote("web1", {"ansible_port": port}, "shop")
    assert caught.value.message == f"web1: ansible_port is no number: {port!r}"


def test_the_one_command_of_the_deploy_user() -> None:
    assert remote.engine_command("shop") == "sudo -n /usr/local/sbin/hostwright-engine shop"


# --- connecting


class Client:
    def __init__(self) -> None:
        self.policy: Any = None
        self.loaded: list[str] = []

    def set_missing_host_key_policy(self, policy: Any) -> None:
        self.policy = policy

    def load_system_host_keys(self, path: str) -> None:
        self.loaded.append(path)


class Connection:
    """Stands in for Fabric's; `error` is what opening it raises."""

    error: BaseException | None = None
    made: list[Connection]
    sock: Any
    channel_timeout = 3600

    def __init__(self, host: str, **options: Any) -> None:
        self.host = host
        self.options = options
        self.client = Client()
        self.transport = self
        self.is_connected = True
        type(self).made.append(self)

    def open(self) -> None:
        if self.error:
            raise self.error

    def set_keepalive(self, seconds: int) -> None:
        self.keepalive = seconds

    def open_session(self, timeout: int) -> Any:
        raise paramiko.SSHException("Channel closed.")


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Connection]]:
    with socket.socket() as link:

        class Fresh(Connection):
            made: ClassVar[list[Connection]] = []
            sock = link

        monkeypatch.setattr(fabric, "Connection", Fresh)
        yield Fresh


KEY = paramiko.RSAKey.generate(1024)


@pytest.mark.parametrize(
    ("error", "kind", "message", "hint"),
    [
        (
            paramiko.BadHostKeyException("10.0.0.1", KEY, KEY),
            BadInput,
            "web1: the host key of 10.0.0.1 is not the known one",
            "If the host was made anew: ssh-keygen -R 10.0.0.1 -f /k, then add its new key.",
        ),
        (
            paramiko.AuthenticationException("x"),
            BadInput,
            "web1: deploy@10.0.0.1:22 does not let us in",
            "hostwright_authorized_keys must list your key; then run: ansible-playbook playbooks/bootstrap.yml",
        ),
        (
            paramiko.SSHException("Server '10.0.0.1' not found in known_hosts"),
            BadInput,
            "web1: the host key of 10.0.0.1 is not known",
            "Compare its fingerprint, then: ssh-keyscan -p 22 10.0.0.1 >> /k",
        ),
        (
            paramiko.SSHException("Error reading banner"),
            remote.Unreachable,
            "Error reading banner",
            "Is it an ssh server?",
        ),
        (TimeoutError("timed out"), remote.Unreachable, "can't be reached: no answer in time", "Is the host up?"),
        (
            paramiko.SSHException("Timeout opening channel."),
            remote.Unreachable,
            "can't be reached: no answer in time",
            "Is the host up?",
        ),
        (
            ConnectionRefusedError(111, "Connection refused"),
            remote.Unreachable,
            "can't be reached: Connection refused",
            "Is the host up?",
        ),
        (
            OSError("no route"),
            remote.Unreachable,
            "can't be reached: no route",
            "Is the host up?",
        ),
    ],
)
def test_a_connection_that_fails(
    connection: type[Connection], error: BaseException, kind: type, message: str, hint: str
) -> None:
    connection.error = error
    host = remote.Remote(
        "web1", {"ansible_host": "10.0.0.1", "ansible_ssh_common_args": "-o UserKnownHostsFile=/k"}, "shop"
    )
    with pytest.raises(HostwrightError) as caught:
        host.connect()
    assert type(caught.value) is kind
    assert caught.value.message.endswith(message)
    assert caught.value.message.startswith("web1: ")
    assert caught.value.hint == hint


def test_host_keys_are_checked_on_every_hop(connection: type[Connection], tmp_path: Path) -> None:
    known, key = tmp_path / "known", tmp_path / "key"
    known.touch()
    key.touch()
    variables = {
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -J bastion",
        "ansible_ssh_private_key_file": str(key),
    }
    remote.Remote("web1", variables, "shop").connect()
    assert [made.host for made in connection.made] == ["bastion", "web1"]
    for made in connection.made:
        assert isinstance(made.client.policy, paramiko.RejectPolicy)
        assert made.client.loaded[0] == str(known)
    assert connection.made[1].options["gateway"] is connection.made[0]
    assert connection.made[1].options["connect_kwargs"]["key_filename"] == str(key)
    assert connection.made[1].options["connect_kwargs"]["look_for_keys"] is False


def test_a_proxy_command_is_the_way_to_a_host(connection: type[Connection]) -> None:
    variables = {
        "ansible_host": "10.0.0.1",
        "ansible_port": 2222,
        "ansible_ssh_common_args": "-o ProxyCommand='ssh -W %h:%p %r@bastion -e %%'",
    }
    remote.Remote("web1", variables, "shop").connect()
    assert connection.made[0].options["gateway"] == "ssh -W 10.0.0.1:2222 deploy@bastion -e %"
    variables["ansible_ssh_common_args"] = "-o ProxyCommand=none"
    remote.Remote("web1", variables, "shop").connect()
    assert connection.made[1].options["gateway"] is False


CHECKED = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=/k"]


@pytest.mark.parametrize(
    ("arguments", "way"),
    [
        ("", []),
        ("-J ann@a:2222,b", ["-J", "ann@a:2222,b"]),
        ("-o ProxyCommand='ssh -W %h:%p %r@a -e %%'", ["-o", "ProxyCommand=ssh -W %h:%p %r@a -e %%"]),
        ("-o ProxyCommand=none", ["-o", "ProxyCommand=none"]),
        ("-J none", ["-o", "ProxyCommand=none"]),
        ("-o ProxyCommand='nc %h %p' -J none", ["-o", "ProxyCommand=nc %h %p"]),
        ("-o ProxyCommand='nc %h %p' -J a", ["-J", "a"]),
    ],
)
def test_the_ssh_client_takes_the_same_way(arguments: str, way: list[str]) -> None:
    variables = {
        "ansible_host": "10.0.0.1",
        "ansible_port": 2222,
        "ansible_ssh_private_key_file": "/key",
        "ansible_ssh_common_args": f"-o UserKnownHostsFile=/k {arguments}",
    }
    argv = ["ssh", "-p", "2222", *CHECKED, "-o", "ConnectTimeout=10", "-i", "/key", *way, "-N", "deploy@10.0.0.1"]
    assert remote.Remote("web1", variables, "shop").ssh_command("-N") == argv


def test_hosts_are_jumped_over_in_order(connection: type[Connection]) -> None:
    remote.Remote("web1", {"ansible_ssh_common_args": "-J ann@a:2222,[::1],ssh://c"}, "shop").connect()
    made = connection.made
    assert [(way.host, way.options["user"], way.options["port"]) for way in made] == [
        ("a", "ann", 2222),
        ("::1", None, None),
        ("c", None, None),
        ("web1", "deploy", 22),
    ]
    assert [way.options["gateway"] for way in made] == [None, *made[:-1]]


@pytest.mark.parametrize("way", ["ProxyJump=none", "ProxyJump=NONE", "ProxyCommand=none"])
def test_none_is_no_way_around(connection: type[Connection], way: str) -> None:
    remote.Remote("web1", {"ansible_ssh_common_args": f"-o {way}"}, "shop").connect()
    (made,) = connection.made
    assert made.options["gateway"] is False


LONG = "x" * 300


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ansible_host": ""}, "ansible_host: '' is no name and no address"),
        ({"ansible_host": "root@127.0.0.1"}, "ansible_host: 'root@127.0.0.1' is no name and no address"),
        ({"ansible_host": "127.0.0.1:22"}, "ansible_host: '127.0.0.1:22' is no name and no address"),
        ({"ansible_host": "a b"}, "ansible_host: 'a b' is no name and no address"),
        ({"ansible_host": "a..b"}, "ansible_host: 'a..b' is no host's name"),
        ({"ansible_host": "x" * 64}, f"ansible_host: '{'x' * 64}' is no host's name"),
        ({"ansible_port": 0}, "ansible_port: there is no port 0"),
        ({"ansible_port": 99999}, "ansible_port: there is no port 99999"),
        ({"ansible_ssh_common_args": "-J root@h:abc"}, "ProxyJump: 'root@h:abc' is no host"),
        ({"ansible_ssh_common_args": "-J a,"}, "ProxyJump: '' is no host"),
        ({"ansible_ssh_common_args": "-J a:99999"}, "ProxyJump: there is no port 99999"),
        ({"ansible_ssh_common_args": "-J a..b"}, "ProxyJump: 'a..b' is no host's name"),
        (
            {"ansible_ssh_common_args": "-o 'ProxyCommand=ssh \"x'"},
            "the ProxyCommand ssh \"x can't be read: No closing",
        ),
        (
            {"ansible_ssh_common_args": "-o ProxyCommand=/no/nc"},
            "there is no program '/no/nc', which ProxyCommand names",
        ),
        ({"ansible_ssh_private_key_file": "~nouser/x"}, "the key ~nouser/x can't be read: Could not determine home"),
        ({"ansible_ssh_private_key_file": LONG}, f"the key {LONG} can't be read: File name too long"),
        ({"ansible_ssh_private_key_file": sys.executable}, f"the key {sys.executable} can't be read: 'utf-8' codec"),
        ({"ansible_ssh_private_key_file": "/"}, "the key / can't be read: Is a directory"),
        ({"ansible_ssh_common_args": "-o UserKnownHostsFile=~nouser/x"}, "the known hosts ~nouser/x can't be read: "),
        ({"ansible_ssh_common_args": "-o UserKnownHostsFile=/"}, "the known hosts / can't be read: Is a directory"),
    ],
)
def test_what_can_not_lead_to_a_host(variables: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        remote.Remote("web1", {"ansible_host": "127.0.0.1", "ansible_port": 1, **variables}, "shop").connect()
    assert caught.value.message.startswith(f"web1: {message}")


def test_an_ssh_config_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("garbage\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(BadInput) as caught:
        remote.Remote("web1", {"ansible_host": "127.0.0.1"}, "shop").connect()
    assert caught.value.message == "web1: the way to 127.0.0.1 can't be read: Unparsable line garbage"


@pytest.mark.parametrize("known", [b"\xff\xfe", b"127.0.0.1 ssh-rsa AAA"])
def test_known_hosts_that_are_no_keys(tmp_path: Path, known: bytes) -> None:
    (tmp_path / "known").write_bytes(known + b"\n")
    variables = {
        "ansible_host": "127.0.0.1",
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={tmp_path}/known",
    }
    with pytest.raises(BadInput) as caught:
        remote.Remote("web1", variables, "shop").connect()
    assert caught.value.message.startswith(f"web1: the known hosts {tmp_path}/known can't be read: ")


def test_a_host_that_is_gone_is_noticed(connection: type[Connection]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as link:
        connection.sock = link
        remote.Remote("web1", {}, "shop").connect()
        assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000


# --- hosts that fall silent


def command(channel: paramiko.Channel) -> None:
    """One that says something for as long as it can."""
    with contextlib.suppress(*remote.BROKEN):
        while True:
            channel.sendall(b"line\n")
            time.sleep(0.1)


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SILENCE", 2)
    monkeypatch.setattr(remote, "QUESTION", 0.1)


def test_a_host_behind_a_jump_host_that_falls_silent_is_noticed(hurry: None) -> None:
    with ssh.served(command) as (transport, server):
        channel = transport.open_session(timeout=10)
        channel.settimeout(20)
        server.mute = True
        remote._question(transport)
        assert channel.recv(1) == b""
        transport.join(10)
        assert not transport.is_alive()


def test_a_host_that_refuses_to_answer_is_alive(hurry: None) -> None:
    with ssh.served(command) as (transport, server):
        remote._question(transport)
        time.sleep(4)
        assert transport.is_active()
        assert server.asked > 10


def test_a_host_that_has_much_to_say_before_it_answers_is_alive(hurry: None) -> None:
    with ssh.served(command) as (transport, server):
        channel = transport.open_session(timeout=10)
        channel.exec_command("x")
        server.mute = True
        remote._question(transport)
        time.sleep(4)
        assert transport.is_active()
        assert server.asked == 1


def test_questions_end_with_the_connection(hurry: None) -> None:
    before = threading.active_count()
    with ssh.served(command) as (transport, _):
        remote._question(transport)
    deadline = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("arguments", "relayed", "questioned"),
    [("", [], []), ("-J a,b", ["b", "web1"], ["b", "web1"]), ("-o ProxyCommand=cat", ["web1"], ["web1"])],
    ids=["direct", "jump hosts", "proxy"],
)
def test_hosts_are_questioned_for_whom_others_acknowledge(
    connection: type[Connection],
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    relayed: list[str],
    questioned: list[str],
) -> None:
    opened, asked = [], []

    def open_it(self: Connection) -> None:
        opened.append(self.host)
        if self.host in relayed:
            self.sock = object()

    monkeypatch.setattr(connection, "open", open_it)
    monkeypatch.setattr(remote, "_question", lambda transport: asked.append(transport.host))
    remote.Remote("web1", {"ansible_ssh_common_args": arguments}, "shop").connect()
    assert asked == questioned
    assert opened == [way.host for way in connection.made]
    assert all(way.channel_timeout == 10 for way in connection.made)


def test_a_key_that_is_not_there(connection: type[Connection]) -> None:
    with pytest.raises(BadInput, match=r"web1: there is no key /no/key"):
        remote.Remote("web1", {"ansible_ssh_private_key_file": "/no/key"}, "shop").connect()
    assert connection.made == []


def test_a_session_that_does_not_open(connection: type[Connection]) -> None:
    host = remote.Remote("web1", {}, "shop")
    with pytest.raises(remote.Unreachable) as caught:
        host.ask({"verb": "status"})
    assert caught.value.message == "web1: the connection broke: Channel closed."


# --- the engine's answers


class Channel:
    """What comes back over one session."""

    def __init__(self, *blocks: bytes, stderr: bytes = b"", status: int = 0) -> None:
        self.blocks = list(blocks)
        self.stderr = [stderr] if stderr else []
        self.status = status
        self.sent = b""
        self.closed = False

    def recv(self, size: int) -> bytes:
        return self.blocks.pop(0) if self.blocks else b""

    def recv_stderr_ready(self) -> bool:
        return bool(self.stderr)

    def recv_stderr(self, size: int) -> bytes:
        return self.stderr.pop(0) if self.stderr else b""

    def exit_status_ready(self) -> bool:
        return True

    def recv_exit_status(self) -> int:
        return self.status

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def shutdown_write(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[[Channel], dict[str, Any]]:
    def run(channel: Channel, verb: str = "anything") -> dict[str, Any]:
        host = remote.Remote("web1", {}, "shop")
        monkeypatch.setattr(host, "channel", lambda command, tty=None: channel)
        return host.ask({"verb": verb})

    return run


def test_an_answer_comes_in_pieces(ask: Any) -> None:
    channel = Channel(b'{"event": ', b'"done"}', b"\n")
    assert ask(channel) == {"event": "done"}
    assert json.loads(channel.sent) == {"verb": "anything", "protocol": remote.PROTOCOL}
    assert channel.sent.endswith(b"\n")
    assert channel.closed


@pytest.mark.parametrize(
    ("channel", "kind", "message"),
    [
        (Channel(status=-1), remote.Unreachable, "web1: the connection was lost"),
        (Channel(), remote.Unreachable, "web1: the connection was lost"),
        (
            Channel(stderr=b"sudo: a password is required\n", status=1),
            BadInput,
            "web1: the host is not set up for shop (sudo: a password is required)",
        ),
        (
            Channel(stderr=b"sh: 1: sudo: not found\n", status=127),
            BadInput,
            "web1: the host is not set up for shop (sh: 1: sudo: not found)",
        ),
        (Channel(stderr=b"Segmentation fault\n", status=139), HostwrightError, "web1: Segmentation fault"),
        (Channel(b"hello\n"), HostwrightError, "web1: the engine said b'hello'"),
        (
            Channel(b"x" * remote.LINE_LIMIT, b"x", b"\n"),
            HostwrightError,
            "web1: the engine says too much in one line",
        ),
    ],
)
def test_no_answer(ask: Any, channel: Channel, kind: type, message: str) -> None:
    with pytest.raises(HostwrightError) as caught:
        ask(channel)
    assert (type(caught.value), caught.value.message) == (kind, message)
    assert channel.closed


@pytest.mark.parametrize(
    ("error", "said"), [(OSError("Socket is closed"), "Socket is closed"), (EOFError(), "EOFError")]
)
def test_a_connection_that_breaks_under_a_request(ask: Any, error: Exception, said: str) -> None:
    class Closed(Channel):
        def sendall(self, data: bytes) -> None:
            raise error

    closed: Any = Closed()
    with pytest.raises(remote.Unreachable) as caught:
        ask(closed)
    assert caught.value.message == f"web1: the connection broke: {said}"
    with pytest.raises(remote.Unreachable) as caught:
        remote.Call(remote.Remote("web1", {}, "shop"), closed).send({"do": "ping"})
    assert caught.value.message == f"web1: the connection broke: {said}"


def test_an_answer_that_can_not_be_right(ask: Any) -> None:
    with pytest.raises(HostwrightError) as caught:
        ask(Channel(b'{"event": "releases", "releases": "canary"}\n'), "releases")
    assert str(caught.value) == (
        f"web1: the engine's answer can't be right: releases.releases: must be a list\n  {remote.PROVISION}"
    )


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        ({"kind": "failed", "message": "no", "hint": "", "step": ""}, HostwrightError, "web1: no"),
        ({"kind": "failed", "message": "no", "hint": "Do", "step": "check"}, HostwrightError, "web1: check: no\n  Do"),
        # The step is not said twice.
        ({"kind": "failed", "message": "check failed", "step": "check"}, HostwrightError, "web1: check failed"),
        ({"kind": "bad_input", "message": "no"}, BadInput, "web1: no"),
        ({"kind": "busy", "message": "ann is deploying"}, Busy, "web1: ann is deploying"),
        ({"kind": "new kind", "message": "no"}, HostwrightError, "web1: no"),
        (
            {"message": "build failed", "step": "build", "tail": ["a", "b"], "log": "/l", "hint": "Do"},
            HostwrightError,
            "web1: build failed\n    a\n    b\n    (the whole output: web1:/l)\n  Do",
        ),
    ],
)
def test_what_the_engine_complains_of(ask: Any, error: dict[str, Any], kind: type, text: str) -> None:
    with pytest.raises(HostwrightError) as caught:
        ask(Channel(json.dumps({"event": "error", **error}).encode() + b"\n"))
    assert (type(caught.value), str(caught.value)) == (kind, text)


# --- uploads


class Files:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.there: dict[str, bytes] = {}

    def sftp(self) -> Files:
        return self

    def putfo(self, source: Any, path: str) -> None:
        if self.error:
            raise self.error
        self.there[path] = source.read()

    def remove(self, path: str) -> None:
        if self.error:
            raise self.error
        del self.there[path]


def connected(files: Files) -> remote.Remote:
    host = remote.Remote("web1", {}, "shop")
    host._connection = files
    return host


def test_an_upload_and_its_withdrawal() -> None:
    files = Files()
    connected(files).upload(io.BytesIO(b"data"), "r1.tar.gz")
    assert files.there == {"/srv/shop/incoming/r1.tar.gz": b"data"}
    connected(files).withdraw("r1.tar.gz")
    assert files.there == {}
    connected(Files(FileNotFoundError())).withdraw("r1.tar.gz")
    remote.Remote("web1", {}, "shop").withdraw("r1.tar.gz")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (FileNotFoundError(2, "No such file"), BadInput, "web1: the host is not set up for shop"),
        (OSError("Failure"), HostwrightError, "web1: the upload failed: Failure"),
        (paramiko.SSHException("lost"), HostwrightError, "web1: the upload failed: lost"),
    ],
)
def test_an_upload_that_fails(error: BaseException, kind: type, message: str) -> None:
    with pytest.raises(HostwrightError) as caught:
        connected(Files(error)).upload(io.BytesIO(b""), "x")
    assert (type(caught.value), caught.value.message) == (kind, message)


# --- a command's output


def test_output_that_can_not_be_written_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel(b"\x1e\n", b"rows")
    host = remote.Remote("web1", {}, "shop")
    monkeypatch.setattr(host, "channel", lambda command, tty=None: channel)
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(HostwrightError) as caught:
        terminal.copy(host, {"verb": "exec"}, None, full)
    assert caught.value.message == "web1: cut off, as the output can't be written: No space left on device"
    assert channel.closed
