"""Conditional writes as DynamoDB wants them. Pure.

Every item has the key `id`; one that is written by more than one party has a `version`, and a write
expects the version that was read.
"""

from typing import Any

from chalicelib.dynamodb.expressions import Attr, expressions

UNUSED = Attr("id").not_exists()

Write = dict[str, Any]
"""One entry of TransactItems, or the arguments of its single-item counterpart."""


def put(table: str, item: dict[str, Any], expected: int | None) -> Write:
    """Put an item where its version is `expected`, or where there is none yet (None)."""
    condition = UNUSED if expected is None else Attr("version").eq(expected)
    return {"TableName": table, "Item": item} | expressions(condition=condition)


def unchanged(table: str, item_id: str, version: int) -> Write:
    """The check, in a transaction, that an item still has the version that was read."""
    return {"TableName": table, "Key": {"id": {"S": item_id}}} | expressions(
        condition=Attr("version").eq(version)
    )


def deleted(table: str, item_id: str) -> Write:
    """Delete an item that is there."""
    return {"TableName": table, "Key": {"id": {"S": item_id}}} | expressions(condition=~UNUSED)


def raised(
    table: str, key: str, maximum: int | None, expire_at: int, member: str | None = None
) -> Write:
    """Raise a counter by one, unless it stands at `maximum` (None = there is none).

    `member`: what is counted, added to the set of `members` that the counter keeps.
    """
    not_full = None if maximum is None else Attr("n").not_exists() | Attr("n").lt(maximum)
    return {"TableName": table, "Key": {"id": {"S": key}}} | expressions(
        condition=not_full,
        add_values={"n": 1} | _members(member),
        set_values={"expire_at": expire_at},
    )


def lowered(table: str, key: str, member: str | None = None) -> Write:
    """Lower a counter by one; it is never negative. `member` is counted no more."""
    return {"TableName": table, "Key": {"id": {"S": key}}} | expressions(
        condition=Attr("n").gt(0), add_values={"n": -1}, delete_values=_members(member)
    )


def _members(member: str | None) -> dict[str, Any]:
    return {} if member is None else {"members": frozenset({member})}
