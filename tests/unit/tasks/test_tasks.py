"""The tasks of `fab`: how errors end a run, and what a rollback goes back to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

from hostwright import config, terminal
from hostwright.errors import BadInput, Busy, HostwrightError
from hostwright.events import Reporter
from hostwright.inventory import Inventory
from hostwright.release import drive, source
from hostwright.tasks import _fleet, _streams, db, maintenance, site
from hostwright.tasks._task import task

ROOT = Path(__file__).resolve().parents[3]


def ended(error: BaseException) -> Exit:
    @task()
    def failing(c: Any) -> None:
        raise error

    with pytest.raises(Exit) as caught:
        failing.body(None)
    return caught.value


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (HostwrightError("web1: no", "Look"), 1, "error: web1: no\n  Look"),
        (HostwrightError("web1: no"), 1, "error: web1: no"),
        (BadInput("site.x: no"), 2, "error: site.x: no"),
        (Busy("ann is deploying"), 75, "error: ann is deploying"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_an_error_is_one_message_and_an_exit_status(error: BaseException, status: int, message: str) -> None:
    found = ended(error)
    assert (found.code, found.message) == (status, message)
    assert found.__suppress_context__


def test_a_defect_is_not_taken_for_an_error_of_the_users() -> None:
    @task()
    def failing(c: Any) -> None:
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError):
        failing.body(None)


def test_common_options_are_described() -> None:
    @task(help={"other": "of its own"})
    def example(c: Any, inventory: str = "", yes: bool = False, other: str = "") -> None:
        local = 1
        assert local

    assert set(example.help) == {"inventory", "yes", "other"}


# --- rollback


COMMIT = "c" * 40


def release(name: str, created: float, **more: Any) -> dict[str, Any]:
    row = {"release": name, "created": created, "current": False, "applied": [], "status": "good", "commit": None}
    return {**row, **more}


LISTED = [
    release("r4", 4, applied=[["a", "4"]]),
    release("r3", 3, current=True, applied=[["a", "3"], ["b", "1"]]),
    release("r2b", 2.5, status="built"),
    release("r2", 2),
    release("r1", 1, applied=[["a", "1"]]),
]
ON_2 = [release("r2", 2.1, current=True), release("r1", 1.1)]
NEW = [release("r2", 5, current=True)]
NEVER = [release("r2", 2.1, current=True), release("r1", 1.1, status="built")]
WITH_COMMITS = [release("r2", 2, current=True), release("r1", 1, commit=COMMIT), release("r0", 0)]


@pytest.mark.parametrize(
    ("listed", "wanted", "target", "applied"),
    [
        ([LISTED], "", "r2", ["a.4", "a.3", "b.1"]),
        ([LISTED], "r1", "r1", ["a.4", "a.3", "b.1"]),
        ([LISTED], "r4", "r4", []),
        # Hosts on two releases come together on the older one, whichever of them comes first.
        ([LISTED, ON_2], "", "r2", ["a.4", "a.3", "b.1"]),
        ([ON_2, LISTED], "", "r2", ["a.4", "a.3", "b.1"]),
        ([ON_2, LISTED], "r2", "r2", ["a.4", "a.3", "b.1"]),
        # Not to one that a host does not have.
        ([WITH_COMMITS, [release("r2", 2, current=True), release("r0", 0)]], "", "r0", []),
        # A migration was applied by one host, whichever that was.
        ([ON_2, [release("r2", 2, current=True, applied=[["a", "2"]]), release("r1", 1)]], "", "r1", ["a.2"]),
        # A host that came later has had the release later.
        ([LISTED, [release("r3", 9, current=True), release("r2", 8)]], "", "r2", ["a.4", "a.3", "b.1"]),
    ],
)
def test_what_a_rollback_goes_back_to(
    listed: list[list[dict[str, Any]]], wanted: str, target: str, applied: list[str]
) -> None:
    hosts = {f"web{number + 1}": rows for number, rows in enumerate(listed)}
    assert site._target(hosts, wanted) == (target, applied)


LACKING = "the release r1 is not on {}, or was never live there"


@pytest.mark.parametrize(
    ("listed", "wanted", "message", "hint"),
    [
        ([[]], "", "nothing is deployed yet", "Use: fab deploy"),
        ([[], [release("r1", 1)]], "r1", "nothing is deployed yet", "Use: fab deploy"),
        (
            [[release("r1", 1, current=True)]],
            "",
            "there is no earlier release to go back to",
            "fab releases lists those that are there.",
        ),
        ([LISTED], "r9", "there is no release r9", "fab releases lists those that are there."),
        ([LISTED], "r3", "the release r3 is the current one already", "fab releases lists the others."),
        ([ON_2, NEVER], "r2", "the release r2 is the current one already", "fab releases lists the others."),
        ([WITH_COMMITS, NEW], "", LACKING.format("web2"), f"Use: fab deploy --ref {COMMIT}"),
        ([NEW, WITH_COMMITS, []], "", LACKING.format("web1, web3"), f"Use: fab deploy --ref {COMMIT}"),
        ([NEW, WITH_COMMITS], "r1", LACKING.format("web1"), f"Use: fab deploy --ref {COMMIT}"),
        ([ON_2, NEW], "", LACKING.format("web2"), "Use: fab deploy"),
        ([ON_2, NEVER], "", LACKING.format("web2"), "Use: fab deploy"),
        (
            [[release("r2", 2, current=True), release("r1", 1, commit="1.0")], NEW],
            "",
            LACKING.format("web2"),
            "Use: fab deploy",
        ),
    ],
)
def test_nothing_to_go_back_to(listed: list[list[dict[str, Any]]], wanted: str, message: str, hint: str) -> None:
    hosts = {f"web{number + 1}": rows for number, rows in enumerate(listed)}
    with pytest.raises(BadInput) as caught:
        site._target(hosts, wanted)
    assert (caught.value.message, caught.value.hint) == (message, hint)


# --- every host at once


class Asked:
    """A host that answers once `answering` is set."""

    def __init__(self, name: str, answering: threading.Event) -> None:
        self.name, self.answering = name, answering

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if not self.answering.wait(10):
            raise HostwrightError(f"{self.name}: no")
        return {"host": self.name, **request}

    def close(self) -> None:
        pass


def test_an_interrupt_does_not_wait_for_hosts_that_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    answering = threading.Event()
    monkeypatch.setattr(_fleet, "remotes", lambda found, hosts: [Asked(host, answering) for host in hosts])
    found: Any = None
    sending = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    sending.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _fleet.ask_all(found, ["web1", "web2"], {"verb": "status"})
    assert time.monotonic() - started < 5
    sending.join()
    answering.set()
    assert _fleet.ask_all(found, ["web1"], {"verb": "status"}) == {"web1": {"host": "web1", "verb": "status"}}


# --- who and where


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")
    _fleet.name_user()
    assert _fleet.owner().partition("@")[0] == str(os.getuid())


def test_a_host_without_variables_takes_part(inventory: Path) -> None:
    hosts = {"children": {"web": {"hosts": {"web1": {}}}, "worker": {"hosts": {"jobs1": {}}}}}
    (inventory / "hosts.yml").write_text(json.dumps({"all": hosts}))
    (inventory / "group_vars" / "all.yml").rename(inventory / "group_vars" / "web.yml")
    variables = json.loads((inventory / "group_vars" / "web.yml").read_text())
    (inventory / "group_vars" / "web.yml").write_text(json.dumps({**variables, "key": "x"}))
    found, hosts_of_it = _fleet.read(str(inventory))
    assert hosts_of_it == ["web1", "jobs1"]
    assert [host.address for host in _fleet.remotes(found, hosts_of_it)] == ["web1", "jobs1"]
    assert _fleet.read(str(inventory), "jobs1")[1] == ["jobs1"]


# --- what a site says


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The answers of two hosts."""
    answers: dict[str, Any] = {}
    found = Inventory(
        config.load({"name": "shop", "source": {"git": "."}}), {"web": ["web1", "web2"]}, {"web1": {}, "web2": {}}
    )
    monkeypatch.setattr(_fleet, "read", lambda inventory, limit: (found, ["web1", "web2"]))
    monkeypatch.setattr(_fleet, "ask_all", lambda found, hosts, request: answers)
    return answers


