"""This machine's side of a lab: its container engine, its packages, and the files that a lab leaves."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hostwright import tree
from hostwright.errors import BadInput, HostwrightError
from hostwright.lab import apt, plan

ROOT = Path.cwd() if tree.INSTALLED else tree.TREE
"""Whose labs these are: this checkout's or, with an installed Hostwright, those of the project where fab runs."""
CACHE = ROOT / ".cache" / "lab"
LOCK = Path("/run/hostwright-lab.lock")
PACKAGES = (
    "podman",
    "runc",
    "netavark",
    "aardvark-dns",
    "mmdebstrap",
    "iptables",
    "uidmap",
    "openssh-client",
)
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PODMAN = plan.Engine("podman", ("--runtime=runc",))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(argv: Sequence[str], *, stdin: bytes | None = None, timeout: float = 600) -> str:
    """Run a command to its end and return its output; raises HostwrightError with its last lines."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout, check=False)
    except FileNotFoundError:
        raise HostwrightError(f"{argv[0]} is not installed", f"Install it: apt-get install {argv[0]}") from None
    except subprocess.TimeoutExpired:
        raise HostwrightError(f"{' '.join(argv[:3])} did not end within {timeout:.0f} s") from None
    if done.returncode:
        tail = "\n  ".join((done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-8:])
        raise HostwrightError(f"{' '.join(argv[:4])} … failed:\n  {tail}")
    return done.stdout.decode(errors="replace")


def prepare() -> plan.Engine:
    """The container engine; installs podman and its companions with apt where that is possible, after saying so."""
    with alone():
        return _prepare()


def _prepare() -> plan.Engine:
    engine = _engine_that_answers()
    if engine and engine.program == "docker":
        return engine
    missing = [name for name in ("podman", "runc", "mmdebstrap", "ssh-keygen") if not shutil.which(name)]
    if missing:
        if not shutil.which("apt-get"):
            raise BadInput(
                f"throwaway hosts need {', '.join(missing)}",
                "Install podman (4 or newer), runc and mmdebstrap, or start Docker.",
            )
        apt.install(PACKAGES, "throwaway hosts need them")
    return PODMAN


def _need_root() -> None:
    if os.geteuid() != 0:
        raise BadInput("throwaway hosts need root", "Run it as root, or in a virtual machine where you are root.")


def _engine_that_answers() -> plan.Engine | None:
    """The engine that makes labs here; None where there is no podman, and no Docker or one whose daemon is stopped."""
    engine = _engine()
    if not shutil.which(engine.program):
        return None
    if engine.program == "docker" and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return None
    return engine


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One lab command at a time on this machine, whichever checkout it comes from."""
    _need_root()
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def image(engine: plan.Engine, wanted: str) -> str:
    """The name of the image for `wanted`, such as debian:12; made or pulled where it is not here."""
    name = f"localhost/hostwright-lab:{plan.tag(wanted)}"
    if subprocess.run([engine.program, "image", "inspect", name], capture_output=True, check=False).returncode == 0:
        return name
    if wanted in plan.SUITES:
        CACHE.mkdir(parents=True, exist_ok=True)
        tree = CACHE / f"{plan.tag(wanted)}.tar"
        say(f"==> mmdebstrap {plan.SUITES[wanted]} (once; about half a minute)")
        try:
            run(plan.bootstrap_image(plan.SUITES[wanted], str(tree)), timeout=1200)
            run([engine.program, "import", str(tree), name])
        finally:
            tree.unlink(missing_ok=True)
        return name
    return _pulled(engine, wanted, name)


def _pulled(engine: plan.Engine, wanted: str, name: str) -> str:
    """A registry's image, which has no init: systemd and sshd are installed into it."""
    say(f"==> {engine.program} pull {wanted}")
    work = f"hostwright-image-{plan.tag(wanted)}"
    install = f"apt-get update && apt-get install -y --no-install-recommends {' '.join(plan.BASE_PACKAGES)}"
    try:
        run(
            [engine.program, *engine.options, "run", f"--name={work}", wanted, "sh", "-c", install],
            timeout=1200,
        )
        run([engine.program, "commit", work, name])
    except HostwrightError as error:
        raise HostwrightError(
            f"the image {wanted} can't be had here: {error.message}",
            f"A registry must answer for it; without one there are {', '.join(plan.SUITES)}, made from packages.",
        ) from None
    finally:
        subprocess.run([engine.program, "rm", "-f", work], capture_output=True, check=False)
    return name


