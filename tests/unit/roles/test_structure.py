"""How every role is built: variables, their description, tasks, and files that are checked before they are in place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.roles import NAMES, ROLES, defaults, loaded, render, tasks
from tests.unit.roles.test_templates import RENDERED

NOT_CHECKED = {
    # systemd passes over what it does not know; tests/unit/roles/test_templates.py has it read them.
    r"\.(service|socket|timer)(\.d/\w+\.conf)?$": "a unit",
    r"^/etc/tmpfiles\.d/": "systemd-tmpfiles passes over a wrong line",
    r"^/etc/systemd/journald\.conf\.d/": "journald passes over a wrong line",
    r"^/etc/pip\.conf$": "no daemon reads it",
    # Nothing can check these alone; the role's verify.yml asks the running service.
    r"/gunicorn-.*\.conf\.py$": "Python that needs a release's virtualenv; the standby slot shows what is wrong",
    r"/postgresql\.conf$": "one line, which is the same in each; what it includes is checked",
    r"/pg_(hba|ident)\.conf$": "PostgreSQL keeps the old rules if the new ones are wrong",
    r"^/etc/rabbitmq/": "RabbitMQ checks it only when it starts",
    # Not a daemon's.
    r"^/etc/hostwright/.*/env$|release_files$": "the application's own",
    r"^/usr/local/(lib/hostwright|sbin)/": "a program of ours",
    r"tls_(key|certificate)": "nginx checks the pair once both are there, and they are put back if it refuses",
}
"""Files without `validate`, by a part of their path, and why."""

WRITERS = ("hostwright_files", "template", "copy", "blockinfile", "lineinfile", "ini_file")


def module(task: dict[str, Any]) -> tuple[str, Any]:
    """(short name, arguments) of a task's module."""
    for key, value in task.items():
        if "." in key or key.startswith("hostwright_"):
            return key.rsplit(".", 1)[-1], value
    return "", {}


def written(role: str) -> Iterator[tuple[str, bool]]:
    """(path, whether it is checked) of every file that a role writes."""
    for _, task in tasks(role):
        name, arguments = module(task)
        if name not in WRITERS:
            continue
        files = arguments.get("files", [arguments])
        if isinstance(files, str):
            files = _listed(role, files)
        for file in files:
            path = str(file.get("path") or file.get("dest"))
            directory = arguments.get("directory", "")
            yield path if path.startswith(("/", "{{ _")) else f"{directory}/{path}", "validate" in file


def _listed(role: str, expression: str) -> list[dict[str, Any]]:
    """The files of an expression: a template that lists them, or variables of the role."""
    template = re.search(r"'(\w+\.yml\.j2)'", expression)
    if template:
        found: list[dict[str, Any]] = yaml.safe_load(render(role, template[1], **RENDERED[role, template[1]]))
        return found
    if "_release_engine" in expression:
        rest: list[dict[str, Any]] = loaded(role, "vars/main.yml")["_release_rest"]
        return rest
    return [{"path": expression.strip("{} ")}]


@pytest.mark.parametrize("role", NAMES)
def test_every_file_is_checked_or_there_is_a_reason(role: str) -> None:
    unchecked = [path for path, checked in written(role) if not checked]
    assert [path for path in unchecked if not any(re.search(known, path) for known in NOT_CHECKED)] == []


def test_no_reason_is_left_over() -> None:
    paths = [path for role in NAMES for path, checked in written(role) if not checked]
    assert [known for known in NOT_CHECKED if not any(re.search(known, path) for path in paths)] == []


