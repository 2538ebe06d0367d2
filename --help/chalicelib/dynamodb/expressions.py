"""Expressions of DynamoDB requests, with placeholders for all attribute names and values. Pure.

DynamoDB refuses reserved words as attribute names in expressions (573 words, among them `pool`,
`day`, `state` and `owner`; see "Reserved words in DynamoDB" in its developer guide), so no
expression is written by hand. Conditions have the syntax of boto3's; boto3's own would import all
of boto3, which costs a cold start 20 ms.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.dynamodb.serialization import serialize

Placeholder = Callable[[Any], str]


@dataclass(frozen=True)
class Condition:
    """A condition on attributes; `write` receives the functions that make placeholders of names and
    values.
    """

    write: Callable[[Placeholder, Placeholder], str]

    def __and__(self, other: "Condition") -> "Condition":
        return Condition(lambda n, v: f"({self.write(n, v)} AND {other.write(n, v)})")

    def __or__(self, other: "Condition") -> "Condition":
        return Condition(lambda n, v: f"({self.write(n, v)} OR {other.write(n, v)})")

    def __invert__(self) -> "Condition":
        return Condition(lambda n, v: f"(NOT {self.write(n, v)})")


@dataclass(frozen=True)
class Attr:
    """An attribute of an item, or an index's key."""

    name: str

    def eq(self, value: Any) -> Condition:
        return self._compare("=", value)

    def lt(self, value: Any) -> Condition:
        return self._compare("<", value)

    def lte(self, value: Any) -> Condition:
        return self._compare("<=", value)

    def gt(self, value: Any) -> Condition:
        return self._compare(">", value)

    def gte(self, value: Any) -> Condition:
        return self._compare(">=", value)

    def between(self, low: Any, high: Any) -> Condition:
        """Both ends are included."""
        return Condition(lambda n, v: f"{n(self.name)} BETWEEN {v(low)} AND {v(high)}")

    def not_exists(self) -> Condition:
        return Condition(lambda n, _: f"attribute_not_exists({n(self.name)})")

    def shorter_than(self, length: int) -> Condition:
        """A list with fewer elements than `length`; false if the attribute is missing."""
        return Condition(lambda n, v: f"size({n(self.name)}) < {v(length)}")

    def contains(self, value: Any) -> Condition:
        """A set that has this element; false if the attribute is missing."""
        return Condition(lambda n, v: f"contains({n(self.name)}, {v(value)})")

    def _compare(self, operator: str, value: Any) -> Condition:
        return Condition(lambda n, v: f"{n(self.name)} {operator} {v(value)}")


def expressions(
    *,
    key: Condition | None = None,
    condition: Condition | None = None,
    only: Condition | None = None,
    set_values: Mapping[str, Any] | None = None,
    append_values: Mapping[str, Sequence[Any]] | None = None,
    add_values: Mapping[str, Any] | None = None,
    delete_values: Mapping[str, Any] | None = None,
    remove: Sequence[str] = (),
    projection: Sequence[str] = (),
) -> dict[str, Any]:
    """The arguments of one request: its expressions, with their names and values.

    `key` is a query's key condition, `only` its filter, `condition` that of a write; `set_values`,
    `append_values` (to lists), `add_values`, `delete_values` (of sets) and `remove` are what an
    update does; `projection` has the attributes to return.
    """
    found: dict[str, Any] = {}
    names: dict[str, str] = {}
    values: dict[str, Any] = {}

    def alias(name: str) -> str:
        placeholder = f"#a{len(names)}"
        names[placeholder] = name
        return placeholder

    def hold(value: Any) -> str:
        placeholder = f":a{len(values)}"
        values[placeholder] = value
        return placeholder

    conditions = {
        "KeyConditionExpression": key,
        "FilterExpression": only,
        "ConditionExpression": condition,
    }
    for argument, wanted in conditions.items():
        if wanted is not None:
            found[argument] = wanted.write(alias, hold)
    assignments = [f"{alias(name)} = {hold(value)}" for name, value in (set_values or {}).items()]
    assignments += [
        f"{(at := alias(name))} = list_append({at}, {hold(value)})"
        for name, value in (append_values or {}).items()
    ]
    additions = [f"{alias(name)} {hold(value)}" for name, value in (add_values or {}).items()]
    deletions = [f"{alias(name)} {hold(value)}" for name, value in (delete_values or {}).items()]
    removals = [alias(name) for name in remove]
    clauses = {"SET": assignments, "ADD": additions, "DELETE": deletions, "REMOVE": removals}
    update = " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts)
    if update:
        found["UpdateExpression"] = update
    if projection:
        found["ProjectionExpression"] = ", ".join(map(alias, projection))
    if names:
        found["ExpressionAttributeNames"] = names
    if values:
        found["ExpressionAttributeValues"] = serialize(values)
    return found
