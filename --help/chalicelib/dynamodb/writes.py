"""Conditional writes in DynamoDB's format. Pure.

Every item has the key `id`; one that several parties write has a `version`, and a write is
conditional on the version that was read.
"""

from typing import Any

from chalicelib.dynamodb.expressions import Attr, expressions

UNUSED = Attr("id").not_exists()

Write = dict[str, Any]
"""One entry of TransactItems, or the arguments of the corresponding single-item operation."""


def put(table: str, item: dict[str, Any], expected: int | None) -> Write:
    """Put an item if its version is `expected`, or if it does not exist (None)."""
    condition = UNUSED if expected is None else Attr("version").eq(expected)
    return {"TableName": table, "Item": item} | expressions(condition=condition)


def unchanged(table: str, item_id: str, version: int) -> Write:
    """A transaction's check that an item still has the version that was read."""
    return {"TableName": table, "Key": {"id": {"S": item_id}}} | expressions(
        condition=Attr("version").eq(version)
    )


def deleted(table: str, item_id: str) -> Write:
    """Delete an existing item."""
    return {"TableName": table, "Key": {"id": {"S": item_id}}} | expressions(condition=~UNUSED)


def raised(
    table: str, key: str, maximum: int | None, expire_at: int, member: str | None = None
) -> Write:
    """Increment a counter unless it is at `maximum` (None = no limit).

    `member`: added to the counter's set of `members`.
    """
    not_full = None if maximum is None else Attr("n").not_exists() | Attr("n").lt(maximum)
    return {"TableName": table, "Key": {"id": {"S": key}}} | expressions(
        condition=not_full,
        add_values={"n": 1} | _members(member),
        set_values={"expire_at": expire_at},
    )


def lowered(table: str, key: str, member: str | None = None) -> Write:
    """Decrement a counter, which never becomes negative. `member` is removed from its set."""
    return {"TableName": table, "Key": {"id": {"S": key}}} | expressions(
        condition=Attr("n").gt(0), add_values={"n": -1}, delete_values=_members(member)
    )


def _members(member: str | None) -> dict[str, Any]:
    return {} if member is None else {"members": frozenset({member})}
