"""Driving a fleet: nobody goes live before all can, and what fails is undone everywhere."""

from __future__ import annotations

import io
import itertools
import json
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

import pytest

from hostwright import config, interrupts
from hostwright.errors import Busy, HostwrightError
from hostwright.events import Reporter
from hostwright.release import drive
from hostwright.release.source import Artifact
from hostwright.remote import PROVISION, Unreachable

ARTIFACT = Artifact("r2", b"data", "0" * 64, "HEAD", "abc")
DEPLOY = {"kind": "deploy", "release": "r2", "owner": "ann", "artifact": "r2.tar.gz"}
STEPS = ["prepare", "build", "standby", "ready", "flip", "ready", "confirm", "finish"]
BUSY = {"kind": "busy", "message": "bob is deploying r9 since noon", "hint": "Wait"}


class Channel:
    """Raw bytes of the one verb that has them."""

    def __init__(self, data: bytes = b"", status: int = 0) -> None:
        self.data = io.BytesIO(data)
        self.status = status

    def recv(self, size: int) -> bytes:
        return self.data.read(size)

    def recv_exit_status(self) -> int:
        return self.status

    def close(self) -> None:
        pass


class Engine:
    """A host's engine that speaks the protocol and notes what it is told: stands in for the host and its connection."""

    def __init__(self, name: str, told: list[tuple[str, str]], **behaviour: Any) -> None:
        self.name = name
        self.told = told
        self.behaviour = behaviour
        self.uploads: dict[str, bytes] = {}
        self.ops: list[str] = []
        self.connects = 0
        self.seq = 0
        self.journal: list[dict[str, Any]] = []
        self.cuts = list(behaviour.get("cuts", []))
        self.swallows = list(behaviour.get("swallows", []))
        self.commands: dict[str, Mapping[str, Any]] = {}
        self.checked: list[bool] = []
        self.got = 0
        self.one_event = threading.Lock()

    # --- what drive knows of a Remote

    def connect(self) -> None:
        self.connects += 1
        if self.behaviour.get("down"):
            raise Unreachable(f"{self.name}: no answer in time")

    def close(self) -> None:
        pass

    def upload(self, source: IO[bytes], name: str) -> None:
        if self.behaviour.get("full"):
            raise HostwrightError(f"{self.name}: the upload failed")
        self.uploads[name] = source.read()

    def withdraw(self, name: str) -> None:
        self.uploads.pop(name, None)

    def call(self, request: Mapping[str, Any]) -> Any:
        verb = request["verb"]
        self.told.append((self.name, verb))
        if verb == "wheelhouse":
            call = Call(self)
            call.channel = Channel(b"wheels of " + request["key"].encode(), self.behaviour.get("fetch_status", 0))
            return call
        call = Call(self)
        if verb == "attach":
            with self.one_event:
                self.current = call
                call.events.put({"event": "attached", "got": self.behaviour.get("got", self.got)})
                for event in self.journal[request["after"] :]:
                    call.events.put(event)
            return call
        self.current = call
        refusals = self.behaviour.get("refuse_begin", [])
        if refusals:
            self.say({"event": "end", "result": "refused", "error": refusals.pop(0)})
        else:
            assert request["op"] not in self.ops, "an engine tells how that one ended"
            self.ops.append(request["op"])
            serves = self.behaviour.get("serves", "r1")
            self.say({"event": "begun", "release": "r2", "kind": request["kind"], "serves": serves})
        return call

    # --- the other side

    def say(self, event: dict[str, Any]) -> None:
        with self.one_event:
            self.seq += 1
            stored = {**event, "seq": self.seq, "host": self.name}
            self.journal.append(stored)
            self.current.events.put(stored)

    def cut(self) -> None:
        self.current.events.put(None)

    def obey(self, call: Call, command: Mapping[str, Any]) -> None:
        word = command["do"]
        if word == "ping":
            return
        if self.swallows and self.swallows[0] == word:
            self.swallows.pop(0)
            call.events.put(None)
            return
        self.current = call
        self.got = command["n"]
        last = self.words()[-1]
        self.told.append((self.name, word))
        self.commands[word] = command
        if word == "ready":
            self.checked.append(command.get("health", False))
        wait = self.behaviour.get("hold", {}).get(word)
        if wait:
            threading.Thread(target=self.end_later, args=(word, wait), daemon=True).start()
            return
        if (word == "ready" and last == self.behaviour.get("lost_after")) or word == self.behaviour.get("lost_at"):
            self.lose(call)
            return
        if word == "abort":
            self.uploads.clear()
            for held in self.behaviour.get("hold", {}).values():
                held.set()
        self.end(word)

    def words(self) -> list[str]:
        return [word for name, word in self.told if name == self.name]

    def lose(self, call: Call) -> None:
        """The connection is gone, and for good, or because the engine was killed, or for a moment."""
        call.events.put(None)
        self.behaviour["down"] = self.behaviour["then"] == "gone"
        if self.behaviour["then"] == "killed":
            self.say({"event": "recovering", "do": "abort"})
            self.end("abort")
        elif self.behaviour["then"] == "back":
            self.end("ready")

    def end_later(self, word: str, wait: threading.Event) -> None:
        assert wait.wait(10)
        self.end(word)

    def end(self, word: str) -> None:
        self.say({"event": "step", "step": word, "status": "ok", "seconds": 0.1})
        if word in self.behaviour.get("fail", ()):
            error = {"kind": "failed", "step": word, "message": f"{word} failed", "hint": "Look"}
            self.say({"event": "done", "do": word, "ok": False, "error": error})
            return
        if word == self.behaviour.get("end_early"):
            self.say({"event": "end", "result": "failed"})
            return
        facts: dict[str, Any] = {
            "prepare": {
                "release": self.behaviour.get("release", "r2"),
                "venv": self.behaviour.get("venv", "k1"),
                "venv_ready": self.behaviour.get("venv_ready", True),
            },
            "build": {
                "plan": self.behaviour.get("plan", []),
                "reversible": True,
                "heads": {"orders": [self.name]} if self.commands.get("build", {}).get("check") else None,
            },
            "migrate": {"applied": self.behaviour.get("plan", [])},
            "unmigrate": {"undone": [["orders", "0002"]]},
            "finish": {"stopping": self.behaviour.get("stopping", [])},
        }.get(word, {})
        done = {"event": "done", "do": word, "n": self.commands.get(word, {}).get("n"), "ok": True, **facts}
        done |= self.behaviour.get("wrong", {}).get(word, {})
        for key in self.behaviour.get("omit", {}).get(word, ()):
            del done[key]
        if self.cuts and self.cuts[0] == word:
            self.cuts.pop(0)
            self.cut()
        self.say(done)
        if word in ("finish", "abort"):
            self.say({"event": "end", "result": "done" if word == "finish" else "aborted"})


