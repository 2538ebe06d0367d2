"""A table of items with conditional writes. A lost condition is a result, no exception."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from chalicelib.dynamodb.expressions import Attr, Condition, expressions
from chalicelib.dynamodb.serialization import deserialize
from chalicelib.dynamodb.writes import Write, deleted, put, raised
from chalicelib.errors import BusyError, UnavailableError

FAILED = "ConditionalCheckFailed"
WRITE_ATTEMPTS = 12
"""Few ever write to one record at a time: the request, an event, a callback, the sweep."""
BATCH = 100
"""BatchGetItem takes at most this many keys."""
GET_ATTEMPTS = 6
GET_SECONDS = 10.0
"""So long a read of many items goes on while DynamoDB leaves some unprocessed."""
FIRST_PAUSE_SECONDS = 0.05
"""Exponential backoff with jitter for unprocessed keys, as BatchGetItem's reference advises:
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
"""
BUSY_TRIES = 6
"""How often a write is sent that is refused for what passes: within 1.6 seconds of pauses."""
THROTTLED = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded"})
CONFLICT = "TransactionConflict"
"""Reasons for which DynamoDB cancels a transaction, and repeating it is right. Source:
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
botocore repeats what is throttled as a whole (ProvisionedThroughputExceededException,
ThrottlingException, RequestLimitExceeded), but no transaction that was cancelled, and no write that
met a transaction (TransactionConflictException).
"""

Item = dict[str, Any]
"""An item in DynamoDB's JSON."""
Record = TypeVar("Record")


@dataclass(frozen=True)
class Refusal:
    """Why nothing was written: one reason for each write, `FAILED` where a condition was lost."""

    reasons: list[str]
    was_repeated: bool
    """boto3 sent it more than once, as it had no answer."""

    def passes(self, *, waits_for_others: bool) -> bool:
        """Whether the same write may succeed in a moment. No condition was lost, then."""
        if FAILED in self.reasons:
            return False
        is_throttled = not THROTTLED.isdisjoint(self.reasons)
        return is_throttled or (waits_for_others and CONFLICT in self.reasons)


