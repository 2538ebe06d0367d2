"""A table of items with conditional writes. A failed condition is a result, not an exception."""

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
"""Few processes write to one record at a time: the request, an event, a callback, the sweep."""
BATCH = 100
"""Maximum number of keys of BatchGetItem."""
GET_ATTEMPTS = 6
GET_SECONDS = 10.0
"""Maximum time of a batch read while DynamoDB leaves keys unprocessed."""
FIRST_PAUSE_SECONDS = 0.05
"""Exponential backoff with jitter for unprocessed keys, as BatchGetItem's reference recommends:
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"""
BUSY_TRIES = 6
"""Maximum number of tries of a write with transient errors: within 1.6 seconds of pauses."""
THROTTLED = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded"})
CONFLICT = "TransactionConflict"
"""Cancellation reasons after which a transaction should be repeated. Source:
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html botocore
repeats throttled requests (ProvisionedThroughputExceededException, ThrottlingException,
RequestLimitExceeded), but neither cancelled transactions nor writes that conflict with a
transaction (TransactionConflictException)."""

Item = dict[str, Any]
"""An item in DynamoDB's JSON."""
Record = TypeVar("Record")


@dataclass(frozen=True)
class Refusal:
    """Why a transaction was not written: one reason for each write, `FAILED` for a failed
    condition.
    """

    reasons: list[str]
    was_repeated: bool
    """boto3 sent it more than once, because it received no answer."""

    def passes(self, *, waits_for_others: bool) -> bool:
        """Whether the same write may succeed soon: no condition failed."""
        if FAILED in self.reasons:
            return False
        is_throttled = not THROTTLED.isdisjoint(self.reasons)
        return is_throttled or (waits_for_others and CONFLICT in self.reasons)