class Call:
    """One connection to an Engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.channel = Channel()

    def send(self, command: Mapping[str, Any]) -> None:
        self.engine.obey(self, command)

    def event(self) -> dict[str, Any] | None:
        return self.events.get(timeout=10)

    def failure(self) -> HostwrightError:
        return Unreachable(f"{self.engine.name}: the connection was lost")

    def refusal(self, said: bytes) -> HostwrightError:
        return HostwrightError(f"{self.engine.name}: the wheelhouse is not here")


class World:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.engines: dict[str, Engine] = {}
        self.out = io.StringIO()

    def fleet(self, **hosts: dict[str, Any]) -> drive.Fleet:
        self.engines = {name: Engine(name, self.told, **behaviour) for name, behaviour in hosts.items()}
        remotes: Any = list(self.engines.values())
        return drive.Fleet(remotes, "op1", Reporter(True, out=self.out))

    def words(self, host: str) -> list[str]:
        return [word for name, word in self.told if name == host]

    def states(self) -> list[str]:
        return [e["state"] for e in map(json.loads, self.out.getvalue().splitlines()) if e["event"] == "state"]

    def notes(self) -> list[str]:
        return [e["detail"] for e in map(json.loads, self.out.getvalue().splitlines()) if e["event"] == "note"]

    def barrier(self, earlier: str, later: str) -> None:
        """No host was told `later` before all had been told `earlier`."""
        words = [word for _, word in self.told]
        assert max(n for n, w in enumerate(words) if w == earlier) < min(n for n, w in enumerate(words) if w == later)


@pytest.fixture
def world() -> World:
    return World()


def site(**changes: Any) -> config.Site:
    return config.load({"name": "shop", "source": {"git": "."}, **changes})


def deploy(fleet: drive.Fleet, **options: Any) -> None:
    drive.run(fleet, options.pop("site", site()), options.pop("request", DEPLOY), ARTIFACT, **options)


def refusal(run: Callable[[], None]) -> HostwrightError:
    with pytest.raises(HostwrightError) as caught:
        run()
    return caught.value


# --- when all goes well


def test_every_host_does_each_step_and_nobody_flips_before_all_are_healthy(world: World) -> None:
    deploy(world.fleet(web1={}, web2={}, web3={}))
    for host in ("web1", "web2", "web3"):
        assert world.words(host) == ["begin", *STEPS]
        assert world.engines[host].uploads == {"r2.tar.gz": b"data"}
    once = ["begin", *(step for step in STEPS if step != "ready")]
    for earlier, later in itertools.pairwise(once):
        world.barrier(earlier, later)
    assert world.states() == [
        "locked",
        "uploaded",
        "checked",
        "standby healthy",
        "flipped",
        "confirmed",
        "workers replaced",
    ]


def test_a_slow_host_is_waited_for_before_the_flip(world: World) -> None:
    slow = threading.Event()
    fleet = world.fleet(web1={}, web2={"hold": {"standby": slow}})
    running = threading.Thread(target=deploy, args=(fleet,))
    running.start()
    deadline = time.monotonic() + 5
    while ("web1", "standby") not in world.told:
        assert time.monotonic() < deadline
    time.sleep(0.1)
    assert "flip" not in [word for _, word in world.told]
    slow.set()
    running.join(10)
    assert world.words("web1")[-4:] == ["flip", "ready", "confirm", "finish"]


@pytest.mark.parametrize("step", ["prepare", "build", "standby"])
def test_a_host_that_fails_ends_what_the_others_are_at(world: World, step: str) -> None:
    # Only an abort ends web2's step.
    fleet = world.fleet(web1={"fail": [step]}, web2={"hold": {step: threading.Event()}})
    error = refusal(lambda: deploy(fleet))
    assert error.message == f"web1: {step} failed"
    assert world.words("web2")[-2:] == [step, "abort"]


@pytest.mark.parametrize(("step", "never"), [("standby", "flip"), ("flip", "confirm")])
@pytest.mark.parametrize(
    ("then", "message"),
    [
        ("gone", "web2: no answer in time"),
        ("killed", "web2: the engine did abort by itself: it was killed, or not told to go on in time"),
    ],
)
def test_nobody_goes_on_where_a_host_that_was_ready_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, never: str, then: str, message: str
) -> None:
    monkeypatch.setattr(drive, "RECONNECT", 0.2)
    error = refusal(lambda: deploy(world.fleet(web1={}, web2={"lost_after": step, "then": then}, web3={})))
    assert error.message == message
    assert world.engines["web2"].connects <= 3  # It is not waited for once more, to be told to undo.
    assert never not in [word for _, word in world.told]
    for host in ("web1", "web3"):
        assert world.words(host)[-1] == "abort"


@pytest.mark.parametrize("step", ["standby", "flip"])
def test_a_host_that_comes_back_in_time_goes_on_with_the_others(world: World, step: str) -> None:
    deploy(world.fleet(web1={}, web2={"lost_after": step, "then": "back"}))
    assert world.words("web1") == ["begin", *STEPS]
    assert [word for word in world.words("web2") if word != "attach"] == ["begin", *STEPS]
    assert world.words("web2").count("attach") == 1


def test_the_first_host_locks_before_the_others(world: World) -> None:
    deploy(world.fleet(web1={}, web2={}, web3={}))
    assert world.told[0] == ("web1", "begin")


def test_migrations_run_once_after_all_have_checked(world: World) -> None:
    plan = [["orders", "0002"]]
    deploy(world.fleet(web1={"plan": plan}, web2={"plan": plan}))
    assert [host for host, word in world.told if word == "migrate"] == ["web1"]
    world.barrier("build", "migrate")
    world.barrier("migrate", "standby")
    assert '"detail": "migrations: orders.0002"' in world.out.getvalue()
    assert world.out.getvalue().count("orders.0002") == 1


def test_checks_run_once_for_each_kind_of_virtualenv_and_where_no_slot_loads_the_application(world: World) -> None:
    fleet = world.fleet(web1={}, web2={}, web3={"venv": "k2"}, web4={"venv": "k2"}, jobs1={})
    deploy(fleet, web=["web1", "web2", "web3", "web4"])
    sent = {name: engine.commands for name, engine in world.engines.items()}
    assert [name for name in sent if sent[name]["build"]["check"]] == ["web1", "web3", "jobs1"]
    heads = {name: commands["standby"]["heads"]["orders"] for name, commands in sent.items()}
    assert heads == {"web1": ["web1"], "web2": ["web1"], "web3": ["web3"], "web4": ["web3"], "jobs1": ["web1"]}


def test_hooks_of_migrations_run_without_a_migration(world: World) -> None:
    hook = {"name": "h", "stage": "before_migrate", "command": ["x"]}
    deploy(world.fleet(web1={}, web2={}), site=site(hooks=[hook]))
    assert [host for host, word in world.told if word == "migrate"] == ["web1"]


def test_a_rollback_undoes_migrations_before_the_flip_on_one_host(world: World) -> None:
    fleet = world.fleet(web1={}, web2={})
    drive.run(fleet, site(), {"kind": "rollback", "owner": "ann"}, migrations=True)
    assert [host for host, word in world.told if word == "unmigrate"] == ["web1"]
    world.barrier("standby", "unmigrate")
    world.barrier("unmigrate", "flip")
    for engine in world.engines.values():
        assert engine.commands["standby"]["any_status"] is True
        assert engine.words()[-5:] == ["ready", "flip", "ready", "confirm", "finish"]
        assert engine.checked == [False, True, False]
    assert world.engines["web1"].uploads == {}
    assert world.states()[1:3] == ["found", "checked"]


# --- wheels


def test_wheels_are_made_once_for_each_kind_of_virtualenv(world: World) -> None:
    missing = {"venv_ready": False}
    deploy(
        world.fleet(
            web1={},
            web2={**missing, "venv": "k1"},
            web3={**missing, "venv": "k2"},
            web4={**missing, "venv": "k2"},
            web5={**missing, "venv": "k1"},
        )
    )
    assert [host for host, word in world.told if word == "wheelhouse"] == ["web2", "web3"]
    assert "wheels" not in world.words("web1")
    assert {host: sorted(engine.uploads) for host, engine in world.engines.items()} == {
        "web1": ["r2.tar.gz"],
        "web2": ["r2.tar.gz"],
        "web3": ["r2.tar.gz"],
        "web4": ["k2.tar", "r2.tar.gz"],
        "web5": ["k1.tar", "r2.tar.gz"],
    }
    assert world.engines["web4"].uploads["k2.tar"] == b"wheels of k2"
    for host in ("web2", "web3", "web4", "web5"):
        assert world.words(host).count("wheels") == 1
    makers = [n for n, told in enumerate(world.told) if told in (("web2", "wheels"), ("web3", "wheels"))]
    takers = [n for n, told in enumerate(world.told) if told in (("web4", "wheels"), ("web5", "wheels"))]
    assert max(makers) < min(takers)


def test_a_wheelhouse_that_can_not_be_fetched(world: World) -> None:
    missing = {"venv_ready": False}
    error = refusal(lambda: deploy(world.fleet(web1={**missing, "fetch_status": 2}, web2=missing)))
    assert error.message == "web1: the wheelhouse is not here"
    assert world.words("web1")[-1] == world.words("web2")[-1] == "abort"


# --- when something fails


@pytest.mark.parametrize("step", ["prepare", "build", "standby", "flip"])
def test_what_fails_on_one_host_is_undone_on_all(world: World, step: str) -> None:
    error = refusal(lambda: deploy(world.fleet(web1={}, web2={"fail": [step]}, web3={})))
    assert error.message == f"web2: {step} failed"
    assert error.hint == "Look"
    assert error.exit_status == 1
    done = ["begin", *STEPS[: STEPS.index(step) + 1], "abort"]
    for host in ("web1", "web2", "web3"):
        assert world.words(host) == done
    assert world.states()[-1] == "undone"


def test_a_host_that_can_not_confirm_goes_back_and_the_difference_is_told(world: World) -> None:
    error = refusal(lambda: deploy(world.fleet(web1={}, web2={"fail": ["confirm"]}, web3={})))
    assert (error.message, error.exit_status) == ("web2: confirm failed", 1)
    assert world.words("web2")[-1] == "abort"
    assert world.words("web1")[-1] == world.words("web3")[-1] == "confirm"
    last = json.loads(world.out.getvalue().splitlines()[-1])
    told = "web1, web3 keep the new release, the old one comes back on web2; fab deploy ends it"
    assert (last["state"], last["detail"]) == ("two releases", told)


def test_what_fails_on_several_hosts_is_all_told(world: World) -> None:
    error = refusal(lambda: deploy(world.fleet(web1={"fail": ["build"]}, web2={}, web3={"fail": ["build"]})))
    assert error.message == "web1: build failed\nweb3: build failed"


def test_a_migration_that_fails_is_undone_on_all(world: World) -> None:
    error = refusal(lambda: deploy(world.fleet(web1={"plan": [["a", "1"]], "fail": ["migrate"]}, web2={})))
    assert error.message == "web1: migrate failed"
    assert world.words("web2") == ["begin", "prepare", "build", "abort"]


def test_after_the_confirmation_nothing_is_undone(world: World) -> None:
    error = refusal(lambda: deploy(world.fleet(web1={"fail": ["finish"]}, web2={})))
    assert error.message == "web1: finish failed"
    assert "abort" not in world.words("web1") + world.words("web2")


def test_migrations_that_are_left_to_somebody_else(world: World) -> None:
    never = site(releases={"migrate": "never"})
    error = refusal(lambda: deploy(world.fleet(web1={"plan": [["a", "1"], ["b", "2"]]}), site=never))
    assert error.message == "migrations are not applied: a.1, b.2"
    assert world.words("web1") == ["begin", "prepare", "build", "abort"]


def test_hosts_that_would_go_to_different_releases(world: World) -> None:
    fleet = world.fleet(web1={"release": "r1"}, web2={"release": "r0"}, web3={"release": "r1"})
    error = refusal(lambda: drive.run(fleet, site(), {"kind": "restart", "owner": "ann"}))
    told = "the hosts would go to different releases: web1: r1, web2: r0, web3: r1"
    assert (str(error), error.exit_status) == (f"{told}\n  Bring them to one with: fab deploy", 1)
    assert world.words("web2") == ["begin", "prepare", "abort"]


def test_an_engine_that_aborted_by_itself(world: World) -> None:
    fleet = world.fleet(web1={}, web2={})
    real = Engine.end

    def end(engine: Engine, word: str) -> None:
        if word == "standby" and engine.name == "web2":
            engine.say({"event": "done", "do": "abort", "ok": True})
            engine.say({"event": "end", "result": "aborted"})
        elif not (word == "abort" and engine.name == "web2"):
            real(engine, word)

    world.engines["web2"].end = end.__get__(world.engines["web2"])
    error = refusal(lambda: deploy(fleet))
    assert error.message == "web2: the engine did abort by itself: it was killed, or not told to go on in time"
    assert world.words("web1")[-1] == "abort"
    assert world.states()[-1] == "undone"


NEEDED = [
    *(("prepare", key) for key in ("release", "venv", "venv_ready")),
    *(("build", key) for key in ("plan", "reversible", "heads")),
    ("migrate", "applied"),
    ("unmigrate", "undone"),
    ("finish", "stopping"),
    ("flip", "ok"),
]
"""Command -> what its answer must hold."""


def answered(world: World, command: str, **behaviour: Any) -> str:
    """What is said where web1's engine answers `command` as `behaviour` has it."""
    plan = [["orders", "0002"]]
    fleet = world.fleet(web1={"plan": plan, **behaviour}, web2={})
    rollback = {"kind": "rollback", "owner": "ann"}
    if command == "unmigrate":
        error = refusal(lambda: drive.run(fleet, site(), rollback, migrations=True))
    else:
        error = refusal(lambda: deploy(fleet))
    assert error.exit_status == 1
    for host in ("web1", "web2"):
        assert world.words(host)[-1] == ("finish" if command == "finish" else "abort")
    return str(error)