class Table:
    """One table, keyed by `id`, through a boto3 DynamoDB client."""

    def __init__(
        self,
        dynamodb: Any,
        name: str,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dynamodb = dynamodb
        self.name = name
        self._sleep = sleep
        self._monotonic = monotonic

    def get(self, item_id: str) -> Item | None:
        """The item as it is now (a consistent read)."""
        answer = self._dynamodb.get_item(
            TableName=self.name, Key={"id": {"S": item_id}}, ConsistentRead=True
        )
        item: Item | None = answer.get("Item")
        return item

    def get_all(self, item_ids: Sequence[str], projection: Sequence[str] = ()) -> dict[str, Item]:
        """The items that exist of these, by id, as they are now.

        What DynamoDB leaves unprocessed is asked for again, later each time. Raises
        UnavailableError after GET_ATTEMPTS answers without any of it, and after GET_SECONDS.
        """
        found: dict[str, Item] = {}
        ends_at = self._monotonic() + GET_SECONDS
        for start in range(0, len(item_ids), BATCH):
            keys = [{"id": {"S": item_id}} for item_id in item_ids[start : start + BATCH]]
            asked = {"Keys": keys, "ConsistentRead": True} | expressions(projection=projection)
            wanted: dict[str, Any] = {self.name: asked}
            empty_answers = 0
            while wanted:
                answer = self._dynamodb.batch_get_item(RequestItems=wanted)
                items = answer["Responses"].get(self.name, ())
                found |= {item["id"]["S"]: item for item in items}
                wanted = answer.get("UnprocessedKeys") or {}
                empty_answers = 0 if items else empty_answers + 1
                is_late = empty_answers == GET_ATTEMPTS or self._monotonic() > ends_at
                if wanted and is_late:
                    raise UnavailableError("reading is throttled", retry_after_seconds=1)
                if wanted:
                    self._pause(empty_answers)
        return found

    def page(
        self,
        index: str,
        attribute: str,
        value: Any,
        *,
        order: str = "",
        between: tuple[Any, Any] | None = None,
        only: Condition | None = None,
        projection: Sequence[str] = (),
        **more: Any,
    ) -> dict[str, Any]:
        """One Query of an index by its partition key. `more` as DynamoDB's Query takes it.

        `projection`: the attributes wanted; all without it.

        `between` bounds the sort key, called `order`; both ends are included. `only` filters what
        the index has, after `Limit` counted it.
        """
        key: Condition = Attr(attribute).eq(value)
        if between is not None:
            key &= Attr(order).between(*between)
        asked = self._query(index, key, only, projection)
        page: dict[str, Any] = self._dynamodb.query(**asked, **more)
        return page

    def page_after(
        self,
        index: str,
        attribute: str,
        value: Any,
        *,
        after: str | None,
        limit: int,
        only: Condition | None = None,
        order: str = "",
        between: tuple[float, float] | None = None,
        is_reversed: bool = False,
    ) -> tuple[list[Item], str | None]:
        """The items of the next page of an index, and where the one behind it begins, as text.

        `is_reversed`: from the end of the index's order to its beginning.
        """
        more: dict[str, Any] = {} if after is None else {"ExclusiveStartKey": json.loads(after)}
        if is_reversed:
            more["ScanIndexForward"] = False
        page = self.page(
            index,
            attribute,
            value,
            order=order,
            between=between,
            only=only,
            Limit=limit,
            **more,
        )
        last = page.get("LastEvaluatedKey")
        return page["Items"], json.dumps(last) if last else None

    def query(self, index: str, attribute: str, value: Any) -> Iterator[Item]:
        """All items of an index under one partition key (eventually consistent)."""
        pages = self._dynamodb.get_paginator("query")
        for page in pages.paginate(**self._query(index, Attr(attribute).eq(value))):
            yield from page["Items"]

    def put(self, item: Item, expected: int | None, *more: Write) -> bool:
        """Put an item where its version is `expected`, or where there is none yet (None).

        `more` is written in the same transaction. Raises BusyError.
        """
        writes = [{"Put": put(self.name, item, expected)}, *more]
        refusal = self.transact(writes, waits_for_others=True)
        return refusal is None or self.is_written(item, refusal)

    def delete(self, item_id: str, *more: Write) -> bool:
        """Delete an item, whatever its version; False where there is none.

        `more` is written in the same transaction, where there was one. Raises BusyError.
        """
        delete = deleted(self.name, item_id)
        if more:
            return self.transact([{"Delete": delete}, *more], waits_for_others=True) is None
        try:
            self._send(self._dynamodb.delete_item, **delete)
        except ClientError as error:
            if _reasons(error) is None:
                raise
            return False
        return True

    def overwrite(self, item: Item) -> None:
        """Put an item in the place of one that cannot be read, whatever its version."""
        self._dynamodb.put_item(TableName=self.name, Item=item)

    def set_expiry(self, item_id: str, expire_at: int) -> None:
        """Have an item expire that does not yet, if it is there, whatever its version."""
        there = ~Attr("id").not_exists()
        self.update(item_id, {"expire_at": expire_at}, there & Attr("expire_at").not_exists())

    def update(self, item_id: str, values: Mapping[str, Any], condition: Condition) -> Item | None:
        """Set attributes of an item on condition, and make it where the condition holds without it.

        Returns the old values of these attributes, None where the condition does not hold.
        """
        try:
            answer = self._send(
                self._dynamodb.update_item,
                TableName=self.name,
                Key={"id": {"S": item_id}},
                ReturnValues="UPDATED_OLD",
                **expressions(condition=condition, set_values=values),
            )
        except ClientError as error:
            if _code(error) != "ConditionalCheckFailedException":
                raise
            return None
        old: Item = answer.get("Attributes", {})
        return old

    def transact(
        self, writes: Sequence[Write], *, waits_for_others: bool = False
    ) -> Refusal | None:
        """Write all or nothing. None when written.

        What is throttled is repeated, later each time; what another transaction holds too if it
        `waits_for_others`. Raises BusyError where that does not end.
        """
        was_repeated = False
        for tries in range(BUSY_TRIES):
            refusal = self._transact_once(writes)
            if refusal is None:
                return None
            was_repeated = was_repeated or refusal.was_repeated
            if not refusal.passes(waits_for_others=waits_for_others):
                return Refusal(refusal.reasons, was_repeated)
            self._pause(tries)
        raise BusyError("too many writes at once", retry_after_seconds=1)

    def _transact_once(self, writes: Sequence[Write]) -> Refusal | None:
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
            return Refusal(reasons, was_repeated=retries > 0)
        return None

    def is_written(self, item: Item, refusal: Refusal) -> bool:
        """Whether the write was refused because of itself: its first answer was lost."""
        if not refusal.was_repeated:
            return False
        found = self.get(item["id"]["S"])
        return found is not None and deserialize(found) == deserialize(item)

    def count(self, key: str, maximum: int | None, expire_at: int) -> bool:
        """Raise a counter of its own by one; False when it is at `maximum` already."""
        try:
            self._send(self._dynamodb.update_item, **raised(self.name, key, maximum, expire_at))
        except ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def update_number(self, write: Write) -> int | None:
        """Write an update of `n`; what it is then, None where the update's condition is lost."""
        try:
            answer = self._send(self._dynamodb.update_item, ReturnValues="UPDATED_NEW", **write)
        except ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                return None
            raise
        return int(answer["Attributes"]["n"]["N"])

    def counted(self, key: str) -> int:
        """What a counter stands at (a consistent read)."""
        item = self.get(key)
        return int(item["n"]["N"]) if item else 0

    def _send(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        """Write one item, again while a transaction holds it. Raises BusyError, ClientError."""
        for tries in range(BUSY_TRIES):
            try:
                return operation(**arguments)
            except ClientError as error:
                if _code(error) != "TransactionConflictException":
                    raise
            self._pause(tries)
        raise BusyError("too many writes at once", retry_after_seconds=1)

    def _pause(self, tries: int) -> None:
        self._sleep(FIRST_PAUSE_SECONDS * 2**tries * random.random())  # noqa: S311 - spreads retries only

    def _query(
        self,
        index: str,
        key: Condition,
        only: Condition | None = None,
        projection: Sequence[str] = (),
    ) -> dict[str, Any]:
        asked = expressions(key=key, only=only, projection=projection)
        return {"TableName": self.name, "IndexName": index} | asked


def change(
    load: Callable[[], Record | None],
    decide: Callable[[Record], Record],
    replace: Callable[[Record, Record], Record | None],
    seen: Record | None = None,
) -> tuple[Record, Record] | None:
    """Load, decide, write on condition; again while others are quicker.

    `decide` is pure and may be called several times; returning its argument means that there is
    nothing to write. `replace` writes the second where the record is still the first, and returns
    None when it has moved on. `seen` is the record where it was just read: the first decision is
    made on that. Returns the record before and after, None without one. Raises UnavailableError.
    """
    for _ in range(WRITE_ATTEMPTS):
        before = seen or load()
        seen = None
        if before is None:
            return None
        after = decide(before)
        if after is before:
            return before, before
        written = replace(before, after)
        if written is not None:
            return before, written
    raise UnavailableError("the record is changing too fast", retry_after_seconds=1)


def _reasons(error: ClientError) -> list[str] | None:
    match _code(error):
        case "ConditionalCheckFailedException":
            return [FAILED]
        case "TransactionConflictException" | "TransactionInProgressException":
            return [CONFLICT]
        case "TransactionCanceledException":
            reasons = [str(r.get("Code")) for r in error.response["CancellationReasons"]]
            return reasons if {FAILED, CONFLICT, *THROTTLED} & {*reasons} else None
        case _:
            return None


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])
