"""What is said where the database of a site can't be reached through its host."""

from __future__ import annotations

import pytest

from hostwright.errors import BadInput, HostwrightError
from hostwright.partition import connection
from hostwright.remote import PROVISION, Remote

REMOTE = Remote("db1", {}, "shop")


def refusal(monkeypatch: pytest.MonkeyPatch, ssh: str, host: HostwrightError | None = None) -> HostwrightError:
    """What comes of an ssh client that does what the shell script `ssh` says, and of a host that answers `host`."""

    def connect() -> None:
        if host:
            raise host

    monkeypatch.setattr(REMOTE, "connect", connect)
    monkeypatch.setattr(REMOTE, "ssh_command", lambda *options: ["sh", "-c", ssh, "ssh", *options])
    with pytest.raises(HostwrightError) as caught, connection.through(REMOTE, "shop", "shop"):
        pass
    return caught.value


def test_a_host_that_lets_nobody_in_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = BadInput("db1: deploy@db1:22 does not let us in", "Run bootstrap")
    assert refusal(monkeypatch, "echo Permission denied >&2; exit 255", denied) is denied


def test_a_tunnel_that_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(monkeypatch, "echo forwarding refused >&2; exit 255")
    assert (type(error), str(error)) == (HostwrightError, "db1: no tunnel to the database: forwarding refused")


def test_no_ssh_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REMOTE, "ssh_command", lambda *options: ["/no/such/ssh"])
    with pytest.raises(BadInput, match=r"^ssh is not installed\n"), connection.through(REMOTE, "shop", "shop"):
        pass


def test_a_dsn_that_is_no_text() -> None:
    with pytest.raises(BadInput, match=r"^the database can't be reached: "), connection.direct("host=\udcff"):
        pass


def test_a_host_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(monkeypatch, 'touch "${5%%:*}"; exec sleep 9')
    assert type(error) is BadInput
    assert error.message.startswith("db1: the database can't be reached: ")
    assert "\n" not in error.message
    assert error.hint == PROVISION
