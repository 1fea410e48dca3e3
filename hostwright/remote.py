"""Connections to hosts: as the deploy user, with host keys checked, to call the release engine there."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shlex
import shutil
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import fabric
import paramiko

from hostwright.errors import BadInput, Busy, HostwrightError

# It would print what it also raises.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

CONNECT_TIMEOUT = 10
"""Seconds."""

SILENCE = 10
"""Seconds without an acknowledgement after which a connection counts as lost: a host that is gone says no goodbye."""

QUESTION = 3
"""Seconds between questions to a host that only it can answer, where what is acknowledged says nothing of it."""

PROTOCOL = 2
"""What is spoken with the engine; one that speaks another refuses."""


LINE_LIMIT = 1 << 20
"""Bytes of a line that an engine may say."""

BROKEN = (OSError, EOFError, paramiko.SSHException)
"""What paramiko raises where a connection breaks, or has been closed."""

LATE = "no answer in time"


class Unreachable(HostwrightError):
    """A host that can't be talked to, or no longer."""


def ssh_options(variables: Mapping[str, Any]) -> dict[str, str]:
    """The `-o Name=value` options in Ansible's ssh arguments, by lower-case name. Raises BadInput."""
    text = " ".join(str(variables.get(f"ansible_ssh_{kind}_args", "")) for kind in ("common", "extra"))
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInput(
            f'the ssh arguments "{text.strip()}" can\'t be read: {error}',
            "See ansible_ssh_common_args in the inventory.",
        ) from None
    found = {}
    for number, word in enumerate(words):
        pair = (
            words[number + 1] if word == "-o" and number + 1 < len(words) else word[2:] if word.startswith("-o") else ""
        )
        name, separator, value = pair.partition("=")
        if separator:
            found[name.strip().lower()] = value.strip()
        if word.startswith("-J"):
            found["proxyjump"] = word[2:] or (words[number + 1] if number + 1 < len(words) else "")
    return found


JUMP = re.compile(
    r"(ssh://)?((?P<user>[^@\s]+)@)?(\[(?P<ip>[^\]\s]+)\]|(?P<host>[^@:\s\[\]]+))(:(?P<port>[0-9]{1,5}))?"
)
"""A hop of ProxyJump."""


def _hops(jump: str) -> list[dict[str, Any]]:
    """The hosts of a ProxyJump, in order, as fabric.Connection takes them; none at all for `none`. Raises BadInput."""
    hops = []
    for hop in [] if jump.lower() in ("", "none") else jump.split(","):
        read = JUMP.fullmatch(hop.strip())
        if not read:
            raise BadInput(f"ProxyJump: {hop!r} is no host", "[USER@]HOST[:PORT], with commas between several.")
        host = _address(read["ip"] or read["host"], "ProxyJump")
        port = _port(read["port"], "ProxyJump") if read["port"] else None
        hops.append({"host": host, "user": read["user"], "port": port})
    return hops


def _address(text: str, variable: str) -> str:
    """A name or an address. Raises BadInput where it has what belongs to other variables, or no resolver takes it."""
    if not text or re.search(r"[@\s\0]", text) or text.count(":") == 1:
        raise BadInput(f"{variable}: {text!r} is no name and no address", "No user, no port and no expression.")
    try:
        text.encode("idna")
    except UnicodeError:
        raise BadInput(f"{variable}: {text!r} is no host's name", "Between dots are 1 to 63 characters.") from None
    return text


def _port(value: Any, variable: str) -> int:
    if not str(value).isdecimal():
        raise BadInput(f"{variable} is no number: {value!r}")
    if not 1 <= int(value) <= 65535:
        raise BadInput(f"{variable}: there is no port {value}", "Ports are from 1 to 65535.")
    return int(value)