def test_status_passes_on_what_to_do(fleet: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    fleet["web1"] = BadInput("web1: the host key is not known", "Compare its fingerprint")
    fleet["web2"] = HostwrightError("web2: no")
    with pytest.raises(Exit) as caught:
        site.status.body(None)
    assert (caught.value.code, caught.value.message) == (
        1,
        "error: web1: the host key is not known\n  Compare its fingerprint\nweb2: no",
    )
    assert "no answer" in capsys.readouterr().out


def test_status_takes_no_worker_for_a_slot(fleet: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    units = ["shop-web@a.service", "shop-worker-web@r2.1.service"]
    fleet["web1"] = {
        "current": {"release": "r2", "slot": "a", "since": None},
        "transaction": None,
        "lock": None,
        "units": [{"unit": unit, "state": "active", "since": None} for unit in units],
        "maintenance": False,
    }
    site.status.body(None)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == [
        ["web1", "release", "r2", "a", "live"],
        ["web1", "shop-web", "r2", "a", "active"],
        ["web1", "shop-worker-web", "r2", "active"],
    ]


def test_status_shows_timers_and_the_release_of_each_process(
    fleet: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    units = {
        "shop-beat@r2-r0123abcd.1.service": "active",
        "shop-mail@r1.0.12.service": "active",
        "shop-timer-night.timer": "active",
    }
    fleet["web1"] = {
        "current": {"release": "r2", "slot": None, "since": None},
        "transaction": None,
        "lock": None,
        "units": [{"unit": unit, "state": state, "since": None} for unit, state in units.items()],
        "maintenance": False,
    }
    site.status.body(None)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows[1:] == [
        ["web1", "shop-beat", "r2", "active"],
        ["web1", "shop-mail", "r1.0", "active"],
        ["web1", "shop-timer-night", "r2", "active"],
    ]


@pytest.mark.parametrize(
    ("unit", "state", "problem"),
    [
        ("shop-timer-night.timer", "inactive", "is inactive"),
        ("shop-worker@r2.1.service", "auto-restart", "died, and is about to be started again"),
    ],
)
def test_status_fails_for_a_unit_that_does_not_run(
    fleet: dict[str, Any], capsys: pytest.CaptureFixture[str], unit: str, state: str, problem: str
) -> None:
    fleet["web1"] = {
        "current": {"release": "r2", "slot": "a", "since": None},
        "transaction": None,
        "lock": None,
        "units": [{"unit": unit, "state": state, "since": None}],
        "maintenance": False,
    }
    with pytest.raises(Exit) as caught:
        site.status.body(None)
    assert (caught.value.code, caught.value.message) == (1, f"error: web1: {unit} {problem}")
    service = unit.partition("@")[0].removesuffix(".timer")
    assert capsys.readouterr().out.splitlines()[-1].split() == ["web1", service, "r2", state]


def test_an_interruption_is_an_event(
    fleet: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(drive, "run", interrupted)
    with pytest.raises(Exit) as caught:
        site.restart.body(None, json=True)
    end = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert caught.value.code == 130
    assert (end["event"], end["result"], end["detail"], end["error"]) == ("end", "failed", "interrupted", "interrupted")


def test_a_dry_run_shows_batches(
    fleet: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(source, "build", lambda *_: source.Artifact("r2", b"", "0" * 64, "HEAD", "abc"))
    site.deploy.body(None, dry_run=True, json=True, batch=1)
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert [step["hosts"] for step in steps if step["do"] == "flip"] == [["web1"], ["web2"]]


def test_a_rollback_takes_all_hosts_to_one_release(
    fleet: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    told = []

    def run(hosts: drive.Fleet, site: Any, request: dict[str, Any], *_: Any, **__: Any) -> None:
        told.append(([host.name for host in hosts.hosts], request["kind"], request["release"]))

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(drive, "run", run)
    fleet.update(web1={"releases": ON_2}, web2={"releases": LISTED})
    site.rollback.body(None, yes=True)
    assert told == [(["web1", "web2"], "rollback", "r2")]
    assert capsys.readouterr().err == (
        "note: these migrations stay applied: a.4, a.3, b.1 (--migrations undoes them)\n"
    )
    fleet["web2"] = BadInput("web2: no", "Look")
    with pytest.raises(Exit) as caught:
        site.rollback.body(None, yes=True)
    assert (caught.value.code, caught.value.message, len(told)) == (2, "error: web2: no\n  Look", 1)


# --- logs


SHOP = Inventory(
    config.load(
        {
            "name": "shop",
            "source": {"git": "."},
            "web": {"wsgi": "shop.wsgi"},
            "celery": {"app": "shop"},
            "timers": [{"name": "sweep", "command": ["true"], "calendar": "daily"}],
        }
    ),
    {},
    {},
)


class Journal:
    """A host whose services say something without end, or that can't be reached."""

    def __init__(self, name: str, error: BaseException | None = None) -> None:
        self.name, self.error = name, error

    def channel(self, command: str) -> Journal:
        if self.error:
            raise self.error
        return self

    def recv(self, size: int) -> bytes:
        return b"" if self.error is None and self.name == "web1" else b"line\n"

    def recv_stderr(self, size: int) -> bytes:
        return b""

    def recv_exit_status(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (BadInput("web2: no"), Exit, "error: web2: no"),
        (ValueError("ours"), ValueError, "ours"),
    ],
)
def test_logs_of_a_host_that_fails(
    fleet: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: BaseException, kind: type, message: str
) -> None:
    monkeypatch.setattr(_fleet, "remotes", lambda found, hosts: [Journal("web1"), Journal("web2", error)])
    with pytest.raises(kind) as caught:
        site.logs.body(None)
    assert str(getattr(caught.value, "message", caught.value)) == message


def test_logs_of_a_host_that_has_no_such_unit(fleet: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([b"Failed to add filter for units: No data available\n"])
    journal = Journal("web1")
    monkeypatch.setattr(journal, "recv_stderr", lambda size: next(said, b""))
    monkeypatch.setattr(journal, "recv_exit_status", lambda: 1)
    monkeypatch.setattr(_fleet, "read", lambda inventory, limit: (SHOP, ["web1"]))
    monkeypatch.setattr(_fleet, "remotes", lambda found, hosts: [journal])
    site.logs.body(None, process="worker-default")


@pytest.mark.parametrize(
    ("status", "complaint", "message"),
    [
        (-1, "", "web1: the connection was lost"),
        (1, "No journal files were opened\x1b", "web1: journalctl: No journal files were opened\ufffd"),
        (1, "", "web1: journalctl: it ended with status 1"),
    ],
)
def test_logs_that_end_otherwise_than_they_should(
    fleet: dict[str, Any], monkeypatch: pytest.MonkeyPatch, status: int, complaint: str, message: str
) -> None:
    said = iter([complaint.encode()])
    journal = Journal("web1")
    monkeypatch.setattr(journal, "recv_stderr", lambda size: next(said, b""))
    monkeypatch.setattr(journal, "recv_exit_status", lambda: status)
    monkeypatch.setattr(_fleet, "read", lambda inventory, limit: (SHOP, ["web1"]))
    monkeypatch.setattr(_fleet, "remotes", lambda found, hosts: [journal])
    with pytest.raises(Exit) as caught:
        site.logs.body(None, follow=True)
    assert (caught.value.code, caught.value.message) == (1, f"error: {message}")


@pytest.mark.parametrize(
    ("service", "units"),
    [
        ("web", ["shop-web@*"]),
        ("shop-web", ["shop-web@*"]),
        ("worker-default", ["shop-worker-default@*"]),
        ("timer-sweep", ["shop-timer-sweep.service"]),
        (
            "",
            [
                "shop-web@*",
                "shop-worker-default@*",
                "shop-timer-sweep.service",
                "shop-partitions.service",
                "hostwright-shop-transaction.service",
                "hostwright-shop-boot.service",
            ],
        ),
    ],
)
def test_the_units_of_a_service(service: str, units: list[str]) -> None:
    assert site._units(SHOP.site, service) == units


def test_a_service_that_the_site_does_not_have() -> None:
    with pytest.raises(BadInput) as caught:
        site._units(SHOP.site, "wrker")
    assert (caught.value.message, caught.value.hint) == (
        "--process: the site has no service 'wrker'",
        "It has web, worker-default, timer-sweep.",
    )


# --- one host of several that does not answer


def test_releases_of_the_hosts_that_answer(fleet: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    row = {"release": "r2", "current": True, "previous": False, "created": 1, "ref": "v2", "commit": "", "owner": "me"}
    fleet["web1"] = HostwrightError("web1: no")
    fleet["web2"] = {"releases": [row]}
    for json_lines in (True, False):
        with pytest.raises(Exit) as caught:
            site.releases.body(None, json=json_lines)
        assert (caught.value.code, caught.value.message) == (1, "error: web1: no")
        assert "r2" in capsys.readouterr().out


def test_the_maintenance_page_of_the_hosts_that_answer(
    fleet: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    fleet["web1"] = HostwrightError("web1: no")
    fleet["web2"] = {"maintenance": True}
    with pytest.raises(Exit) as caught:
        maintenance.on.body(None)
    assert (caught.value.code, caught.value.message) == (1, "error: web1: no")
    assert capsys.readouterr().out == "maintenance is on on web2\n"


def test_logs_end_with_their_reader(
    fleet: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_fleet, "remotes", lambda found, hosts: [Journal("web1"), Journal("web2")])
    reader, writer = os.pipe()
    before = os.dup(1)
    try:
        os.dup2(writer, 1)
        os.close(writer)
        os.close(reader)
        site.logs.body(None, follow=True)
    finally:
        os.dup2(before, 1)
        os.close(before)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("ours"), "ours"),
        (RuntimeError(), "RuntimeError"),
        (BadInput("web1: no", "Look"), "web1: no\n  Look"),
    ],
)
def test_whatever_ends_a_deploy_is_an_event(
    fleet: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: BaseException,
    said: str,
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(drive, "run", failing)
    with pytest.raises((Exit, type(error))):
        site.restart.body(None, json=True)
    end = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (end["event"], end["result"], end["error"]) == ("end", "failed", said)


# --- the program


def test_ansible_is_started_before_what_takes_long_to_load() -> None:
    code = "import sys, hostwright.tasks; print({'jinja2', 'psycopg2', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def fab(*argv: str, status: int, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("fab"), *argv],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr if status else done.stdout


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    hosts = {"all": {"hosts": {"web1": {}}, "children": {"web": {"hosts": {"web1": {}}}}}}
    (tmp_path / "hosts.yml").write_text(json.dumps(hosts))
    variables = tmp_path / "group_vars" / "all.yml"
    variables.parent.mkdir()
    variables.write_text(
        json.dumps({"site": {"name": "shop", "source": {"path": str(tmp_path)}, "secrets": {"KEY": "{{ key }}"}}})
    )
    return tmp_path


def test_config_check_shows_what_was_understood_and_no_secret(inventory: Path) -> None:
    (inventory / "group_vars" / "web.yml").write_text('key: "canary"\n')
    shown = json.loads(fab("config.check", "-i", str(inventory), "--json", status=0))
    assert shown["site"]["name"] == "shop"
    assert shown["groups"] == {"web": ["web1"], "worker": [], "beat": [], "db": [], "broker": []}
    assert "canary" not in json.dumps(shown)
    assert set(shown["site"]["secrets"]["KEY"]) == {"*"}


def test_bad_input_ends_with_2(inventory: Path) -> None:
    assert fab("config.check", "-i", "/no/such", status=2) == (
        "error: -i: there is no inventory /no/such\n"
        "  Copy inventory/minimal or inventory/example and fill it in; fab lab.up makes throwaway hosts.\n"
    )
    assert fab("deploy", "-i", str(inventory), status=2).startswith("error: site.secrets.KEY: 'key' is undefined\n")


def test_a_dry_run_for_a_pipeline(inventory: Path) -> None:
    (inventory / "group_vars" / "web.yml").write_text("key: x\n")
    lines = fab("deploy", "-i", str(inventory), "--dry-run", "--json", status=0).splitlines()
    assert len(lines) == 1
    shown = json.loads(lines[0])
    assert (shown["schema"], shown["event"], shown["site"], shown["ref"]) == (1, "plan", "shop", str(inventory))
    assert shown["steps"][0] == {"do": "prepare", "hosts": ["web1"], "state": "uploaded", "detail": ""}
    assert [step["do"] for step in shown["steps"]][-3:] == ["flip", "confirm", "finish"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": {"git": "/no/such"}}, "source.git: there is no directory /no/such\n"),
        ({"env": {"A": "{{ lookup('file', '/no/such') }}"}}, "site.env.A: The 'file' lookup had an issue accessing"),
        ({"web": {"wsgi": "a"}, "celery": {"app": "a"}}, "the group worker has no hosts: site.celery needs one\n"),
        (
            {"timers": [{"name": "night", "command": ["x"], "calendar": "dayly"}]},
            "site.timers.0.calendar: must be a calendar expression of systemd, such as `daily` or `Mon..Fri 03:15`\n",
        ),
    ],
)
def test_config_check_finds_what_a_deploy_would_stumble_on(
    inventory: Path, changes: dict[str, Any], message: str
) -> None:
    variables = inventory / "group_vars" / "all.yml"
    site = {**json.loads(variables.read_text())["site"], "secrets": {}, **changes}
    variables.write_text(json.dumps({"site": site}))
    said = fab("config.check", "-i", str(inventory), status=2)
    assert said.startswith(f"error: {message}")
    assert said.count("error:") == 1


def test_a_limit_that_matches_nothing_ends_with_2(inventory: Path) -> None:
    (inventory / "group_vars" / "web.yml").write_text("key: x\n")
    assert fab("status", "-i", str(inventory), "--limit", "web9", status=2) == (
        "error: --limit: no host or group matches 'web9'\n  Hosts: web1\n"
    )


def test_a_host_that_is_not_there(inventory: Path) -> None:
    (inventory / "group_vars" / "web.yml").write_text("key: x\n")
    assert fab("manage", "check", "-i", str(inventory), "--host", "web9", status=2) == (
        "error: --host: 'web9' is no host that runs the site\n  Hosts: web1\n"
    )


# --- what is asked for and can't be

TASKS = "\n  fab --list shows them; what has spaces needs quotes.\n"
OPTIONS = "\n  fab --help TASK shows the options of a task.\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("deplo", f"there is no task deplo (did you mean deploy?){TASKS}"),
        ("run ls home", f"there is no task home{TASKS}"),
        ("deploy --foo", f"there is no option --foo{OPTIONS}"),
        ("deploy --bach 3", f"there is no option --bach (did you mean --batch?){OPTIONS}"),
        ("deploy --ref", f"--ref: needs a value{OPTIONS}"),
        ("manage", f"fab manage needs 'command'{OPTIONS}"),
        ("deploy --batch x", "--batch: must be a whole number, 1 or more, not 'x'\n"),
        ("deploy --batch 0", "--batch: must be a whole number, 1 or more, not '0'\n"),
        ("deploy --lock-wait -1", "--lock-wait: must be a whole number, 0 or more, not '-1'\n"),
        (f"deploy --batch {'9' * 5000}", f"--batch: must be a whole number, 1 or more, not '{'9' * 5000}'\n"),
        ("logs --lines x", "--lines: must be a whole number, 1 or more, not 'x'\n"),
        ("deploy --dry", f"there is no option -R or --dry (did you mean --dry-run?){OPTIONS}"),
        ("--dry deploy", f"there is no option -R or --dry (did you mean --dry-run?){OPTIONS}"),
        ("deploy -R", f"there is no option -R or --dry (did you mean --dry-run?){OPTIONS}"),
        ("status -R", f"there is no option -R or --dry{OPTIONS}"),
        ("deploy -V", f"there is no option -V or --version{OPTIONS}"),
        ("-H web1 deploy", f"there is no option -H or --hosts (did you mean --limit?){OPTIONS}"),
        ("deploy -H web1,web2", f"there is no option -H or --hosts (did you mean --limit?){OPTIONS}"),
        (
            "-i inventory/b deploy",
            "-i before the task is a key of Fabric's, not the inventory\n  Put it after: fab deploy -i inventory/b\n",
        ),
        ("lab.status -i b", f"there is no option -i or --identity{OPTIONS}"),
        ("deploy --batch --dry-run", f"--batch: needs a value{OPTIONS}"),
        ("deploy --lock-wait", f"--lock-wait: needs a value{OPTIONS}"),
        ("deploy --limit ,", "--limit: ',' names no host\n  Leave it out for all of them.\n"),
        ("deploy --limit=", "--limit: '' names no host\n  Leave it out for all of them.\n"),
        ("deploy --ref=", "--ref: is empty\n  Leave it out for the default.\n"),
        ("deploy --inventory=", "--inventory: is empty\n  Leave it out for the default.\n"),
        ("rollback --release=", "--release: is empty\n  Leave it out for the default.\n"),
        ("run ls -l", "-l or --list is no option of fab run\n  A command of several words needs quotes.\n"),
        ("manage check -d", "-d or --debug is no option of fab manage\n  A command of several words needs quotes.\n"),
        ("run --command=", "command: is empty\n"),
        ("run --help", f"command: --help is an option{OPTIONS}"),
        ("partition.apply --rate 1.5", "--rate: must be a whole number, 0 or more, not '1.5'\n"),
    ],
)
def test_arguments_that_can_not_be(argv: str, message: str) -> None:
    assert fab(*argv.split(), status=2) == f"error: {message}"


def test_a_quote_that_is_not_closed() -> None:
    assert site._words("check --tag 'a b'") == ["check", "--tag", "a b"]
    with pytest.raises(BadInput, match="the command it's can't be read: No closing quotation"):
        site._words("it's")


@pytest.mark.parametrize(
    ("there", "to", "message"),
    [
        ("", "no/such/x.dump", "there is no directory"),
        ("x.dump", "x.dump", "is there already"),
        ("x.dump.part", "x.dump", "another dump is written"),
        ("", "x" * 300, "can't be written: File name too long"),
    ],
)
def test_where_a_dump_can_not_go(tmp_path: Path, there: str, to: str, message: str) -> None:
    if there:
        (tmp_path / there).touch()
    done = subprocess.run(
        [Path(sys.executable).with_name("fab"), "db.dump", "--to", str(tmp_path / to)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


# --- where nobody reads, and where nothing can be written


@pytest.fixture
def nobody(inventory: Path) -> Path:
    """An inventory whose host has no ssh server."""
    (inventory / "group_vars" / "web.yml").write_text("key: x\nansible_host: 127.0.0.1\nansible_port: 1\n")
    return inventory


def shell(command: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_STATE_HOME": str(tmp_path / "state"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception ignored" not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize("output", ["| true", "--json | true", "--json | head -1", "> /dev/full", ">&-", "<&- >&-"])
def test_a_deploy_ends_with_its_own_status_and_message_whoever_reads(nobody: Path, tmp_path: Path, output: str) -> None:
    done = shell(f"fab deploy -i {nobody} {output}", tmp_path)
    assert done.returncode == 1
    assert "error: web1: deploy@127.0.0.1:1 can't be reached" in done.stderr
    (log,) = (tmp_path / "state" / "hostwright" / "shop").iterdir()
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["begin", "end"]


def test_a_reader_that_goes_away_in_the_middle_ends_nothing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as pipe:
        reporter = Reporter(log=tmp_path / "op.jsonl", out=_streams._enduring(pipe))
        reporter.event("state", state="locked")
        assert os.read(reader, 100).endswith(b"== locked\n")
        os.close(reader)
        for state in ("flipped", "confirmed"):
            reporter.event("state", state=state)
        del reporter  # Its stream before the pipe's end.
    assert len((tmp_path / "op.jsonl").read_text().splitlines()) == 3


def test_no_message_gets_among_the_events(nobody: Path, tmp_path: Path) -> None:
    done = shell(f"fab deploy --json -i {nobody} 2>&-", tmp_path)
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["begin", "end"]
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("command", "status"), [("--list | head -1", 0), ("--list >&-", 0), ("--list > /dev/full", 1), ("x 2>&1 | true", 2)]
)
def test_output_that_goes_nowhere(tmp_path: Path, command: str, status: int) -> None:
    done = shell(f"fab {command}", tmp_path)
    assert done.returncode == status
    assert done.stderr.startswith("error: standard output can't be written: No space left" if status == 1 else "")


def test_a_disk_that_is_full_ends_no_deploy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "op.jsonl").symlink_to("/dev/full")
    reporter = Reporter(log=tmp_path / "op.jsonl")
    reporter.event("state", state="locked")
    reporter.event("state", state="flipped")
    said = capsys.readouterr()
    assert said.out.count("==") == 2
    assert said.err == f"note: {tmp_path}/op.jsonl can't be written any more: No space left on device\n"


def test_a_dump_on_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copy(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(db, "_remote", lambda inventory: Journal("db1"))
    monkeypatch.setattr(terminal, "copy", copy)
    with pytest.raises(Exit) as caught:
        db.dump.body(None, to=str(tmp_path / "x"))
    assert (caught.value.code, caught.value.message) == (
        1,
        f"error: {tmp_path}/x.part can't be written: No space left on device\n  --to names another place.",
    )
    assert list(tmp_path.iterdir()) == []
