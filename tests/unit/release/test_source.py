"""From where the code is to an artifact."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostwright.config import Source
from hostwright.errors import BadInput
from hostwright.release import source

NOW = 1767225600.0  # 2026-01-01 00:00:00 UTC


def git(repository: Path, *argv: str) -> str:
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main")
    return subprocess.run(
        ("git", *author, *argv), cwd=repository, check=True, capture_output=True, text=True
    ).stdout.strip()


def files(artifact: source.Artifact) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(artifact.data)) as tar:
        assert {(m.uid, m.gid) for m in tar} == {(0, 0)}
        found = {}
        for member in tar:
            extracted = tar.extractfile(member) if member.isreg() else None
            found[member.name] = extracted.read().decode() if extracted else member.linkname and f"-> {member.linkname}"
        return found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    top = tmp_path / "repository"
    (top / "app" / "inner").mkdir(parents=True)
    (top / "manage.py").write_text("v1")
    (top / "app" / "x.py").write_text("x1")
    git(top, "init", "-q")
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "one")
    git(top, "tag", "v1")
    (top / "manage.py").write_text("v2")
    git(top, "commit", "-q", "-a", "-m", "two")
    git(top, "branch", "stable", "v1")
    return top


def refusal(described: Source, ref: str = "", dirty: bool = False) -> str:
    with pytest.raises(BadInput) as caught:
        source.build(described, ref, dirty)
    return caught.value.message


# --- git


def test_the_newest_commit(repository: Path) -> None:
    artifact = source.build(Source(git=str(repository)), now=NOW)
    commit = git(repository, "rev-parse", "HEAD")
    assert files(artifact) == {"manage.py": "v2", "app": "", "app/x.py": "x1"}
    assert artifact.release == f"20260101T000000-{commit[:7]}"
    assert artifact.name == f"{artifact.release}.tar.gz"
    assert (artifact.ref, artifact.commit) == ("HEAD", commit)
    assert artifact.sha256 == hashlib.sha256(artifact.data).hexdigest()


@pytest.mark.parametrize("ref", ["v1", "stable", "HEAD~1"])
def test_a_ref(repository: Path, ref: str) -> None:
    artifact = source.build(Source(git=str(repository)), ref)
    assert files(artifact)["manage.py"] == "v1"
    assert (artifact.ref, artifact.commit) == (ref, git(repository, "rev-parse", "v1"))
    assert source.build(Source(git=str(repository), ref=ref)).commit == artifact.commit
    assert files(source.build(Source(git=str(repository), ref=ref), "main"))["manage.py"] == "v2"


def test_an_artifact_is_the_same_for_the_same_commit(repository: Path) -> None:
    first = source.build(Source(git=str(repository)), now=NOW)
    assert source.build(Source(git=str(repository)), now=NOW) == first


def test_a_repository_by_its_address(repository: Path) -> None:
    artifact = source.build(Source(git=repository.as_uri(), subdir="app"), "stable")
    assert files(artifact) == {"x.py": "x1"}
    assert artifact.commit == git(repository, "rev-parse", "v1")


def test_a_directory_inside_of_a_repository(repository: Path) -> None:
    assert files(source.build(Source(git=str(repository / "app")))) == {"x.py": "x1"}
    assert files(source.build(Source(git=str(repository), subdir="app"))) == {"x.py": "x1"}


@pytest.mark.parametrize("ref", ["nope", "v1:app", "v1..main", "", "x y", "HEAD^{tree}"])
def test_an_unknown_ref(repository: Path, ref: str) -> None:
    described = Source(git=str(repository), ref=ref) if ref else Source(git=str(repository), ref="")
    assert refusal(described) == f"source.ref: {repository} has no branch, tag or commit {ref!r}"
    if ref:
        told = f"--ref: {repository} has no branch, tag or commit {ref!r}"
        assert refusal(Source(git=str(repository)), ref) == told


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert refusal(Source(git=str(tmp_path))) == f"source.ref: {tmp_path} has no commit yet"


@pytest.mark.parametrize("ref", ["--help", "-x", "--output=/tmp/x", "--upload-pack=id"])
def test_an_option_is_no_ref(repository: Path, ref: str) -> None:
    for git in (str(repository), repository.as_uri()):
        assert refusal(Source(git=git), ref) == f"--ref: {git} has no branch, tag or commit {ref!r}"


def test_what_a_source_names_is_looked_for_without_building(repository: Path, tmp_path: Path) -> None:
    source.check(Source(git=str(repository), ref="v1"))
    source.check(Source(path=str(repository), subdir="."))
    source.check(Source(git="https://example.com/x.git"))
    source.check(Source(pypi="x", version="1"))
    source.check(Source(archive="https://example.com/x.tgz", sha256="0" * 64))
    none = f"{tmp_path}/none"
    for described, message in (
        (Source(git=none), f"source.git: there is no directory {none}"),
        (Source(git=str(repository), ref="v9"), f"source.ref: {repository} has no branch, tag or commit 'v9'"),
        (Source(path=none), f"source.path: there is no directory {none}"),
        (Source(archive=none, sha256="0" * 64), f"source.archive: there is no file {none}"),
    ):
        with pytest.raises(BadInput) as caught:
            source.check(described)
        assert caught.value.message == message


def test_an_option_is_no_repository(tmp_path: Path) -> None:
    assert "can't be cloned" in refusal(Source(git=f"--upload-pack=touch {tmp_path}/owned;://x"))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("subdir", ["nope", "manage.py", "app/nope"])
def test_an_unknown_subdir(repository: Path, subdir: str) -> None:
    assert refusal(Source(git=str(repository), subdir=subdir)) == f"source.subdir: HEAD has no directory {subdir}"


def test_changes_that_are_not_committed(repository: Path) -> None:
    (repository / "manage.py").write_text("v3")
    (repository / "new.py").write_text("")
    described = Source(git=str(repository))
    assert refusal(described) == f"source.git: {repository} has changes that are not committed: manage.py"
    # By whatever name the checkout's own commit is called.
    branch = subprocess.run(
        ["git", "-C", str(repository), "branch", "--show-current"], capture_output=True, text=True, check=True
    )
    assert "not committed" in refusal(Source(git=str(repository), ref=branch.stdout.strip()))
    assert files(source.build(described, dirty=True)) == {"manage.py": "v2", "app": "", "app/x.py": "x1"}
    assert files(source.build(described, "v1"))["manage.py"] == "v1"


def test_changes_elsewhere_in_the_repository_do_not_matter(repository: Path) -> None:
    (repository / "manage.py").write_text("v3")
    assert files(source.build(Source(git=str(repository / "app")))) == {"x.py": "x1"}


def test_what_is_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert refusal(Source(git=str(tmp_path / "none"))) == f"source.git: there is no directory {tmp_path / 'none'}"
    assert refusal(Source(git=str(tmp_path))) == f"source.git: {tmp_path} is no git repository"
    assert "can't be cloned" in refusal(Source(git=(tmp_path / "none").as_uri()))


def test_no_git_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal(Source(git=str(tmp_path))) == "source.git: git is not installed"
    assert refusal(Source(git="https://example.com/x.git")) == "source.git: git is not installed"


def test_what_git_tells_a_hook_is_not_about_the_source(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    (other / "mine").write_text("")
    git(other, "add", "-A")
    git(other, "commit", "-q", "-m", "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    for where in (str(repository), repository.as_uri()):
        assert files(source.build(Source(git=where)))["manage.py"] == "v2"


def test_a_repository_that_git_does_not_trust(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(BadInput) as caught:
        source.build(Source(git=str(repository)))
    assert caught.value.message.startswith(f"source.git: {repository}: git says: detected dubious ownership")
    assert f"git config --global --add safe.directory {repository}" in caught.value.hint


def test_submodules_are_left_out_aloud(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{commit},app/theme")
    git(repository, "commit", "-q", "-m", "a submodule")
    assert "app/theme" in files(source.build(Source(git=str(repository)), dirty=True))
    said = "note: source.git: HEAD has submodules, which are left out: app/theme\n"
    assert capsys.readouterr().err == said
    source.build(Source(git=str(repository)), "v1")
    assert capsys.readouterr().err == ""


def test_a_commit_without_files(repository: Path) -> None:
    git(repository, "rm", "-q", "-r", ".")
    git(repository, "commit", "-q", "-m", "nothing")
    assert refusal(Source(git=str(repository))) == "source.git: HEAD holds no files"


def test_changes_to_a_file_whose_name_is_no_text(repository: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (repository / name).write_text("1")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "three")
    git(repository, "config", "core.quotepath", "false")
    (repository / name).write_text("2")
    assert refusal(Source(git=str(repository))).endswith("has changes that are not committed: caf\ufffd")


def test_a_refusal_shows_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "none")
    assert "https://**********@example.com/x.git can't be cloned: " in refusal(
        Source(git="https://user:canary@example.com/x.git")
    )
    for url in ("https://user:canary@example.com/a.tgz", "http://canary@example.com/a.tgz"):
        for ask in (source.build, source.check):
            with pytest.raises(BadInput, match="holds a user or a password") as caught:
                ask(Source(archive=url, sha256="0" * 64))
            assert "canary" not in str(caught.value)


# --- a directory


def test_a_directory(tmp_path: Path) -> None:
    top = tmp_path / "tree"
    for path in ("a.py", "sub/b.py", ".git/config", "__pycache__/a.pyc", "c.pyc", "node_modules/x/y", ".env"):
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(path)
    (top / "link").symlink_to("sub/b.py")
    os.mkfifo(top / "pipe")
    artifact = source.build(Source(path=str(top)), now=NOW)
    assert files(artifact) == {".env": ".env", "a.py": "a.py", "link": "-> sub/b.py", "sub": "", "sub/b.py": "sub/b.py"}
    assert artifact.ref == str(top)
    assert files(source.build(Source(path=str(top), subdir="sub"))) == {"b.py": "sub/b.py"}
    os.utime(top / "a.py", (1, 1))
    assert source.build(Source(path=str(top)), now=NOW) == artifact


def test_a_file_that_has_two_names_is_two_files(tmp_path: Path) -> None:
    top = tmp_path / "tree"
    top.mkdir()
    (top / "a").write_text("x")
    (top / "b").hardlink_to(top / "a")
    assert files(source.build(Source(path=str(top)))) == {"a": "x", "b": "x"}


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(Source(path=f"{tmp_path}/none")) == f"source.path: there is no directory {tmp_path}/none"
    assert refusal(Source(path=str(tmp_path), subdir="x")) == f"source.path: there is no directory {tmp_path}/x"


def test_a_directory_without_files(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    for ask in (source.build, source.check):
        with pytest.raises(BadInput) as caught:
            ask(Source(path=str(tmp_path)))
        assert caught.value.message == f"source.path: {tmp_path} is empty"


@pytest.mark.parametrize("method", ["iterdir", "is_dir"])
def test_a_directory_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    (tmp_path / "sub").mkdir()
    real = getattr(Path, method)

    def denied(path: Path) -> Any:
        if path.name == "sub":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, method, denied)
    assert refusal(Source(path=str(tmp_path))) == f"source.path: {tmp_path}/sub can't be read: Permission denied"


def test_an_archive_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    wanted = described(tmp_path / "a", SDIST)
    monkeypatch.setattr(Path, "read_bytes", denied)
    assert refusal(wanted) == f"source.archive: {tmp_path}/a can't be read: Permission denied"


def test_a_name_that_no_path_can_have(tmp_path: Path) -> None:
    wanted = Source(path=str(tmp_path), subdir="x" * 300)
    for ask in (source.build, source.check):
        with pytest.raises(BadInput, match=r"source.subdir: '.*' can't be a path: File name too long"):
            ask(wanted)


@pytest.mark.parametrize("url", ["https://x:y/a", "https:///a", "https://x/a b", "https://x/\u00fc", "https://[x/a"])
def test_an_archive_at_what_is_no_url(url: str) -> None:
    assert refusal(Source(archive=url, sha256="0" * 64)).startswith(f"source.archive: {url} can't be fetched: ")


@pytest.mark.parametrize(
    "described", [{"path": "x"}, {"pypi": "x", "version": "1"}, {"archive": "x", "sha256": "0" * 64}]
)
def test_only_git_has_refs(described: Any) -> None:
    assert refusal(Source(**described), "v1") == "--ref: only a source with `git` has refs"


# --- archives


def archive(**members: str | tuple[bytes, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.uid = 1000
            if isinstance(content, tuple):
                info.type, info.linkname = content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content.encode()))
    return out.getvalue()


def described(path: Path, data: bytes, **more: Any) -> Source:
    path.write_bytes(data)
    return Source(archive=str(path), sha256=hashlib.sha256(data).hexdigest(), **more)


SDIST = archive(
    **{
        "shop-1.0__manage.py": "v1",
        "shop-1.0__src__x.py": "x",
        "shop-1.0__src__link": (tarfile.SYMTYPE, "x.py"),
        "shop-1.0__same": (tarfile.LNKTYPE, "shop-1.0/manage.py"),
    }
)


def test_an_archive_without_its_top_directory(tmp_path: Path) -> None:
    wanted = described(tmp_path / "a.tar.gz", SDIST)
    artifact = source.build(wanted, now=NOW)
    assert files(artifact) == {"manage.py": "v1", "src/x.py": "x", "src/link": "-> x.py", "same": "v1"}
    assert artifact.release == f"20260101T000000-{wanted.sha256[:7]}"
    assert (artifact.ref, artifact.commit) == (wanted.archive, wanted.sha256)


def test_long_names_in_an_archive(tmp_path: Path) -> None:
    name = f"src/migrations/{'0028_thumbnail' * 8}.py"
    data = archive(**{f"shop-1.0__{name.replace('/', '__')}": "x", "shop-1.0__manage.py": "v1"})
    assert files(source.build(described(tmp_path / "a", data))) == {name: "x", "manage.py": "v1"}


def test_a_directory_of_an_archive(tmp_path: Path) -> None:
    assert files(source.build(described(tmp_path / "a", SDIST, subdir="src"))) == {"x.py": "x", "link": "-> x.py"}


def test_an_archive_with_several_things_at_its_top(tmp_path: Path) -> None:
    data = archive(**{"manage.py": "v1", "src__x.py": "x"})
    assert files(source.build(described(tmp_path / "a", data))) == {"manage.py": "v1", "src/x.py": "x"}


def test_a_directory_that_an_archive_has_not(tmp_path: Path) -> None:
    assert (
        refusal(described(tmp_path / "a", SDIST, subdir="nope")) == "source.subdir: the archive has no directory nope"
    )
    assert refusal(described(tmp_path / "a", archive())) == "source: the archive is empty"


def test_an_archive_with_another_sha256(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(SDIST)
    found = hashlib.sha256(SDIST).hexdigest()
    assert refusal(Source(archive=str(path), sha256="0" * 64)) == (
        f"source.archive: {path} has the sha256 {found}, not {'0' * 64}"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive",
        SDIST[:40],
        SDIST[:60] + b"\xff" * 40 + SDIST[100:],
        gzip.compress(b"no archive"),
        b"BZh91AY&SY" + b"x" * 50,
        b"\xfd7zXZ\x00" + b"x" * 50,
        gzip.decompress(SDIST)[:700],
    ],
    ids=["empty", "text", "cut", "damaged", "gzip of text", "bzip2", "xz", "cut tar"],
)
def test_an_archive_that_can_not_be_read(tmp_path: Path, data: bytes) -> None:
    message = refusal(described(tmp_path / "a", data))
    assert message.startswith("source: the archive can't be read: ") or message == "source: the archive is empty"


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    none = f"{tmp_path}/none"
    assert refusal(Source(archive=none, sha256="0" * 64)) == f"source.archive: there is no file {none}"
    assert refusal(Source(archive="http://x/a.tgz", sha256="0" * 64)) == (
        "source.archive: http://x/a.tgz is no https URL and no path"
    )


def test_an_archive_that_can_not_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    assert refusal(Source(archive="https://x/a.tgz", sha256="0" * 64)) == (
        "source.archive: https://x/a.tgz can't be fetched: <urlopen error no route>"
    )


def test_an_archive_that_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: {"https://x/a.tgz": io.BytesIO(SDIST)}[url])
    wanted = Source(archive="https://x/a.tgz", sha256=hashlib.sha256(SDIST).hexdigest(), subdir="src")
    artifact = source.build(wanted)
    assert files(artifact) == {"x.py": "x", "link": "-> x.py"}
    assert artifact.ref == "https://x/a.tgz"


# --- names


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "-x", ".x", "a b", "a\n", "a..b", "a" * 65, "ä"])
def test_bad_release_names(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        source.release_name(name)
    assert caught.value.message == f"{name!r} is no release name"


@given(st.from_regex(r"[0-9A-Za-z]([0-9A-Za-z_-]|\.(?!\.)){0,60}", fullmatch=True))
def test_release_names(name: str) -> None:
    assert source.release_name(name) == name


@pytest.mark.parametrize(
    ("commit", "ending"),
    [("0123456789" * 4, "0123456"), ("ab" * 32, "abababa"), ("2025.1.0", "2025.1.0"), ("1..", "1")],
)
def test_a_digest_is_shortened_and_a_version_is_not(commit: str, ending: str) -> None:
    assert source.release_for(commit, NOW).partition("-")[2] == ending


@given(st.text(max_size=40))
def test_every_version_gives_a_release_name(version: str) -> None:
    assert source.RELEASE.fullmatch(source.release_for(version, NOW))
    assert ".." not in source.release_for(version, NOW)