@pytest.mark.parametrize(("command", "key"), NEEDED)
def test_an_answer_without_a_fact_that_is_needed(world: World, command: str, key: str) -> None:
    said = answered(world, command, omit={command: [key]})
    origin = "done" if key == "ok" else command
    assert said == f"web1: the engine's answer can't be right: {origin}.{key}: is needed\n  {PROVISION}"


@pytest.mark.parametrize(
    ("command", "fact", "problem"),
    [
        ("prepare", {"release": ["r2"]}, "prepare.release: must be text"),
        ("prepare", {"venv": {}}, "prepare.venv: must be text"),
        ("prepare", {"venv_ready": "no"}, "prepare.venv_ready: must be true or false"),
        ("build", {"plan": "0002"}, "build.plan: must be a list"),
        ("build", {"plan": [1]}, "build.plan.0: must be a list"),
        ("build", {"plan": [["orders", 2]]}, "build.plan.0.1: must be text: put it in quotes"),
        ("build", {"reversible": 1}, "build.reversible: must be true or false"),
        ("build", {"heads": ["0002"]}, "build.heads: must be a mapping of keys"),
        ("migrate", {"applied": [["orders", "0002"], 1]}, "migrate.applied.1: must be a list"),
        ("unmigrate", {"undone": {"orders": "0002"}}, "unmigrate.undone: must be a list"),
        ("finish", {"stopping": [1]}, "finish.stopping.0: must be text: put it in quotes"),
        ("flip", {"n": [5]}, "done.n: must be a whole number"),
        ("flip", {"do": {}}, "done.do: must be text"),
        ("flip", {"ok": 1}, "done.ok: must be true or false"),
    ],
)
def test_an_answer_with_a_fact_of_another_type(world: World, command: str, fact: Any, problem: str) -> None:
    said = answered(world, command, wrong={command: fact})
    assert said == f"web1: the engine's answer can't be right: {problem}\n  {PROVISION}"