class Remote:
    """One host. `name` is the inventory's; `variables` are its own. Raises BadInput where these can't be right."""

    def __init__(self, name: str, variables: Mapping[str, Any], site: str) -> None:
        self.name = name
        self.site = site
        self.user = str(variables.get("hostwright_deploy_user", "deploy"))
        self.key = str(variables.get("ansible_ssh_private_key_file") or "")
        self._connection: Any = None
        try:
            self.address = _address(str(variables.get("ansible_host", name)), "ansible_host")
            self.port = _port(variables.get("ansible_port", 22), "ansible_port")
            options = ssh_options(variables)
            self.jump = options.get("proxyjump", "")
            self.hops = _hops(self.jump)
            self.direct = "none" in (options.get(way, "").lower() for way in ("proxyjump", "proxycommand"))
            proxy = options.get("proxycommand", "")
            self.proxy = "" if proxy.lower() == "none" else proxy
        except BadInput as error:
            raise BadInput(f"{name}: {error.message}", error.hint) from None
        self.known_hosts = options.get("userknownhostsfile", "~/.ssh/known_hosts")

    def connect(self) -> None:
        """Open the connection; raises Unreachable or BadInput with what to do."""
        where = f"{self.user}@{self.address}:{self.port}"
        settings: dict[str, Any] = {"banner_timeout": CONNECT_TIMEOUT, "auth_timeout": CONNECT_TIMEOUT}
        if self.key:
            settings |= {"key_filename": self._key_file(), "look_for_keys": False}
        # False: none, whatever ~/.ssh/config says.
        gateway: Any = self._proxy_command() or (False if self.direct else None)
        if self.hops:
            gateway = None
        last = {"host": self.address, "user": self.user, "port": self.port, "connect_kwargs": settings}
        ways: list[Any] = []
        for way in (*self.hops, last):
            gateway = self._way(**way, gateway=gateway, connect_timeout=CONNECT_TIMEOUT)
            self._check_keys(gateway)
            ways.append(gateway)
        connection = ways[-1]
        try:
            for way in ways:
                way.open()
                way.transport.channel_timeout = CONNECT_TIMEOUT  # For the way to the next hop; else it has an hour.
                way.transport.set_keepalive(5)
                _notice_silence(way.transport)
        except paramiko.BadHostKeyException:
            raise BadInput(
                f"{self.name}: the host key of {self.address} is not the known one",
                f"If the host was made anew: ssh-keygen -R {self.address} -f {self.known_hosts}, then add its new key.",
            ) from None
        except paramiko.AuthenticationException:
            raise BadInput(
                f"{self.name}: {where} does not let us in",
                "hostwright_authorized_keys must list your key; then run: ansible-playbook playbooks/bootstrap.yml",
            ) from None
        except paramiko.SSHException as error:
            if "not found in known_hosts" in str(error):
                raise BadInput(
                    f"{self.name}: the host key of {self.address} is not known",
                    f"Compare its fingerprint, then: ssh-keyscan -p {self.port} {self.address} >> {self.known_hosts}",
                ) from None
            if "Timeout opening channel" in str(error):
                raise Unreachable(f"{self.name}: {where} can't be reached: {LATE}", "Is the host up?") from None
            raise Unreachable(f"{self.name}: {where} can't be reached: {error}", "Is it an ssh server?") from None
        except OSError as error:
            reason = LATE if isinstance(error, TimeoutError) else error.strerror or error
            raise Unreachable(f"{self.name}: {where} can't be reached: {reason}", "Is the host up?") from None
        except EOFError:
            raise Unreachable(f"{self.name}: {where} hung up", "Is it an ssh server?") from None
        self._connection = connection

    def _way(self, **options: Any) -> Any:
        try:
            return fabric.Connection(**options)
        except Exception as error:  # Whatever Fabric and paramiko make of their files.
            raise BadInput(
                f"{self.name}: the way to {options['host']} can't be read: {_reason(error)}",
                "Is something wrong in ~/.ssh/config, /etc/ssh/ssh_config or Fabric's own configuration?",
            ) from None

    def _key_file(self) -> str:
        """The private key. Raises BadInput where it can't be used."""
        hint = "ansible_ssh_private_key_file names it."
        try:
            path = Path(self.key).expanduser()
            path.read_text(encoding="utf-8")
            return str(path)
        except FileNotFoundError:
            raise BadInput(f"{self.name}: there is no key {self.key}", hint) from None
        except (OSError, ValueError, RuntimeError) as error:
            raise BadInput(f"{self.name}: the key {self.key} can't be read: {_reason(error)}", hint) from None

    def _proxy_command(self) -> str:
        """The ProxyCommand, with the names in it replaced as ssh does it. Raises BadInput where it can't be run."""
        hint = "See ProxyCommand in the inventory's ansible_ssh_common_args; it is run without a shell."
        names = {"%h": self.address, "%p": str(self.port), "%r": self.user, "%%": "%"}
        command = re.sub("%[hpr%]", lambda found: names[found[0]], self.proxy)
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise BadInput(f"{self.name}: the ProxyCommand {command} can't be read: {error}", hint) from None
        if words and not shutil.which(words[0]):
            raise BadInput(f"{self.name}: there is no program {words[0]!r}, which ProxyCommand names", hint)
        return command if words else ""

    def _check_keys(self, connection: Any) -> None:
        client = connection.client
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        for name in (*self.known_hosts.split(), "/etc/ssh/ssh_known_hosts"):
            try:
                path = Path(name).expanduser()
                if path.exists():
                    client.load_system_host_keys(str(path))
            except Exception as error:  # Whatever paramiko makes of a line that holds no key.
                raise BadInput(
                    f"{self.name}: the known hosts {name} can't be read: {_reason(error)}",
                    "UserKnownHostsFile in the inventory's ansible_ssh_common_args names another file.",
                ) from None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ssh_command(self, *options: str) -> list[str]:
        """The command line with which the ssh client takes the same way: host keys are checked, nobody is asked."""
        argv = ["ssh", "-p", str(self.port)]
        for option in (
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={self.known_hosts}",
            f"ConnectTimeout={CONNECT_TIMEOUT}",
        ):
            argv += ["-o", option]
        if self.key:
            argv += ["-i", self.key]
        if self.hops:
            argv += ["-J", self.jump]
        elif self.proxy or self.direct:
            # As the inventory has it: ssh replaces what begins with % itself.
            argv += ["-o", f"ProxyCommand={self.proxy or 'none'}"]
        return [*argv, *options, f"{self.user}@{self.address}"]

    def channel(self, command: str, tty: tuple[str, int, int] | None = None) -> paramiko.Channel:
        """Start `command` on the host; connects where that is not done yet."""
        if self._connection is None or not self._connection.is_connected:
            self.connect()
        try:
            opened: paramiko.Channel = self._connection.transport.open_session(timeout=CONNECT_TIMEOUT)
            if tty:
                opened.get_pty(term=tty[0], width=tty[1], height=tty[2])
            opened.exec_command(command)
        except BROKEN as error:
            raise Unreachable(f"{self.name}: the connection broke: {_reason(error)}") from None
        return opened

    def upload(self, source: IO[bytes], name: str) -> None:
        """Put what `source` holds where the engine looks for uploads."""
        if self._connection is None:
            self.connect()
        try:
            self._connection.sftp().putfo(source, f"/srv/{self.site}/incoming/{name}")
        except FileNotFoundError:
            raise BadInput(f"{self.name}: the host is not set up for {self.site}", PROVISION) from None
        except BROKEN as error:
            raise HostwrightError(f"{self.name}: the upload failed: {error}", "Is its disk full?") from None

    def withdraw(self, name: str) -> None:
        """Take an upload back that no transaction took; where that fails, the engine removes it a day later."""
        if self._connection is not None:
            with contextlib.suppress(*BROKEN):
                self._connection.sftp().remove(f"/srv/{self.site}/incoming/{name}")

    def call(self, request: Mapping[str, Any], tty: tuple[str, int, int] | None = None) -> Call:
        """Send one request to the engine."""
        channel = self.channel(engine_command(self.site), tty)
        try:
            channel.sendall(json.dumps({**request, "protocol": PROTOCOL}).encode() + b"\n")
        except BROKEN as error:
            raise Unreachable(f"{self.name}: the connection broke: {_reason(error)}") from None
        return Call(self, channel)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request that has one event for an answer. Raises HostwrightError where that can't be right."""
        call = self.call(request)
        try:
            event = call.event()
            if event is None:
                raise call.failure()
            return checked(self.name, str(request["verb"]), event)
        finally:
            call.channel.close()


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def _notice_silence(transport: Any) -> None:
    """Have a connection break on which nothing comes back; else the system tries for a quarter of an hour."""
    if isinstance(transport.sock, socket.socket) and hasattr(socket, "TCP_USER_TIMEOUT"):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE * 1000)
    else:
        # It is a jump host or a proxy that acknowledges what the system sends.
        _question(transport)


