"""Serializes invocations to DynamoDB items and back. Pure."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import Any

from chalicelib.contract import json_text
from chalicelib.dynamodb.expressions import Attr
from chalicelib.dynamodb.records import Item, build, extra_attributes
from chalicelib.dynamodb.serialization import deserialize, serialize
from chalicelib.jobs.lifecycle import PERMITTED, permit_facts
from chalicelib.jobs.model import KEPT_CHANGES, Invocation, State, UnreadableJson
from chalicelib.jobs.policy import order_in_partition, partition_of
from chalicelib.tasks.breaker import StateCodec
from chalicelib.tasks.revisions import RevisionState
from chalicelib.tasks.store import Codec, live_or_expiring

KEPT_SECONDS = 90 * 86_400
"""Ended invocations are kept for this long; ECS keeps stopped tasks for about an hour."""

READABLE_DEPTH = 200
"""Stored JSON that is nested deeper is not parsed. The limit for request bodies is lower now."""
_AS_TEXT = ("parameters", "request", "result")
"""JSON values that are stored as text, so that they are returned unchanged."""
_PARTS = ("permit", "progress", "usage")
_FIELDS = [field.name for field in fields(Invocation) if field.name != "extra"]
_STORED_AS = {name: name for name in _FIELDS} | {
    "permit": "fence",
    "attempt_counters": "holds",
    "turn": "fair_turn",
}
"""Attribute names by field."""
_ALWAYS = ("state", "version", "attempt", "task_version", "start_failures", "history")
"""Attributes that every stored invocation has, also with default values."""
_INDEXED = {"day", "expire_at", "invoked_by", "live_bucket", "waiting", "waiting_order"}
_KNOWN = frozenset({*_STORED_AS.values(), *_INDEXED})
COMPARED = tuple(
    sorted({*_STORED_AS.values(), "expire_at", "live_bucket"} - {"parameters", "result"})
)
"""Attributes that the sweep reads. Large ones are omitted; a record that was read this way must not
be written."""


def to_item(invocation: Invocation) -> dict[str, Any]:
    """The item of an invocation, with keys of those indexes only that are to contain it."""
    item: dict[str, Any] = {name: getattr(invocation, name) for name in _FIELDS}
    item |= {n: to_text(item[n]) for n in _AS_TEXT if item[n] is not None}
    item |= {n: asdict(item[n]) for n in _PARTS if item[n] is not None}
    item["history"] = [[change.at, change.state, change.cause] for change in invocation.history]
    item["day"] = day_of(invocation.created_at)
    item["invoked_by"] = invocation.owner  # `owner` is the key of the index of schedules too
    ended_at = (invocation.finished_at or invocation.created_at) if invocation.has_ended else None
    item |= live_or_expiring(invocation.id, ended_at=ended_at, kept_seconds=KEPT_SECONDS)
    if invocation.is_waiting:
        item["waiting"] = partition_of(invocation)
        item["waiting_order"] = order_in_partition(invocation)
    stored = {_STORED_AS.get(name, name): value for name, value in item.items()}
    return {**invocation.extra, **serialize(stored)}


def permit_update(
    attempt: int, task_arn: str, key: str, process: str, now: float
) -> dict[str, Any]:
    """The arguments of `Table.update_unread` that have the effect of `lifecycle.give_permit` on an
    unread item, for a container that knows its task's ARN.

    The condition is that the permit is new, and that the key is right. A record that waits for a
    host is left out: where the answer is lost, its wait could not be ended.
    """
    facts = permit_facts(task_arn, process, now) | {"state": State.STARTED}
    facts["permit"] = asdict(facts["permit"])
    at = {name: Attr(stored) for name, stored in _STORED_AS.items()}
    condition = at["key"].eq(key) & at["attempt"].eq(attempt) & at["permit"].not_exists()
    condition &= at["state"].eq(State.LAUNCHING) | at["state"].eq(State.LAUNCHED)
    condition &= at["waits_for_host"].eq(False)
    condition &= at["task_arn"].not_exists() | at["task_arn"].eq(task_arn)
    condition &= at["history"].shorter_than(KEPT_CHANGES + 1)
    return {
        "condition": condition,
        "set_values": {at[n].name: value for n, value in facts.items() if value is not None},
        "append_values": {at["history"].name: [[now, State.STARTED, PERMITTED]]},
        "add_values": {at["version"].name: 1},
        "remove": [at[name].name for name, value in facts.items() if value is None],
    }


def to_text(value: Any) -> str:
    """JSON in the form in which the size of requests is measured; escapes would triple the
    bytes.
    """
    if isinstance(value, UnreadableJson):
        return value.text
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_json(text: str) -> Any:
    """Parse stored JSON. A value that request bodies may no longer have is returned as
    UnreadableJson, so that listings still work.

    Raises TypeError if it is not text.
    """
    if not isinstance(text, str):  # json.loads would accept bytes
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
    """The UTC day of a time, such as 2026-11-20."""
    return datetime.fromtimestamp(instant, UTC).date().isoformat()


JOB_STATES = StateCodec("job", RevisionState)
"""The stored state of jobs' revisions."""


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
