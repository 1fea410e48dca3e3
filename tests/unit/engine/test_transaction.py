"""The order of a transaction: which command may come when, and what is recorded before anything happens."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hostwright_engine import facts, processes, releases, slots, storage, transaction, units
from hostwright_engine.errors import BadRequest, Failed
from hostwright_engine.paths import Paths

RECORD = {"venv": "0" * 32, "status": "good", "created": 1.0}
MAY_COME = {
    "locked": {"prepare", "abort"},
    "prepared": {"wheels", "build", "abort"},
    "built": {"migrate", "standby", "abort"},
    "migrated": {"standby", "abort"},
    "standby": {"ready", "unmigrate", "flip", "abort"},
    "flipping": {"abort"},
    "flipped": {"ready", "confirm", "abort"},
    "confirmed": {"finish"},
}


class Host:
    def __init__(self, root: Path) -> None:
        self.paths = Paths("shop", root=str(root))
        for directory in (self.paths.var, self.paths.releases, self.paths.sockets):
            Path(directory).mkdir(parents=True)
        self.state = storage.State(self.paths.state)
        self.events: list[dict[str, Any]] = []
        agreed = {"site": "shop", "web": {"health": {}, "timeout": 30}, "releases": {"keep": 5}}
        self.transaction = transaction.Transaction(agreed, self.paths, self.state, self.events.append)

    def deployed(self, *names: str) -> None:
        """`names` are good releases, the last one serves from slot a."""
        for number, name in enumerate(names):
            Path(self.paths.release(name)).mkdir()
            self.state.release(name, **{**RECORD, "created": float(number)})
        self.state.save(current={"release": names[-1], "slot": "a", "since": 1.0})

    def on_disk(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(Path(self.paths.state).read_text())
        return read


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(releases.venvs, "ready", lambda _: True)
    return Host(tmp_path)


@pytest.mark.parametrize("phase", transaction.PHASES)
@pytest.mark.parametrize("word", transaction.WHEN)
def test_each_command_has_its_phases(host: Host, monkeypatch: pytest.MonkeyPatch, phase: str, word: str) -> None:
    host.state.transaction(op="o", kind="deploy", phase=phase)
    monkeypatch.setattr(host.transaction, word, lambda command: {"did": command["do"]})
    if word in MAY_COME[phase]:
        assert host.transaction.obey({"do": word}) == {"did": word}
    else:
        with pytest.raises(BadRequest, match=f"{word} can't come now: the transaction is {phase}"):
            host.transaction.obey({"do": word})


def test_a_host_whose_disk_takes_nothing_more_does_not_answer_the_roll(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.state.transaction(op="o", kind="deploy", phase="flipped")
    assert host.transaction.obey({"do": "ready"}) == {}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage, "write_file", full)
    with pytest.raises(OSError, match="No space left"):
        host.transaction.obey({"do": "ready"})
    assert host.on_disk()["transaction"]["phase"] == "flipped"


def test_phases_are_all_known() -> None:
    assert set(MAY_COME) == set(transaction.PHASES)


@pytest.mark.parametrize("word", [None, "", "run", "obey", "_undo", 7])
def test_other_words_are_refused(host: Host, word: Any) -> None:
    host.state.transaction(phase="locked")
    with pytest.raises(BadRequest, match="is no command of a transaction"):
        host.transaction.obey({"do": word})


def raise_failed(message: str) -> None:
    raise Failed(message)


def request(kind: str, release: str | None = None) -> dict[str, Any]:
    return {"op": "o1", "kind": kind, "release": release, "owner": "ann@desk", "artifact": "r9.tar.gz", "sha256": "x"}


def test_a_deploy_is_on_disk_before_it_does_anything(host: Host) -> None:
    host.deployed("r1")
    host.transaction.begin(request("deploy", "r9"))
    record = host.on_disk()["transaction"]
    assert (record["release"], record["phase"], record["slot"], record["owner"]) == ("r9", "locked", "b", "ann@desk")
    assert record["old"] == {"release": "r1", "slot": "a", "since": 1.0}
    assert Path(host.paths.reserve).stat().st_size == storage.RESERVE_BYTES
    assert not Path(host.paths.release("r9")).exists()


def test_a_release_is_deployed_once(host: Host) -> None:
    host.deployed("r1")
    with pytest.raises(BadRequest, match="r1 is on this host already"):
        host.transaction.begin(request("deploy", "r1"))
    assert host.on_disk()["transaction"] is None


def test_a_release_is_kept_with_the_room_that_going_back_would_have_taken(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.deployed("r1", "r2")
    host.transaction.begin(request("rollback"))
    host.state.transaction(phase="flipped")
    write = storage.write_file
    reserved = []

    def recorded(path: str, data: Any) -> None:
        reserved.append(Path(host.paths.reserve).exists())
        write(path, data)

    monkeypatch.setattr(storage, "write_file", recorded)
    host.transaction.obey({"do": "confirm"})
    assert set(reserved) == {False}
    assert host.on_disk()["current"]["release"] == "r1"
    assert host.on_disk()["previous"] == "r2"


class Probe:
    """Stands for the probe: remembers what was asked of which release, and answers."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch, **facts: Any) -> None:
        self.host, self.facts = host, facts
        self.asked: list[tuple[str, str | None, bool]] = []
        monkeypatch.setattr(host.transaction, "_probe", self)

    def __call__(self, mode: str, request: Any, release: str | None = None, timeout: Any = None) -> Probe:
        self.asked.append((mode, release, bool(self.host.on_disk()["transaction"].get("undoing"))))
        self.step, self.log = mode, "log"
        return self

    def wait(self) -> None:
        pass

    def output(self) -> str:
        return facts.MARK + json.dumps(self.facts)