def _question(transport: Any) -> None:
    """Ask the far end of `transport` for a sign of life again and again, and close it after SILENCE without any.

    Whatever comes is one: behind much data an answer may take long.
    """
    heard = threading.Event()
    read = transport.packetizer.read_message

    def noted() -> Any:
        message = read()
        heard.set()
        return message

    def ask() -> None:
        while transport.is_active():
            with contextlib.suppress(*BROKEN):
                transport.global_request("keepalive@openssh.com")  # Waits for the answer; a refusal is one.
            transport.join(QUESTION)

    def listen() -> None:
        silent = 0  # Counted, not measured: a process that was stopped itself has heard nothing meanwhile.
        while transport.is_active():
            transport.join(1)
            silent = 0 if heard.is_set() else silent + 1
            heard.clear()
            if silent >= SILENCE:
                transport.close()

    transport.packetizer.read_message = noted
    for part in (ask, listen):
        threading.Thread(target=part, daemon=True).start()


PROVISION = "Run: ansible-playbook playbooks/bootstrap.yml playbooks/site.yml"


def engine_command(site: str) -> str:
    """The one command that the deploy user may run as root."""
    return f"sudo -n /usr/local/sbin/hostwright-engine {site}"


class Call:
    """A request under way: events come out, commands may go in."""

    def __init__(self, remote: Remote, channel: paramiko.Channel) -> None:
        self.remote = remote
        self.channel = channel
        self._pending = b""

    def send(self, command: Mapping[str, Any]) -> None:
        try:
            self.channel.sendall(json.dumps(command).encode() + b"\n")
        except BROKEN as error:
            raise Unreachable(f"{self.remote.name}: the connection broke: {_reason(error)}") from None

    def event(self) -> dict[str, Any] | None:
        """The next event, or None where the other side is done. Raises what an error event says."""
        while b"\n" not in self._pending:
            try:
                data = self.channel.recv(65536)
            except (TimeoutError, OSError):
                data = b""
            if not data:
                return None
            self._pending += data
            if len(self._pending) > LINE_LIMIT and b"\n" not in self._pending:
                raise HostwrightError(f"{self.remote.name}: the engine says too much in one line", PROVISION)
        line, self._pending = self._pending.split(b"\n", 1)
        return parse_event(self.remote.name, line)

    def refusal(self, said: bytes) -> HostwrightError:
        """Why a command was not run, by what the engine said instead of its output."""
        for line in said.splitlines():
            # A terminal echoes the request, which is JSON too.
            if line.startswith(b'{"') and b'"event": ' in line:
                try:
                    parse_event(self.remote.name, line)
                except HostwrightError as error:
                    return error
        return self.failure()

    def failure(self) -> HostwrightError:
        """Why the call ended without an answer."""
        said = b""
        while self.channel.recv_stderr_ready():
            said += self.channel.recv_stderr(65536)
        text = printable(said.decode(errors="replace").strip())
        if self.channel.exit_status_ready() and self.channel.recv_exit_status() == -1 and not text:
            return Unreachable(f"{self.remote.name}: the connection was lost")
        if re.search(r"sudo|password|not found|No such file", text):
            return BadInput(f"{self.remote.name}: the host is not set up for {self.remote.site} ({text})", PROVISION)
        if text:
            return HostwrightError(f"{self.remote.name}: {text[-500:]}")
        return Unreachable(f"{self.remote.name}: the connection was lost")


