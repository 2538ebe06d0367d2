"""Records of jobs as DynamoDB's JSON, and back. Pure."""

import json
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import Any

from chalicelib.contract import json_text
from chalicelib.dynamodb.records import Item, build, extra_attributes
from chalicelib.dynamodb.wire import unwire, wire
from chalicelib.jobs.model import Invocation, UnreadableJson
from chalicelib.jobs.policy import place_of
from chalicelib.tasks.revisions import RevisionState

LIVE_BUCKETS = 8
"""The index of live ones is spread over so many partitions: one takes 1,000 writes a second."""
KEPT_SECONDS = 90 * 86_400
"""How long an ended invocation is remembered; ECS forgets after about an hour."""

READABLE_DEPTH = 200
"""Stored JSON that is nested deeper is not taken apart: bodies have been bounded to less since."""
_AS_TEXT = ("parameters", "request", "result")
"""JSON of any shape: kept as text, so that it comes back exactly as it was."""
_PARTS = ("fence", "progress", "usage")
_FIELDS = [field.name for field in fields(Invocation) if field.name != "extra"]
_ALWAYS = ("state", "version", "attempt", "task_version", "start_failures", "history")
"""Every stored invocation has them: their defaults are those of a new one."""
_INDEXED = {"day", "expire_at", "invoked_by", "live_bucket", "waiting", "waiting_order"}
_KNOWN = frozenset({*_FIELDS, *_INDEXED})
COMPARED = tuple(sorted({*_FIELDS, "expire_at", "live_bucket"} - {"parameters", "result"}))
"""What the sweep reads of an invocation. What may be large stays in the table: a record that was
read so must not be written."""
_KNOWN_OF_JOB = frozenset({"id", *(field.name for field in fields(RevisionState))})


def job_id(job: str) -> str:
    """The id of what is remembered of a job's revisions."""
    return f"job#{job}"


def to_item(invocation: Invocation) -> dict[str, Any]:
    """An invocation; index attributes only where the index is to have it."""
    item: dict[str, Any] = {name: getattr(invocation, name) for name in _FIELDS}
    item |= {n: to_text(item[n]) for n in _AS_TEXT if item[n] is not None}
    item |= {n: asdict(item[n]) for n in _PARTS if item[n] is not None}
    item["history"] = [[change.at, change.state, change.cause] for change in invocation.history]
    item["day"] = day_of(invocation.created_at)
    item["invoked_by"] = invocation.owner  # `owner` would list schedules, which have one too
    if invocation.has_ended:
        item["expire_at"] = int(invocation.finished_at or invocation.created_at) + KEPT_SECONDS
    else:
        item["live_bucket"] = int(invocation.id[:8], 16) % LIVE_BUCKETS
    if invocation.is_waiting:
        item["waiting"] = invocation.priority
        item["waiting_order"] = place_of(invocation)[1]
    return {**invocation.extra, **wire(item)}


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
    values = unwire({name: item[name] for name in _FIELDS if name in item})
    values |= {n: read_json(values[n]) for n in _AS_TEXT if n in values}
    return build(Invocation, values | {"extra": extra_attributes(item, _KNOWN)}, always=_ALWAYS)


def state_to_item(state: RevisionState) -> dict[str, Any]:
    """What is remembered of a job's revisions."""
    item = asdict(replace(state, extra={})) | {"id": job_id(state.name)}
    del item["extra"]
    return {**state.extra, **wire(item)}


def state_from_item(item: Item) -> RevisionState:
    """The inverse of `state_to_item`. Raises ValueError."""
    extra = extra_attributes(item, _KNOWN_OF_JOB)
    return build(RevisionState, unwire(item) | {"extra": extra}, always=("version",))


def day_of(instant: float) -> str:
    """The day in UTC that an instant falls on, like 2026-11-20."""
    return datetime.fromtimestamp(instant, UTC).date().isoformat()