def up(name: str, layout: str, wanted: str) -> list[plan.Host]:
    """Boot the lab `name`; hosts that run are kept, stopped ones are booted. Returns the hosts."""
    plan.lab_name(name)
    plan.layout_name(layout)
    with alone():
        _check_free(name)
        engine = _prepare()
        _without_orphans(engine)
        made = image(engine, wanted)
        lab = plan.hosts(str(ROOT), name, layout, _network(engine, name))
        plan.check_same(name, _containers(engine, name), _described(name), lab, made)
        directory = CACHE / name
        directory.mkdir(parents=True, exist_ok=True)
        described = [{"lab": h.lab, "name": h.name, "address": h.address, "groups": h.groups} for h in lab]
        (directory / "hosts.json").write_text(json.dumps(described), encoding="utf-8")
        key = directory / "key"
        if not key.exists():
            run(
                [
                    "ssh-keygen",
                    "-q",
                    "-t",
                    "ed25519",
                    "-N",
                    "",
                    "-C",
                    f"hostwright lab {name}",
                    "-f",
                    str(key),
                ]
            )
        for host in lab:
            boot(engine, host, made)
        for host in lab:
            _await_systemd(engine, host)
            _admit(host, key)
        (directory / "known_hosts").write_text("".join(_host_keys(engine, host) for host in lab), encoding="utf-8")
        _write_inventory(name, lab, directory, wanted)
    return lab


def _check_free(name: str) -> None:
    """Raises BadInput where inventory/NAME is there and no lab made it, or where no path can be given to ssh."""
    if re.search(r"\s", str(ROOT)):
        raise BadInput(f"a lab can't be in {ROOT}: ssh would split that at the blank", "Clone to another directory.")
    if (ROOT / "inventory" / name).exists() and not (CACHE / name).exists():
        raise BadInput(f"inventory/{name} is an inventory of your own", "Choose another --name for the lab.")


def boot(engine: plan.Engine, host: plan.Host, image_name: str) -> None:
    """Start a host: a new one, a stopped one, or, where an earlier run was cut off, a half-made one again."""
    state = _state(engine, host)
    if state == "running":
        return
    if state in ("exited", "stopped"):
        run([engine.program, *engine.options, "start", host.container])
        return
    if state:
        run([engine.program, "rm", "-f", host.container])
    nofile, nproc = _at_most(20000, resource.RLIMIT_NOFILE), _at_most(16384, resource.RLIMIT_NPROC)
    run(plan.start_host(engine, host, image_name, nofile, nproc))


def _at_most(wanted: int, limit: int) -> int:
    """`wanted`, or less where this machine's hard limit is lower."""
    hard = resource.getrlimit(limit)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def kill(host: plan.Host) -> None:
    """Take away the host's power."""
    run([_engine().program, "kill", "--signal=KILL", host.container])


def start(host: plan.Host) -> None:
    """Give the host its power back, and wait until its sshd runs."""
    engine = _engine()
    run([engine.program, *engine.options, "start", host.container])
    _await_systemd(engine, host)


def cut(host: plan.Host) -> None:
    """Unplug the host's network."""
    run([_engine().program, "network", "disconnect", host.network, host.container])


def mend(host: plan.Host) -> None:
    """Plug the host's network in again."""
    run(
        [
            _engine().program,
            "network",
            "connect",
            f"--ip={host.address}",
            host.network,
            host.container,
        ]
    )


def execute(host: plan.Host, argv: Sequence[str], stdin: bytes | None = None, timeout: float = 600) -> str:
    """Run a command on the host as root, past ssh."""
    return run(
        [_engine().program, "exec", *(["-i"] if stdin is not None else []), host.container, *argv],
        stdin=stdin,
        timeout=timeout,
    )


