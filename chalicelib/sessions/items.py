"""Records as DynamoDB's JSON, and back. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from chalicelib.dynamodb.wire import unwire, wire
from chalicelib.sessions.model import Change, Reason, Session, State
from chalicelib.sessions.pool import AppState
from chalicelib.tasks.revisions import Failing

LIVE_BUCKETS = 8
"""The index of live ones is spread over so many partitions: one takes 1,000 writes a second."""
KEPT_SECONDS = 7 * 86_400
"""How long an ended session is remembered; ECS forgets after about an hour."""

APP_ORDER = 0
"""In the pool index the app's state comes before all sessions,"""
NOT_READY_ORDER = 10**10
"""and those that are not ready yet after all that are: their instants are shifted by this."""

_FIELDS = [field.name for field in fields(Session)]


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
    return wire(item)


def from_item(item: Mapping[str, Any]) -> Session:
    """The inverse of `to_item`."""
    read = unwire(item)
    values = {"owner": None} | {name: read[name] for name in _FIELDS if name in read}
    values["state"] = State(values["state"])
    if "reason" in values:
        values["reason"] = Reason(values["reason"])
    values["history"] = tuple(
        Change(at, State(state), cause) for at, state, cause in values.get("history", ())
    )
    values["counters"] = tuple(values.get("counters", ()))
    return Session(**values)


def app_to_item(state: AppState) -> dict[str, Any]:
    """The state of an app, which the pool index has in front of the app's sessions."""
    item = asdict(state) | {"id": app_id(state.name)}
    return wire(item | {"pool": state.name, "pool_order": APP_ORDER})


def app_from_item(item: Mapping[str, Any]) -> AppState:
    """The inverse of `app_to_item`."""
    read = unwire(item)
    failing = {arn: Failing(**told) for arn, told in read.get("failing", {}).items()}
    values = {field.name: read[field.name] for field in fields(AppState) if field.name in read}
    return AppState(**(values | {"failing": failing}))