UNDONE = [["orders", "0002_note"]]


@pytest.fixture
def rolling_back(host: Host) -> Host:
    """A rollback from r3 by two, in its standby."""
    host.transaction.agreed["releases"].update(lock_timeout=5, migrate_timeout=60, drain_timeout=1)
    host.transaction.agreed["build_user"] = "nobody"
    host.deployed("r1", "r2", "r3")
    for name in ("r1", "r2", "r3"):
        host.state.release(name, heads={}, applied=UNDONE, commit="c0ffee")
    host.transaction.begin(request("rollback", "r1"))
    host.state.transaction(phase="standby")
    return host


def test_migrations_are_on_record_as_undone_before_they_are(
    rolling_back: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Probe(rolling_back, monkeypatch, undone=UNDONE)
    assert rolling_back.transaction.obey({"do": "unmigrate"}) == {"undone": UNDONE}
    assert probe.asked == [("unmigrate", "r3", True)]
    rolling_back.state.transaction(phase="flipped")
    rolling_back.transaction.obey({"do": "confirm"})
    applied = {name: record["applied"] for name, record in rolling_back.on_disk()["releases"].items()}
    assert applied == {"r1": UNDONE, "r2": [], "r3": []}


@pytest.mark.parametrize("phase", ["standby", "flipping", "flipped"])
def test_going_back_applies_them_again_before_the_newer_release_serves(
    rolling_back: Host, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    rolling_back.state.transaction(phase=phase, undoing=True)
    done: list[str] = []
    for name in ("point", "point_upstream", "drain", "kill", "stop"):
        monkeypatch.setattr(transaction.slots, name, lambda *_, name=name: done.append(name))
    monkeypatch.setattr(transaction.commands, "kill_user", lambda _: None)
    monkeypatch.setattr(transaction.releases, "remove_unfinished", lambda _: None)
    probe = Probe(rolling_back, monkeypatch)
    monkeypatch.setattr(probe, "wait", lambda: done.append("migrated"))
    rolling_back.transaction.obey({"do": "abort"})
    assert probe.asked == [("migrate", "r3", True)]
    assert done[0] == "migrated"
    assert len(done) > 1
    assert rolling_back.on_disk()["transaction"] is None


def test_a_release_whose_static_files_lead_outside_is_never_built(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    static = {"root": "static", "env": None, "collect": None}
    host.transaction.agreed.update(static=static, links=[], hooks=[], build_user="nobody")
    host.transaction.agreed["releases"].update(build_timeout=5)
    host.transaction.begin(request("deploy", "r9"))
    host.state.transaction(phase="prepared", venv="0" * 32)
    release = Path(host.paths.release("r9"))
    (release / "static").mkdir(parents=True)
    (release / "static" / "x").symlink_to(tmp_path)
    monkeypatch.setattr(transaction.commands, "kill_user", lambda _: None)
    monkeypatch.setattr(transaction.ownership, "give_to_root", lambda *_: None)
    monkeypatch.setattr(host.transaction, "_start", lambda *_: Probe(host, monkeypatch))
    monkeypatch.setattr(Probe, "wait", lambda *_, **__: None)
    with pytest.raises(Failed, match="nginx would show"):
        host.transaction.obey({"do": "build", "check": False})
    assert host.on_disk()["transaction"]["phase"] == "prepared"
    assert host.on_disk()["releases"] == {}
    (release / "static" / "x").unlink()
    host.transaction.obey({"do": "build", "check": False})
    assert host.on_disk()["transaction"]["phase"] == "built"


@pytest.mark.parametrize(
    ("sent", "failure"), [(b"data", None), (b"data", "it can't be unpacked"), (b"other", "its sha256 differs")]
)
def test_what_was_taken_in_does_not_stay_however_it_goes_on(host: Host, sent: bytes, failure: str | None) -> None:
    upload, taken = Path(host.paths.upload("r9.tar.gz")), Path(host.paths.artifact)
    upload.parent.mkdir()
    upload.write_bytes(b"data")

    def take_in() -> None:
        with host.transaction._taken_in("r9.tar.gz", hashlib.sha256(sent).hexdigest()) as path:
            assert (path, taken.read_bytes(), sent) == (str(taken), b"data", b"data")
            if failure:
                raise Failed(failure)

    if failure:
        with pytest.raises((BadRequest, Failed), match=failure):
            take_in()
    else:
        take_in()
    assert [upload.exists(), taken.exists()] == [False, False]


@pytest.mark.parametrize("there", ["nothing", "file", "link", "dangling link", "directory", "no parent"])
def test_a_link_takes_the_place_of_what_the_release_has_there(host: Host, tmp_path: Path, there: str) -> None:
    host.transaction.agreed["links"] = [{"path": "var/media", "target": "/srv/shop/shared/media"}]
    host.state.transaction(release="r9")
    release, outside = Path(host.paths.release("r9")), tmp_path / "outside"
    place = release / "var" / "media"
    (release if there == "no parent" else place.parent).mkdir(parents=True)
    outside.mkdir()
    (outside / "kept").touch()
    if there == "file":
        place.touch()
    elif there == "link":
        place.symlink_to(outside)
    elif there == "dangling link":
        place.symlink_to("nowhere")
    elif there == "directory":
        (place / "deep").mkdir(parents=True)
        (place / "deep" / "link").symlink_to(outside)
    host.transaction._link()
    assert str(place.readlink()) == "/srv/shop/shared/media"
    assert [path.name for path in outside.iterdir()] == ["kept"]


@pytest.mark.parametrize("parent", ["outside", "r9-other"])
def test_a_link_never_leads_root_out_of_the_release(host: Host, tmp_path: Path, parent: str) -> None:
    host.transaction.agreed["links"] = [{"path": "var/media", "target": "/srv/shop/shared/media"}]
    host.state.transaction(release="r9")
    release = Path(host.paths.release("r9"))
    outside = release.with_name(parent)
    for directory in (release, outside / "media"):
        directory.mkdir(parents=True)
    (release / "var").symlink_to(outside)
    with pytest.raises(BadRequest, match=r"the link var/media would lie outside of the release"):
        host.transaction._link()
    assert [path.is_symlink() for path in outside.iterdir()] == [False]


def test_what_a_killed_engine_had_taken_in_is_removed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.transaction.agreed.update(web=None, build_user="nobody")
    host.transaction.begin(request("deploy", "r9"))
    monkeypatch.setattr(transaction.commands, "kill_user", lambda _: None)
    monkeypatch.setattr(transaction.releases, "remove_unfinished", lambda _: None)
    left = [Path(host.paths.artifact), Path(host.paths.upload("r9.tar.gz")), Path(host.paths.release("r9.x"))]
    left[1].parent.mkdir()
    for path in left:
        path.touch()
    host.transaction.obey({"do": "abort"})
    assert [path.exists() for path in left] == [False, False, True]


def test_nothing_is_undone_as_long_as_the_new_slot_runs(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.deployed("r1")
    host.state.transaction(op="o", kind="restart", release="r1", phase="standby", slot="b", old=host.state["current"])
    monkeypatch.setattr(transaction.slots, "kill", lambda *_: None)
    monkeypatch.setattr(transaction.slots, "stop", lambda *_: ["shop-web@b.service"])
    with pytest.raises(Failed, match="slot b did not stop"):
        host.transaction.obey({"do": "abort"})
    assert host.on_disk()["transaction"]["phase"] == "standby"


def test_a_release_that_lacks_its_migrations_is_not_gone_back_to(
    rolling_back: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolling_back.state.transaction(phase="prepared")
    Probe(rolling_back, monkeypatch, plan=UNDONE)
    with pytest.raises(BadRequest, match=r"r1 needs migrations that are not applied: orders\.0002_note") as refused:
        rolling_back.transaction.obey({"do": "build"})
    assert refused.value.hint == "Deploy its commit, which applies them: fab deploy --ref c0ffee"
    Probe(rolling_back, monkeypatch, plan=[])
    assert rolling_back.transaction.obey({"do": "build"})["plan"] == []


@pytest.mark.parametrize(("wanted", "release"), [(None, "r2"), ("r1", "r1")])
def test_a_rollback_goes_to_the_newest_older_release_or_to_a_named_one(
    host: Host, wanted: str | None, release: str
) -> None:
    host.deployed("r1", "r2", "r3")
    host.transaction.begin(request("rollback", wanted))
    assert host.on_disk()["transaction"]["release"] == release


def test_what_can_not_be_gone_back_to(host: Host) -> None:
    with pytest.raises(BadRequest, match="nothing is deployed here yet"):
        host.transaction.begin(request("restart"))
    host.deployed("r1")
    with pytest.raises(BadRequest, match="there is no earlier release"):
        host.transaction.begin(request("rollback"))
    host.state.release("r0", status="built", venv="0" * 32, created=0.5)
    Path(host.paths.release("r0")).mkdir()
    with pytest.raises(BadRequest, match=r"r0 was never live \(built\)"):
        host.transaction.begin(request("rollback", "r0"))
    assert host.on_disk()["transaction"] is None


def test_a_host_of_a_fleet_of_two_releases_may_be_on_the_one_that_is_gone_back_to(host: Host) -> None:
    host.deployed("r1")
    host.transaction.begin(request("rollback", "r1"))
    record = host.on_disk()["transaction"]
    assert (record["release"], record["old"]["release"], record["slot"]) == ("r1", "r1", "b")


def test_a_step_says_how_it_ended(host: Host) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device", "/srv/shop/releases/r1")

    with pytest.raises(Failed, match=r"unpack: .*No space left"):
        host.transaction.step("unpack", full)
    assert [(event["step"], event["status"]) for event in host.events] == [("unpack", "start"), ("unpack", "failed")]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("deploy", ["shop-mail@r1.1", "shop-mail@r1.2"]),
        ("restart", ["shop-mail@r1-r01234567.1", "shop-mail@r1-r01234567.2"]),
        ("rollback", ["shop-mail@r1-r01234567.1", "shop-mail@r1-r01234567.2"]),
    ],
)
def test_processes_are_named_for_their_release_and_anew_where_it_ran_before(kind: str, names: list[str]) -> None:
    record = {"kind": kind, "op": "0123456789", "release": "r1"}
    assert processes.names("shop", {"name": "mail", "count": 2}, record) == names


@pytest.mark.parametrize(("ended", "stopping"), [(True, []), (False, ["shop-mail@r1.1.service"])])
def test_old_workers_are_asked_to_stop_before_the_clean_up_and_looked_at_after_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, ended: bool, stopping: list[str]
) -> None:
    host.transaction.agreed.update(web=None, hooks=[], processes=[], timers=[], user="shop")
    host.deployed("r1", "r2")
    host.state.save(current={"release": "r2", "slot": None, "since": 1.0})
    host.state.transaction(op="0123456789", kind="deploy", release="r2", phase="confirmed", slot=None, old=None)
    Path(host.paths.instances).mkdir()
    environment = Path(host.paths.instances) / "shop-mail@r1.1.env"
    environment.touch()
    done: list[str] = []
    running = iter([["shop-mail@r1.1.service"], [] if ended else ["shop-mail@r1.1.service"]])

    def stop(services: list[str], seconds: float) -> list[str]:
        if not services:
            return []
        assert (services, seconds) == (["shop-mail@r1.1.service"], 0)
        done.append("asked")
        return next(running)

    monkeypatch.setattr(host.transaction, "_unit_env", dict)
    monkeypatch.setattr(units, "stop", stop)
    monkeypatch.setattr(transaction.releases, "clean_up", lambda *_: done.append("cleaned up"))
    answer = host.transaction.obey({"do": "finish"})
    assert done == ["asked", "cleaned up", "asked"]
    assert (answer["stopping"], environment.exists()) == (stopping, not ended)
    assert host.on_disk()["transaction"] is None


BEAT = {"name": "beat", "count": 1, "singleton": True, "stop_timeout": 30, "notify": False}


@pytest.fixture
def with_beat(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A confirmed deploy of r2 on a host where the beat of r1 runs."""
    host.transaction.agreed.update(web=None, hooks=[], processes=[BEAT], timers=[], user="shop")
    host.deployed("r1", "r2")
    host.state.transaction(op="0123456789", kind="deploy", release="r2", phase="confirmed", slot=None, old=None)
    Path(host.paths.instances).mkdir()
    Path(host.paths.instances, "shop-beat@r1.1.env").touch()
    monkeypatch.setattr(host.transaction, "_unit_env", dict)
    monkeypatch.setattr(transaction.releases, "clean_up", lambda *_: ["r0"])
    monkeypatch.setattr(units, "messages", lambda names: ["said by " + " ".join(names)])
    return host


@pytest.mark.parametrize("stops", [True, False])
def test_a_second_beat_is_never_started(with_beat: Host, monkeypatch: pytest.MonkeyPatch, stops: bool) -> None:
    done: list[Any] = []

    def stop(services: list[str], seconds: float) -> list[str]:
        done.append(("stop", services, seconds))
        return [] if stops else services

    monkeypatch.setattr(units, "stop", stop)
    monkeypatch.setattr(units, "start", lambda services, *_: done.append(("start", services)))
    monkeypatch.setattr(units, "states", lambda names: ["active"] * len(names))
    monkeypatch.setattr(processes, "STAYS_UP", 0)
    if stops:
        assert with_beat.transaction.obey({"do": "finish"})["workers"] == ["shop-beat@r2.1"]
    else:
        message = r"shop-beat@r1\.1\.service did not stop, so no second one was started"
        with pytest.raises(Failed, match=message):
            with_beat.transaction.obey({"do": "finish"})
    assert done[0] == ("stop", ["shop-beat@r1.1.service"], 30 + processes.KILLED)
    assert [one for one in done if one[0] == "start"] == ([("start", ["shop-beat@r2.1.service"])] if stops else [])
    assert with_beat.on_disk()["transaction"] is None


def test_a_beat_that_does_not_stop_holds_up_nothing_else(with_beat: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    mail = {"name": "mail", "count": 1, "singleton": False, "stop_timeout": 30, "notify": False}
    with_beat.transaction.agreed.update(processes=[BEAT, mail], timers=["sweep"])
    started: list[str] = []
    monkeypatch.setattr(units, "stop", lambda services, _: services)
    monkeypatch.setattr(units, "start", lambda services, *_: started.extend(services))
    monkeypatch.setattr(units, "states", lambda names: ["active"] * len(names))
    monkeypatch.setattr(processes, "STAYS_UP", 0)
    with pytest.raises(Failed, match="no second one was started"):
        with_beat.transaction.obey({"do": "finish"})
    assert started == ["shop-mail@r2.1.service", "shop-timer-sweep.timer"]
    assert with_beat.on_disk()["processes"] == ["shop-mail@r2.1"]


def test_a_process_that_does_not_stay_up_is_a_failure_of_what_is_finished_all_the_same(
    with_beat: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "stop", lambda *_: [])
    monkeypatch.setattr(units, "start", lambda *_: None)
    monkeypatch.setattr(units, "states", lambda names: ["failed"] * len(names))
    with pytest.raises(Failed, match=r"shop-beat@r2\.1\.service did not stay up") as failed:
        with_beat.transaction.obey({"do": "finish"})
    assert (failed.value.step, failed.value.tail) == ("workers", ["said by shop-beat@r2.1.service"])
    ended = [(event["step"], event["status"]) for event in with_beat.events if event.get("status") != "start"]
    assert ended == [("workers", "failed"), ("clean up", "ok")]
    assert with_beat.on_disk()["transaction"] is None


def test_processes_and_timers_are_told_their_release_and_are_on_record_before_any_starts(
    with_beat: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_beat.transaction.agreed["timers"] = ["sweep"]
    Path(with_beat.paths.instances, "shop-timer-moved.env").touch()
    recorded: list[tuple[list[str], list[str]]] = []
    monkeypatch.setattr(with_beat.transaction, "_unit_env", lambda: {"HOSTWRIGHT_RELEASE": "r2"})
    monkeypatch.setattr(units, "stop", lambda *_: [])
    monkeypatch.setattr(units, "start", lambda names, *_: recorded.append((names, with_beat.on_disk()["processes"])))
    monkeypatch.setattr(units, "states", lambda names: ["active"] * len(names))
    monkeypatch.setattr(processes, "STAYS_UP", 0)
    with_beat.transaction.obey({"do": "finish"})
    on_record = ["shop-beat@r2.1"]
    assert recorded == [(["shop-beat@r2.1.service"], on_record), (["shop-timer-sweep.timer"], on_record)]
    assert {path.stem: path.read_text() for path in Path(with_beat.paths.instances).iterdir()} == {
        "shop-beat@r2.1": 'HOSTWRIGHT_INSTANCE="r2.1"\nHOSTWRIGHT_RELEASE="r2"\n',
        "shop-timer-sweep": 'HOSTWRIGHT_INSTANCE="sweep"\nHOSTWRIGHT_RELEASE="r2"\n',
    }


@pytest.fixture
def finishing(host: Host, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A confirmed release whose finish notes the order of its steps."""
    hook = {"name": "purge", "stage": "after_deploy"}
    host.transaction.agreed.update(hooks=[hook], user="shop")
    host.deployed("r1", "r2")
    old = {"release": "r1", "slot": "b"}
    host.state.transaction(op="o", kind="deploy", release="r2", phase="confirmed", slot="a", old=old)
    done: list[str] = []
    for name in ("_drain", "_start_processes", "_retire", "_clean_up", "_hook"):
        monkeypatch.setattr(host.transaction, name, lambda *_, name=name: done.append(name) or [])
    monkeypatch.setattr(processes, "stop", lambda *_: done.append("stop") or [])
    return done


@pytest.mark.parametrize(
    ("undoing", "order"), [(False, ["_drain", "_start_processes"]), (True, ["_start_processes", "stop"])]
)
def test_workers_wait_for_old_requests_unless_they_lack_their_migrations(
    host: Host, finishing: list[str], undoing: bool, order: list[str]
) -> None:
    host.state.transaction(undoing=undoing)
    host.transaction.obey({"do": "finish"})
    assert finishing[:2] == order
    assert "_drain" in finishing


def test_all_that_is_wrong_in_the_end_is_said_and_what_was_left_out(
    host: Host, finishing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, message in (("_start_processes", "beat did not start"), ("_retire", "slot b did not stop")):
        monkeypatch.setattr(host.transaction, name, lambda *_, message=message: raise_failed(message))
    with pytest.raises(Failed) as caught:
        host.transaction.obey({"do": "finish"})
    assert caught.value.message == "beat did not start; slot b did not stop"
    assert "_hook" not in finishing
    left_out = [event for event in host.events if event["step"] == "hook-purge"]
    assert [(event["status"], event["detail"]) for event in left_out] == [("skipped", "beat did not start")]
    assert host.on_disk()["transaction"] is None


@pytest.mark.parametrize(("took", "left"), [(0.0, 30.0), (10.0, 20.0), (29.5, 5.0)])
def test_the_start_of_the_standby_counts_for_its_deadline(
    host: Host, monkeypatch: pytest.MonkeyPatch, took: float, left: float
) -> None:
    host.transaction.agreed.update(web={"health": {"deadline": 30.0, "timeout": 5.0, "status": [200]}})
    host.state.transaction(kind="deploy", release="r1", phase="built", slot="b")
    monkeypatch.setattr(host.transaction, "_unit_env", lambda: {"release": "r1"})
    now = 100.0
    monkeypatch.setattr(transaction.time, "monotonic", lambda: now)
    told: list[Any] = []

    def start(paths: Any, slot: str, values: Any, timeout: float) -> None:
        nonlocal now
        told.append((slot, values, timeout))
        now += took

    monkeypatch.setattr(transaction.slots, "start", start)
    monkeypatch.setattr(
        transaction.slots,
        "await_health",
        lambda _, slot, health, release: told.append((slot, health["deadline"], release)),
    )
    host.transaction.obey({"do": "standby"})
    assert told == [("b", {"release": "r1", "HOSTWRIGHT_SLOT": "b"}, 30.0), ("b", left, "r1")]


def test_an_older_release_has_to_be_healthy_only_once_migrations_are_undone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.transaction.agreed.update(web={"health": {"deadline": 30.0, "timeout": 5.0, "status": [200]}})
    host.state.transaction(kind="rollback", release="r1", phase="built", slot="b")
    monkeypatch.setattr(host.transaction, "_unit_env", lambda: {"release": "r1"})
    monkeypatch.setattr(transaction.slots, "start", lambda *_: None)
    asked: list[list[int]] = []
    monkeypatch.setattr(
        transaction.slots, "await_health", lambda _, slot, health, release: asked.append(health["status"])
    )
    host.transaction.obey({"do": "standby", "any_status": True})
    host.transaction.obey({"do": "ready"})
    assert asked == [[]]
    host.transaction.obey({"do": "ready", "health": True})
    assert asked == [[], [200]]
    host.state.transaction(slot=None)
    host.transaction.obey({"do": "ready", "health": True})
    assert asked == [[], [200]]


@pytest.mark.parametrize(("web", "seconds"), [({"timeout": 30}, 90), (None, 60)])
def test_an_old_slot_has_the_time_of_its_requests_and_a_minute(
    host: Host, monkeypatch: pytest.MonkeyPatch, web: dict[str, int] | None, seconds: int
) -> None:
    host.transaction.agreed["web"] = web
    told: list[tuple[str, int]] = []
    monkeypatch.setattr(transaction.slots, "stop", lambda _, *what: told.append(what))
    host.transaction._retire("a")
    assert told == [("a", seconds)]


def test_where_the_state_is_lost_the_live_slot_is_left_alone(host: Host) -> None:
    slots.point_upstream(host.paths, "a")
    host.transaction.begin(request("deploy", "r9"))
    record = host.on_disk()["transaction"]
    assert (record["old"], record["live"], record["slot"]) == (None, "a", "b")


@pytest.mark.parametrize("phase", ["flipping", "flipped"])
def test_where_the_state_was_lost_going_back_is_to_the_slot_that_served(
    host: Host, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    slots.point_upstream(host.paths, "a")
    host.transaction.agreed.update(build_user="nobody")
    host.transaction.agreed["releases"].update(drain_timeout=1)
    host.transaction.begin(request("deploy", "r9"))
    slots.point_upstream(host.paths, "b")
    host.state.transaction(phase=phase)
    for name in ("drain", "stop"):
        monkeypatch.setattr(transaction.slots, name, lambda *_: None)
    monkeypatch.setattr(transaction.commands, "kill_user", lambda _: None)
    monkeypatch.setattr(transaction.releases, "remove_unfinished", lambda _: None)
    host.transaction.obey({"do": "abort"})
    assert slots.live(host.paths) == "a"


@pytest.mark.parametrize("fails", [False, True])
def test_a_dump_is_there_whole_or_not_at_all(host: Host, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    host.deployed("r9")
    host.transaction.agreed["releases"].update(migrate_timeout=5)
    host.state.transaction(release="r9")
    dumps = Path(host.paths.dumps)
    dumps.mkdir()
    for age, name in enumerate(("failed3", "failed2", "failed1")):
        (dumps / f"{name}.dump").touch()
        os.utime(dumps / f"{name}.dump", (1000 - age, 1000 - age))

    def probe(*_: object, stdout: Any, **__: object) -> Any:
        stdout.write(b"half")
        stdout.flush()
        return SimpleNamespace(wait=lambda: fails and raise_failed("no space left"))

    monkeypatch.setattr(host.transaction, "_probe", probe)
    with pytest.raises(Failed) if fails else nullcontext():
        host.transaction._dump()
    assert {path.name for path in dumps.iterdir()} == {"failed1.dump"} | (set() if fails else {"r9.dump"})