def put(host: plan.Host, path: str, data: bytes, mode: str = "644") -> None:
    """Put a file that root owns on the host, whole or not at all; directories on the way to it are made."""
    script = 'mkdir -p "$(dirname "$1")" && umask 077 && cat >"$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"'
    execute(host, ["sh", "-c", script, "put", path, mode], stdin=data)


def down(name: str, images: bool = False) -> list[str]:
    """Remove all that the lab `name` made; returns what was removed."""
    plan.lab_name(name)
    removed = []
    with alone():
        _check_free(name)
        engine = _engine_that_answers()
        if not engine and (CACHE / name / "hosts.json").exists():
            raise HostwrightError(
                f"the hosts of the lab {name} can't be removed: no container engine answers",
                f"Start Docker, or install podman; if they are gone, delete {CACHE / name} and inventory/{name}.",
            )
        if engine:
            containers = list(_containers(engine, name))
            if containers:
                run([engine.program, "rm", "-f", *containers])
                removed.append(f"{len(containers)} hosts")
            network = plan.network(str(ROOT), name)
            if network in _networks(engine):
                run([engine.program, "network", "rm", network])
                removed.append(f"network {network}")
            if images:
                removed += _without_images(engine)
        for path in (ROOT / "inventory" / name, CACHE / name):
            if path.exists():
                shutil.rmtree(path)
                removed.append(str(path.relative_to(ROOT)))
    return removed


def _without_orphans(engine: plan.Engine) -> None:
    """Remove the labs of checkouts that are gone: nobody has their keys."""
    for network, (_, checkout) in _networks(engine).items():
        if checkout and not Path(checkout).exists():
            say(f"==> the lab {network} of {checkout} is removed: that checkout is gone")
            its_own = f"--filter=label={plan.CHECKOUT}={checkout}"
            for container in run([engine.program, "ps", "-aq", its_own]).split():
                run([engine.program, "rm", "-f", container])
            run([engine.program, "network", "rm", network])


def _without_images(engine: plan.Engine) -> list[str]:
    """Remove the images of labs, but for those that another lab uses."""
    removed = []
    listed = [engine.program, "image", "ls", "--format={{.Repository}}:{{.Tag}}", "localhost/hostwright-lab"]
    for name in run(listed).split():
        if run([engine.program, "ps", "-aq", f"--filter=ancestor={name}"]).split():
            say(f"the image {name} is kept: another lab uses it")
        else:
            run([engine.program, "image", "rm", name])
            removed.append(f"image {name}")
    return removed


def hosts(name: str) -> list[plan.Host]:
    """The hosts of the lab `name`, as it was made."""
    found = _described(plan.lab_name(name))
    if not found:
        raise BadInput(f"there is no lab {name}", "Make it: fab lab.up")
    return found


def _described(name: str) -> list[plan.Host]:
    """The hosts of the lab `name` as this checkout made it; none where it did not."""
    path = CACHE / name / "hosts.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [plan.Host(**{**entry, "checkout": str(ROOT), "groups": tuple(entry["groups"])}) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, TypeError, KeyError):
        raise HostwrightError(
            f"{path} does not describe the hosts of the lab {name}",
            f"Remove the lab, and make it anew: fab lab.down --name {name}; fab lab.up --name {name}",
        ) from None


def _containers(engine: plan.Engine, name: str) -> dict[str, str]:
    """The containers of the lab `name`, with the image of each."""
    labels = {plan.LABEL: name, plan.CHECKOUT: str(ROOT)}
    filters = [f"--filter=label={label}={value}" for label, value in labels.items()]
    listed = run([engine.program, "ps", "-a", *filters, "--format={{.Names}} {{.Image}}"])
    return dict(line.split() for line in listed.splitlines())


def states(name: str) -> list[tuple[plan.Host, str]]:
    """Each host with what its container does."""
    made = hosts(name)
    engine = _engine_that_answers()
    if not engine:
        raise HostwrightError(f"no container engine answers for the lab {name}", "Start Docker, or install podman.")
    return [(host, _state(engine, host) or "gone") for host in made]


def _engine() -> plan.Engine:
    return PODMAN if shutil.which("podman") else plan.Engine("docker")


