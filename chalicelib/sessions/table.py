"""Sessions in DynamoDB. Every write is conditional; a lost condition is a result, no exception.

One table holds sessions by id, `request#…` items which remember what session an Idempotency-Key
was answered with, `limit#…` counters and `app#…` states. Two sparse indexes: `live` has what has
not ended, `pool` what waits for an owner, with the state of its app in front.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.errors import UnavailableError
from chalicelib.sessions.items import (
    KEPT_SECONDS,
    LIVE_BUCKETS,
    app_from_item,
    app_id,
    app_to_item,
    from_item,
    to_item,
    wire,
)
from chalicelib.sessions.limits import Counter
from chalicelib.sessions.model import Session, State
from chalicelib.sessions.revisions import AppState

LIVE_INDEX, POOL_INDEX = "live", "pool"
WRITE_ATTEMPTS = 12
"""Few ever write to one record at a time: the request, an event, a callback, the sweep."""
POOL_PAGE = 60
"""How many pool members one look takes in: a burst spreads over so many candidates."""

UNUSED = "attribute_not_exists(id)"
UNCHANGED = "version = :expected"
NOT_FULL = "attribute_not_exists(n) OR n < :maximum"

_log = logging.getLogger("usher.sessions")


class Lost(Enum):
    """Which condition of an entry was lost."""

    SESSION = auto()
    """The warm session is somebody else's by now."""
    REQUEST = auto()
    """The same request was answered in the meantime."""
    CONFLICT = auto()
    """Another transaction held one of the items; the same again may work."""


@dataclass(frozen=True)
class Full:
    """The counters that were full."""

    counters: tuple[Counter, ...]


@dataclass(frozen=True)
class Answered:
    """What remembers a request: its key, and the ended session it was answered with before."""

    key: str
    replaces: str | None = None


