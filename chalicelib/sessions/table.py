"""Sessions in DynamoDB. Every write is conditional; a lost condition is a result, no exception.

One table: sessions by id, and `request#<hash>` items which remember what session an
Idempotency-Key was answered with. The sparse index `live` holds what has not ended.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from chalicelib.errors import UnavailableError
from chalicelib.sessions.model import Change, Reason, Session, State

LIVE_INDEX = "live"
LIVE_BUCKETS = 8
"""The index is spread over so many partitions: one would take 1,000 writes a second at most."""
KEPT_SECONDS = 7 * 86_400
"""How long an ended session is remembered; ECS forgets after about an hour."""

WRITE_ATTEMPTS = 10
"""Few ever write to one session at a time: the request, an event, a callback, the sweep."""

_FIELDS = [field.name for field in fields(Session)]
_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class SessionsTable:
    """The table of sessions through a boto3 DynamoDB client."""

    def __init__(self, dynamodb: Any, name: str) -> None:
        self._dynamodb = dynamodb
        self._name = name

    def get(self, session_id: str) -> Session | None:
        """The record as it is now (a consistent read)."""
        item = self._get(session_id)
        return from_item(item) if item else None

    def create(self, session: Session) -> bool:
        """Put a new record; False if one with this id is there already."""
        return self._conditional(self._put(session, "attribute_not_exists(id)", {}))

    def create_for_request(self, session: Session, key: str, replaces: str | None) -> bool:
        """Put a new record and remember it as the answer to the request `key`, both or neither.

        `replaces` is the ended session that `key` was answered with before, None for a new key.
        False when another request with the same key was quicker.
        """
        remembered = {
            "id": key,
            "session_id": session.id,
            "expire_at": int(session.created_at) + KEPT_SECONDS,
        }
        unused = "attribute_not_exists(id)"
        free: dict[str, Any] = {"ConditionExpression": unused}
        if replaces is not None:
            free = {
                "ConditionExpression": "session_id = :replaces",
                "ExpressionAttributeValues": {":replaces": _serialize(replaces)},
            }
        puts = [
            {"TableName": self._name, "Item": _to_wire(remembered), **free},
            self._put(session, unused, {}),
        ]
        try:
            self._dynamodb.transact_write_items(TransactItems=[{"Put": put} for put in puts])
        except ClientError as error:
            if error.response["Error"]["Code"] == "TransactionCanceledException":
                return False
            raise
        return True

    def answered(self, key: str) -> str | None:
        """The id of the session that the request `key` was last answered with."""
        item = self._get(key)
        return str(item["session_id"]["S"]) if item else None

    def replace(self, before: Session, after: Session) -> Session | None:
        """Write `after` where the record is still `before`; None when it has moved on.

        Returns the record as written, one version on.
        """
        written = replace(after, version=before.version + 1)
        put = self._put(written, "version = :expected", {":expected": before.version})
        return written if self._conditional(put) else None

    def change(self, session_id: str, decide: Callable[[Session], Session]) -> Session | None:
        """Load, decide, write on condition; again while others are quicker.

        `decide` is pure and may be called several times; returning its argument means that
        there is nothing to write. None when there is no such session.
        """
        for _ in range(WRITE_ATTEMPTS):
            before = self.get(session_id)
            if before is None:
                return None
            after = decide(before)
            if after is before:
                return before
            written = self.replace(before, after)
            if written is not None:
                return written
        raise UnavailableError("the session is changing too fast", retry_after_seconds=1)

    def live(self) -> Iterator[Session]:
        """All sessions that have not ended, page by page (eventually consistent)."""
        pages = self._dynamodb.get_paginator("query")
        for bucket in range(LIVE_BUCKETS):
            query = pages.paginate(
                TableName=self._name,
                IndexName=LIVE_INDEX,
                KeyConditionExpression="live_bucket = :bucket",
                ExpressionAttributeValues={":bucket": _serialize(bucket)},
            )
            for page in query:
                yield from map(from_item, page["Items"])

    def _get(self, item_id: str) -> dict[str, Any] | None:
        answer = self._dynamodb.get_item(
            TableName=self._name, Key={"id": {"S": item_id}}, ConsistentRead=True
        )
        item: dict[str, Any] | None = answer.get("Item")
        return item

    def _put(self, session: Session, condition: str, values: Mapping[str, Any]) -> dict[str, Any]:
        put: dict[str, Any] = {
            "TableName": self._name,
            "Item": to_item(session),
            "ConditionExpression": condition,
        }
        if values:
            put["ExpressionAttributeValues"] = _to_wire(values)
        return put

    def _conditional(self, put: dict[str, Any]) -> bool:
        try:
            self._dynamodb.put_item(**put)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True


def request_key(owner: str, idempotency_key: str) -> str:
    """The id under which an owner's Idempotency-Key is remembered."""
    digest = hashlib.sha256(f"{owner}\0{idempotency_key}".encode()).hexdigest()
    return f"request#{digest}"


def to_item(session: Session) -> dict[str, Any]:
    """The record as DynamoDB's JSON; absent attributes for None."""
    item: dict[str, Any] = {name: getattr(session, name) for name in _FIELDS}
    item["history"] = [[change.at, change.state, change.cause] for change in session.history]
    if session.state is State.ENDED:
        item["expire_at"] = int(session.ended_at or session.created_at) + KEPT_SECONDS
    else:
        item["live_bucket"] = int(session.id[:8], 16) % LIVE_BUCKETS
    return _to_wire({name: value for name, value in item.items() if value is not None})


def from_item(wire: Mapping[str, Any]) -> Session:
    """The record from DynamoDB's JSON: the inverse of `to_item`."""
    item = _from_wire(wire)
    values = {"owner": None} | {name: item[name] for name in _FIELDS if name in item}
    values["state"] = State(values["state"])
    if "reason" in values:
        values["reason"] = Reason(values["reason"])
    values["history"] = tuple(
        Change(at, State(state), cause) for at, state, cause in values.get("history", ())
    )
    return Session(**values)


def _to_wire(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _serialize(_plain(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(str(round(value, 6)))
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, str) else value


def _from_wire(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _number(_deserialize(value)) for name, value in item.items()}


def _number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list):
        return [_number(part) for part in value]
    return value
