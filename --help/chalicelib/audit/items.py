"""Serializes audit records to DynamoDB items, back, and to answers. Pure."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from chalicelib.audit.model import (
    DAY_SECONDS,
    MAX_TEXT,
    Action,
    Actor,
    AuditRecord,
    Kind,
    Outcome,
    Refusal,
)
from chalicelib.dynamodb.serialization import deserialize, serialize
from chalicelib.instants import instant


def to_item(record: AuditRecord, days: int, refusal: Refusal | None = None) -> dict[str, Any]:
    """The item of a record that is kept for `days`. `refusal`: its place, for a refused request."""
    item: dict[str, Any] = {
        "day_bucket": refusal.partition if refusal else record.partition,
        "place": refusal.place if refusal else record.place,
        "id": record.id,
        "at": record.at,
        "actor": {name: _cut(value) for name, value in asdict(record.actor).items()},
        "action": record.action,
        "resource": _cut(record.resource),
        "outcome": record.outcome,
        "before": record.before,
        "after": record.after,
        "reason": record.reason,
        "expire_at": int(record.at) + days * DAY_SECONDS,
    }
    return serialize(item)


def from_item(item: Mapping[str, Any]) -> AuditRecord:
    """The inverse of `to_item`."""
    read = deserialize(item)
    actor = read["actor"]
    return AuditRecord(
        id=read["id"],
        at=float(read["at"]),
        actor=Actor(**actor | {"kind": Kind(actor["kind"])}),
        action=Action(read["action"]),
        resource=read["resource"],
        outcome=Outcome(read["outcome"]),
        before=read.get("before"),
        after=read.get("after"),
        reason=read.get("reason"),
    )


def show_record(record: AuditRecord) -> dict[str, Any]:
    """A record in answers to operators."""
    return {
        "id": record.id,
        "at": instant(record.at),
        "who": record.actor.who,
        "kind": record.actor.kind.value,
        "principal": record.actor.principal,
        "address": record.actor.address,
        "requestId": record.actor.request_id,
        "action": record.action.value,
        "resource": record.resource,
        "outcome": record.outcome.value,
        "reason": record.reason,
        "before": record.before,
        "after": record.after,
    }


def _cut(value: Any) -> Any:
    return value[:MAX_TEXT] if isinstance(value, str) and not isinstance(value, Kind) else value
