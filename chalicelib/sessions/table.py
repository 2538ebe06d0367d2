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
    LIVE_BUCKETS,
    app_from_item,
    app_id,
    app_to_item,
    from_item,
    to_item,
    unwire,
    wire,
)
from chalicelib.sessions.limits import Counter
from chalicelib.sessions.model import Session, State
from chalicelib.sessions.revisions import AppState
from chalicelib.sessions.writes import NOT_FULL, Write, lowered, put, raised, remember

LIVE_INDEX, POOL_INDEX = "live", "pool"
WRITE_ATTEMPTS = 12
"""Few ever write to one record at a time: the request, an event, a callback, the sweep."""
POOL_PAGE = 60
"""How many pool members one look takes in: a burst spreads over so many candidates."""

FAILED = "ConditionalCheckFailed"

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
        written = session if before is None else replace(session, version=before.version + 1)
        expected = None if before is None else before.version
        writes: list[tuple[Write, Any]] = [
            ({"Put": put(self._name, to_item(written), expected)}, Lost.SESSION)
        ]
        if answers is not None:
            remembered = remember(
                self._name, answers.key, session.id, session.created_at, answers.replaces
            )
            writes.append(({"Put": remembered}, Lost.REQUEST))
        writes += [({"Update": raised(self._name, counter)}, counter) for counter in counters]
        refusal = self._transact([write for write, _ in writes])
        if refusal is None or self._is_written(to_item(written), refusal):
            return written
        return _what_was_lost([what for _, what in writes], refusal.reasons)

    def replace(self, before: Session, after: Session) -> Session | None:
        """Write `after` where the record is still `before`; None when it has moved on.

        An end gives back what the session's counters hold, in the same transaction. Returns the
        record as written, one version on.
        """
        written = replace(after, version=before.version + 1)
        ended = {"Put": put(self._name, to_item(written), before.version)}
        held = after.counters if after.state is State.ENDED else ()
        refusal = self._transact([ended, *({"Update": lowered(self._name, key)} for key in held)])
        if refusal is None or self._is_written(to_item(written), refusal):
            return written
        gone = [key for key, why in zip(held, refusal.reasons[1:], strict=False) if why == FAILED]
        if not gone or refusal.reasons[0] == FAILED:
            return None
        # Somebody deleted a counter. No session may be kept from its end by that.
        _log.error("counters that should count a session do not: %s", gone)
        kept = tuple(key for key in held if key not in gone)
        return self.replace(before, replace(after, counters=kept))

    def change(
        self,
        session_id: str,
        decide: Callable[[Session], Session],
        seen: Session | None = None,
    ) -> tuple[Session, Session] | None:
        """Load, decide, write on condition; again while others are quicker.

        `decide` is pure and may be called several times; returning its argument means that
        there is nothing to write. `seen` is the record where it was just read: the first
        decision is made on that. Returns the record before and after, None without one.
        """
        for _ in range(WRITE_ATTEMPTS):
            before = seen or self.get(session_id)
            seen = None
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
            expected = before.version if item else None
            changed = app_to_item(written)
            refusal = self._transact([{"Put": put(self._name, changed, expected)}])
            if refusal is None or self._is_written(changed, refusal):
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

    def _transact(self, writes: list[Write]) -> "_Refusal | None":
        """Write all or nothing. None when written."""
        try:
            if len(writes) == 1 and "Put" in writes[0]:
                self._dynamodb.put_item(**writes[0]["Put"])
            else:
                self._dynamodb.transact_write_items(TransactItems=writes)
        except ClientError as error:
            reasons = _reasons(error)
            if reasons is None:
                raise
            retries = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
            return _Refusal(reasons, was_repeated=retries > 0)
        return None

    def _is_written(self, item: dict[str, Any], refusal: "_Refusal") -> bool:
        """Whether the write was refused because of itself: its first answer was lost."""
        if not refusal.was_repeated:
            return False
        found = self._get(item["id"]["S"])
        return found is not None and unwire(found) == unwire(item)


@dataclass(frozen=True)
class _Refusal:
    """Why nothing was written: one reason for each write, `FAILED` where a condition was lost."""

    reasons: list[str]
    was_repeated: bool
    """boto3 sent it more than once, as it had no answer."""


def _reasons(error: ClientError) -> list[str] | None:
    match _code(error):
        case "ConditionalCheckFailedException":
            return [FAILED]
        case "TransactionConflictException" | "TransactionInProgressException":
            return ["TransactionConflict"]
        case "TransactionCanceledException":
            return [str(r.get("Code")) for r in error.response["CancellationReasons"]]
        case _:
            return None


def _what_was_lost(subjects: list[Any], reasons: list[str]) -> Lost | Full:
    failed = [
        subject for subject, reason in zip(subjects, reasons, strict=False) if reason == FAILED
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
