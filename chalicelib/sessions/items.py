"""Records as DynamoDB's JSON, and back. Pure."""

import hashlib
from dataclasses import asdict, fields, replace
from typing import Any

from chalicelib.dynamodb.records import Item, Unreadable, build, extra_attributes
from chalicelib.dynamodb.wire import unwire, wire
from chalicelib.sessions.model import Session, State
from chalicelib.sessions.pool import AppState

LIVE_BUCKETS = 8
"""The index of live ones is spread over so many partitions: one takes 1,000 writes a second."""
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
_KNOWN_OF_APP = frozenset({"id", "pool", "pool_order", *(field.name for field in fields(AppState))})


def request_key(owner: str, idempotency_key: str) -> str:
    """The id under which an owner's Idempotency-Key is remembered."""
    digest = hashlib.sha256(f"{owner}\0{idempotency_key}".encode()).hexdigest()
    return f"request#{digest}"


def app_id(app: str) -> str:
    """The id of an app's state."""
    return f"app#{app}"


def to_item(session: Session) -> dict[str, Any]:
    """A session; no attributes for None, index attributes only where the index is to have it."""
    item: dict[str, Any] = {name: getattr(session, name) for name in _FIELDS}
    item["history"] = [[change.at, change.state, change.cause] for change in session.history]
    if session.state is State.ENDED:
        item["expire_at"] = int(session.ended_at or session.created_at) + KEPT_SECONDS
    else:
        item["live_bucket"] = int(session.id[:8], 16) % LIVE_BUCKETS
    if session.is_nobodys:
        ready = session.state is State.WARM
        item["pool"] = session.app
        item["pool_order"] = session.created_at + (0 if ready else NOT_READY_ORDER)
    return {**session.extra, **wire(item)}


def from_item(item: Item) -> Session:
    """The inverse of `to_item`. Raises ValueError; see `chalicelib.dynamodb.records`."""
    values = unwire({name: item[name] for name in _FIELDS if name in item})
    return build(Session, values | {"extra": extra_attributes(item, _KNOWN)}, always=_ALWAYS)


def pooled_at(record: Unreadable) -> float | None:
    """When a session was created that waits in a pool and cannot be read, by its place there."""
    order = record.number("pool_order")
    return None if order is None else order % NOT_READY_ORDER


def app_to_item(state: AppState) -> dict[str, Any]:
    """The state of an app, which the pool index has in front of the app's sessions."""
    item = asdict(replace(state, extra={})) | {"id": app_id(state.name)}
    del item["extra"]
    return {**state.extra, **wire(item | {"pool": state.name, "pool_order": APP_ORDER})}


def app_from_item(item: Item) -> AppState:
    """The inverse of `app_to_item`. Raises ValueError."""
    extra = extra_attributes(item, _KNOWN_OF_APP)
    return build(AppState, unwire(item) | {"extra": extra}, always=("version",))
