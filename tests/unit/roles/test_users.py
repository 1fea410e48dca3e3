"""What the role users takes for a rule in what sudo says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.roles import evaluate, tasks

COMMAND = "/usr/bin/systemctl restart nginx --no-block --runtime --job-mode=replace-irreversibly"
RULE = {"name": "ann-nginx", "user": "ann", "command": COMMAND}
LISTED = r"""User ann may run the following commands on web1:
    (root) NOPASSWD: /usr/bin/systemctl restart nginx --no-block --runtime --job-mode\=replace-irreversibly
"""
WRAPPED = r"""User ann may run the following commands on web1:
    (root) NOPASSWD: /usr/bin/systemctl restart nginx --no-block --runtime
        --job-mode\=replace-irreversibly
"""
WITHIN_A_WORD = WRAPPED.replace("irreversibly", "irrever\n        sibly")


def fails(said: str, **rule: Any) -> Any:
    """Whether the verification fails on a rule, with what sudo said."""
    task = next(task for _, task in tasks("users") if task["name"] == "Ask sudo for each rule")
    known = {**task["vars"], "item": {**RULE, **rule}, "_users_answer": {"stdout": said}}
    return evaluate(f"{{{{ {task['failed_when']} }}}}", known)


@pytest.mark.parametrize("said", [LISTED, WRAPPED, WITHIN_A_WORD, WRAPPED.replace("\n", "\r\n")])
def test_a_rule_is_known_however_sudo_writes_it(said: str) -> None:
    assert fails(said) is False


def test_a_rule_that_is_not_there_or_wants_a_password_fails() -> None:
    assert fails("User ann is not allowed to run sudo on web1.\n") is True
    assert fails(LISTED.replace("NOPASSWD: ", "")) is True
    assert fails(LISTED, command="/usr/bin/systemctl restart redis") is True
    assert fails("", state="absent") is False