def _state(engine: plan.Engine, host: plan.Host) -> str:
    done = subprocess.run(
        [engine.program, "inspect", "--format={{.State.Status}}", host.container],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def _network(engine: plan.Engine, lab: str) -> str:
    """The lab's subnet, made where it is not there."""
    there = _networks(engine)
    mine = plan.network(str(ROOT), lab)
    if mine in there:
        return there[mine][0][0]
    subnet = plan.free_subnet([subnet for subnets, _ in there.values() for subnet in subnets])
    run(plan.make_network(engine, str(ROOT), lab, subnet))
    return subnet


def _networks(engine: plan.Engine) -> dict[str, tuple[list[str], str]]:
    """Each network of this machine's engine: its subnets, and the checkout whose lab it belongs to."""
    found = {}
    for described in _inspected(engine):
        configs = described.get("subnets") or (described.get("IPAM") or {}).get("Config") or []
        subnets = [entry.get("subnet") or entry.get("Subnet") for entry in configs]
        labels = described.get("labels") or described.get("Labels") or {}
        name = described.get("name") or described["Name"]
        found[name] = ([subnet for subnet in subnets if subnet], labels.get(plan.CHECKOUT, ""))
    return found


def _inspected(engine: plan.Engine) -> list[dict[str, Any]]:
    """What the engine says of each network; it names them first, and another lab may remove one meanwhile."""
    names = run([engine.program, "network", "ls", "--format={{.Name}}"]).split()
    try:
        described: list[dict[str, Any]] = json.loads(run([engine.program, "network", "inspect", *names]))
    except HostwrightError:
        if run([engine.program, "network", "ls", "--format={{.Name}}"]).split() == names:
            raise
        return _inspected(engine)
    return described


def _await_systemd(engine: plan.Engine, host: plan.Host) -> None:
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(
            [engine.program, "exec", host.container, "systemctl", "is-active", "ssh"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.stdout.strip() == "active":
            return
        if time.monotonic() > deadline:
            raise HostwrightError(f"{host.name} did not boot", f"Look: {engine.program} logs {host.container}")
        time.sleep(0.2)


def _admit(host: plan.Host, key: Path) -> None:
    """Let root in with the lab's key, and give the host this machine's package settings."""
    execute(host, ["mkdir", "-p", "-m", "700", "/root/.ssh"])
    put(host, "/root/.ssh/authorized_keys", key.with_name("key.pub").read_bytes(), "600")
    if CERTIFICATES.exists():
        # The machine's own authorities as well, where a proxy or a mirror needs them.
        put(host, "/etc/hostwright-lab/ca.crt", CERTIFICATES.read_bytes())
        pip = b"[global]\ncert = /etc/hostwright-lab/ca.crt\ndisable-pip-version-check = true\n"
        put(host, "/etc/pip.conf", pip)


def _host_keys(engine: plan.Engine, host: plan.Host) -> str:
    """The host's keys, read past the network, so that nobody else's can be taken for them."""
    script = "cat /etc/ssh/ssh_host_*_key.pub"
    keys = run([engine.program, "exec", host.container, "sh", "-c", script])
    return "".join(f"{host.address} {' '.join(line.split()[:2])}\n" for line in keys.splitlines())


def _write_inventory(name: str, lab: list[plan.Host], directory: Path, wanted: str) -> None:
    target = ROOT / "inventory" / name
    target.mkdir(parents=True, exist_ok=True)
    hosts_yml = plan.inventory(lab, str(directory / "key"), str(directory / "known_hosts"), wanted)
    (target / ".gitignore").write_text("*\n", encoding="utf-8")
    (target / "hosts.yml").write_text(json.dumps(hosts_yml, indent=2) + "\n", encoding="utf-8")
    if tree.INSTALLED:
        # A host to try the project's own site on.
        variables = target / "group_vars"
        variables.unlink(missing_ok=True)
        variables.symlink_to(Path("..", "production", "group_vars"))
        return
    variables = target / "group_vars" / "all"
    variables.mkdir(parents=True, exist_ok=True)
    for source in (ROOT / "examples" / "shop" / "deploy").glob("*.yml"):
        shutil.copy(source, variables / source.name)