@pytest.mark.parametrize("got", ["7", None, [7]])
def test_an_engine_that_says_nonsense_of_what_it_has_got(world: World, got: Any) -> None:
    said = answered(world, "standby", cuts=["standby"], got=got)
    problem = "attached.got: must be a whole number"
    assert said == f"web1: the engine's answer can't be right: {problem}\n  {PROVISION}"


@pytest.mark.parametrize("step", ["prepare", "standby", "flip"])
def test_a_transaction_that_ends_before_its_time(world: World, step: str) -> None:
    error = refusal(lambda: deploy(world.fleet(web1={}, web2={"end_early": step})))
    assert (error.message, error.exit_status) == ("web2: the transaction has ended (failed)", 1)
    assert world.words("web2")[-1] == step  # There is nothing left to abort.
    assert world.words("web1")[-1] == "abort"


def test_what_can_not_be_undone_at_once_is_told(world: World) -> None:
    error = refusal(lambda: deploy(world.fleet(web1={}, web2={"fail": ["standby", "abort"]})))
    assert error.message == "web2: standby failed"
    assert world.notes() == ["could not be undone at once, the hosts do it alone: web2: abort failed"]
    assert world.words("web1")[-1] == "abort"


# --- locks


def test_a_host_that_somebody_else_deploys_to(world: World) -> None:
    error = refusal(lambda: deploy(world.fleet(web1={"refuse_begin": [BUSY]}, web2={})))
    assert isinstance(error, Busy)
    assert (error.message, error.exit_status) == ("web1: bob is deploying r9 since noon", 75)
    assert world.words("web1") == ["begin"]
    assert world.words("web2") == []


