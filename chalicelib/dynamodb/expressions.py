"""Expressions of DynamoDB requests: every attribute name and value in them is a placeholder. Pure.

DynamoDB refuses a reserved word wherever an expression has an attribute name (573 words, among them
`pool`, `day`, `state` and `owner`; see "Reserved words in DynamoDB" in its developer guide), so no
expression is written by hand: conditions are built by boto3, updates and projections here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase, ConditionExpressionBuilder, Key

from chalicelib.dynamodb.wire import wire

__all__ = ["Attr", "ConditionBase", "Key", "expressions"]


def expressions(
    *,
    key: ConditionBase | None = None,
    condition: ConditionBase | None = None,
    set_values: Mapping[str, Any] | None = None,
    add_values: Mapping[str, Any] | None = None,
    remove: Sequence[str] = (),
    projection: Sequence[str] = (),
) -> dict[str, Any]:
    """The arguments of one request: its expressions, and the names and values they refer to.

    `key` is a query's key condition, `condition` that of a write; `set_values`, `add_values` and
    `remove` are the three clauses of an update; `projection` are the attributes to be returned.
    """
    builder = ConditionExpressionBuilder()
    found: dict[str, Any] = {}
    names: dict[str, str] = {}
    values: dict[str, Any] = {}
    for argument, wanted in (("KeyConditionExpression", key), ("ConditionExpression", condition)):
        if wanted is not None:
            built = builder.build_expression(wanted, is_key_condition=wanted is key)
            found[argument] = built.condition_expression
            names |= built.attribute_name_placeholders
            values |= built.attribute_value_placeholders

    def alias(name: str) -> str:
        placeholder = f"#a{len(names)}"
        names[placeholder] = name
        return placeholder

    def hold(value: Any) -> str:
        placeholder = f":a{len(values)}"
        values[placeholder] = value
        return placeholder

    assignments = [f"{alias(name)} = {hold(value)}" for name, value in (set_values or {}).items()]
    additions = [f"{alias(name)} {hold(value)}" for name, value in (add_values or {}).items()]
    clauses = {"SET": assignments, "ADD": additions, "REMOVE": [alias(name) for name in remove]}
    update = " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts)
    if update:
        found["UpdateExpression"] = update
    if projection:
        found["ProjectionExpression"] = ", ".join(map(alias, projection))
    if names:
        found["ExpressionAttributeNames"] = names
    if values:
        found["ExpressionAttributeValues"] = wire(values)
    return found
