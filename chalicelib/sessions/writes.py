"""The conditional writes of the table of sessions, as DynamoDB wants them. Pure."""

from typing import Any

from chalicelib.sessions.items import wire
from chalicelib.sessions.limits import KEPT_SECONDS, Counter

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


def remember(
    table: str, key: str, session_id: str, created_at: float, replaces: str | None
) -> Write:
    """Remember what session a request was answered with: for the first time, or in the place of
    an ended one. It is kept for longer than any session lives.
    """
    expire_at = int(created_at) + KEPT_SECONDS
    item = wire({"id": key, "session_id": session_id, "expire_at": expire_at})
    write: Write = {"TableName": table, "Item": item, "ConditionExpression": UNUSED}
    if replaces is None:
        return write
    values = wire({":replaces": replaces})
    return write | {
        "ConditionExpression": "session_id = :replaces",
        "ExpressionAttributeValues": values,
    }


def raised(table: str, counter: Counter) -> Write:
    """Raise a counter by one, unless it is full."""
    values = {":one": 1, ":maximum": counter.maximum, ":expire_at": counter.limit.expire_at}
    return {
        "TableName": table,
        "Key": {"id": {"S": counter.key}},
        "UpdateExpression": "ADD n :one SET expire_at = :expire_at",
        "ConditionExpression": NOT_FULL,
        "ExpressionAttributeValues": wire(values),
    }


def lowered(table: str, key: str) -> Write:
    """Lower a counter by one; it is never negative."""
    return {
        "TableName": table,
        "Key": {"id": {"S": key}},
        "UpdateExpression": "ADD n :less",
        "ConditionExpression": "n > :none",
        "ExpressionAttributeValues": wire({":less": -1, ":none": 0}),
    }
