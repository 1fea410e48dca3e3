"""From where the code is to an artifact: one archive of a source tree, the same for every host."""

from __future__ import annotations

import copy
import gzip
import hashlib
import http.client
import io
import lzma
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hostwright import git
from hostwright.config import Source, without_credentials
from hostwright.errors import BadInput

RELEASE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
LEFT_OUT = {".git", "__pycache__", ".venv", "node_modules", ".mypy_cache", ".pytest_cache"}
"""Never part of a release that is made from a directory."""


@dataclass(frozen=True)
class Artifact:
    """What is shipped: a tar.gz, what it was made from, and the release's name."""

    release: str
    data: bytes
    sha256: str
    ref: str
    commit: str

    @property
    def name(self) -> str:
        """The name that it is uploaded under."""
        return f"{self.release}.tar.gz"


def release_name(text: str) -> str:
    """`text` if it can name a release; raises BadInput."""
    if not RELEASE.fullmatch(text) or ".." in text:
        raise BadInput(f"{text!r} is no release name", "fab releases lists those that are there.")
    return text


def build(source: Source, ref: str = "", dirty: bool = False, now: float | None = None) -> Artifact:
    """Make the artifact of `source`, at `ref` if given. Raises BadInput for what can't be found or is not committed."""
    if source.git:
        commit, data = _git(source, ref, dirty)
        ref = ref or source.ref
    elif ref:
        raise BadInput("--ref: only a source with `git` has refs", "See source in the site model.")
    elif source.path:
        data = _directory(_top(source.path, source.subdir))
        commit, ref = hashlib.sha256(data).hexdigest(), source.path
    elif source.pypi:
        data = _repacked(_sdist(source.pypi, source.version or ""), source.subdir)
        commit, ref = source.version or "", f"{source.pypi}=={source.version}"
    else:
        data = _repacked(_archive(source.archive or "", source.sha256 or ""), source.subdir)
        commit, ref = source.sha256 or "", without_credentials(source.archive or "")
    return Artifact(release_for(commit, now), data, hashlib.sha256(data).hexdigest(), ref, commit)


def check(source: Source) -> None:
    """Look whether what `source` names on this machine is there. Raises BadInput."""
    if source.git and not _is_remote(source.git):
        repository = _repository(source.git)
        if not _commit(repository, source.ref):
            raise _no_ref("source.ref", repository, source.ref)
    elif source.path:
        _content(_top(source.path, source.subdir))
    elif source.archive and "://" in source.archive:
        _check_url(source.archive)
    elif source.archive and not _path("source.archive", source.archive).is_file():
        raise _no_archive(source.archive)