class Table:
    """One table with the key `id`, through a boto3 DynamoDB client."""

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
        """The present item (consistent read)."""
        answer = self._dynamodb.get_item(
            TableName=self.name, Key={"id": {"S": item_id}}, ConsistentRead=True
        )
        item: Item | None = answer.get("Item")
        return item

    def get_all(self, item_ids: Sequence[str], projection: Sequence[str] = ()) -> dict[str, Item]:
        """The existing items of these ids, by id (consistent reads).

        Unprocessed keys are requested again, with growing pauses. Raises UnavailableError after
        GET_ATTEMPTS answers without any of them, and after GET_SECONDS.
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
        """One Query of an index by its partition key. `more`: further arguments of DynamoDB's
        Query.

        `projection`: the attributes to return; None = all.

        `between` limits the sort key, called `order`; both ends are included. `only` filters the
        result, after `Limit` was applied.
        """
        key: Condition = Attr(attribute).eq(value)
        if between is not None:
            key &= Attr(order).between(*between)
        asked = self._query(index, key, only, projection)
        page: dict[str, Any] = self._dynamodb.query(**asked, **more)
        return page

    def counts(
        self,
        index: str,
        attribute: str,
        value: Any,
        *,
        by: Sequence[str],
        only: Condition | None = None,
        **more: Any,
    ) -> Mapping[str, Any]:
        """As `page`, with `Counts` in place of its items; see `count_page`."""
        from chalicelib.dynamodb.counting import count_page  # not imported at cold start

        asked = self._query(index, Attr(attribute).eq(value), only, by)
        return count_page(self._dynamodb, lambda: self._dynamodb.query(**asked, **more), by)

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
        """A page of an index, and the position of the next one as text.

        `is_reversed`: in descending order.
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
        """Put an item if its version is `expected`, or if it does not exist (None).

        `more` is written in the same transaction. Raises BusyError.
        """
        writes = [{"Put": put(self.name, item, expected)}, *more]
        refusal = self.transact(writes, waits_for_others=True)
        return refusal is None or self.is_written(item, refusal)

    def delete(self, item_id: str, *more: Write) -> bool:
        """Delete an item of any version; False if it does not exist.

        `more` is written in the same transaction, if the item existed. Raises BusyError.
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
        """Replace an item that cannot be read, of any version."""
        self._dynamodb.put_item(TableName=self.name, Item=item)

    def set_expiry(self, item_id: str, expire_at: int) -> None:
        """Set the expiry of an existing item of any version that has none."""
        there = ~Attr("id").not_exists()
        self.update(item_id, {"expire_at": expire_at}, there & Attr("expire_at").not_exists())

    def update(self, item_id: str, values: Mapping[str, Any], condition: Condition) -> Item | None:
        """Set attributes of an item conditionally; creates it if the condition holds without it.

        Returns the old values of these attributes, None if the condition fails.
        """
        changes = expressions(condition=condition, set_values=values)
        return self._update(item_id, ReturnValues="UPDATED_OLD", **changes)[0]

    def update_or_see(
        self, item_id: str, values: Mapping[str, Any], condition: Condition
    ) -> tuple[bool, Item | None]:
        """As `update`; whether it was written, and if not, the item that the condition refused."""
        changes = expressions(condition=condition, set_values=values)
        old, seen = self._update(item_id, ReturnValuesOnConditionCheckFailure="ALL_OLD", **changes)
        return old is not None, seen

    def update_unread(self, item_id: str, **changes: Any) -> Item | None:
        """Update an item without having read it; `changes` as in `expressions`, with `condition`.

        Returns the whole item as it was before, None if the condition fails.
        """
        return self._update(item_id, ReturnValues="ALL_OLD", **expressions(**changes))[0]

    def _update(self, item_id: str, **request: Any) -> tuple[Item | None, Item | None]:
        """The returned old attributes, None if the condition fails; then, if the request asks for
        it, the item that the condition refused.
        """
        key = {"id": {"S": item_id}}
        try:
            answer = self._send(self._dynamodb.update_item, TableName=self.name, Key=key, **request)
        except ClientError as error:
            if _code(error) != "ConditionalCheckFailedException":
                raise
            return None, error.response.get("Item")
        return answer.get("Attributes", {}), None

    def transact(
        self, writes: Sequence[Write], *, waits_for_others: bool = False
    ) -> Refusal | None:
        """Write all or nothing. None if written.

        Throttled transactions are repeated with growing pauses; conflicts with other transactions
        too if it `waits_for_others`. Raises BusyError if the errors persist.
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
        """Whether the write failed only because it had been executed: its first answer was lost."""
        if not refusal.was_repeated:
            return False
        found = self.get(item["id"]["S"])
        return found is not None and deserialize(found) == deserialize(item)

    def count(self, key: str, maximum: int | None, expire_at: int) -> bool:
        """Increment a counter; False if it is at `maximum` already."""
        try:
            self._send(self._dynamodb.update_item, **raised(self.name, key, maximum, expire_at))
        except ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def update_number(self, write: Write) -> int | None:
        """Execute an update of `n`; returns its new value, None if the condition fails."""
        try:
            answer = self._send(self._dynamodb.update_item, ReturnValues="UPDATED_NEW", **write)
        except ClientError as error:
            if _code(error) == "ConditionalCheckFailedException":
                return None
            raise
        return int(answer["Attributes"]["n"]["N"])

    def counted(self, key: str) -> int:
        """Returns the value of a counter (a consistent read)."""
        return count_of(self.get(key))

    def _send(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        """Write one item; repeated while a transaction holds it. Raises BusyError, ClientError."""
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


def count_of(counter: Item | None) -> int:
    """Returns the number in a counter's item; 0 without an item."""
    return int(counter["n"]["N"]) if counter else 0


def change(
    load: Callable[[], Record | None],
    decide: Callable[[Record], Record],
    replace: Callable[[Record, Record], Record | None],
    seen: Record | None = None,
) -> tuple[Record, Record] | None:
    """Load, decide, write conditionally; repeated while other processes write first.

    `decide` is pure and may be called several times; if it returns its argument, nothing is
    written. `replace` writes the second record if the stored one is still the first, and returns
    None if it has changed. `seen` is the record if it was just read: the first decision uses it.
    Returns the records before and after, None if there is none. Raises UnavailableError.
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
