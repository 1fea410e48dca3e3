"""One deploy, rollback or restart on this host: the steps, their order, and how each is undone."""

import json
import os
import shutil
import time

from . import archive, commands, releases, slots, units, venvs
from .contract import account
from .errors import BadRequest, EngineError, Failed

PHASES = ("locked", "prepared", "built", "migrated", "standby", "flipping", "flipped", "confirmed")
STAYS_UP = 1.0
"""Seconds after which a process that does not say when it is ready counts as started."""

PATIENCE = 0.5
"""Seconds to wait for old processes. They take no new work any more; what they have under way may take long."""

MARK = "\x1eHOSTWRIGHT "
HERE = os.path.dirname(os.path.abspath(__file__))


class Transaction:
    """What the controller's commands do. `emit` takes an event; `state` is on disk before and after each step."""

    def __init__(self, agreed, paths, state, emit):
        self.agreed = agreed
        self.paths = paths
        self.state = state
        self.emit = emit
        self.commands = {
            "prepare": self.prepare,
            "wheels": self.wheels,
            "build": self.build,
            "migrate": self.migrate,
            "unmigrate": self.unmigrate,
            "standby": self.standby,
            "flip": self.flip,
            "confirm": self.confirm,
            "finish": self.finish,
            "abort": self.abort,
        }

    # --- what is under way

    @property
    def record(self):
        return self.state["transaction"]

    @property
    def release(self):
        return self.record["release"]

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
                raise BadRequest("the release {} is on this host already".format(release), "Use: fab rollback " + release)
        elif kind == "rollback":
            release = request.get("release") or self.state["previous"]
            releases.usable(self.paths, self.state, release)
            if current and current["release"] == release:
                raise BadRequest("the release {} is the current one already".format(release), "fab releases lists the others")
        else:
            if not current:
                raise BadRequest("nothing is deployed here yet, so nothing can be restarted", "Use: fab deploy")
            release = current["release"]
        self.state.save(
            transaction={
                "op": request["op"],
                "kind": kind,
                "release": release,
                "owner": request["owner"],
                "since": time.time(),
                "phase": "locked",
                "slot": slots.other(current["slot"] if current else None) if self.agreed["web"] else None,
                "old": current,
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
        self.emit({"event": "step", "step": name, "status": status, "seconds": round(time.monotonic() - started, 3)})

    def skip(self, name, why):
        self.emit({"event": "step", "step": name, "status": "skipped", "seconds": 0.0, "detail": why})

    # --- before the flip

    def prepare(self, request):
        """Verify and unpack the artifact, and see whether its virtualenv is here."""
        if self.record["kind"] == "deploy":
            self.step("unpack", self._unpack)
            release_dir = self.paths.release(self.release)
            version, platform = venvs.interpreter(self.agreed["python"])
            self.state.transaction(venv=venvs.key(self.agreed, release_dir, version, platform), python=list(version), platform=platform)
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

    def _unpack(self):
        entry = account(self.agreed["build_user"])
        taken = os.path.join(self.paths.var, "artifact")
        upload = self.paths.upload(self.record["artifact"])
        try:
            archive.take_in(upload, taken, self.record["sha256"])
            archive.unpack(taken, self.paths.release(self.release), entry.pw_uid, entry.pw_gid)
        finally:
            for path in (taken, upload):
                if os.path.lexists(path):
                    os.unlink(path)
        self._link()
        project = commands.project(self.agreed, self.paths.release(self.release))
        if not os.path.isdir(project):
            raise BadRequest("the release has no directory {}".format(self.agreed["project_dir"]), "project_dir names it")

    def _link(self):
        release_dir = self.paths.release(self.release)
        for link in self.agreed["links"]:
            path = os.path.join(release_dir, link["path"])
            parent = os.path.dirname(path)
            os.makedirs(parent, exist_ok=True)
            if not os.path.realpath(parent).startswith(os.path.realpath(release_dir)):
                raise BadRequest("the link {} would lie outside of the release".format(link["path"]))
            if os.path.islink(path) or os.path.isfile(path):
                os.unlink(path)
            elif os.path.isdir(path):
                shutil.rmtree(path)
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
        )

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
        taken = os.path.join(self.paths.var, "artifact")
        upload = self.paths.upload(request["artifact"])
        try:
            archive.take_in(upload, taken, request.get("sha256"))
            builder.take_wheels(taken)
        finally:
            for path in (taken, upload):
                if os.path.lexists(path):
                    os.unlink(path)

    def build(self, request):
        """Virtualenv, build hooks, collectstatic; checks and the migration plan beside it, in one process."""
        if self.record["kind"] != "deploy":
            self.skip("build", "the release is here")
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
        collecting = compiling = None
        if static and static["collect"]:
            extra = {static["env"]: os.path.join(release_dir, static["root"])} if static["env"] else {}
            argv = list(self.agreed["manage"]) + list(static["collect"])
            collecting = self._start("collectstatic", argv, builder, self.agreed["releases"]["build_timeout"], extra)
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
        commands.kill_user(account(builder).pw_uid)
        if failure:
            raise failure
        compiling = self._start(
            "compile", ["python", "-m", "compileall", "-q", "-x", "^$", release_dir], builder, self.agreed["releases"]["build_timeout"]
        )
        compiling.process.wait()
        commands.kill_user(account(builder).pw_uid)
        archive.give_to_root(release_dir)
        facts = _answer(checking.output(), "check", checking.log)
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
        self.state.transaction(phase="built")
        return facts

    def _env(self, release, extra=None):
        record = self.state["releases"].get(release) or self.record
        return commands.environment(self.agreed, self.paths, release, self.paths.venv(record["venv"]), extra)

    def _log(self, step):
        return os.path.join(self.paths.log, "{}-{}".format(self.record["op"], step).rstrip("-"))

    def _start(self, step, argv, user, timeout, extra=None, stdin=None, release=None):
        env = self._env(release or self.release, extra)
        argv = commands.expand(argv, env)
        return commands.Running(
            step, argv, user, env["HOSTWRIGHT_PROJECT_DIR"], env, self._log(step) + ".log", timeout, stdin
        )

    def _probe(self, mode, request, release=None, timeout=None):
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
            mode, ["python", "-c", script], self.agreed["user"], timeout, extra, json.dumps(request).encode("utf-8"), release
        )

    def _hooks(self, stage, user):
        for hook in self.agreed["hooks"]:
            if hook["stage"] == stage:
                self.step("hook-" + hook["name"], self._hook, hook, user)

    def _hook(self, hook, user):
        self._start("hook-" + hook["name"], hook["command"], user, hook["timeout"]).wait()

    def migrate(self, request):
        """On one host of the fleet: hooks, a dump where wanted, the migrations, hooks."""
        wanted = self.agreed["releases"]
        user = self.agreed["user"]
        self._hooks("before_migrate", user)
        if wanted["dump_before_migrate"]:
            self.step("dump", self._dump)
        facts = self.step("migrate", self._migrate, {"lock_timeout": wanted["lock_timeout"]})
        self.state.release(self.release, applied=facts["applied"])
        self._hooks("after_migrate", user)
        self.state.transaction(phase="migrated", applied=facts["applied"])
        return facts

    def _migrate(self, request):
        running = self._probe("migrate", request, timeout=self.agreed["releases"]["migrate_timeout"])
        running.wait()
        return _answer(running.output(), "migrate", running.log)

    def _dump(self):
        os.makedirs(self.paths.dumps, mode=0o700, exist_ok=True)
        entry = account(self.agreed["user"])
        for name in self.agreed["databases"]:
            target = os.path.join(self.paths.dumps, "{}-{}.dump".format(self.release, name))
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            os.close(descriptor)
            os.chown(target, entry.pw_uid, entry.pw_gid)
            os.chown(self.paths.dumps, entry.pw_uid, entry.pw_gid)
            self._start("dump", ["pg_dump", "-Fc", "-f", target, name], self.agreed["user"], 7200).wait()

    def unmigrate(self, request):
        """Rollback: go back to the heads of the older release, with the code of the release that serves now."""
        if self.record["kind"] != "rollback" or not self.record["old"]:
            raise BadRequest("only a rollback undoes migrations")
        targets = self.state["releases"][self.release].get("heads")
        if targets is None:
            raise BadRequest("the heads of the release {} are not known".format(self.release))
        dry_run = bool(request.get("dry_run"))
        return self.step("unmigrate", self._unmigrate, targets, dry_run)

    def _unmigrate(self, targets, dry_run):
        wanted = self.agreed["releases"]
        request = {"targets": targets, "dry_run": dry_run, "lock_timeout": wanted["lock_timeout"]}
        newer = self.record["old"]["release"]
        running = self._probe("unmigrate", request, newer, wanted["migrate_timeout"])
        running.wait()
        facts = _answer(running.output(), "unmigrate", running.log)
        if not dry_run:
            self.state.release(newer, applied=[])
        return facts

    def standby(self, request):
        """Start the idle slot and ask it, over its own socket, until it answers as this release."""
        if self.record["slot"]:
            self.step("standby", self._standby)
        else:
            self.skip("standby", "no web server here")
        self.state.transaction(phase="standby")
        return {"slot": self.record["slot"]}

    def _standby(self):
        slot = self.record["slot"]
        slots.start(self.paths, slot, self._unit_env(self.release, {"HOSTWRIGHT_SLOT": slot}))
        slots.await_health(self.paths, slot, self.agreed["web"]["health"], self.release)

    def _unit_env(self, release, extra):
        env = self._env(release)
        static = self.agreed["static"]
        named = {key: env[key] for key in env if key.startswith("HOSTWRIGHT_")}
        if static and static["env"]:
            named[static["env"]] = os.path.join(self.paths.release(release), static["root"])
        return dict(named, **extra)

    # --- the flip

    def flip(self, request):
        """The new release gets the requests. Going back is possible until `confirm`."""
        if not self.past("standby"):
            raise BadRequest("no standby slot is healthy yet")
        self.state.transaction(phase="flipping")
        self.step("flip", self._flip)
        self.state.transaction(phase="flipped", flipped=time.time())
        return {}

    def _flip(self):
        old = self.record["old"]
        previous = old["release"] if old and old["release"] != self.release else self.record["old_previous"]
        slots.point(self.paths, self.record["slot"], self.release, previous)
        if self.record["slot"]:
            slots.verify(self.paths, self.agreed["web"]["health"], self.release)

    def confirm(self, request):
        """The new release is kept."""
        if not self.past("flipped"):
            raise BadRequest("the release is not live, so it can't be confirmed")
        old = self.record["old"]
        if self.release in self.state["releases"]:
            self.state.release(self.release, status="good")
        previous = old["release"] if old and old["release"] != self.release else self.record["old_previous"]
        self.state.save(
            current={"release": self.release, "slot": self.record["slot"], "since": time.time()},
            previous=previous,
            transaction=dict(self.record, phase="confirmed"),
        )
        return {}

    # --- after it

    def finish(self, request):
        """Drain and stop the old slot, replace processes, clean up. Goes on where it was cut off."""
        if not self.past("confirmed"):
            raise BadRequest("the release is not confirmed yet")
        old = self.record["old"]
        retired = old["slot"] if old else None
        problems = []
        answer = {"workers": [], "stopping": [], "removed": []}

        def attempt(name, function, *args):
            try:
                return self.step(name, function, *args)
            except EngineError as error:
                problems.append(error)
                return None

        if retired:
            attempt("drain", self._drain, retired)
        started = attempt("workers", self._start_processes)
        if started is not None:
            answer["workers"] = sorted(started)
            answer["stopping"] = attempt("old workers", self._stop_processes, started) or []
        if retired:
            attempt("old slot", self._retire, retired)
        if not problems:
            try:
                self._hooks("after_deploy", self.agreed["user"])
            except EngineError as error:
                problems.append(error)
        answer["removed"] = attempt("clean up", releases.clean_up, self.agreed, self.paths, self.state) or []
        self.state.save(transaction=None)
        if problems:
            raise problems[0]
        return answer

    def _drain(self, slot):
        timeout = self.agreed["releases"]["drain_timeout"]
        drained = slots.drain(self.paths, slot, timeout)
        slots.ask_to_stop(self.paths.site, slot)
        if not drained:
            raise Failed("slot {} still had connections after {} s, and was stopped".format(slot, timeout))

    def _retire(self, slot):
        if slots.stop(self.paths, slot, 60):
            raise Failed("slot {} did not stop".format(slot))

    def _instances(self, process, release):
        """Full unit names of a process for `release`. A restart gets names of its own."""
        tag = release if self.record["kind"] != "restart" else "{}-r{}".format(release, self.record["op"][:8])
        return [
            "{}-{}@{}.{}".format(self.agreed["site"], process["name"], tag, number + 1) for number in range(process["count"])
        ]

    def _start_processes(self):
        wanted, notified = [], []
        running = units.instances(self.paths)
        for process in self.agreed["processes"]:
            prefix = "{}-{}@".format(self.agreed["site"], process["name"])
            names = self._instances(process, self.release)
            if process["singleton"]:
                old = [name + ".service" for name in running if name.startswith(prefix) and name not in names]
                left = units.stop(old, process["stop_timeout"] + 5)
                if left:
                    raise Failed("{} did not stop, so no second one was started".format(", ".join(left)))
            for name in names:
                instance = name.split("@", 1)[1]
                units.write_instance(self.paths, name, self._unit_env(self.release, {"HOSTWRIGHT_INSTANCE": instance}))
            (notified if process["notify"] else wanted).extend(name + ".service" for name in names)
        for timer in self.agreed["timers"]:
            unit = "{}-timer-{}".format(self.agreed["site"], timer)
            units.write_instance(self.paths, unit, self._unit_env(self.release, {"HOSTWRIGHT_INSTANCE": timer}))
        started = [name[: -len(".service")] for name in wanted + notified]
        if wanted:
            units.start(wanted, "workers", 120)
        since = time.monotonic()
        if notified:
            units.start(notified, "workers", 120)
        if wanted:
            self._stays_up(wanted, since + STAYS_UP)
        return started

    def _stays_up(self, names, deadline):
        while True:
            for name, state in zip(names, units.states(names)):
                if state != "active":
                    raise Failed("{} did not stay up".format(name), step="workers", tail=units.messages([name]))
            if time.monotonic() > deadline:
                return
            time.sleep(0.1)

    def _stop_processes(self, keep):
        """Ask every process of another release to stop; returns those that still finish their work."""
        site = self.agreed["site"]
        gone = [
            name
            for name in units.instances(self.paths)
            if "@" in name and not name.startswith(site + "-web@") and name not in keep
        ]
        services = [name + ".service" for name in gone]
        left = units.stop(services, PATIENCE)
        for name in gone:
            if name + ".service" not in left:
                units.forget_instance(self.paths, name)
        return left

    # --- undoing it

    def abort(self, request):
        """Take back everything up to here; the old release serves, and nothing of the new one is left."""
        if self.past("confirmed"):
            raise BadRequest("the release is confirmed; go back with: fab rollback")
        self.step("undo", self._undo)
        return {"release_kept": (self.state["current"] or {}).get("release")}

    def _undo(self):
        record = self.record
        slot = record["slot"]
        if self.past("flipping"):
            old = record["old"] or {"slot": None, "release": None}
            slots.point(self.paths, old["slot"], old["release"], record["old_previous"])
            if slot and self.past("flipping"):
                slots.drain(self.paths, slot, self.agreed["releases"]["drain_timeout"])
        if slot:
            slots.stop(self.paths, slot, 60)
        commands.kill_user(account(self.agreed["build_user"]).pw_uid)
        if record["kind"] == "deploy":
            shutil.rmtree(self.paths.release(self.release), ignore_errors=True)
            known = dict(self.state["releases"])
            known.pop(self.release, None)
            self.state.save(releases=known)
            if record.get("artifact") and os.path.lexists(self.paths.upload(record["artifact"])):
                os.unlink(self.paths.upload(record["artifact"]))
        releases.remove_unfinished(self.paths)
        self.state.save(transaction=None)


def _answer(output, step, log):
    """The facts in a probe's output."""
    for line in output.split("\n"):  # splitlines() would split at the mark itself
        if line.startswith(MARK):
            return json.loads(line[len(MARK) :])
    raise Failed("{} ended without an answer".format(step), step=step, log=log, tail=output.splitlines()[-15:])
