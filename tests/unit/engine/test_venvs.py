"""What decides which virtualenv a release needs, and what pip is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostwright_engine import venvs
from hostwright_engine.errors import BadRequest, Failed
from hostwright_engine.paths import Paths

DEPENDENCIES: dict[str, Any] = {
    "requirements": ["requirements.txt"],
    "constraints": [],
    "project": None,
    "extras": [],
    "groups": [],
    "packages": [],
    "require_hashes": False,
}


def agreed(python: str = "/usr/bin/python3", **dependencies: Any) -> dict[str, Any]:
    return {"python": python, "dependencies": {**DEPENDENCIES, **dependencies}}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    top = tmp_path / "release"
    for path, text in {
        "requirements.txt": "Django==5.2\n-r requirements/base.txt\n",
        "requirements/base.txt": "-c ../constraints.txt\ncelery\n",
        "constraints.txt": "celery<6\n",
        "pyproject.toml": "[project]\nname = 'x'\n",
        "src/x/__init__.py": "",
        "vendor/lib/setup.py": "",
        "vendor/wheel-1.0-py3-none-any.whl": "",
        "unrelated.txt": "",
    }.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    return top


def key(release: Path, contract: dict[str, Any] | None = None, version: Any = (3, 11), platform: str = "p") -> str:
    return venvs.key(contract or agreed(), str(release), version, platform)


def test_a_key_is_the_same_for_the_same_input(release: Path, tmp_path: Path) -> None:
    first = key(release)
    assert len(first) == 32
    (release / "unrelated.txt").write_text("changed")
    release.rename(tmp_path / "elsewhere")
    assert key(tmp_path / "elsewhere") == first


@pytest.mark.parametrize(
    ("contract", "version", "platform"),
    [
        (agreed(), (3, 11), "q"),
        (agreed(), (3, 5), "p"),
        (agreed(python="/opt/python/bin/python3"), (3, 11), "p"),
        (agreed(packages=["gunicorn"]), (3, 11), "p"),
        (agreed(packages=["gunicorn", "uvicorn"]), (3, 11), "p"),
        (agreed(extras=["x"]), (3, 11), "p"),
        (agreed(require_hashes=True), (3, 11), "p"),
        (agreed(constraints=["constraints.txt"]), (3, 11), "p"),
        (agreed(requirements=["requirements/base.txt"]), (3, 11), "p"),
        (agreed(project="."), (3, 11), "p"),
        (agreed(groups=["prod"]), (3, 11), "p"),
    ],
)
def test_a_key_changes_with_each_input(release: Path, contract: Any, version: Any, platform: str) -> None:
    assert key(release, contract, version, platform) != key(release)


@pytest.mark.parametrize("path", ["requirements.txt", "requirements/base.txt", "constraints.txt"])
def test_a_key_changes_with_each_file_that_pip_reads(release: Path, path: str) -> None:
    before = key(release)
    with (release / path).open("a") as out:
        out.write("# changed\n")
    assert key(release) != before


@pytest.mark.parametrize(
    "line",
    [
        "-r {}",
        "-r  {}",
        "-r{}",
        "-r={}",
        "  -r {}",
        "--requirement {}",
        "--requirement={}",
        "-c {}",
        "-c{}",
        "--constraint {}",
        "--constraint={}",
        "-r {} # with a comment",
    ],
)
def test_every_way_to_include_a_file_is_followed(release: Path, line: str) -> None:
    (release / "requirements.txt").write_text(line.format("requirements/more.txt") + "\n")
    (release / "requirements" / "more.txt").write_text("redis==1\n")
    before = key(release)
    (release / "requirements" / "more.txt").write_text("redis==2\n")
    assert key(release) != before


def test_files_that_include_each_other_end(release: Path) -> None:
    (release / "constraints.txt").write_text("-r requirements.txt\n")
    assert len(key(release)) == 32


def test_a_file_on_the_network_is_not_followed(release: Path) -> None:
    (release / "requirements.txt").write_text("-r https://example.com/requirements.txt\n")
    assert len(key(release)) == 32


def test_what_only_looks_like_an_include_is_none(release: Path) -> None:
    (release / "requirements.txt").write_text("# -r nowhere.txt\n--require-hashes\n--report x\nx-r nowhere.txt\n")
    assert len(key(release)) == 32


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("./vendor/lib", "vendor/lib/setup.py"),
        ("./vendor/lib[extra]", "vendor/lib/setup.py"),
        ("vendor/lib", "vendor/lib/setup.py"),
        ("./vendor/wheel-1.0-py3-none-any.whl", "vendor/wheel-1.0-py3-none-any.whl"),
        ("lib @ file:./vendor/lib", "vendor/lib/setup.py"),
        (".", "src/x/__init__.py"),
        ("-e .", "src/x/__init__.py"),
        ("-e./vendor/lib", "vendor/lib/setup.py"),
        ("--editable=vendor/lib", "vendor/lib/setup.py"),
    ],
)
def test_a_key_changes_with_the_code_that_is_installed_from_the_release(release: Path, line: str, changed: str) -> None:
    (release / "requirements.txt").write_text(line + "  # ours\n")
    packages = agreed(requirements=[], packages=[line])
    before = key(release), key(release, packages)
    (release / changed).write_text("changed")
    assert key(release) != before[0]
    assert key(release, packages) != before[1]


@pytest.mark.parametrize(
    "line", ["Django", "src", "git+https://example.com/x.git", "x @ https://example.com/vendor/lib"]
)
def test_a_key_does_not_change_with_other_code(release: Path, line: str) -> None:
    (release / "requirements.txt").write_text(line + "\n")
    before = key(release)
    (release / "src/x/__init__.py").write_text("changed")
    assert key(release) == before


@pytest.mark.parametrize(
    "line", ["a[\n", "a[", "-e" + " " * 50, "a" * 50 + " ", "a" + " " * 50, "a @ file:", " ", "-", "./\n"]
)
def test_a_file_is_read_in_a_time_that_grows_with_its_length_alone(line: str) -> None:
    """Not with its square: it would hold the engine, and its lock, for hours."""
    started = time.monotonic()
    venvs._LOCAL.findall(line * (200_000 // len(line)))
    venvs._INCLUDE.findall(line * (200_000 // len(line)))
    assert time.monotonic() - started < 5


def test_directories_that_link_to_each_other_are_not_read_for_hours(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (release / "requirements.txt").write_text("".join(f"./link{number}\n" for number in range(500)))
    for number in range(500):
        (release / f"link{number}").symlink_to(".")
    monkeypatch.setattr(venvs, "READING", 0.05)
    with pytest.raises(Failed, match=r"could not be read within 0\.05 s"):
        key(release)


def test_an_abort_ends_the_reading(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venvs.commands.cancelled, "is_set", lambda: True)
    with pytest.raises(Failed, match="cancelled"):
        key(release)


def test_a_key_changes_with_the_code_of_the_project_that_is_installed(release: Path) -> None:
    before = key(release, agreed(project="."))
    (release / "src" / "x" / "__init__.py").write_text("changed")
    assert key(release, agreed(project=".")) != before
    before = key(release, agreed(project="vendor/lib"))
    (release / "src" / "x" / "__init__.py").write_text("changed again")
    assert key(release, agreed(project="vendor/lib")) == before


def test_links_are_part_of_the_code_and_are_not_followed(release: Path) -> None:
    (release / "vendor" / "lib" / "data").symlink_to("/etc")
    contract = agreed(project="vendor/lib")
    before = key(release, contract)
    (release / "vendor" / "lib" / "data").unlink()
    (release / "vendor" / "lib" / "data").symlink_to("/usr")
    assert key(release, contract) != before


@pytest.mark.parametrize("path", ["../secret.txt", "link.txt", "directory/secret.txt"])
def test_a_file_that_leads_outside_is_refused(release: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.txt").write_text("s3cret")
    (release / "link.txt").symlink_to(tmp_path / "secret.txt")
    (release / "directory").symlink_to(tmp_path)
    (release / "requirements.txt").write_text(f"-r {path}\n")
    with pytest.raises(BadRequest) as caught:
        key(release)
    assert caught.value.message == f"the requirements file {path} leads outside of the release"


def test_a_file_of_another_release_is_outside_too(release: Path, tmp_path: Path) -> None:
    (tmp_path / "release2").mkdir()
    (tmp_path / "release2" / "r.txt").write_text("")
    (release / "requirements.txt").write_text("-r ../release2/r.txt\n")
    with pytest.raises(BadRequest, match="leads outside"):
        key(release)


@pytest.mark.parametrize(("path", "why"), [("none.txt", "No such file or directory"), ("src", "Is a directory")])
def test_a_file_that_can_not_be_read(release: Path, path: str, why: str) -> None:
    with pytest.raises(BadRequest) as caught:
        key(release, agreed(requirements=[path]))
    assert caught.value.message == f"the release has no readable {path}: {why}"


def test_a_file_that_is_no_text_is_hashed_all_the_same(release: Path) -> None:
    (release / "requirements.txt").write_bytes(b"\xff\xfe\x00")
    assert len(key(release)) == 32


# --- pip's arguments


@pytest.mark.parametrize(
    ("dependencies", "argv"),
    [
        ({}, ["-r", "/r/requirements.txt"]),
        ({"requirements": []}, []),
        (
            {"requirements": ["a.txt", "b/c.txt"], "constraints": ["d.txt"], "packages": ["x==1", "y"]},
            ["-r", "/r/a.txt", "-r", "/r/b/c.txt", "-c", "/r/d.txt", "x==1", "y"],
        ),
        ({"requirements": [], "project": ".", "extras": ["a", "b"]}, ["/r[a,b]"]),
        ({"requirements": [], "project": "sub"}, ["/r/sub"]),
        ({"requirements": [], "groups": ["prod"]}, ["--group", "/r/./pyproject.toml:prod"]),
        ({"requirements": [], "groups": ["a"], "project": "sub"}, ["--group", "/r/sub/pyproject.toml:a", "/r/sub"]),
        ({"require_hashes": True}, ["-r", "/r/requirements.txt", "--require-hashes"]),
    ],
)
def test_what_pip_is_told(dependencies: dict[str, Any], argv: list[str]) -> None:
    assert venvs.requirements(agreed(**dependencies), "/r") == argv


def test_the_virtualenv_gets_the_wheels_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths("shop", root=str(tmp_path))
    builder = venvs.Builder({**agreed(project="."), "build_user": "nobody"}, paths, "/r", "0" * 32, (3, 5), "log", 1)
    (Path(builder.venv) / "bin").mkdir(parents=True)
    (Path(builder.venv) / "bin" / "pip").touch()
    Path(builder.wheelhouse).mkdir(parents=True)
    for name in ("b-1-py3-none-any.whl", "a-1-py3-none-any.whl", ".hostwright-ready"):
        (Path(builder.wheelhouse) / name).touch()
    calls: list[list[str]] = []
    monkeypatch.setattr(venvs.commands, "run", lambda step, argv, *_: calls.append(argv))
    monkeypatch.setattr(builder, "_finish", lambda directory: calls.append(["finish", directory]))
    builder.install()
    options = ["--isolated", "--no-cache-dir", "--disable-pip-version-check"]
    pip = [f"{builder.venv}/bin/python", "-m", "pip", *options, "install", "--no-index"]
    house = builder.wheelhouse
    assert calls == [
        [*pip, "--find-links", house, "pip==20.3.4"],
        [*pip, "--no-deps", f"{house}/a-1-py3-none-any.whl", f"{house}/b-1-py3-none-any.whl"],
        ["finish", builder.venv],
    ]


def test_wheels_are_built_apart_from_the_virtualenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths("shop", root=str(tmp_path))
    builder = venvs.Builder({**agreed(), "build_user": "nobody"}, paths, "/r", "0" * 32, (3, 11), "log", 1)
    calls: list[list[str]] = []
    monkeypatch.setattr(venvs.commands, "run", lambda step, argv, *_: calls.append(argv))
    monkeypatch.setattr(builder, "_fresh", lambda directory: None)
    monkeypatch.setattr(builder, "_finish", lambda directory: None)
    builder.wheels()
    wheel = ["wheel", "--use-pep517", "--wheel-dir", builder.wheelhouse, "-r", "/r/requirements.txt"]
    options = ["--isolated", "--no-cache-dir", "--disable-pip-version-check"]
    assert calls[-1] == [f"{builder.venv}/bin/python", "-m", "pip", *options, *wheel]


@pytest.mark.parametrize("whole", [True, False])
def test_the_wheels_of_what_serves_are_offered_where_they_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    paths = Paths("shop", root=str(tmp_path))
    told = {**agreed(), "build_user": "nobody"}
    builder = venvs.Builder(told, paths, "/r", "0" * 32, (3, 11), "log", 1, serving="1" * 32)
    serving = Path(paths.wheelhouse("1" * 32))
    serving.mkdir(parents=True)
    if whole:
        (serving / venvs.READY).touch()
    calls: list[list[str]] = []
    monkeypatch.setattr(venvs.commands, "run", lambda step, argv, *_: calls.append(argv))
    monkeypatch.setattr(builder, "_fresh", lambda directory: None)
    monkeypatch.setattr(builder, "_finish", lambda directory: None)
    builder.wheels()
    offered = ["--find-links", str(serving)] if whole else []
    assert calls[-1][-4 - len(offered) :] == ["--wheel-dir", builder.wheelhouse, *offered, "-r", "/r/requirements.txt"]


# --- the interpreter


def test_the_interpreter_is_asked(as_root: None) -> None:
    version, platform = venvs.interpreter("/usr/bin/python3", "nobody")
    assert version >= (3, 5)
    assert platform.endswith("-py{}.{}".format(*version))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.write_text(""), "Permission denied"),
        (lambda path: (path.write_text("#!/bin/sh\nexit 3\n"), path.chmod(0o755)), "exit status 3"),
        (
            lambda path: (path.write_text("#!/bin/sh\nexec sleep 99\n"), path.chmod(0o755)),
            "timed out after 0.1 seconds",
        ),
    ],
)
def test_an_interpreter_that_does_not_run(
    open_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Any], why: str
) -> None:
    if why.startswith("timed out"):
        monkeypatch.setattr(venvs, "ASKING", 0.1)
    python = open_path / "python3"
    make(python)
    with pytest.raises(Failed) as caught:
        venvs.interpreter(str(python), "nobody")
    assert caught.value.message.startswith(f"the interpreter {python} does not run: ")
    assert why in caught.value.message


def test_a_directory_is_ready_when_its_mark_is_there(tmp_path: Path) -> None:
    assert not venvs.ready(str(tmp_path))
    (tmp_path / ".hostwright-ready").touch()
    assert venvs.ready(str(tmp_path))