class SessionsTable:
    """The table of sessions through a boto3 DynamoDB client."""

    def __init__(self, dynamodb: Any, name: str) -> None:
        self._dynamodb = dynamodb
        self._name = name

    def get(self, session_id: str) -> Session | None:
        """The record as it is now (a consistent read)."""
        item = self._get(session_id)
        return from_item(item) if item else None

    def answered(self, key: str) -> str | None:
        """The id of the session that the request `key` was last answered with."""
        item = self._get(key)
        return str(item["session_id"]["S"]) if item else None

    def enter(
        self,
        session: Session,
        *,
        before: Session | None = None,
        answers: Answered | None = None,
        counters: Sequence[Counter] = (),
    ) -> Session | Lost | Full:
        """Write a session that has its owner now, with all that goes with it, or nothing of it.

        `before` is the warm session it was, None for a new one; `answers` remembers the request;
        `counters` are raised by one. Returns the record as written.
        """
        if before is None:
            written, entry = session, self._put(session, UNUSED)
        else:
            written = replace(session, version=before.version + 1)
            entry = self._put(written, UNCHANGED, {":expected": before.version})
        writes: list[tuple[dict[str, Any], Any]] = [({"Put": entry}, Lost.SESSION)]
        if answers is not None:
            writes.append(({"Put": self._remember(session, answers)}, Lost.REQUEST))
        writes += [({"Update": self._raise(counter)}, counter) for counter in counters]
        lost = self._transact([write for write, _ in writes])
        if lost is None:
            return written
        return _what_was_lost([what for _, what in writes], lost)

    def replace(self, before: Session, after: Session) -> Session | None:
        """Write `after` where the record is still `before`; None when it has moved on.

        An end gives back what the session's counters hold, in the same transaction. Returns the
        record as written, one version on.
        """
        written = replace(after, version=before.version + 1)
        put = self._put(written, UNCHANGED, {":expected": before.version})
        if after.state is not State.ENDED or not after.counters:
            return written if self._conditional(put) else None
        lowered = [{"Update": self._lower(key)} for key in after.counters]
        return written if self._transact([{"Put": put}, *lowered]) is None else None

    def change(
        self, session_id: str, decide: Callable[[Session], Session]
    ) -> tuple[Session, Session] | None:
        """Load, decide, write on condition; again while others are quicker.

        `decide` is pure and may be called several times; returning its argument means that
        there is nothing to write. Returns the record before and after, None without one.
        """
        for _ in range(WRITE_ATTEMPTS):
            before = self.get(session_id)
            if before is None:
                return None
            after = decide(before)
            if after is before:
                return before, before
            written = self.replace(before, after)
            if written is not None:
                return before, written
        raise UnavailableError("the session is changing too fast", retry_after_seconds=1)

    def live(self) -> Iterator[Session]:
        """All sessions that have not ended, page by page (eventually consistent)."""
        for bucket in range(LIVE_BUCKETS):
            yield from map(from_item, self._query(LIVE_INDEX, "live_bucket", bucket))

    def look(self, app: str) -> tuple[AppState, list[Session]]:
        """The state of an app and what waits in its pool, ready ones first: one round trip.

        Eventually consistent, so whatever is done about it is written on condition.
        """
        page = self._dynamodb.query(
            **self._index(POOL_INDEX, "pool", app), ScanIndexForward=True, Limit=POOL_PAGE
        )
        return _app_and_members(app, page["Items"])

    def look_through(self, app: str) -> tuple[AppState, list[Session]]:
        """As `look`, but to the last page."""
        return _app_and_members(app, list(self._query(POOL_INDEX, "pool", app)))

    def change_app(self, app: str, decide: Callable[[AppState], AppState]) -> AppState:
        """As `change`, for the state of an app, which is made when it is first needed."""
        for _ in range(WRITE_ATTEMPTS):
            item = self._get(app_id(app))
            before = app_from_item(item) if item else AppState(app)
            after = decide(before)
            if after is before:
                return before
            written = replace(after, version=before.version + 1)
            put: dict[str, Any] = {"TableName": self._name, "Item": app_to_item(written)}
            if item is None:
                put["ConditionExpression"] = UNUSED
            else:
                put["ConditionExpression"] = UNCHANGED
                put["ExpressionAttributeValues"] = wire({":expected": before.version})
            if self._conditional(put):
                return written
        raise UnavailableError("the app is changing too fast", retry_after_seconds=1)

    def count(self, key: str, maximum: int | None, expire_at: int) -> bool:
        """Raise a counter of its own by one; False when it is at `maximum` already."""
        update: dict[str, Any] = {
            "TableName": self._name,
            "Key": {"id": {"S": key}},
            "UpdateExpression": "ADD n :one SET expire_at = :expire_at",
            "ExpressionAttributeValues": wire({":one": 1, ":expire_at": expire_at}),
        }
        if maximum is not None:
            update["ConditionExpression"] = NOT_FULL
            update["ExpressionAttributeValues"] |= wire({":maximum": maximum})
        try:
            self._dynamodb.update_item(**update)
        except ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def counted(self, key: str) -> int:
        """What a counter stands at."""
        item = self._get(key)
        return int(item["n"]["N"]) if item else 0

    def _get(self, item_id: str) -> dict[str, Any] | None:
        answer = self._dynamodb.get_item(
            TableName=self._name, Key={"id": {"S": item_id}}, ConsistentRead=True
        )
        item: dict[str, Any] | None = answer.get("Item")
        return item

    def _index(self, index: str, attribute: str, value: Any) -> dict[str, Any]:
        return {
            "TableName": self._name,
            "IndexName": index,
            "KeyConditionExpression": f"{attribute} = :value",
            "ExpressionAttributeValues": wire({":value": value}),
        }

    def _query(self, index: str, attribute: str, value: Any) -> Iterator[dict[str, Any]]:
        pages = self._dynamodb.get_paginator("query")
        for page in pages.paginate(**self._index(index, attribute, value)):
            yield from page["Items"]

    def _put(
        self, session: Session, condition: str, values: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        put: dict[str, Any] = {
            "TableName": self._name,
            "Item": to_item(session),
            "ConditionExpression": condition,
        }
        if values:
            put["ExpressionAttributeValues"] = wire(values)
        return put

    def _remember(self, session: Session, answers: Answered) -> dict[str, Any]:
        expire_at = int(session.created_at) + KEPT_SECONDS
        item = {"id": answers.key, "session_id": session.id, "expire_at": expire_at}
        put: dict[str, Any] = {"TableName": self._name, "Item": wire(item)}
        if answers.replaces is None:
            return put | {"ConditionExpression": UNUSED}
        return put | {
            "ConditionExpression": "session_id = :replaces",
            "ExpressionAttributeValues": wire({":replaces": answers.replaces}),
        }

    def _raise(self, counter: Counter) -> dict[str, Any]:
        values: dict[str, Any] = {":one": 1, ":maximum": counter.maximum}
        expression = "ADD n :one"
        if counter.limit.expire_at is not None:
            values[":expire_at"] = counter.limit.expire_at
            expression += " SET expire_at = :expire_at"
        return {
            "TableName": self._name,
            "Key": {"id": {"S": counter.key}},
            "UpdateExpression": expression,
            "ConditionExpression": NOT_FULL,
            "ExpressionAttributeValues": wire(values),
        }

    def _lower(self, key: str) -> dict[str, Any]:
        return {
            "TableName": self._name,
            "Key": {"id": {"S": key}},
            "UpdateExpression": "ADD n :less",
            "ConditionExpression": "n > :none",
            "ExpressionAttributeValues": wire({":less": -1, ":none": 0}),
        }

    def _conditional(self, put: dict[str, Any]) -> bool:
        try:
            self._dynamodb.put_item(**put)
        except ClientError as error:
            if _code(error) in {"ConditionalCheckFailedException", "TransactionConflictException"}:
                return False
            raise
        return True

    def _transact(self, writes: list[dict[str, Any]]) -> list[str] | None:
        """Write all or nothing. None when written, else what became of each."""
        if len(writes) == 1 and "Put" in writes[0]:
            return None if self._conditional(writes[0]["Put"]) else ["ConditionalCheckFailed"]
        try:
            self._dynamodb.transact_write_items(TransactItems=writes)
        except ClientError as error:
            if _code(error) == "TransactionCanceledException":
                return [str(r.get("Code")) for r in error.response["CancellationReasons"]]
            if _code(error) == "TransactionInProgressException":
                return ["TransactionConflict"]
            raise
        return None


def _what_was_lost(subjects: list[Any], reasons: list[str]) -> Lost | Full:
    failed = [
        subject
        for subject, reason in zip(subjects, reasons, strict=False)
        if reason == "ConditionalCheckFailed"
    ]
    for lost in (Lost.REQUEST, Lost.SESSION):
        if lost in failed:
            return lost
    if failed:
        return Full(tuple(failed))
    _log.info("transaction conflict: %s", reasons)
    return Lost.CONFLICT


def _app_and_members(app: str, items: list[dict[str, Any]]) -> tuple[AppState, list[Session]]:
    state = AppState(app)
    members = []
    for item in items:
        if item["id"]["S"] == app_id(app):
            state = app_from_item(item)
        else:
            members.append(from_item(item))
    return state, members


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])