def test_a_later_host_that_somebody_else_deploys_to_undoes_the_earlier(world: World) -> None:
    error = refusal(lambda: deploy(world.fleet(web1={}, web2={"refuse_begin": [BUSY]}, web3={})))
    assert isinstance(error, Busy)
    assert world.words("web1") == world.words("web3") == ["begin", "abort"]
    assert world.words("web2") == ["begin"]


def test_what_was_uploaded_for_nothing_is_taken_away(world: World) -> None:
    refusal(lambda: deploy(world.fleet(web1={"refuse_begin": [BUSY]}, web2={})))
    assert [engine.uploads for engine in world.engines.values()] == [{}, {}]


def test_waiting_for_the_lock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "AGAIN", 0.01)
    deploy(world.fleet(web1={"refuse_begin": [BUSY, BUSY]}), lock_wait=30)
    assert world.words("web1") == ["begin", "begin", "begin", *STEPS]


def test_a_later_host_is_waited_for_while_the_earlier_are_held(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "AGAIN", 0.01)
    deploy(world.fleet(web1={}, web2={}, web3={"refuse_begin": [BUSY, BUSY]}), lock_wait=30)
    assert world.words("web1") == world.words("web2") == ["begin", *STEPS]
    assert world.words("web3") == ["begin", "begin", "begin", *STEPS]


