"""plugins/modules/hostwright_files.py, run as Ansible runs it on a host."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.modules import run_module


def run(directory: Path, files: list[dict[str, Any]], dry: bool = False, **arguments: Any) -> dict[str, Any]:
    """The module's answer, with this process's user as the default owner."""
    given = {
        "directory": str(directory),
        "files": files,
        "owner": pwd.getpwuid(os.getuid()).pw_name,
        "group": grp.getgrgid(os.getgid()).gr_name,
        "_ansible_check_mode": dry,
        "_ansible_diff": True,
        **arguments,
    }
    return run_module("hostwright_files", given)


def there(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): p.read_text() for p in directory.rglob("*") if p.is_file()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_written_and_then_left_alone(tmp_path: Path) -> None:
    files = [{"path": "a", "content": "one\n"}, {"path": "sub/b", "content": "zwölf\n", "mode": "0600"}]
    first = run(tmp_path, files, mode="0640")
    assert (first["changed"], first["written"]) == (True, [str(tmp_path / "a"), str(tmp_path / "sub/b")])
    assert there(tmp_path) == {"a": "one\n", "sub/b": "zwölf\n"}
    assert (mode(tmp_path / "a"), mode(tmp_path / "sub/b"), mode(tmp_path / "sub")) == (0o640, 0o600, 0o755)
    inode = (tmp_path / "a").stat().st_ino
    second = run(tmp_path, files, mode="0640")
    assert (second["changed"], second["written"], second["diff"]) == (False, [], [])
    assert (tmp_path / "a").stat().st_ino == inode


def test_the_difference_is_shown(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old\n")
    [diff] = run(tmp_path, [{"path": "a", "content": "new\n"}])["diff"]
    assert (diff["before"], diff["after"], diff["after_header"]) == ("old\n", "new\n", str(tmp_path / "a"))


def test_a_wrong_mode_is_mended_without_writing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("same\n")
    (tmp_path / "a").chmod(0o666)
    assert run(tmp_path, [{"path": "a", "content": "same\n"}])["written"] == [str(tmp_path / "a")]
    assert mode(tmp_path / "a") == 0o644


def test_one_that_is_not_valid_keeps_all_others_from_being_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old\n")
    files = [
        {"path": "a", "content": "new\n", "validate": "grep -q new %s"},
        {"path": "b", "content": "wrong\n", "validate": "sh -c 'echo no such thing in %s >&2; exit 1'"},
    ]
    answer = run(tmp_path, files)
    assert answer["failed"] is True
    assert answer["msg"] == f"{tmp_path / 'b'} would not be valid: no such thing in {tmp_path / 'b'}"
    assert there(tmp_path) == {"a": "old\n"}
    run(tmp_path, files[:1])
    assert there(tmp_path) == {"a": "new\n"}


def test_what_is_no_longer_listed_is_removed(tmp_path: Path) -> None:
    for name in ("ours-a", "ours-b", "theirs"):
        (tmp_path / name).write_text(name)
    (tmp_path / "ours-directory").mkdir()
    answer = run(tmp_path, [{"path": "ours-a", "content": "ours-a"}], exclusive=["ours-*"])
    assert (answer["written"], answer["removed"]) == ([], [str(tmp_path / "ours-b")])
    assert there(tmp_path) == {"ours-a": "ours-a", "theirs": "theirs"}


def test_whatever_is_below_a_directory_goes(tmp_path: Path) -> None:
    for path in ("kept.ini", "conf/kept.ini", ".env", "conf/gone.ini", "conf/deep/.gone"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("secret")
    files = [{"path": path, "content": "secret"} for path in ("kept.ini", "conf/kept.ini", "new")]
    answer = run(tmp_path, files, exclusive=["**"])
    assert answer["removed"] == [str(tmp_path / path) for path in (".env", "conf/deep/.gone", "conf/gone.ini")]
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"kept.ini", "conf/kept.ini", "new"}
    assert run(tmp_path, files, exclusive=["**"])["changed"] is False
    same = [{**file, "path": f"./{file['path']}"} for file in files]
    assert run(tmp_path, same, exclusive=["**"])["changed"] is False


def test_what_a_program_has_made_is_kept(tmp_path: Path) -> None:
    for name in ("ours-a.key", "ours-b.key"):
        (tmp_path / name).write_text(name)
    answer = run(tmp_path, [], exclusive=["ours-*"], keep=["ours-a.key"])
    assert (answer["removed"], there(tmp_path)) == ([str(tmp_path / "ours-b.key")], {"ours-a.key": "ours-a.key"})


@pytest.mark.parametrize(("content", "goes"), [("welcome\n", True), ("welcome\nmy own\n", False)])
def test_a_packages_file_goes_where_nobody_has_changed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, goes: bool
) -> None:
    """`enabled` is a link to the package's file, as nginx has it."""
    (tmp_path / "available").write_text(content)
    (tmp_path / "enabled").symlink_to("available")
    (tmp_path / "theirs").write_text("of no package")
    brought = hashlib.md5(b"welcome\n").hexdigest()
    program = tmp_path / "bin" / "dpkg-query"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\necho; echo ' {tmp_path.resolve()}/available {brought}'; echo ' /other {brought} obsolete'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    for dry in (True, False):
        answer = run(tmp_path, [], dry=dry, pristine=["enabled", "theirs", "absent"])
        assert answer["removed"] == ([str(tmp_path / "enabled")] if goes else [])
        assert (tmp_path / "enabled").exists() is (dry or not goes)
    assert (tmp_path / "available").exists()


