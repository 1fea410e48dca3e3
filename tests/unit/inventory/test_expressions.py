"""Jinja expressions in the inventory's variables, as Ansible evaluates them."""

from __future__ import annotations

from typing import Any

import pytest

from hostwright.errors import BadInput
from hostwright.inventory import expressions

VARIABLES: dict[str, Any] = {
    "text": "shop",
    "number": 5,
    "digits": "0123",
    "flag": True,
    "listing": ["a", "b"],
    "nothing": None,
    "indirect": "{{ text }}-x",
    "twice": "{{ indirect }}",
    "python": "[1, 2]",
    "itself": "{{ itself }}",
    "there": "{{ back }}",
    "back": "{{ there }}",
    "hostvars": {"db1": {"ansible_host": "10.0.0.9"}},
    "groups": {"db": ["db1"]},
}


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("plain", "plain"),
        (5, 5),
        ("{{ text }}", "shop"),
        ("x-{{ text }}-{{ number }}", "x-shop-5"),
        # Types are kept, and a text stays a text, whatever it looks like.
        ("{{ number }}", 5),
        ("{{ flag }}", True),
        ("{{ listing }}", ["a", "b"]),
        ("{{ nothing }}", None),
        ("{{ digits }}", "0123"),
        ("{{ python }}", "[1, 2]"),
        ("{{ 'None' }}", "None"),
        ("{{ number }}0", "50"),
        ("{{ twice }}", "shop-x"),
        ("{{ text | upper }}", "SHOP"),
        ("{% if flag %}on{% endif %}", "on"),
        ("{{ hostvars[groups.db[0]].ansible_host }}", "10.0.0.9"),
        ({"a": ["{{ text }}", {"b": "{{ number }}"}]}, {"a": ["shop", {"b": 5}]}),
        # These need Ansible.
        ("{{ lookup('env', 'HOME') }}", "{{ lookup('env', 'HOME') }}"),
        ("{{ text | ansible_only }}", "{{ text | ansible_only }}"),
    ],
)
def test_expressions(value: Any, resolved: Any) -> None:
    found = expressions.resolve(value, VARIABLES)
    assert found == resolved
    assert type(found) is type(resolved)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{{ missing }}", "site.env.A: 'missing' is undefined"),
        ("x{{ missing }}", "site.env.A: 'missing' is undefined"),
        ("{{ itself }}", "site.env.A: a variable refers to itself"),
        ("{{ there }}", "site.env.A: a variable refers to itself"),
        ("{{ text", "site.env.A: unexpected end of template, expected 'end of print statement'."),
        ("{{ number + text }}", "site.env.A: unsupported operand type(s) for +: 'int' and 'str'"),
        ("{{ 1 // 0 }}", "site.env.A: integer division or modulo by zero"),
        ("{{ text.encode('nope') }}", "site.env.A: unknown encoding: nope"),
        ("{{ [].pop() }}", "site.env.A: pop from empty list"),
        ("{{ 'x' * 10 ** 18 }}", "site.env.A: MemoryError"),
    ],
)
def test_an_expression_that_can_not_be_resolved_is_named_by_its_key(value: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        expressions.resolve({"env": {"A": value}}, VARIABLES)
    assert caught.value.message == message


@pytest.mark.parametrize(
    "value",
    [
        "{{ lookup('env', 'X') }}",
        "{{ lookup('file', inventory_dir ~ '/x') }}",
        "{{ secret }}",
        "{{ text | ansible_only }}",
        "{{ inventory_dir }}/x",
    ],
)
def test_what_only_ansible_can_resolve_is_asked_of_it(value: str) -> None:
    asked = []

    def ansible(path: str, expression: str) -> str:
        asked.append((path, expression))
        return "answer"

    variables = {**VARIABLES, "secret": "{{ query('env', 'X') }}"}
    assert expressions.resolve({"env": {"A": value}}, variables, ansible) == {"env": {"A": "answer"}}
    assert asked == [("site.env.A", value)]


def test_an_expression_can_not_reach_python() -> None:
    for value in ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ text.__init__.__globals__ }}"):
        with pytest.raises(BadInput, match=r"site: "):
            expressions.resolve(value, VARIABLES)