def test_a_host_is_not_held_while_one_before_it_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever has web2 may wait for web3.
    monkeypatch.setattr(drive, "AGAIN", 0.01)
    deploy(world.fleet(web1={}, web2={"refuse_begin": [BUSY, BUSY]}, web3={}), lock_wait=30)
    assert world.words("web1") == ["begin", *STEPS]
    assert world.words("web2") == ["begin", "begin", "begin", *STEPS]
    assert world.words("web3") == ["begin", "abort", "begin", *STEPS]
    begins = [host for host, word in world.told if word in ("begin", "abort")]
    assert begins[-4:] == ["web3", "web2", "web2", "web3"]
    assert world.engines["web3"].uploads == {"r2.tar.gz": b"data"}


def test_a_later_host_that_stays_busy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "AGAIN", 0.01)
    fleet = world.fleet(web1={}, web2={}, web3={"refuse_begin": [BUSY] * 600}, web4={})
    error = refusal(lambda: deploy(fleet, lock_wait=0.2))
    assert isinstance(error, Busy)
    assert (error.message, error.exit_status) == ("web3: bob is deploying r9 since noon", 75)
    for host in ("web1", "web2", "web4"):
        assert world.words(host) == ["begin", "abort"]
    assert 2 < len(world.words("web3")) < 30
    assert [engine.uploads for engine in world.engines.values()] == [{}, {}, {}, {}]


