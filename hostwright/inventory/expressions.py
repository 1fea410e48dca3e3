"""Jinja expressions in the variables of hosts, evaluated as Ansible does it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2.nativetypes import NativeEnvironment, NativeTemplate
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

from hostwright.errors import BadInput

Evaluate = Callable[[str, str], Any]
"""(host, expression) -> what Ansible itself makes of the expression; raises BadInput where it can't."""
_RAISED = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError, MemoryError)
"""What the methods and filters of an expression raise."""
_OF_ANSIBLE = re.compile(
    "'(lookup|query|q|now|omit|inventory_dir|inventory_file|group_names|playbook_dir|ansible_version)' is undefined"
)


@dataclass(frozen=True)
class Expressions:
    """What the variables of hosts are evaluated with."""

    groups: Mapping[str, Sequence[str]]
    variables: Mapping[str, Mapping[str, Any]]
    evaluate: Evaluate

    def resolved(self, host: str, value: Any, path: str, leave: Callable[[str], bool] = lambda path: False) -> Any:
        """`value`, found at `path` in the variables of `host`; Ansible is not asked where `leave` says so."""

        def ansible(path: str, expression: str) -> Any:
            if leave(path):
                return expression
            try:
                return self.evaluate(host, expression)
            except BadInput as error:
                raise BadInput(f"{path}: {error.message}", error.hint) from None

        magic = {"groups": self.groups, "hostvars": self.variables, "inventory_hostname": host}
        return resolve(value, {**self.variables[host], **magic}, ansible, path)


def resolve(
    value: Any,
    variables: Mapping[str, Any],
    ansible: Callable[[str, str], Any] = lambda path, expression: expression,
    path: str = "site",
) -> Any:
    """`value` with its Jinja expressions replaced; `ansible` gets those that need Ansible's own filters and lookups.

    Left as they are, these do for texts that the controller never uses, and fail the validation of a key with a type.
    Raises BadInput, with the key's path below `path`, where a variable is missing.
    """
    if isinstance(value, dict):
        return {key: resolve(item, variables, ansible, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, variables, ansible, f"{path}.{number}") for number, item in enumerate(value)]
    if not _is_expression(value):
        return value
    try:
        return _rendered(value, variables)
    except RecursionError:
        raise BadInput(f"{path}: a variable refers to itself") from None
    except jinja2.UndefinedError as error:
        if re.search(r"\b(lookup|query|q)\(", value) or _OF_ANSIBLE.match(str(error)):
            return ansible(path, value)
        raise BadInput(
            f"{path}: {error}", "Set it in the inventory's group_vars, a secret in a file that ansible-vault encrypts."
        ) from None
    except jinja2.TemplateAssertionError:
        return ansible(path, value)  # A filter or test of Ansible's.
    except (jinja2.TemplateError, *_RAISED) as error:
        said = str(error) or type(error).__name__
        raise BadInput(f"{path}: {said}", "It is no Jinja expression; {% raw %} keeps braces as they are.") from None


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _rendered(text: str, variables: Mapping[str, Any]) -> Any:
    result = _Environment(undefined=jinja2.StrictUndefined).from_string(text).render(variables)
    if isinstance(result, jinja2.Undefined):
        str(result)  # Raises, with the name.
    return _rendered(result, variables) if _is_expression(result) and result != text else result


class _Context(Context):
    """Variables that are expressions themselves are resolved when they are used, as Ansible does it."""

    def resolve_or_missing(self, key: str) -> Any:
        value = super().resolve_or_missing(key)
        return _rendered(value, self.parent) if _is_expression(value) else value


def _concatenated(values: Iterable[Any]) -> Any:
    """One expression keeps its type; a text stays a text, even one that looks like a number."""
    found = list(values)
    return found[0] if len(found) == 1 else "".join(str(part) for part in found)


class _Environment(SandboxedEnvironment, NativeEnvironment):
    """Ansible's kind of Jinja: expressions keep their types, and can't reach Python."""

    context_class = _Context
    concat = staticmethod(_concatenated)


class _Template(NativeTemplate):
    """Jinja puts a result together with the environment named here, not with the one that made the template."""

    environment_class = _Environment


_Environment.template_class = _Template
