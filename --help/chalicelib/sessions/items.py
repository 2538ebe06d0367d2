"""Serializes sessions to DynamoDB items and back. Pure."""

import hashlib
from dataclasses import fields, replace
from typing import Any

from chalicelib.capacity.fairness import order_of
from chalicelib.dynamodb.records import Item, Unreadable, build, extra_attributes
from chalicelib.dynamodb.serialization import deserialize, serialize
from chalicelib.sessions.limits import lists_sessions
from chalicelib.sessions.model import Session, State
from chalicelib.sessions.pool import AppState
from chalicelib.tasks.breaker import StateCodec
from chalicelib.tasks.store import Codec, live_or_expiring

KEPT_SECONDS = 7 * 86_400
"""Ended sessions are kept for this long; ECS keeps stopped tasks for about an hour."""

APP_ORDER = 0
"""Sort key of the app's state in the pool index: before all sessions."""
NOT_READY_ORDER = 10**10
"""Added to the sort key of sessions that are not ready: they follow all that are."""

_FIELDS = [field.name for field in fields(Session) if field.name != "extra"]
_ALWAYS = ("state", "version", "attempt", "pooled", "task_version", "history")
"""Attributes that every stored session has, also with default values."""
_INDEXED = {"expire_at", "live_bucket", "pool", "pool_order"}
_KNOWN = frozenset({*_FIELDS, *_INDEXED})


def request_key(owner: str, idempotency_key: str) -> str:
    """The id under which an owner's Idempotency-Key is remembered."""
    digest = hashlib.sha256(f"{owner}\0{idempotency_key}".encode()).hexdigest()
    return f"request#{digest}"


def waiting_partition(group: str | None) -> str:
    """The partition of the pool index with the sessions that wait in a capacity group."""
    return f"waiting#{group}"


def to_item(session: Session) -> dict[str, Any]:
    """The item of a session. Attributes with the value None are omitted, and so are keys of indexes
    that are not to contain it.
    """
    item: dict[str, Any] = {name: getattr(session, name) for name in _FIELDS}
    item["history"] = [[change.at, change.state, change.cause] for change in session.history]
    ended_at = None if session.state is not State.ENDED else session.ended_at or session.created_at
    item |= live_or_expiring(session.id, ended_at=ended_at, kept_seconds=KEPT_SECONDS)
    if session.is_unowned:
        ready = session.state is State.WARM
        item["pool"] = session.app
        item["pool_order"] = session.created_at + (0 if ready else NOT_READY_ORDER)
    elif session.waits_for_group:
        item["pool"] = waiting_partition(session.waits_in)
        item["pool_order"] = order_of(session.turn or 0, session.created_at)
    return {**session.extra, **serialize(item)}


def from_item(item: Item) -> Session:
    """The inverse of `to_item`. Raises ValueError; see `chalicelib.dynamodb.records`."""
    values = deserialize({name: item[name] for name in _FIELDS if name in item})
    return build(Session, values | {"extra": extra_attributes(item, _KNOWN)}, always=_ALWAYS)


def pooled_at(record: Unreadable) -> float | None:
    """The creation time of a session in a pool whose record cannot be read, from its sort key."""
    order = record.number("pool_order")
    return None if order is None else order % NOT_READY_ORDER


APP_STATES = StateCodec("app", AppState, lambda app: {"pool": app, "pool_order": APP_ORDER})
"""In the pool index the state of an app precedes the app's sessions."""

SESSIONS = Codec(
    to_item,
    from_item,
    counters=lambda session: () if session.state is State.ENDED else session.counters,
    without=lambda session, keys: replace(
        session, counters=tuple(key for key in session.counters if key not in keys)
    ),
    member=lambda key, session: session.id if lists_sessions(key) else None,
)