def test_a_later_host_that_fails_while_another_is_busy_is_not_waited_for(world: World) -> None:
    refused = {"kind": "bad_input", "message": "the release r2 is on this host already"}
    fleet = world.fleet(web1={}, web2={"refuse_begin": [BUSY] * 600}, web3={"refuse_begin": [refused]})
    refusal(lambda: deploy(fleet, lock_wait=3))
    assert world.words("web2") == world.words("web3") == ["begin"]
    assert world.words("web1") == ["begin", "abort"]


def test_an_interrupt_ends_the_wait_for_a_later_host(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "AGAIN", 3)
    fleet = world.fleet(web1={}, web2={"refuse_begin": [BUSY] * 600})
    sending = interrupt(world, ["web2"], "begin")
    started = time.monotonic()
    with interrupts.noted(), pytest.raises(KeyboardInterrupt):
        deploy(fleet, lock_wait=600)
    sending.join()
    assert time.monotonic() - started < 2
    assert world.words("web1") == ["begin", "abort"]


def test_nobody_waits_for_the_lock_once_a_host_has_failed(world: World) -> None:
    refusal(lambda: deploy(world.fleet(web1={"refuse_begin": [BUSY] * 600}, web2={"full": True}), lock_wait=600))
    assert len(world.words("web1")) < 10
    assert world.words("web2") == []


def test_a_begin_that_is_refused_for_what_it_asks(world: World) -> None:
    refused = {"kind": "bad_input", "message": "the release r2 is on this host already", "hint": "Use: fab rollback r2"}
    error = refusal(lambda: deploy(world.fleet(web1={"refuse_begin": [refused]}, web2={})))
    assert error.exit_status == 2
    assert str(error) == "web1: the release r2 is on this host already\n  Use: fab rollback r2"
    assert world.told == [("web1", "begin")]
    assert all(engine.uploads == {} for engine in world.engines.values())


# --- connections


def test_a_host_that_can_not_be_reached_stops_all_before_anything(world: World) -> None:
    error = refusal(lambda: deploy(world.fleet(web1={}, web2={"down": True})))
    assert error.message == "web2: no answer in time"
    assert world.told == []
    assert world.engines["web1"].uploads == {}


@pytest.mark.parametrize("step", STEPS)
def test_a_connection_that_breaks_is_taken_up_again(world: World, step: str) -> None:
    deploy(world.fleet(web1={"cuts": [step]}, web2={}))
    assert world.words("web1").count("attach") == 1
    assert [word for word in world.words("web1") if word != "attach"] == ["begin", *STEPS]
    assert world.words("web2") == ["begin", *STEPS]


def test_a_connection_that_breaks_late_in_a_long_step_and_once_more_is_taken_up_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "RECONNECT", 0.05)
    built = threading.Event()
    fleet = world.fleet(web1={"hold": {"build": built}})
    for seconds in (0.2, 0.4):
        threading.Timer(seconds, world.engines["web1"].cut).start()
    threading.Timer(0.6, built.set).start()
    deploy(fleet)
    assert world.words("web1").count("attach") == 2
    assert [word for word in world.words("web1") if word != "attach"] == ["begin", *STEPS]


@pytest.mark.parametrize("step", STEPS)
def test_a_command_that_is_lost_with_its_connection_is_sent_again(world: World, step: str) -> None:
    deploy(world.fleet(web1={"swallows": [step]}, web2={}))
    assert world.words("web1").count("attach") == 1
    assert [word for word in world.words("web1") if word != "attach"] == ["begin", *STEPS]


def test_a_connection_that_stays_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "RECONNECT", 0.2)
    monkeypatch.setattr(drive.time, "sleep", lambda _: None)
    fleet = world.fleet(web1={}, web2={"cuts": ["standby"]})
    engine = world.engines["web2"]
    real = engine.connect

    def connect() -> None:
        if engine.connects:
            raise Unreachable("web2: no answer in time")
        real()

    engine.connect = connect
    error = refusal(lambda: deploy(fleet))
    assert error.message == "web2: no answer in time"
    assert world.words("web1")[-1] == "abort"
    assert "flip" not in [word for _, word in world.told]