@pytest.mark.parametrize("role", NAMES)
def test_variables_and_their_description_agree(role: str) -> None:
    options = loaded(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {name: option.get("default") for name, option in options.items()} == defaults(role)
    for name, option in options.items():
        assert option["description"], name
        assert option["type"] in ("str", "int", "bool", "list", "dict"), name
        if option["type"] == "list":
            assert "elements" in option, name
        if "choices" in option:
            assert option["default"] in option["choices"], name


TYPES = {"str": str, "int": int, "bool": bool, "list": list, "dict": dict}


@pytest.mark.parametrize("role", NAMES)
def test_defaults_have_the_type_that_is_described(role: str) -> None:
    options = loaded(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    for name, value in defaults(role).items():
        is_expression = isinstance(value, str) and "{{" in value
        assert is_expression or type(value) is TYPES[options[name]["type"]], name


@pytest.mark.parametrize("role", NAMES)
def test_false_is_false_however_it_is_given(role: str) -> None:
    """`-e NAME=false` and an INI inventory give text, which is true."""
    options = loaded(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    for name in (name for name, option in options.items() if option["type"] == "bool"):
        found = []
        for directory in ("tasks", "handlers", "templates", "vars"):
            for path in (ROLES / role / directory).glob("*"):
                # A module's own option of that type takes text as well.
                found += re.findall(rf"(?<!: \"{{{{ )\b{name}\b(?! to (?:true|false))(?: \| bool)?", path.read_text())
        assert set(found) <= {f"{name} | bool"}, name


@pytest.mark.parametrize("role", NAMES)
def test_variables_carry_the_roles_prefix(role: str) -> None:
    assert [name for name in defaults(role) if not name.startswith(f"{role}_")] == []
    internal = list(loaded(role, "vars/main.yml") or {})
    for _, task in tasks(role):
        internal += [task["register"]] if "register" in task else []
        internal += list(module(task)[1]) if module(task)[0] == "set_fact" else []
        internal += list(task.get("vars", {}))
        loop_variable = task.get("loop_control", {}).get("loop_var")
        internal += [loop_variable] if loop_variable else []
    assert [name for name in internal if not name.startswith(f"_{role}_")] == []


@pytest.mark.parametrize("role", NAMES)
def test_a_role_knows_no_variables_of_others(role: str) -> None:
    """Roles are general: neither the site model nor another role is named in them."""
    others = "|".join(f"_?{other}_" for other in NAMES if other != role)
    foreign = re.compile(rf"\{{[{{%][^}}]*?(?<![\w.'\"/-])((?:{others})\w+|_?site\b|hostvars|hostwright_\w+)")
    for path in sorted((ROLES / role).rglob("*")):
        if path.suffix in (".yml", ".j2") and "meta" not in path.parts:
            assert foreign.findall(path.read_text()) == [], path.relative_to(ROLES)


@pytest.mark.parametrize("role", NAMES)
def test_main_is_a_table_of_contents(role: str) -> None:
    for task in loaded(role, "tasks/main.yml"):
        name, arguments = module(task)
        assert name in ("import_tasks", "include_tasks"), task["name"]
        file = arguments if isinstance(arguments, str) else arguments["file"]
        assert (ROLES / role / "tasks" / file).exists()
        assert role in task["tags"]
    listed = re.findall(r"(\w+\.yml)", (ROLES / role / "tasks" / "main.yml").read_text())
    included = re.findall(
        r"(?:include|import)_tasks: (\w+\.yml)", "".join(p.read_text() for p in (ROLES / role / "tasks").glob("*.yml"))
    )
    there = {path.name for path in (ROLES / role / "tasks").glob("*.yml")} - {"main.yml"}
    assert there == set(listed) | set(included), "a file of tasks that nothing includes"


@pytest.mark.parametrize("role", NAMES)
def test_every_notified_handler_is_there(role: str) -> None:
    known = set()
    for handler in loaded(role, "handlers/main.yml") or []:
        listens = handler.get("listen", [])
        known |= {handler["name"], *([listens] if isinstance(listens, str) else listens)}
    for _, task in tasks(role):
        notified = task.get("notify", [])
        assert set([notified] if isinstance(notified, str) else notified) <= known, task["name"]


@pytest.mark.parametrize("role", NAMES)
def test_what_a_run_has_left_unread_is_put_in_force_by_the_next(role: str) -> None:
    """Every handler that has a service read its files is notified where they are newer than its last reading, too."""
    handlers = loaded(role, "handlers/main.yml") or []
    does = {handler["name"]: module(handler)[1] for handler in handlers}
    wanted = {name: what["state"] for name, what in does.items() if what.get("state") in ("restarted", "reloaded")}
    looks = {
        task["notify"]: arguments for _, task in tasks(role) for name, arguments in [module(task)] if "in_force" in name
    }
    assert looks.keys() == wanted.keys()
    for handler, arguments in looks.items():
        reading = {"restarted": "start", "reloaded": "reload"}[wanted[handler]]
        assert (arguments["unit"], arguments["read_at"]) == (does[handler]["name"], reading)


@pytest.mark.parametrize("role", NAMES)
def test_what_is_secret_is_not_logged(role: str) -> None:
    for file, task in tasks(role):
        name, arguments = module(task)
        secret = re.search(r"password|_pem|release_contract|environment_file|item\.content", str(arguments))
        if secret and name in (*WRITERS, "postgresql_user", "rabbitmq_user", "command"):
            argv = str(arguments.get("argv", "")) if isinstance(arguments, dict) else ""
            assert "password" not in argv, f"{file}: {task['name']} shows a secret in the list of processes"
            if "password_method" not in str(arguments):
                assert "no_log" in task, f"{file}: {task['name']}"


@pytest.mark.parametrize("role", NAMES)
def test_what_an_account_may_write_is_not_written_by_root(role: str) -> None:
    """The module follows links, and its owner could have made ~/.ssh one to /etc."""
    for file, task in tasks(role):
        if module(task)[0].endswith("authorized_key"):
            assert task.get("become_user") == module(task)[1]["user"], f"{file}: {task['name']}"