def release_for(commit: str, now: float | None = None) -> str:
    """The name of a release made at `now` (seconds since 1970) from a commit, version or sha256."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
    if DIGEST.fullmatch(commit):
        return f"{stamp}-{commit[:7]}"
    version = re.sub(r"[^0-9A-Za-z.]", "", commit)[:40]
    return release_name(f"{stamp}-{re.sub(r'[.]+', '.', version).rstrip('.')}")


def _run_git(*argv: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return git.run(*argv)
    except FileNotFoundError:
        raise BadInput("source.git: git is not installed", "Install it: apt-get install git") from None


def _git(source: Source, ref: str, dirty: bool) -> tuple[str, bytes]:
    """The commit that `ref`, or else `source.ref`, names, and its archive."""
    origin = source.git or "."
    if _is_remote(origin):
        with tempfile.TemporaryDirectory() as clone:
            done = _run_git("clone", "-q", "--bare", "--", origin, clone)
            if done.returncode:
                said = without_credentials(done.stderr.decode(errors="replace").strip())
                raise BadInput(f"source.git: {without_credentials(origin)} can't be cloned: {said[-300:]}")
            return _archived(clone, source, ref)
    origin = _repository(origin)
    asked = _run_git("-C", origin, "status", "--porcelain", "--untracked-files=no", "--", ".")
    changed = asked.stdout.decode(errors="replace").splitlines()
    if changed and not dirty and ref.isprintable() and _commit(origin, ref or source.ref) == _commit(origin, "HEAD"):
        raise BadInput(
            f"source.git: {origin} has changes that are not committed: {', '.join(line[3:] for line in changed[:3])}",
            "Commit them, or deploy without them: --dirty",
        )
    return _archived(origin, source, ref)


def _is_remote(git: str) -> bool:
    return "://" in git or re.match(r"[\w.-]+@[\w.-]+:", git) is not None


def _repository(git: str) -> str:
    """The path of a repository on this machine. Raises BadInput where there is none."""
    path = str(_path("source.git", git))
    if not Path(path).is_dir():
        raise BadInput(f"source.git: there is no directory {git}", "It is relative to where fab runs.")
    asked = _run_git("-C", path, "rev-parse", "--git-dir")
    if asked.returncode:
        why, _, more = asked.stderr.decode(errors="replace").strip().partition("\n")
        if "not a git repository" in why:
            raise BadInput(f"source.git: {path} is no git repository", "Use source.path for a plain directory.")
        raise BadInput(f"source.git: {path}: git says: {why.removeprefix('fatal: ')}", " ".join(more.split()))
    return path


def _path(key: str, text: str) -> Path:
    """The path on this machine that `text` names, there or not. Raises BadInput for what none can be called."""
    try:
        path = Path(text).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"{key}: {text[:80]!r} can't be a path: {getattr(error, 'strerror', None) or error}") from None
    return path


def _no_ref(key: str, repository: str, ref: str) -> BadInput:
    if ref == "HEAD":
        return BadInput(f"{key}: {repository} has no commit yet", "git add and git commit make the first one.")
    return BadInput(f"{key}: {repository} has no branch, tag or commit {ref!r}", "git branch -a and git tag list them.")


def _no_archive(where: str) -> BadInput:
    return BadInput(f"source.archive: there is no file {where}", "It is relative to where fab runs.")


def _top(path: str, subdir: str) -> Path:
    """The directory of a source that is one. Raises BadInput where there is none."""
    top = _path("source.subdir", str(_path("source.path", path) / subdir))
    if not top.is_dir():
        raise BadInput(f"source.path: there is no directory {top}", "It is relative to where fab runs.")
    return top


def _commit(repository: str, ref: str) -> str:
    """The full name of the commit that `ref` names; empty where there is none."""
    found = _run_git("-C", repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    return found.stdout.decode().strip() if found.returncode == 0 else ""


def _archived(repository: str, source: Source, ref: str) -> tuple[str, bytes]:
    key, ref = ("--ref", ref) if ref else ("source.ref", source.ref)
    commit = "" if ref.startswith("-") or not ref.isprintable() else _commit(repository, ref)
    if not commit:
        raise _no_ref(key, without_credentials(source.git or repository), ref)
    prefix = _run_git("-C", repository, "rev-parse", "--show-prefix").stdout.decode().strip()
    subdir = str(PurePosixPath(prefix or ".") / source.subdir)
    tree = commit if subdir == "." else f"{commit}:{subdir}"
    # git archive takes a path in a tree from the top of a repository only.
    top = str(Path(repository) / _run_git("-C", repository, "rev-parse", "--show-cdup").stdout.decode().strip())
    packed = _run_git("-C", top, "archive", "--format=tar", tree)
    if packed.returncode:
        said = packed.stderr.decode(errors="replace").strip()
        raise BadInput(f"source.subdir: {ref} has no directory {subdir}", said[-300:])
    listed = _run_git("-C", top, "ls-tree", "-r", "-z", tree).stdout.decode(errors="replace").split("\0")
    if listed == [""]:
        raise BadInput(f"source.git: {ref} holds no files", "git add and git commit put some there.")
    submodules = [line.partition("\t")[2] for line in listed if line.startswith("160000 ")]
    if submodules:
        print(f"note: source.git: {ref} has submodules, which are left out: {', '.join(submodules)}", file=sys.stderr)
    return commit, _compressed(packed.stdout)


def _compressed(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1, mtime=0)


def _directory(top: Path) -> bytes:
    out = io.BytesIO()
    try:
        with tarfile.open(fileobj=out, mode="w") as tar:
            for path in _content(top):
                tar.inodes = {}  # type: ignore[attr-defined]  # a second name of a file is a file, not a link
                tar.add(path, arcname=str(path.relative_to(top)), recursive=False, filter=_anonymous)
    except OSError as error:
        raise _unreadable(top, error) from None
    return _compressed(out.getvalue())


def _content(top: Path) -> list[Path]:
    """What of a directory is part of a release, in order. Raises BadInput where there is nothing."""
    try:
        found = list(_below(top))
    except OSError as error:
        raise _unreadable(top, error) from None
    if not found:
        raise BadInput(f"source.path: {top} is empty", "It is the directory that becomes the release.")
    return found


def _unreadable(top: Path, error: OSError) -> BadInput:
    return BadInput(f"source.path: {error.filename or top} can't be read: {error.strerror or error}")


def _below(top: Path) -> Iterator[Path]:
    for path in sorted(top.iterdir()):
        if path.name in LEFT_OUT or path.suffix == ".pyc":
            continue
        is_directory = path.is_dir() and not path.is_symlink()
        if is_directory or path.is_symlink() or path.is_file():
            yield path
        if is_directory:
            yield from _below(path)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def _sdist(project: str, version: str) -> bytes:
    """The sdist of a project on the package index."""
    with tempfile.TemporaryDirectory() as target:
        # pip asks a sdist for its metadata, which takes what it is built with: as wheels, in an environment of its own.
        argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", f"--no-binary={project}", "-d", target]
        done = subprocess.run([*argv, f"{project}=={version}"], capture_output=True, text=True, check=False)
        found = sorted(Path(target).iterdir())
        if done.returncode or not found:
            raise BadInput(
                f"source.pypi: pip can't get the sdist of {project}=={version}: {done.stderr.strip()[-300:]}"
            )
        return found[0].read_bytes()


def _check_url(where: str) -> None:
    if where != without_credentials(where):
        raise BadInput(
            f"source.archive: {without_credentials(where)} holds a user or a password, which are not sent",
            "Fetch the archive first, and name its path.",
        )
    if not where.startswith("https://"):
        raise BadInput(f"source.archive: {where} is no https URL and no path")


def _archive(where: str, sha256: str) -> bytes:
    if "://" in where:
        _check_url(where)
        try:
            with urllib.request.urlopen(where, timeout=60) as answer:
                data: bytes = answer.read()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise BadInput(f"source.archive: {where} can't be fetched: {error}") from None
    elif not _path("source.archive", where).is_file():
        raise _no_archive(where)
    else:
        try:
            data = _path("source.archive", where).read_bytes()
        except OSError as error:
            raise BadInput(f"source.archive: {where} can't be read: {error.strerror}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise BadInput(f"source.archive: {where} has the sha256 {found}, not {sha256}", "Check where it comes from.")
    return data


def _repacked(data: bytes, subdir: str) -> bytes:
    """`data`, a tar file, without the one directory that all of it lies in, and only `subdir` of that."""
    out = io.BytesIO()
    found = False
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive, tarfile.open(fileobj=out, mode="w") as tar:
            members = archive.getmembers()
            prefix = PurePosixPath(_common(m.name for m in members)) / subdir
            for member in members:
                path = PurePosixPath(member.name)
                if prefix in path.parents:
                    content = archive.extractfile(member) if member.isreg() or member.islnk() else None
                    packed = copy.copy(member)
                    packed.name = str(path.relative_to(prefix))
                    # They hold a long name, which would win over the new one.
                    packed.pax_headers = {}
                    if member.islnk() and content:
                        # A second name of a file: the first one may not be in the new archive.
                        packed.type, packed.size = tarfile.REGTYPE, content.seek(0, io.SEEK_END)
                        content.seek(0)
                    tar.addfile(_anonymous(packed), content)
                    found = True
    except (tarfile.TarError, OSError, EOFError, KeyError, zlib.error, lzma.LZMAError) as error:
        raise BadInput(f"source: the archive can't be read: {error}") from None
    if not found:
        missing = (
            "source: the archive is empty" if subdir == "." else f"source.subdir: the archive has no directory {subdir}"
        )
        raise BadInput(missing)
    return _compressed(out.getvalue())


def _common(names: Iterable[str]) -> str:
    tops = {PurePosixPath(name).parts[0] for name in names if PurePosixPath(name).parts}
    return tops.pop() if len(tops) == 1 else "."