@pytest.mark.parametrize(
    ("others", "last"),
    [({}, "flipped"), ({"web2": {}}, "flipped"), ({"web2": {}, "web3": {"fail": ["confirm"]}}, "two releases")],
)
def test_of_a_host_that_is_lost_while_it_confirms_nobody_says_what_it_serves(
    world: World, monkeypatch: pytest.MonkeyPatch, others: dict[str, Any], last: str
) -> None:
    monkeypatch.setattr(drive, "RECONNECT", 0.2)
    fleet = world.fleet(web1={"lost_at": "confirm", "then": "gone"}, **others)
    error = refusal(lambda: deploy(fleet))
    assert "web1: no answer in time" in error.message
    assert world.notes() == ["which release is live on web1 is not known: look with fab status"]
    assert world.states()[-1] == last


def test_a_host_that_confirmed_and_finished_by_itself_is_not_said_to_be_undone(world: World) -> None:
    fleet = world.fleet(web1={})
    real = Engine.end

    def end(engine: Engine, word: str) -> None:
        if word != "confirm":
            real(engine, word)
            return
        engine.say({"event": "recovering", "do": "finish"})
        engine.say({"event": "done", "do": "finish", "ok": True, "stopping": []})
        engine.say({"event": "end", "result": "finished"})

    world.engines["web1"].end = end.__get__(world.engines["web1"])
    refusal(lambda: deploy(fleet))
    assert world.notes() == ["which release is live on web1 is not known: look with fab status"]
    assert world.states()[-1] == "flipped"


def test_a_first_deploy_that_fails_has_no_old_release(world: World) -> None:
    refusal(lambda: deploy(world.fleet(web1={"serves": None, "fail": ["build"]}, web2={"serves": None})))
    last = json.loads(world.out.getvalue().splitlines()[-1])
    assert (last["state"], last["detail"]) == ("undone", "no release was live, and none is")


# --- Ctrl-C


def interrupt(world: World, hosts: Sequence[str], step: str) -> threading.Thread:
    """Send SIGTERM once all of `hosts` do `step`."""

    def send() -> None:
        deadline = time.monotonic() + 5
        while not {(host, step) for host in hosts} <= set(world.told):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    sending = threading.Thread(target=send)
    sending.start()
    return sending


@pytest.mark.parametrize(("step", "hosts"), [("build", ["web1", "web2"]), ("migrate", ["web1"])])
def test_an_interrupt_ends_what_is_under_way_at_once(world: World, step: str, hosts: list[str]) -> None:
    plan = [["a", "1"]]
    # Steps that only an abort ends.
    fleet = world.fleet(
        web1={"plan": plan, "hold": {step: threading.Event()}}, web2={"plan": plan, "hold": {step: threading.Event()}}
    )
    sending = interrupt(world, hosts, step)
    started = time.monotonic()
    with interrupts.noted(), pytest.raises(KeyboardInterrupt):
        deploy(fleet)
    sending.join()
    assert time.monotonic() - started < 5
    assert world.words("web1")[-1] == world.words("web2")[-1] == "abort"
    assert world.states()[-1] == "undone"


def test_an_interrupt_waits_for_the_confirm(world: World) -> None:
    held = threading.Event()
    fleet = world.fleet(web1={}, web2={"hold": {"confirm": held}})
    sending = interrupt(world, ["web1", "web2"], "confirm")
    threading.Timer(3 * interrupts.ATTENTION, held.set).start()
    with interrupts.noted(), pytest.raises(KeyboardInterrupt):
        deploy(fleet)
    sending.join()
    assert "abort" not in [word for _, word in world.told]
    assert world.states()[-1] == "confirmed"
    assert world.notes() == ["the new release is live, and the hosts finish alone"]


def test_an_interrupt_while_the_hosts_finish(world: World) -> None:
    held = threading.Event()
    fleet = world.fleet(web1={}, web2={"hold": {"finish": held}})
    sending = interrupt(world, ["web1", "web2"], "finish")
    with interrupts.noted(), pytest.raises(KeyboardInterrupt):
        deploy(fleet)
    sending.join()
    held.set()
    assert "abort" not in [word for _, word in world.told]
    assert world.notes() == ["the new release is live, and the hosts finish alone"]


def test_signs_of_life_reach_every_host(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "PING", 0.01)
    fleet = world.fleet(web1={}, web2={})
    pings: set[str] = set()
    for host in fleet.hosts:
        host.begin(DEPLOY)
        monkeypatch.setattr(host, "ping", lambda host=host: pings.add(host.name))
    with fleet.alive():
        deadline = time.monotonic() + 5
        while pings != {"web1", "web2"}:
            assert time.monotonic() < deadline
