"""Records of jobs as DynamoDB's JSON, and back. Pure."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import Any

from chalicelib.contract import json_text
from chalicelib.dynamodb.records import Item, build, extra_attributes
from chalicelib.dynamodb.serialization import deserialize, serialize
from chalicelib.jobs.model import Invocation, UnreadableJson
from chalicelib.jobs.policy import order_in_partition, partition_of
from chalicelib.tasks.breaker import StateCodec
from chalicelib.tasks.revisions import RevisionState
from chalicelib.tasks.store import Codec, live_or_expiring

KEPT_SECONDS = 90 * 86_400
"""How long an ended invocation is remembered; ECS forgets after about an hour."""

READABLE_DEPTH = 200
"""Stored JSON that is nested deeper is not taken apart: bodies have been bounded to less since."""
_AS_TEXT = ("parameters", "request", "result")
"""JSON of any shape: kept as text, so that it comes back exactly as it was."""
_PARTS = ("permit", "progress", "usage")
_FIELDS = [field.name for field in fields(Invocation) if field.name != "extra"]
_STORED_AS = {name: name for name in _FIELDS} | {
    "permit": "fence",
    "attempt_counters": "holds",
    "turn": "fair_turn",
}
"""Field → attribute."""
_ALWAYS = ("state", "version", "attempt", "task_version", "start_failures", "history")
"""Every stored invocation has them: their defaults are those of a new one."""
_INDEXED = {"day", "expire_at", "invoked_by", "live_bucket", "waiting", "waiting_order"}
_KNOWN = frozenset({*_STORED_AS.values(), *_INDEXED})
COMPARED = tuple(
    sorted({*_STORED_AS.values(), "expire_at", "live_bucket"} - {"parameters", "result"})
)
"""What the sweep reads of an invocation. What may be large stays in the table: a record that was
read so must not be written."""


def to_item(invocation: Invocation) -> dict[str, Any]:
    """An invocation; index attributes only where the index is to have it."""
    item: dict[str, Any] = {name: getattr(invocation, name) for name in _FIELDS}
    item |= {n: to_text(item[n]) for n in _AS_TEXT if item[n] is not None}
    item |= {n: asdict(item[n]) for n in _PARTS if item[n] is not None}
    item["history"] = [[change.at, change.state, change.cause] for change in invocation.history]
    item["day"] = day_of(invocation.created_at)
    item["invoked_by"] = invocation.owner  # `owner` would list schedules, which have one too
    ended_at = (invocation.finished_at or invocation.created_at) if invocation.has_ended else None
    item |= live_or_expiring(invocation.id, ended_at=ended_at, kept_seconds=KEPT_SECONDS)
    if invocation.is_waiting:
        item["waiting"] = partition_of(invocation)
        item["waiting_order"] = order_in_partition(invocation)
    stored = {_STORED_AS.get(name, name): value for name, value in item.items()}
    return {**invocation.extra, **serialize(stored)}


def to_text(value: Any) -> str:
    """JSON as callers are measured by: escapes would make three times the bytes of it."""
    if isinstance(value, UnreadableJson):
        return value.text
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_json(text: str) -> Any:
    """Stored JSON; what no body may have any more is kept as it is, so that it harms no listing.

    Raises TypeError where it is no text.
    """
    if not isinstance(text, str):  # bytes would be read as well
        raise TypeError("not a text")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return UnreadableJson(text)
    return UnreadableJson(text) if json_text.is_deeper(value, READABLE_DEPTH) else value


def from_item(item: Item) -> Invocation:
    """The inverse of `to_item`. Raises ValueError; see `chalicelib.dynamodb.records`."""
    values = deserialize({n: item[at] for n, at in _STORED_AS.items() if at in item})
    values |= {n: read_json(values[n]) for n in _AS_TEXT if n in values}
    return build(Invocation, values | {"extra": extra_attributes(item, _KNOWN)}, always=_ALWAYS)


def day_of(instant: float) -> str:
    """The day in UTC that an instant falls on, like 2026-11-20."""
    return datetime.fromtimestamp(instant, UTC).date().isoformat()


JOB_STATES = StateCodec("job", RevisionState)
"""What is remembered of the revisions of jobs."""


def _without(invocation: Invocation, keys: Sequence[str]) -> Invocation:
    attempt_counters, counters = (
        tuple(key for key in held if key not in keys)
        for held in (invocation.attempt_counters, invocation.counters)
    )
    return replace(invocation, attempt_counters=attempt_counters, counters=counters)


INVOCATIONS = Codec(
    to_item,
    from_item,
    counters=lambda i: i.attempt_counters if i.has_ended else (*i.attempt_counters, *i.counters),
    without=_without,
)
