"""Which tables each function of the dispatcher can come to, by the objects that the wiring makes.

As `code_calls`, but it follows objects: `self._turns.next()` leads to the `Turns` that this object
has, and so to the table that the wiring gave it. Recorded calls miss what a cache or a rare path
spares; this follows every reference.
"""

import ast
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from chalicelib.audit.table import Audit
from chalicelib.clients import Clients
from chalicelib.config import load_config
from chalicelib.dynamodb.table import Table
from chalicelib.environment import Environment
from chalicelib.wiring import Services, build
from tests.unit.infra.code_calls import (
    CLIENTS,
    Code,
    Node,
    actions_of_call,
    attribute_of,
    bare_name,
    steps_of_name,
)

Step = tuple[Any, str]
"""An object, or the name of a module or class, and the function in it."""


def services() -> Services:
    """The services of stage `dev` that a deployment has; nothing is called."""
    config = load_config(
        {
            "STAGE": "dev",
            "AWS_REGION": "us-east-1",
            "CALLBACK_BASE_URL": "https://d",
            "HOSTS_GROUP": "usher-dev-hosts",
        }
    )
    nothing = SimpleNamespace(meta=SimpleNamespace(region_name="us-east-1"))
    clients = Clients(nothing, nothing, nothing, nothing, create=lambda _: nothing)
    return build(config, clients, Environment())


class Objects:
    """Follows the references of functions from object to object."""

    def __init__(self, code: Code, root: Services) -> None:
        self._code = code
        self._root = root
        self._given = {
            "services": root,
            "_jobs": root.jobs,
            "_schedules": root.schedules,
            "_sessions": root.sessions,
            "_grading": root.grading,
        }

    def rights_of(self, function: str) -> tuple[set[str], set[Node]]:
        """`dynamodb:GetItem TABLE` that a function can come to; and what called a table that no
        object names.
        """
        waiting: list[Step] = [
            node for node in self._code.entries[function] if node[0][:1].islower()
        ]
        if function == "sweep":
            waiting += [(kind, name) for kind in self._kinds() for name in _methods(kind)]
        seen: set[tuple[int | str, str]] = set()
        found: set[str] = set()
        lost: set[Node] = set()
        while waiting:
            step = waiting.pop()
            owner, name = step
            key = (owner if isinstance(owner, str) else id(owner), name)
            if key in seen:
                continue
            seen.add(key)
            node = self._node(owner, name)
            if node is None:
                continue
            for then in self._steps(owner, node):
                if not isinstance(then[0], str) or then[0] not in CLIENTS:
                    waiting.append(then)
                elif isinstance(owner, Table | Audit):
                    name = owner.name if isinstance(owner, Table) else owner._name
                    found |= {f"{action} {name}" for action in actions_of_call(*then)}
                elif then[0] == "dynamodb" and then[1] != "__init__":
                    lost.add(node)
        return found, lost

    def _kinds(self) -> list[Any]:
        """The kinds of record that the sweep goes through, and what they hold: it calls all of
        their methods.
        """
        kinds = (
            self._root.sessions.kind,
            self._root.jobs.kind,
            self._root.schedules_kind,
            self._root.grading.kind,
        )
        held = [held for kind in kinds for held in (kind.unreadable, kind.hosts_wanted) if held]
        return [*kinds, *held]

    def _node(self, owner: Any, name: str) -> Node | None:
        if isinstance(owner, str):
            classes = [bare_name(owner)]
            for one in classes:
                classes += map(bare_name, self._code.bases.get(one, ()))
        else:
            classes = [one.__name__ for one in type(owner).__mro__]
        nodes = ((one, name) for one in classes)
        return next((node for node in nodes if node in self._code.functions), None)

    def _steps(self, owner: Any, node: Node) -> Iterator[Step]:
        for part in ast.walk(self._code.functions[node]):
            if isinstance(part, ast.Name):
                yield from steps_of_name(self._code, self._code.home[node], part.id)
            elif isinstance(part, ast.Attribute):
                if _is_client(part.value):
                    yield "dynamodb", part.attr
                    if part.attr == "get_paginator":
                        yield "dynamodb", "query"
                found = self._value(owner, part.value)
                if found is not None:
                    yield found, part.attr

    def _value(self, owner: Any, value: ast.expr) -> Any:
        """The object of an expression; the name of its type where no object is known."""
        if isinstance(value, ast.Name) and value.id == "self":
            return owner
        if isinstance(value, ast.Call):
            return self._given.get(getattr(value.func, "id", ""))
        if isinstance(value, ast.Attribute):
            found = self._value(owner, value.value)
            if isinstance(found, str):
                return attribute_of(self._code, found, value.attr)
            return None if found is None else getattr(found, value.attr, None)
        return None


def _methods(owner: Any) -> list[str]:
    return [name for name in dir(type(owner)) if callable(getattr(type(owner), name))]


def _is_client(value: ast.expr) -> bool:
    return isinstance(value, ast.Attribute) and value.attr == "_dynamodb"
