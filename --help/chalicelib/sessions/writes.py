"""Conditional writes of sessions only. Pure."""

from chalicelib.dynamodb.expressions import Attr, expressions
from chalicelib.dynamodb.serialization import serialize
from chalicelib.dynamodb.writes import UNUSED, Write
from chalicelib.sessions.limits import KEPT_SECONDS


def remember(
    table: str, key: str, session_id: str, created_at: float, replaces: str | None
) -> Write:
    """Record the session that a request is answered with: for the first time, or in place of an
    ended one. The item is kept for longer than any session lives.
    """
    expire_at = int(created_at) + KEPT_SECONDS
    item = serialize({"id": key, "session_id": session_id, "expire_at": expire_at})
    condition = UNUSED if replaces is None else Attr("session_id").eq(replaces)
    return {"TableName": table, "Item": item} | expressions(condition=condition)
