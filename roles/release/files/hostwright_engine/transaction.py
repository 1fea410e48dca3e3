"""One deploy, rollback or restart on this host: the steps, their order, and how each is undone."""

import contextlib
import json
import os
import time

from . import archive, commands, links, ownership, processes, releases, slots, storage, venvs
from .contract import account
from .errors import BadRequest, EngineError, Failed
from .facts import is_bool, is_heads, is_migrations, read_answer

PHASES = ("locked", "prepared", "built", "migrated", "standby", "flipping", "flipped", "confirmed")
WHEN = {
    "prepare": ("locked",),
    "wheels": ("prepared",),
    "build": ("prepared",),
    "migrate": ("built",),
    "standby": ("built", "migrated"),
    "ready": ("standby", "flipped"),
    "unmigrate": ("standby",),
    "flip": ("standby",),
    "confirm": ("flipped",),
    "finish": ("confirmed",),
    "abort": ("locked", "prepared", "built", "migrated", "standby", "flipping", "flipped"),
}
"""Command -> the phases in which it may come. A phase never goes back."""

RETIRE = 60
"""Seconds that an old slot gets to stop beside those for its last requests: a systemctl that fails is tried again."""

HERE = os.path.dirname(os.path.abspath(__file__))


class Transaction:
    """What the controller's commands do. `emit` takes an event; `state` is on disk before and after each step."""

    def __init__(self, agreed, paths, state, emit):
        self.agreed = agreed
        self.paths = paths
        self.state = state
        self.emit = emit

    # --- what is under way

    def obey(self, command):
        """Do what `command` ({"do": ...} and its fields) says, if it may come now; returns the facts of the answer."""
        word = command.get("do")
        if not isinstance(word, str) or word not in WHEN:
            raise BadRequest("{!r} is no command of a transaction".format(word))
        if self.record["phase"] not in WHEN[word]:
            hint = "Go back with: fab rollback" if word == "abort" else ""
            raise BadRequest("{} can't come now: the transaction is {}".format(word, self.record["phase"]), hint)
        return getattr(self, word)(command)

    @property
    def record(self):
        return self.state["transaction"]

    @property
    def release(self):
        return self.record["release"]

    @property
    def previous(self):
        """The release that served before this one, once this one serves; None where there is none."""
        old = self.record["old"]
        return old["release"] if old and old["release"] != self.release else self.record["old_previous"]

    def past(self, phase):
        """Whether the transaction has reached `phase`."""
        return PHASES.index(self.record["phase"]) >= PHASES.index(phase)

    def begin(self, request):
        """Record the transaction that `request` asks for; nothing else is changed."""
        kind = request["kind"]
        current = self.state["current"]
        if kind == "deploy":
            release = request["release"]
            if release in self.state["releases"] or os.path.lexists(self.paths.release(release)):
                raise BadRequest("the release {} is on this host already".format(release), "Use: fab rollback --release " + release)
        elif kind == "rollback":
            release = request.get("release") or releases.before(self.state)
            # A host of a fleet of two may be on it already: it starts it afresh.
            releases.usable(self.paths, self.state, release)
        else:
            if not current:
                raise BadRequest("nothing is deployed here yet, so nothing can be restarted", "Use: fab deploy")
            release = current["release"]
        # Where the state is lost or an old copy, the link still says which slot must not be touched.
        live = slots.live(self.paths) or (current["slot"] if current else None)
        storage.write_file(self.paths.reserve, b"\0" * storage.RESERVE_BYTES)
        self.state.save(
            transaction={
                "op": request["op"],
                "kind": kind,
                "release": release,
                "owner": request["owner"],
                "since": time.time(),
                "phase": "locked",
                "slot": slots.other(live) if self.agreed["web"] else None,
                "old": current,
                "live": live,
                "old_previous": self.state["previous"],
                "artifact": request.get("artifact"),
                "sha256": request.get("sha256"),
                "ref": request.get("ref"),
                "commit": request.get("commit"),
                "venv": None if kind == "deploy" else self.state["releases"][release]["venv"],
            }
        )

    def step(self, name, function, *args):
        """Run one step between its start and end events."""
        self.emit({"event": "step", "step": name, "status": "start"})
        started = time.monotonic()
        try:
            result = function(*args)
        except OSError as error:
            self._ended(name, "failed", started)
            raise Failed("{}: {}".format(name, error), "Mend it on the host, then deploy again", step=name) from None
        except EngineError as error:
            error.step = error.step or name
            self._ended(name, "failed", started)
            raise
        self._ended(name, "ok", started)
        return result

    def _ended(self, name, status, started):
        if status == "failed" and commands.cancelled.is_set():
            status = "cancelled"
        self.emit({"event": "step", "step": name, "status": status, "seconds": round(time.monotonic() - started, 3)})

    def skip(self, name, why):
        self.emit({"event": "step", "step": name, "status": "skipped", "seconds": 0.0, "detail": why})

    # --- before the flip

    def prepare(self, request):
        """Verify and unpack the artifact, and see whether its virtualenv is here."""
        if self.record["kind"] == "deploy":
            builder = account(self.agreed["build_user"])
            # Nobody is there to change what root does below directories of this user's.
            commands.kill_user(builder.pw_uid)
            self._make_build_home()
            self.step("unpack", self._unpack)
            release_dir = self.paths.release(self.release)
            version, platform = venvs.interpreter(self.agreed["python"], self.agreed["build_user"])
            self.state.transaction(venv=venvs.key(self.agreed, release_dir, version, platform), python=list(version), platform=platform)
            archive.hand_over(release_dir, builder.pw_uid, builder.pw_gid)
        else:
            self.skip("unpack", "the release is here")
        self.state.transaction(phase="prepared")
        venv = self.record["venv"]
        return {
            "venv": venv,
            "venv_ready": venvs.ready(self.paths.venv(venv)),
            "platform": self.record.get("platform"),
            "release": self.release,
        }

    def _make_build_home(self):
        """A home directory for this build alone: what an earlier one left there is nobody's configuration."""
        entry = account(self.agreed["build_user"])
        ownership.remove(self.paths.build_home)
        os.mkdir(self.paths.build_home, 0o700)
        os.chown(self.paths.build_home, entry.pw_uid, entry.pw_gid, follow_symlinks=False)

    def _unpack(self):
        entry = account(self.agreed["build_user"])
        with self._taken_in(self.record["artifact"], self.record["sha256"]) as taken:
            archive.unpack(taken, self.paths.release(self.release), entry.pw_uid, entry.pw_gid)
        self._link()
        project = commands.project(self.agreed, self.paths.release(self.release))
        if not os.path.isdir(project):
            raise BadRequest("the release has no directory {}".format(self.agreed["project_dir"]), "project_dir names it")

    @contextlib.contextmanager
    def _taken_in(self, name, digest):
        """The uploaded file `name`, checked and out of its owner's reach; removed in the end, and so is the upload."""
        upload = self.paths.upload(name)
        try:
            archive.take_in(upload, self.paths.artifact, digest)
            yield self.paths.artifact
        finally:
            for path in (self.paths.artifact, upload):
                ownership.remove(path)

    def _link(self):
        release_dir = self.paths.release(self.release)
        for link in self.agreed["links"]:
            path = os.path.join(release_dir, link["path"])
            parent = os.path.dirname(path)
            if not (os.path.realpath(parent) + "/").startswith(os.path.realpath(release_dir) + "/"):
                raise BadRequest("the link {} would lie outside of the release".format(link["path"]))
            os.makedirs(parent, exist_ok=True)
            ownership.remove(path)
            os.symlink(link["target"], path)

    def _builder(self):
        return venvs.Builder(
            self.agreed,
            self.paths,
            self.paths.release(self.release),
            self.record["venv"],
            tuple(self.record["python"]),
            self._log(""),
            self.agreed["releases"]["build_timeout"],
            self._serving_venv(),
        )

    def _serving_venv(self):
        old = self.record["old"]
        return self.state["releases"].get(old["release"], {}).get("venv") if old else None

    def wheels(self, request):
        """Make the wheelhouse of this release's virtualenv, or take the one that another host made."""
        if self.record["kind"] != "deploy":
            raise BadRequest("a {} needs no wheelhouse".format(self.record["kind"]))
        builder = self._builder()
        if request.get("artifact"):
            self.step("wheels", self._take_wheels, builder, request)
        elif venvs.ready(builder.wheelhouse):
            self.skip("wheels", "the wheelhouse is here")
        else:
            self.step("wheels", builder.wheels)
        return {"key": self.record["venv"]}

    def _take_wheels(self, builder, request):
        with self._taken_in(request["artifact"], request.get("sha256")) as taken:
            builder.take_wheels(taken)

    def build(self, request):
        """Virtualenv, build hooks, collectstatic; checks and the migration plan beside it, in one process.

        From its end on the release is root's. `check` in the request is false where another host's checks hold here too.
        """
        if self.record["kind"] != "deploy":
            self.skip("build", "the release is here")
            if self.record["kind"] == "rollback" and request.get("check", True):
                self.step("check", self._refuse_unmigrated)
            self.state.transaction(phase="built")
            return {"plan": [], "heads": self.state["releases"][self.release].get("heads", {}), "reversible": True}
        release_dir = self.paths.release(self.release)
        venv = self.paths.venv(self.record["venv"])
        if venvs.ready(venv):
            self.skip("virtualenv", "it is here")
        else:
            self.step("virtualenv", self._builder().install)
        builder = self.agreed["build_user"]
        self._hooks("build", builder)
        static = self.agreed["static"]
        started = time.monotonic()
        for name in ("collectstatic", "check"):
            self.emit({"event": "step", "step": name, "status": "start"})
        collecting = checking = None
        if static and static["collect"]:
            extra = {static["env"]: os.path.join(release_dir, static["root"])} if static["env"] else {}
            argv = list(self.agreed["manage"]) + list(static["collect"])
            collecting = self._start("collectstatic", argv, builder, self.agreed["releases"]["build_timeout"], extra)
        if request.get("check", True):
            checking = self._probe("check", {"modules": self.agreed["modules"], "applications": self.agreed["applications"]})
        failure = None
        for name, running in (("collectstatic", collecting), ("check", checking)):
            try:
                if running is not None:
                    running.wait()
                self._ended(name, "ok" if running is not None else "skipped", started)
            except Failed as error:
                self._ended(name, "failed", started)
                failure = failure or error
        if failure:
            raise failure
        # A file that is no Python of this version is no reason to fail; -I keeps the release's own modules out.
        compiling = ["python", "-I", "-m", "compileall", "-q", release_dir]
        self._start("compile", compiling, builder, self.agreed["releases"]["build_timeout"]).wait(check=False)
        uid = account(builder).pw_uid
        commands.kill_user(uid)
        ownership.give_to_root(release_dir, uid)
        if static:
            links.refuse_outside(release_dir, static["root"], venv, self.agreed["links"])
        facts = {"plan": [], "reversible": True, "heads": None}
        if checking is not None:
            facts = read_answer(checking, {"plan": is_migrations, "reversible": is_bool, "heads": is_heads})
        self.state.release(
            self.release,
            created=self.record["since"],
            status="built",
            ref=self.record["ref"],
            commit=self.record["commit"],
            owner=self.record["owner"],
            venv=self.record["venv"],
            heads=facts["heads"],
            applied=[],
        )
        self.state.transaction(phase="built", plan=facts["plan"])
        return facts

    def _refuse_unmigrated(self):
        """A release whose migrations were undone since would be healthy, and fail at its first query."""
        running = self._probe("pending", {})
        running.wait()
        pending = read_answer(running, {"plan": is_migrations})["plan"]
        if pending:
            raise BadRequest(
                "the release {} needs migrations that are not applied: {}".format(
                    self.release, ", ".join("{}.{}".format(app, name) for app, name in pending)
                ),
                "Deploy its commit, which applies them: fab deploy --ref {}".format(
                    self.state["releases"][self.release].get("commit")
                ),
            )

    def _env(self, release, extra=None):
        record = self.state["releases"].get(release) or self.record
        return commands.environment(self.agreed, self.paths, release, self.paths.venv(record["venv"]), extra)

    def _log(self, step):
        return os.path.join(self.paths.log, "{}-{}".format(self.record["op"], step).rstrip("-"))

    def _start(self, step, argv, user, timeout, extra=None, stdin=None, release=None, stdout=None):
        env = self._env(release or self.release, extra)
        if user == self.agreed["build_user"]:
            env["HOME"] = self.paths.build_home
        argv = commands.expand(argv, env)
        return commands.Running(
            step, argv, user, env["HOSTWRIGHT_PROJECT_DIR"], env, self._log(step) + ".log", timeout, stdin, stdout
        )

    def _probe(self, mode, request, release=None, timeout=None, stdout=None):
        """Start the probe as the application's user, in `release`."""
        with open(os.path.join(HERE, "probe.py"), encoding="utf-8") as source:
            script = source.read()
        request = dict(request, mode=mode, manage=self.agreed["manage"])
        timeout = timeout or self.agreed["releases"]["build_timeout"]
        extra = {}
        static = self.agreed["static"]
        if static and static["env"]:
            extra[static["env"]] = os.path.join(self.paths.release(release or self.release), static["root"])
        return self._start(
            mode,
            ["python", "-c", script],
            self.agreed["user"],
            timeout,
            extra,
            json.dumps(request).encode("utf-8"),
            release,
            stdout,
        )

    def _hooks_of(self, stage):
        return [hook for hook in self.agreed["hooks"] if hook["stage"] == stage]

    def _hooks(self, stage, user):
        for hook in self._hooks_of(stage):
            self.step("hook-" + hook["name"], self._hook, hook, user)

    def _hook(self, hook, user):
        self._start("hook-" + hook["name"], hook["command"], user, hook["timeout"]).wait()

    def migrate(self, request):
        """On one host of the fleet: hooks, a dump where wanted, the migrations, hooks."""
        wanted = self.agreed["releases"]
        user = self.agreed["user"]
        self._hooks("before_migrate", user)
        if wanted["dump_before_migrate"] and self.record["plan"]:
            self.step("dump", self._dump)
        facts = self.step("migrate", self._migrate, {"lock_timeout": wanted["lock_timeout"]})
        self.state.release(self.release, applied=facts["applied"])
        self._hooks("after_migrate", user)
        self.state.transaction(phase="migrated", applied=facts["applied"])
        return facts

    def _migrate(self, request):
        running = self._probe("migrate", request, timeout=self.agreed["releases"]["migrate_timeout"])
        running.wait()
        return read_answer(running, {"applied": is_migrations})

    def _dump(self):
        """A dump of the application's database, in a directory and a file that only root can reach."""
        os.makedirs(self.paths.dumps, mode=0o700, exist_ok=True)
        releases.remove_dumps(self.paths, self.state)
        unfinished = self.paths.unfinished_dump(self.release)
        try:
            with open(unfinished, "wb") as out:
                os.fchmod(out.fileno(), 0o600)
                timeout = self.agreed["releases"]["migrate_timeout"]
                self._probe("dump", {}, timeout=timeout, stdout=out).wait()
                os.fsync(out.fileno())
            os.rename(unfinished, self.paths.dump(self.release))
        finally:
            ownership.remove(unfinished)

    def unmigrate(self, request):
        """Rollback: go back to the heads of the older release, with the code of the release that serves now."""
        if self.record["kind"] != "rollback" or not self.record["old"]:
            raise BadRequest("only a rollback undoes migrations")
        targets = self.state["releases"][self.release].get("heads")
        if targets is None:
            raise BadRequest("the heads of the release {} are not known".format(self.release))
        return self.step("unmigrate", self._unmigrate, targets)

    def _unmigrate(self, targets):
        wanted = self.agreed["releases"]
        request = {"targets": targets, "lock_timeout": wanted["lock_timeout"]}
        # Before the first of them: who goes back from here on has to apply them again.
        self.state.transaction(undoing=True)
        running = self._probe("unmigrate", request, self.record["old"]["release"], wanted["migrate_timeout"])
        running.wait()
        return read_answer(running, {"undone": is_migrations})

    def _remigrate(self):
        """Apply again what a rollback has undone: the newer release serves on, and needs it."""
        wanted = self.agreed["releases"]
        request = {"lock_timeout": wanted["lock_timeout"]}
        self._probe("migrate", request, self.record["old"]["release"], wanted["migrate_timeout"]).wait()
        self.state.transaction(undoing=False)

    def standby(self, request):
        """Start the idle slot and ask it, over its own socket, until it answers as this release.

        `heads` in the request are those of the release's migrations, for a host that did not find them itself. With
        `any_status` it is enough that it answers: before migrations are undone, an older release may miss what they took.
        """
        if self.record["kind"] == "deploy" and is_heads(request.get("heads")):
            self.state.release(self.release, heads=request["heads"])
        if self.record["slot"]:
            self.step("standby", self._standby, [] if request.get("any_status") else self.agreed["web"]["health"]["status"])
        else:
            self.skip("standby", "no web server here")
        self.state.transaction(phase="standby")
        return {"slot": self.record["slot"]}

    def _standby(self, statuses):
        slot = self.record["slot"]
        health = self.agreed["web"]["health"]
        started = time.monotonic()
        slots.start(self.paths, slot, dict(self._unit_env(), HOSTWRIGHT_SLOT=slot), health["deadline"])
        left = max(health["deadline"] - (time.monotonic() - started), health["timeout"])
        slots.await_health(self.paths, slot, dict(health, deadline=left, status=statuses), self.release)

    def _unit_env(self):
        """What a unit of the release is told."""
        env = self._env(self.release)
        static = self.agreed["static"]
        named = {key: env[key] for key in env if key.startswith("HOSTWRIGHT_")}
        if static and static["env"]:
            named[static["env"]] = os.path.join(self.paths.release(self.release), static["root"])
        return named

    def ready(self, request):
        """The roll call: only a transaction that nothing has ended or undone since answers, and goes on.

        A disk that takes nothing more is found here too, while the whole fleet can still go back. With `health` in the
        request the standby slot has to answer once more, now as it should.
        """
        self.state.save()
        if request.get("health") and self.record["slot"]:
            health = self.agreed["web"]["health"]
            self.step("health", slots.await_health, self.paths, self.record["slot"], health, self.release)
        return {}

    # --- the flip

    def flip(self, request):
        """The new release gets the requests. Going back is possible until `confirm`."""
        self.state.transaction(phase="flipping")
        self.step("flip", self._flip)
        self.state.transaction(phase="flipped", flipped=time.time())
        return {}

    def _flip(self):
        slots.point(self.paths, self.record["slot"], self.release, self.previous)
        if self.record["slot"]:
            slots.verify(self.paths, self.agreed["web"]["health"], self.release)

    def confirm(self, request):
        """The new release is kept."""
        # A full disk is no reason to part from the rest of the fleet: what was kept free for going back serves to go on.
        ownership.remove(self.paths.reserve)
        if self.release in self.state["releases"]:
            self.state.release(self.release, status="good")
        if self.record.get("undoing"):
            since = self.state["releases"][self.release]["created"]
            for newer in [name for name, record in self.state["releases"].items() if record["created"] > since]:
                self.state.release(newer, applied=[])
        self.state.save(
            current={"release": self.release, "slot": self.record["slot"], "since": time.time()},
            previous=self.previous,
            transaction=dict(self.record, phase="confirmed"),
        )
        return {}

    # --- after it

    def finish(self, request):
        """Drain and stop the old slot, replace processes, clean up. Goes on where it was cut off."""
        old = self.record["old"]
        retired = old["slot"] if old else None
        problems = []
        answer = {"workers": [], "stopping": [], "removed": [], "drained": True}

        def attempt(name, function, *args):
            try:
                return self.step(name, function, *args)
            except EngineError as error:
                problems.append(error)
                return None

        def drain():
            if retired:
                answer["drained"] = attempt("drain", self._drain, retired)

        # Where migrations were undone, the newer release's workers fail at their tasks: they don't wait for old requests.
        workers_first = self.record.get("undoing")
        if not workers_first:
            drain()
        started = attempt("workers", self._start_processes, problems)
        if started is not None:
            answer["workers"] = sorted(started)
            attempt("old workers", processes.stop, self.paths, started)
        if workers_first:
            drain()
        if retired:
            attempt("old slot", self._retire, retired)
        if problems:
            for hook in self._hooks_of("after_deploy"):
                self.skip("hook-" + hook["name"], problems[0].message)
        else:
            try:
                self._hooks("after_deploy", self.agreed["user"])
            except EngineError as error:
                problems.append(error)
        answer["removed"] = attempt("clean up", self._clean_up) or []
        if started is not None:
            answer["stopping"] = processes.stop(self.paths, started)
        self.state.save(transaction=None)
        if problems:
            problems[0].message = "; ".join(problem.message for problem in problems)
            raise problems[0]
        return answer

    def _start_processes(self, problems):
        started, stuck = processes.start(self.agreed, self.paths, self.state, self._unit_env())
        if stuck:
            problems.append(Failed("{} did not stop, so no second one was started".format(", ".join(stuck)), step="workers"))
        return started

    def _drain(self, slot):
        timeout = self.agreed["releases"]["drain_timeout"]
        drained = slots.drain(self.paths, slot, timeout)
        slots.ask_to_stop(self.paths.site, slot)
        if not drained:
            detail = "slot {} still had connections after {} s; they get gunicorn's graceful timeout".format(slot, timeout)
            self.emit({"event": "note", "detail": detail})
        return drained

    def _clean_up(self):
        ownership.remove(self.paths.build_home)
        ownership.remove(self.paths.reserve)
        return releases.clean_up(self.agreed, self.paths, self.state)

    def _retire(self, slot):
        web = self.agreed["web"]
        if slots.stop(self.paths, slot, RETIRE + (web["timeout"] if web else 0)):
            raise Failed("slot {} did not stop".format(slot))

    # --- undoing it

    def abort(self, request):
        """Take back everything up to here; the old release serves, and nothing of the new one is left."""
        self.step("undo", self._undo)
        return {"release_kept": (self.state["current"] or {}).get("release")}

    def _undo(self):
        record = self.record
        slot = record["slot"]
        if record.get("undoing"):
            ownership.remove(self.paths.reserve)
            self.step("migrate", self._remigrate)
        pointed = self.past("flipping")
        if pointed:
            old = record["old"] or {"slot": record.get("live"), "release": None}
            if slot:
                slots.point_upstream(self.paths, old["slot"])
        # What has to be written now finds room on a full disk too.
        ownership.remove(self.paths.reserve)
        if pointed:
            slots.point(self.paths, old["slot"], old["release"], record["old_previous"])
            if slot:
                slots.drain(self.paths, slot, self.agreed["releases"]["drain_timeout"])
        if slot:
            if not pointed:
                slots.kill(self.paths, slot)
            self._retire(slot)
        commands.kill_user(account(self.agreed["build_user"]).pw_uid)
        if record["kind"] == "deploy":
            release_dir = self.paths.release(self.release)
            leftovers = [release_dir + end for end in ownership.LEFTOVERS]
            leftovers.append(self.paths.unfinished_dump(self.release))
            for path in [release_dir, self.paths.build_home, self.paths.artifact] + leftovers:
                ownership.remove(path)
            known = dict(self.state["releases"])
            known.pop(self.release, None)
            self.state.save(releases=known)
            if record.get("artifact"):
                ownership.remove(self.paths.upload(record["artifact"]))
        releases.remove_unfinished(self.paths)
        releases.trim_logs(self.paths.log)
        self.state.save(transaction=None)
