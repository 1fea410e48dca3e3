"""What the role postgresql sees of a server that is there, and what it adds to it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.roles import ROLES, defaults, evaluate, loaded, render, tasks
from tests.unit.roles.test_structure import module
from tests.unit.roles.test_templates import POSTGRESQL

STOCK = "include_dir = 'conf.d'\t\t\t# include files ending in '.conf' from"
OURS = {"postgresql.conf": f"{STOCK}\n", "conf.d/hostwright.conf": "work_mem = '4MB'\n"}
THEIRS = {"postgresql.conf": "include_dir = 'site.d'\n", "site.d/a.conf": "work_mem = '7MB' # tuned\n"}


def seen(directory: Path, files: dict[str, str], memory_mb: int = 4000) -> dict[str, str]:
    """What see.sh says of a cluster with these files, on a host with so much memory."""
    etc = directory / "15" / "main"
    for name, content in files.items():
        (etc / name).parent.mkdir(parents=True, exist_ok=True)
        (etc / name).write_text(content)
    meminfo = directory / "meminfo"
    meminfo.write_text(f"MemTotal:       {memory_mb * 1024 + 512} kB\nMemFree:        1 kB\n")
    script = (ROLES / "postgresql" / "files" / "see.sh").read_text()
    script = script.replace("/etc/postgresql", str(directory)).replace("/proc/meminfo", str(meminfo))
    done = subprocess.run(["sh", "-c", script, "see", "", "5432"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    variables = {**loaded("postgresql", "vars/main.yml"), "_postgresql_seen": {"stdout": done.stdout}}
    found: dict[str, str] = evaluate("{{ _postgresql_found }}", variables)
    return found


def test_our_settings_are_told_from_those_of_others(tmp_path: Path) -> None:
    found = seen(tmp_path, OURS)
    assert (found["ours"], found["reads_ours"]) == ("yes", "yes")
    assert "work_mem" not in found


@pytest.mark.parametrize(("memory_mb", "sized"), [(3990, "4000"), (4190, "4000"), (3800, "3800"), (8000, "8000")])
def test_another_kernel_is_no_other_size(tmp_path: Path, memory_mb: int, sized: str) -> None:
    assert seen(tmp_path, {"postgresql.conf": STOCK}, memory_mb)["memory_mb"] == str(memory_mb)
    made = render("postgresql", "hostwright.conf.j2", **{**POSTGRESQL, "_postgresql_found": {"memory_mb": "4000"}})
    found = seen(tmp_path, {**OURS, "conf.d/hostwright.conf": made}, memory_mb)
    assert found["memory_mb"] == sized


@pytest.mark.parametrize("line", ["include_dir 'conf.d'", " include_dir='conf.d/'", "include_dir = '{etc}/conf.d'"])
def test_our_directory_is_known_however_it_is_written(tmp_path: Path, line: str) -> None:
    assert "reads_ours" in seen(tmp_path, {"postgresql.conf": line.format(etc=tmp_path / "15" / "main")})


def test_a_directory_of_somebody_else_is_not_ours_and_is_read(tmp_path: Path) -> None:
    found = seen(tmp_path, THEIRS)
    assert "reads_ours" not in found
    assert (found["include_dir"], found["work_mem"]) == ("site.d", "7MB")


def test_a_directory_that_is_commented_out_is_not_read(tmp_path: Path) -> None:
    assert "reads_ours" not in seen(tmp_path, {"postgresql.conf": f"#{STOCK}\n"})


def asks_for_ours(found: dict[str, Any]) -> bool:
    task = next(task for _, task in tasks("postgresql") if task["name"] == "Have the settings read")
    known = {"_postgresql_found": {"etc": "/etc/postgresql/15/main", **found}, "ansible_check_mode": False}
    return all(evaluate(f"{{{{ {condition} }}}}", known) for condition in task["when"])


def test_ours_is_added_beside_the_one_of_somebody_else(tmp_path: Path) -> None:
    assert asks_for_ours(seen(tmp_path, THEIRS))
    assert not asks_for_ours(seen(tmp_path, OURS))
    task = next(task for _, task in tasks("postgresql") if task["name"] == "Have the settings read")
    replaced = re.compile(module(task)[1]["regexp"])
    assert [bool(replaced.search(line)) for line in (STOCK, f"#{STOCK}", "include_dir = 'site.d'")] == [1, 1, 0]


def test_access_rules_that_are_wrong_are_named() -> None:
    task = next(task for _, task in tasks("postgresql") if task["name"] == "Check that its access rules can be read")
    said = 'role|blog|\r\nwrong|/etc/x/pg_hba.conf:2|invalid authentication method "scram"\r\nlocale|C.UTF-8|\r\n'
    known = {**defaults("postgresql"), **task["vars"], "inventory_hostname": "db1"}
    check = module(task)[1]
    for stdout, passes in ((said, False), ("role|blog|\n", True)):
        given = {**known, "_postgresql_there": {"stdout": stdout}}
        assert evaluate(f"{{{{ {check['that']} }}}}", given) is passes
    message = evaluate(check["fail_msg"], {**known, "_postgresql_there": {"stdout": said}})
    assert message.startswith('db1: /etc/x/pg_hba.conf:2: invalid authentication method "scram". Until that is mended')