def parse_event(host: str, line: bytes) -> dict[str, Any]:
    """The event in a line that the engine of `host` said, its texts printable. Raises what an error event says."""
    try:
        event = _printable(json.loads(line))
    except (ValueError, RecursionError):
        event = None
    if (
        not isinstance(event, dict)
        or not isinstance(event.get("event"), str)
        or not isinstance(event.get("seq", 0), int)
        or not isinstance(event.get("error", {}), dict)
    ):
        raise HostwrightError(f"{host}: the engine said {line[:200]!r}", PROVISION)
    if event["event"] == "error":
        raise failure(host, event)
    return event


def checked(host: str, name: str, answer: dict[str, Any]) -> dict[str, Any]:
    """What the engine of `host` answered to `name`. Raises HostwrightError where a field of it can't be right."""
    # It loads pydantic, which takes long: a task starts Ansible before.
    from hostwright import answers

    wrong = answers.problem(name, answer)
    if wrong:
        raise HostwrightError(f"{host}: the engine's answer can't be right: {wrong}", PROVISION)
    return answer


def printable(text: str) -> str:
    """`text` without what would move a terminal's cursor, or change the direction of writing."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {printable(key): _printable(item) for key, item in value.items()}
    return value


def failure(host: str, error: Mapping[str, Any]) -> HostwrightError:
    """The exception for an engine's error."""
    message, named = str(error.get("message", "it failed, and did not say why")), str(error.get("step") or "")
    step = f"{named}: " if named and not message.startswith(named) else ""
    tail = error.get("tail")
    lines = [f"{host}: {step}{message}", *(f"    {line}" for line in (tail if isinstance(tail, list) else ()))]
    if error.get("log"):
        lines.append(f"    (the whole output: {host}:{error['log']})")
    kind = {"busy": Busy, "bad_input": BadInput}.get(str(error.get("kind")), HostwrightError)
    return kind("\n".join(lines), str(error.get("hint", "")))
