"""Applies the writes that the dispatcher builds to items in memory. Pure.

Only what `chalicelib.dynamodb.expressions` writes can be read: conditions of placeholders, and the
clauses SET, ADD and DELETE. Source: "Expressions", developer guide of DynamoDB.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from chalicelib.dynamodb.serialization import deserialize

PlainItem = dict[str, Any]
Test = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]
"""Of an item by placeholders of names, and of values by placeholders."""

_TOKEN = re.compile(r"#\w+|:\w+|<=|>=|[()=<>,]|\w+")
_MISSING = object()


def holds(write: Mapping[str, Any], item: Mapping[str, Any] | None) -> bool:
    """Whether a write's condition holds for an item; None is an item that is not there."""
    condition = write.get("ConditionExpression")
    if condition is None:
        return True
    found = item or {}
    by_alias = {
        alias: found.get(name, _MISSING)
        for alias, name in write["ExpressionAttributeNames"].items()
    }
    return _compiled(condition)(by_alias, _values(write))


def updated(write: Mapping[str, Any], item: Mapping[str, Any] | None) -> PlainItem:
    """The item after an update."""
    after = dict(item or {"id": write["Key"]["id"]["S"]})
    names, values = write["ExpressionAttributeNames"], _values(write)
    for verb, clause in _clauses(write["UpdateExpression"]):
        for assignment in clause:
            name, value = names[assignment[0]], values[assignment[1]]
            if verb == "SET":
                after[name] = value
            elif verb == "DELETE":
                after[name] = after.get(name, frozenset()) - value
            elif isinstance(value, frozenset):
                after[name] = after.get(name, frozenset()) | value
            else:
                after[name] = after.get(name, 0) + value
    return after


def _values(write: Mapping[str, Any]) -> dict[str, Any]:
    plain = deserialize(write.get("ExpressionAttributeValues", {}))
    return {
        key: frozenset(value) if isinstance(value, list) else value for key, value in plain.items()
    }


@lru_cache(256)
def _clauses(text: str) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    parts = re.findall(r"(SET|ADD|DELETE) ([^A-Z]*)", text)
    return tuple(
        (verb, tuple(re.findall(r"(#\w+)(?: =)? (:\w+)", assignments)))
        for verb, assignments in parts
    )


@lru_cache(256)
def _compiled(text: str) -> Test:
    tokens = [*_TOKEN.findall(text), ""]
    test, rest = _alternatives(tokens)
    if rest != [""]:
        raise ValueError(f"not an expression of ours: {text}")
    return test


def _alternatives(tokens: list[str]) -> tuple[Test, list[str]]:
    first, tokens = _conjunction(tokens)
    while tokens[0] == "OR":
        second, tokens = _conjunction(tokens[1:])
        first = _either(first, second)
    return first, tokens


def _conjunction(tokens: list[str]) -> tuple[Test, list[str]]:
    first, tokens = _single(tokens)
    while tokens[0] == "AND":
        second, tokens = _single(tokens[1:])
        first = _both(first, second)
    return first, tokens


def _single(tokens: list[str]) -> tuple[Test, list[str]]:
    match tokens:
        case ["(", *rest]:
            test, rest = _alternatives(rest)
            return test, rest[1:]
        case ["NOT", *rest]:
            inner, rest = _single(rest)
            return (lambda item, values: not inner(item, values)), rest
        case ["attribute_not_exists", "(", name, ")", *rest]:
            return (lambda item, _: item[name] is _MISSING), rest
        case ["contains", "(", name, ",", value, ")", *rest]:
            return (lambda item, values: _contains(item[name], values[value])), rest
        case [name, operator, value, *rest]:
            return (lambda item, values: _compare(item[name], operator, values[value])), rest
    raise ValueError(f"not an expression of ours: {tokens}")


def _either(first: Test, second: Test) -> Test:
    return lambda item, values: first(item, values) or second(item, values)


def _both(first: Test, second: Test) -> Test:
    return lambda item, values: first(item, values) and second(item, values)


def _contains(found: Any, value: Any) -> bool:
    return found is not _MISSING and value in found


def _compare(found: Any, operator: str, value: Any) -> bool:
    if found is _MISSING:
        return False
    return bool(
        {
            "=": found == value,
            "<": found < value,
            "<=": found <= value,
            ">": found > value,
            ">=": found >= value,
        }[operator]
    )
