"""Conditional writes as DynamoDB wants them. Pure.

Every item has the key `id`; one that is written by more than one party has a `version`, and a write
expects the version that was read.
"""

from typing import Any

from chalicelib.dynamodb.wire import wire

UNUSED = "attribute_not_exists(id)"
UNCHANGED = "version = :expected"
NOT_FULL = "attribute_not_exists(n) OR n < :maximum"

Write = dict[str, Any]
"""One entry of TransactItems, or the arguments of its single-item counterpart."""


def put(table: str, item: dict[str, Any], expected: int | None) -> Write:
    """Put an item where its version is `expected`, or where there is none yet (None)."""
    write: Write = {"TableName": table, "Item": item, "ConditionExpression": UNUSED}
    if expected is None:
        return write
    values = wire({":expected": expected})
    return write | {"ConditionExpression": UNCHANGED, "ExpressionAttributeValues": values}


def raised(table: str, key: str, maximum: int | None, expire_at: int) -> Write:
    """Raise a counter by one, unless it stands at `maximum` (None = there is none)."""
    write: Write = {
        "TableName": table,
        "Key": {"id": {"S": key}},
        "UpdateExpression": "ADD n :one SET expire_at = :expire_at",
        "ExpressionAttributeValues": wire({":one": 1, ":expire_at": expire_at}),
    }
    if maximum is not None:
        write["ConditionExpression"] = NOT_FULL
        write["ExpressionAttributeValues"] |= wire({":maximum": maximum})
    return write


def lowered(table: str, key: str) -> Write:
    """Lower a counter by one; it is never negative."""
    return {
        "TableName": table,
        "Key": {"id": {"S": key}},
        "UpdateExpression": "ADD n :less",
        "ConditionExpression": "n > :none",
        "ExpressionAttributeValues": wire({":less": -1, ":none": 0}),
    }
