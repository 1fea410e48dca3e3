"""Driving a transaction over a fleet: every host does each step side by side, and nobody goes live before all can."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from hostwright import interrupts
from hostwright.config import Site
from hostwright.errors import Busy, Failures, HostwrightError
from hostwright.events import Reporter
from hostwright.release.source import Artifact
from hostwright.remote import LINE_LIMIT, Call, Remote, Unreachable, checked, failure

RECONNECT = 15.0
"""Seconds in which a lost connection may come back before its host counts as lost."""

PING = 5.0
"""Seconds between signs of life; an engine gives up on its controller after 20."""

AGAIN = 1.0
"""Seconds between attempts to take a lock that someone else has."""

TOGETHER = 1.0
"""Seconds for other hosts to fail as well, once one has: what is wrong everywhere is said at once."""


class HostTransaction:
    """One host's part: commands go in one at a time, events come out, and a lost connection is taken up again."""

    def __init__(self, remote: Remote, op: str, reporter: Reporter) -> None:
        self.remote = remote
        self.op = op
        self.reporter = reporter
        self.seq = 0
        self.begun = False
        self.served: str | None = None
        """The release that was live when it began."""
        self.told_to_confirm = False
        self.confirmed = False
        self.undone = False
        self.over = False
        self._call: Call | None = None
        self._lost: Unreachable | None = None
        self._number = 0
        self._unanswered: dict[int, dict[str, Any]] = {}
        self._sending = threading.Lock()
        self._one_command = threading.Lock()

    @property
    def name(self) -> str:
        return self.remote.name

    def begin(self, request: Mapping[str, Any]) -> None:
        """Take the host's lock and start. Raises Busy where someone else has it."""
        self._call = self.remote.call({"verb": "begin", "op": self.op, **request})
        event = self._next()
        if event["event"] == "end":
            raise failure(self.name, event.get("error", {}))
        self.begun = True
        self.served = event.get("serves")

    def do(self, command: str, **fields: Any) -> dict[str, Any]:
        """Send a command and wait for what came of it; returns its facts. A host that did not come back is lost."""
        if self._lost is not None:
            raise self._lost
        if command == "abort":
            # At once, past a command that is under way: the engine ends that one first.
            number = self._send(command, fields)
            with self._one_command:
                return self._await_done(command, number)
        with self._one_command:
            return self._await_done(command, self._send(command, fields))

    def finish(self) -> dict[str, Any]:
        """The last command, and the end of the transaction."""
        facts = self.do("finish")
        while not self.over:
            self.over = self._next()["event"] == "end"
        return facts

    def _send(self, command: str, fields: Mapping[str, Any]) -> int:
        with self._sending:
            self._number += 1
            self._unanswered[self._number] = {"do": command, "n": self._number, **fields}
            with contextlib.suppress(Unreachable):  # Whoever reads connects again, and sends it again.
                if self._call is not None:
                    self._call.send(self._unanswered[self._number])
            return self._number

    def _await_done(self, command: str, number: int) -> dict[str, Any]:
        while True:
            event = self._next()
            if event["event"] == "end":
                self.over = True
                if command == "abort" and event.get("result") == "aborted":
                    return event
                raise HostwrightError(f"{self.name}: the transaction has ended ({event.get('result')})")
            if event["event"] != "done":
                continue
            did, done = checked(self.name, "done", event)["do"], event.get("n")
            self._unanswered.pop(done or 0, None)
            if did == command and done in (number, None):
                if not event["ok"]:
                    raise failure(self.name, event.get("error", {}))
                return checked(self.name, command, event)
            if command != "abort":  # Before an abort, what was under way ends.
                raise HostwrightError(
                    f"{self.name}: the engine did {did} by itself: it was killed, or not told to go on in time"
                )

    def ping(self) -> None:
        if self._call is not None and not self.over:
            with contextlib.suppress(Unreachable):  # The thread that reads takes the connection up again.
                self._call.send({"do": "ping"})

    def close(self) -> None:
        if self._call is not None:
            self._call.channel.close()
            self._call = None

    def _next(self) -> dict[str, Any]:
        lost: float | None = None
        while True:
            if self._call is None:
                raise Unreachable(f"{self.name}: there is no transaction")
            event = self._call.event()
            if event is None:
                lost = lost or time.monotonic()
                deadline = lost + RECONNECT
                problem = self._call.failure()
                if not self.begun or not isinstance(problem, Unreachable) or time.monotonic() > deadline:
                    raise problem
                self._attach(deadline)
            elif event["event"] == "attached":
                lost = None
                self._send_again(checked(self.name, "attached", event)["got"])
            elif event.get("seq", 0) > self.seq:
                self.seq = event["seq"]
                self._report(event)
                return event

    def _send_again(self, got: int) -> None:
        """Of the commands without an answer, those that the engine has not got: their connection was lost with them."""
        with self._sending:
            for number in sorted(self._unanswered):
                if number > got and self._call is not None:
                    self._call.send(self._unanswered[number])

    def _report(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "end":
            return  # Of this host; the run has an end of its own.
        fields = {key: value for key, value in event.items() if key not in ("event", "error")}
        self.reporter.event(str(event["event"]), **fields)

    def _attach(self, deadline: float) -> None:
        while True:
            try:
                self.remote.close()
                self.remote.connect()
                self._call = self.remote.call({"verb": "attach", "op": self.op, "after": self.seq})
                return
            except Unreachable as error:
                if time.monotonic() > deadline:
                    self._lost = error
                    raise
                time.sleep(0.5)


class Fleet:
    """The hosts of one transaction."""

    def __init__(self, remotes: Sequence[Remote], op: str, reporter: Reporter) -> None:
        self.hosts = [HostTransaction(remote, op, reporter) for remote in remotes]
        self.op = op
        self.reporter = reporter
        self._given_back = 0
        # Two for each host: an abort must not wait for the command that it ends.
        self._pool = ThreadPoolExecutor(max_workers=2 * max(len(self.hosts), 1))

    @property
    def leader(self) -> HostTransaction:
        return self.hosts[0]

    def each(
        self,
        function: Callable[[HostTransaction], Any],
        hosts: Sequence[HostTransaction] | None = None,
        hurry: bool = False,
        uninterrupted: bool = False,
    ) -> dict[str, Any]:
        """Call `function` for every host side by side; raises Failures after all have ended.

        `hurry`: once one host has failed, the others are not waited for, as what they do is to be undone.
        `uninterrupted`: an interrupt has to wait.
        """
        chosen = self.hosts if hosts is None else hosts
        futures = {host.name: self._pool.submit(function, host) for host in chosen}
        results: dict[str, Any] = {}
        errors: dict[str, HostwrightError] = {}
        if not uninterrupted:
            _, late = interrupts.wait(futures.values(), FIRST_EXCEPTION if hurry else ALL_COMPLETED)
            wait(late, timeout=TOGETHER)
        for name, future in futures.items():
            if hurry and not future.done():
                continue
            try:
                results[name] = future.result()
            except HostwrightError as error:
                errors[name] = error
        if errors:
            raise Failures(errors)
        return results

    def do(self, command: str, hosts: Sequence[HostTransaction] | None = None) -> dict[str, Any]:
        """Have every host do `command`, of those that come before the flip."""
        return self.each(lambda host: host.do(command), hosts, hurry=True)

    def lead(self, command: str) -> dict[str, Any]:
        """Have the first host do `command`; returns its facts."""
        facts: dict[str, Any] = self.do(command, [self.leader])[self.leader.name]
        return facts

    def give_back(self, hosts: Sequence[HostTransaction]) -> list[HostTransaction]:
        """Abort those of `hosts` that have begun; returns what takes their place here, to begin later."""
        begun = [host for host in hosts if host.begun]
        self.each(lambda host: host.do("abort"), begun)
        # Another name: by the first one an engine would tell how that ended.
        self._given_back += 1
        op = f"{self.op}.{self._given_back}"
        renewed = {host: HostTransaction(host.remote, op, self.reporter) for host in begun}
        self.hosts = [renewed.get(host, host) for host in self.hosts]
        for host in begun:
            host.close()
        return list(renewed.values())

    def pause(self, seconds: float) -> None:
        """Wait; an interrupt need not."""
        interrupts.wait([self._pool.submit(time.sleep, seconds)])

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Give signs of life to every host while the body runs."""
        done = threading.Event()

        def signs() -> None:
            while not done.wait(PING):
                for host in self.hosts:
                    host.ping()

        thread = threading.Thread(target=signs, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            self._pool.shutdown(wait=False, cancel_futures=True)
            for host in self.hosts:
                host.close()


def run(
    fleet: Fleet,
    site: Site,
    request: Mapping[str, Any],
    artifact: Artifact | None = None,
    migrations: bool = False,
    lock_wait: float = 0,
    migrate: bool = True,
    web: Collection[str] = (),
) -> None:
    """A whole deploy, rollback or restart. Raises HostwrightError where it failed, after it was undone.

    `migrations`: a rollback undoes them. `migrate`: a deploy applies them, with their hooks. `web`: the hosts whose
    standby slot will load the application before anything is live.
    """
    reporter = fleet.reporter
    with fleet.alive():
        try:
            _begin(fleet, request, artifact, lock_wait)
            reporter.event("state", state="locked")
            prepared = fleet.do("prepare")
            releases = {host: facts["release"] for host, facts in prepared.items()}
            if len(set(releases.values())) > 1:
                named = ", ".join(f"{host}: {release}" for host, release in releases.items())
                raise HostwrightError(
                    f"the hosts would go to different releases: {named}", "Bring them to one with: fab deploy"
                )
            reporter.event("state", state="uploaded" if artifact else "found", detail=releases[fleet.leader.name])
            _wheels(fleet, prepared)
            built = _build(fleet, prepared, web)
            reporter.event("state", state="checked")
            if artifact and migrate:
                _migrate(fleet, site, built[fleet.leader.name])
            # An older release may miss what the migrations took that are undone below: until then any answer will do.
            more = {"any_status": True} if migrations else {}
            fleet.each(lambda host: host.do("standby", heads=built[host.name]["heads"], **more), hurry=True)
            reporter.event("state", state="standby healthy")
            # The barrier: a host that was ready early may be gone by now, and nobody goes live without it.
            fleet.each(lambda host: host.do("ready"))
            if migrations:
                undone = fleet.lead("unmigrate")["undone"]
                reporter.event("state", state="migrations undone", detail=_named(undone))
                fleet.each(lambda host: host.do("ready", health=True))
            fleet.each(lambda host: host.do("flip"))
            reporter.event("state", state="flipped")
            # The same once more: from here on all of them can still go back together.
            fleet.each(lambda host: host.do("ready"))
            fleet.each(_confirm, uninterrupted=True)
            reporter.event("state", state="confirmed")
        except BaseException as error:
            _undo(fleet, artifact)
            for failed in error.errors.values() if isinstance(error, Failures) else ():
                if isinstance(failed, Busy):
                    raise failed from None
            raise
        try:
            finished = fleet.each(lambda host: host.finish())
        except KeyboardInterrupt:
            reporter.event("note", host="", detail="the new release is live, and the hosts finish alone")
            raise
        stopping = [unit for facts in finished.values() for unit in facts["stopping"]]
        reporter.event(
            "state", state="workers replaced", detail=", ".join(stopping) and f"still ending: {', '.join(stopping)}"
        )


def _confirm(host: HostTransaction) -> None:
    host.told_to_confirm = True
    host.do("confirm")
    host.confirmed = True


def _begin(fleet: Fleet, request: Mapping[str, Any], artifact: Artifact | None, lock_wait: float) -> None:
    """Connect, upload, lock: the first host before the others, so that of two who come at once one gets all.

    A host that someone else has is tried for `lock_wait` seconds. Meanwhile only hosts that come before it are held, so
    that no two fleets wait for each other.
    """

    def upload(host: HostTransaction) -> None:
        if artifact:
            host.remote.upload(io.BytesIO(artifact.data), artifact.name)

    fleet.each(lambda host: host.remote.connect())
    fleet.each(upload)
    deadline = time.monotonic() + lock_wait
    held, alone = 0, True
    while held < len(fleet.hosts):
        trying = fleet.hosts[held : held + 1 if alone else None]
        try:
            fleet.each(lambda host: host.begin(request), trying)
        except Failures as failed:
            if time.monotonic() > deadline or not all(isinstance(error, Busy) for error in failed.errors.values()):
                raise
            held += next(number for number, host in enumerate(trying) if host.name in failed.errors)
            alone = True
            fleet.each(upload, fleet.give_back(fleet.hosts[held + 1 :]))
            fleet.pause(AGAIN)
        else:
            held += len(trying)
            alone = False


def _build(fleet: Fleet, prepared: Mapping[str, Mapping[str, Any]], web: Collection[str]) -> dict[str, Any]:
    """Build everywhere. Of web hosts with the same virtualenv the first runs the checks, for the others too.

    They load the same code with the same packages in their standby slot, where all else that could differ shows.
    """
    first = {prepared[host.name]["venv"]: host.name for host in reversed(fleet.hosts)}

    def build(host: HostTransaction) -> dict[str, Any]:
        return host.do("build", check=host.name not in web or host.name in first.values())

    built = fleet.each(build, hurry=True)
    heads = {venv: built[name].get("heads") for venv, name in first.items()}
    return {name: {**facts, "heads": heads[prepared[name]["venv"]]} for name, facts in built.items()}


def _wheels(fleet: Fleet, prepared: Mapping[str, Mapping[str, Any]]) -> None:
    """Where virtualenvs are missing: one host for each platform makes the wheels, the others get them from it."""
    missing: dict[str, list[HostTransaction]] = {}
    for host in fleet.hosts:
        if not prepared[host.name]["venv_ready"]:
            missing.setdefault(prepared[host.name]["venv"], []).append(host)
    if not missing:
        return
    fleet.do("wheels", [hosts[0] for hosts in missing.values()])
    for key, (maker, *others) in missing.items():
        if not others:
            continue
        with tempfile.NamedTemporaryFile(prefix="hostwright-") as wheels:
            digest = fleet.each(partial(_fetch, key=key, target=wheels), [maker])[maker.name]
            fleet.each(partial(_give, key=key, wheels=Path(wheels.name), sha256=digest), others)
    fleet.reporter.event("state", state="built")


def _fetch(host: HostTransaction, key: str, target: IO[bytes]) -> str:
    """Write the wheelhouse `key` of a host to `target`; returns its sha256."""
    call = host.remote.call({"verb": "wheelhouse", "key": key})
    digest = hashlib.sha256()
    while block := call.channel.recv(1 << 18):
        digest.update(block)
        target.write(block)
    if call.channel.recv_exit_status():
        target.seek(0)
        raise call.refusal(target.read(LINE_LIMIT))
    target.flush()
    return digest.hexdigest()


def _give(host: HostTransaction, key: str, wheels: Path, sha256: str) -> None:
    """Have a host take the wheelhouse `key` that was fetched from another."""
    with wheels.open("rb") as source:
        host.remote.upload(source, f"{key}.tar")
    host.do("wheels", artifact=f"{key}.tar", sha256=sha256)


def _migrate(fleet: Fleet, site: Site, facts: Mapping[str, Any]) -> None:
    plan = facts["plan"]
    hooks = any(hook.stage in ("before_migrate", "after_migrate") for hook in site.hooks)
    if plan and site.releases.migrate == "never":
        raise HostwrightError(
            f"migrations are not applied: {_named(plan)}", "releases.migrate is `never`: apply them, then deploy again."
        )
    if not plan and not hooks:
        return
    if plan:
        detail = "" if facts["reversible"] else " (can't be undone)"
        fleet.reporter.event("note", host=fleet.leader.name, detail=f"migrations: {_named(plan)}{detail}")
    applied = fleet.lead("migrate")["applied"]
    detail = "" if sorted(applied) == sorted(plan) else _named(applied)  # The plan was told already.
    fleet.reporter.event("state", state="migrated", detail=detail)


def _named(migrations: Sequence[Sequence[str]]) -> str:
    return ", ".join(f"{app}.{name}" for app, name in migrations) or "nothing"


def _undo(fleet: Fleet, artifact: Artifact | None) -> None:
    """Tell every host to take its part back; what can't be told now, its engine does by itself."""

    def abort(host: HostTransaction) -> None:
        if host.begun and not host.over and not host.confirmed:
            host.do("abort")
            host.undone = True
        elif artifact and not host.begun:
            host.remote.withdraw(artifact.name)

    report = fleet.reporter.event
    errors: Mapping[str, HostwrightError] = {}
    try:
        fleet.each(abort)
    except Failures as failed:
        errors = failed.errors
    confirmed = [host.name for host in fleet.hosts if host.confirmed]
    # Told to confirm, and lost: it may have done so, and then goes on by itself.
    unknown = [host.name for host in fleet.hosts if host.told_to_confirm and not host.confirmed and not host.undone]
    old = [host for host in fleet.hosts if host.begun and host.name not in (*confirmed, *unknown)]
    late = [error.message for name, error in errors.items() if name not in unknown]
    if late:
        detail = "\n".join(late)
        report("note", host="", detail=f"could not be undone at once, the hosts do it alone: {detail}")
    if unknown:
        detail = f"which release is live on {', '.join(unknown)} is not known: look with fab status"
        report("note", host="", detail=detail)
    if confirmed and old:
        back = ", ".join(host.name for host in old)
        detail = f"{', '.join(confirmed)} keep the new release, the old one comes back on {back}; fab deploy ends it"
        report("state", state="two releases", detail=detail)
    elif old and not unknown:
        detail = "the old release serves" if any(host.served for host in old) else "no release was live, and none is"
        report("state", state="undone", detail=detail)
