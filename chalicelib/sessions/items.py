"""Records as DynamoDB's JSON, and back. Pure."""

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
"""How long an ended session is remembered; ECS forgets after about an hour."""

APP_ORDER = 0
"""In the pool index the app's state comes before all sessions,"""
NOT_READY_ORDER = 10**10
"""and those that are not ready yet after all that are: their instants are shifted by this."""

_FIELDS = [field.name for field in fields(Session) if field.name != "extra"]
_ALWAYS = ("state", "version", "attempt", "pooled", "task_version", "history")
"""Every stored session has them: their defaults are those of a new one."""
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
    """A session; no attributes for None, index attributes only where the index is to have it."""
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
    """When a session was created that waits in a pool and cannot be read, by its place there."""
    order = record.number("pool_order")
    return None if order is None else order % NOT_READY_ORDER


APP_STATES = StateCodec("app", AppState, lambda app: {"pool": app, "pool_order": APP_ORDER})
"""The pool index has the state of an app in front of the app's sessions."""

SESSIONS = Codec(
    to_item,
    from_item,
    counters=lambda session: () if session.state is State.ENDED else session.counters,
    without=lambda session, keys: replace(
        session, counters=tuple(key for key in session.counters if key not in keys)
    ),
    member=lambda key, session: session.id if lists_sessions(key) else None,
)
