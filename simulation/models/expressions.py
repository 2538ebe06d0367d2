"""Applies the writes that the dispatcher builds to items in memory. Pure.

Only what `chalicelib.dynamodb.expressions` writes can be read: conditions of placeholders, and the
clauses SET, ADD, DELETE and REMOVE. Source: "Expressions", developer guide of DynamoDB.
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
    return predicate(write, "ConditionExpression")(item)


def predicate(
    asked: Mapping[str, Any], argument: str
) -> Callable[[Mapping[str, Any] | None], bool]:
    """Tells of items whether they fit an expression of a request; without one each does."""
    expression = asked.get(argument)
    if expression is None:
        return lambda _: True
    test, names = _compiled(expression), asked["ExpressionAttributeNames"]
    values = plain(asked.get("ExpressionAttributeValues", {}))

    def is_met(item: Mapping[str, Any] | None) -> bool:
        found = item or {}
        return test({alias: found.get(name, _MISSING) for alias, name in names.items()}, values)

    return is_met


def updated(write: Mapping[str, Any], item: Mapping[str, Any] | None) -> PlainItem:
    """The item after an update."""
    after = dict(item or {"id": write["Key"]["id"]["S"]})
    names = write["ExpressionAttributeNames"]
    values = plain(write.get("ExpressionAttributeValues", {}))
    for verb, assignments, appended in _clauses(write["UpdateExpression"]):
        for alias, placeholder in assignments:
            name = names[alias]
            value: Any = values.get(placeholder)
            if verb == "REMOVE":
                after.pop(name, None)
            elif verb == "SET":
                after[name] = [*after[name], *values[placeholder]] if alias in appended else value
            elif verb == "DELETE":
                after[name] = after.get(name, frozenset()) - value
            elif isinstance(value, frozenset):
                after[name] = after.get(name, frozenset()) | value
            else:
                after[name] = after.get(name, 0) + value
    return after


def plain(item: Mapping[str, Any]) -> PlainItem:
    """Plain values of DynamoDB's JSON, with sets as sets."""
    return {
        key: frozenset(value) if "SS" in item[key] else value
        for key, value in deserialize(item).items()
    }


_Clause = tuple[str, tuple[tuple[str, str], ...], frozenset[str]]
"""The verb, pairs of placeholders of names and values, and the lists that are appended to."""


@lru_cache(256)
def _clauses(text: str) -> tuple[_Clause, ...]:
    clauses = []
    for verb, assignments in re.findall(r"(SET|ADD|DELETE|REMOVE) ([^A-Z]*)", text):
        if verb == "REMOVE":
            pairs = tuple((alias, "") for alias in re.findall(r"#\w+", assignments))
            clauses.append((verb, pairs, frozenset[str]()))
            continue
        appended = re.findall(r"(#\w+) = list_append\(#\w+, :\w+\)", assignments)
        short = re.sub(r"list_append\(#\w+, (:\w+)\)", r"\1", assignments)
        pairs = tuple(re.findall(r"(#\w+)(?: =)? (:\w+)", short))
        clauses.append((verb, pairs, frozenset(appended)))
    return tuple(clauses)


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


def _single(tokens: list[str]) -> tuple[Test, list[str]]:  # noqa: PLR0911 - one for each form
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
        case ["size", "(", name, ")", "<", value, *rest]:
            return (lambda item, values: _length(item[name]) < values[value]), rest
        case [name, "BETWEEN", low, "AND", high, *rest]:
            return (
                lambda item, values: (
                    _compare(item[name], ">=", values[low])
                    and _compare(item[name], "<=", values[high])
                )
            ), rest
        case [name, operator, value, *rest]:
            return (lambda item, values: _compare(item[name], operator, values[value])), rest
    raise ValueError(f"not an expression of ours: {tokens}")


def _either(first: Test, second: Test) -> Test:
    return lambda item, values: first(item, values) or second(item, values)


def _both(first: Test, second: Test) -> Test:
    return lambda item, values: first(item, values) and second(item, values)


def _contains(found: Any, value: Any) -> bool:
    return found is not _MISSING and value in found


def _length(found: Any) -> float:
    return float("inf") if found is _MISSING else len(found)


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