def test_files_that_are_not_accepted_are_put_back(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old\n")
    (tmp_path / "old").chmod(0o600)
    (tmp_path / "link").symlink_to("old")
    (tmp_path / "ours").write_text("ours\n")
    files = [{"path": name, "content": "new\n"} for name in ("old", "link", "fresh")]
    look = f"sh -c 'cat {tmp_path}/old {tmp_path}/fresh; ls {tmp_path}; exit 1'"
    answer = run(tmp_path, files, exclusive=["ours"], check=look)
    assert answer["failed"] is True
    assert answer["msg"] == "not accepted, and put back as it was: new\nnew\nfresh\nlink\nold"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "old", "ours"]
    assert ((tmp_path / "old").read_text(), mode(tmp_path / "old")) == ("old\n", 0o600)
    assert (str((tmp_path / "link").readlink()), (tmp_path / "ours").read_text()) == ("old", "ours\n")
    assert run(tmp_path, files, exclusive=["ours"], check="true")["changed"] is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh", "link", "old"]
    # Nothing has changed since: nobody is asked.
    assert run(tmp_path, files, check="false")["changed"] is False


def test_directories_are_open_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        run(tmp_path, [{"path": "deep/er/file", "content": ""}])
    finally:
        os.umask(before)
    assert {mode(path) for path in (tmp_path / "deep", tmp_path / "deep" / "er")} == {0o755}


def test_check_mode_says_what_would_be_done(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    files = [{"path": "deep/new", "content": "new", "validate": "false", "group": "no-such-group"}]
    answer = run(tmp_path, files, dry=True, exclusive=["old"])
    assert (answer["written"], answer["removed"]) == ([str(tmp_path / "deep/new")], [str(tmp_path / "old")])
    assert there(tmp_path) == {"old": "old"}


def test_a_link_is_replaced_by_the_file(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("target")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "dangling").symlink_to("nowhere")
    run(tmp_path, [{"path": "link", "content": "x"}, {"path": "dangling", "content": "y"}])
    assert there(tmp_path) == {"target": "target", "link": "x", "dangling": "y"}
    assert not (tmp_path / "link").is_symlink()


def test_a_directory_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    answer = run(tmp_path, [{"path": "a", "content": ""}])
    assert answer["failed"] is True
    assert str(tmp_path / "a") in answer["msg"]
