"""DynamoDB in the shape of a boto3 client: items in memory, in virtual time.

The dispatcher's own tables run on it, with their own expressions. Transactions hold their items
while they are written, and a request for a held item is refused, as in DynamoDB; indexes lag.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from chalicelib.dynamodb.serialization import serialize
from simulation.meter import Meter
from simulation.models.expressions import PlainItem, holds, plain, predicate, updated
from simulation.models.latencies import Latencies
from simulation.virtual_time import VirtualTime

Item = dict[str, Any]
"""An item in DynamoDB's JSON."""
PAGE = 1_000
"""Items of a page of a query; DynamoDB's is 1 MiB, which is about as many records."""


class Keys(NamedTuple):
    """The attributes that an index is keyed by."""

    partition: str
    order: str


INDEXES = {
    "live": Keys("live_bucket", "created_at"),
    "pool": Keys("pool", "pool_order"),
    "waiting": Keys("waiting", "waiting_order"),
}
"""As in infra/template.yaml; `tests/unit/simulation` compares them."""


class _Index:
    """One index of one table."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._entries: dict[str, tuple[Any, tuple[Any, str], PlainItem, Item]] = {}
        self._partitions: dict[Any, list[tuple[Any, str]]] = {}

    def show(self, item_id: str, item: PlainItem | None, answer: Item) -> None:
        """Show an item as it is now, with what queries answer of it; None for one that is gone."""
        if item_id in self._entries:
            partition, key, *_ = self._entries.pop(item_id)
            listed = self._partitions[partition]
            del listed[bisect_left(listed, key)]
        if item is not None and {self._keys.partition, self._keys.order} <= item.keys():
            partition, key = item[self._keys.partition], (item[self._keys.order], item_id)
            self._entries[item_id] = partition, key, item, answer
            insort(self._partitions.setdefault(partition, []), key)

    def items(
        self, partition: Any, after: str | None, *, is_reversed: bool
    ) -> Iterator[tuple[PlainItem, Item]]:
        """The items of a partition behind `after`, in order, with what a query answers of each."""
        listed = self._partitions.get(partition, [])[:: -1 if is_reversed else 1]
        is_behind = after is None
        for _, item_id in listed:
            if is_behind:
                yield self._entries[item_id][2:]
            is_behind = is_behind or item_id == after


class PlainDynamoDB:
    """All tables. An item is replaced and never changed."""

    def __init__(self, time: VirtualTime, meter: Meter, latencies: Latencies) -> None:
        self._time = time
        self._meter = meter
        self._latencies = latencies
        self.tables: dict[str, dict[str, PlainItem]] = {}
        self._indexes: dict[tuple[str, str], _Index] = {}
        self._held: set[tuple[str, str]] = set()

    # Reads.

    def get_item(self, *, TableName: str, Key: Any, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's
        """A consistent read."""
        self._wait("reads", self._latencies.read)
        item = self._table(TableName).get(Key["id"]["S"])
        return {} if item is None else {"Item": serialize(item)}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803
        """Consistent reads of several items."""
        self._wait("reads", self._latencies.read)
        found = {
            table: [
                serialize(item)
                for key in asked["Keys"]
                if (item := self._table(table).get(key["id"]["S"])) is not None
            ]
            for table, asked in RequestItems.items()
        }
        return {"Responses": found}

    def query(
        self,
        *,
        TableName: str,  # noqa: N803
        IndexName: str,  # noqa: N803
        Limit: int = PAGE,  # noqa: N803
        ExclusiveStartKey: Mapping[str, Any] | None = None,  # noqa: N803
        ScanIndexForward: bool = True,  # noqa: N803
        **asked: Any,
    ) -> dict[str, Any]:
        """One page of one partition of an index."""
        self._wait("queries", self._latencies.read)
        after = None if ExclusiveStartKey is None else str(ExclusiveStartKey["id"]["S"])
        values = {name: alias for alias, name in asked["ExpressionAttributeNames"].items()}
        alias = values[INDEXES[IndexName].partition]
        placeholder = asked["KeyConditionExpression"].split(f"{alias} = ")[1].split()[0].strip("()")
        partition = plain(asked["ExpressionAttributeValues"])[placeholder]
        index = self._index(TableName, IndexName)
        is_of_key = predicate(asked, "KeyConditionExpression")
        is_wanted = predicate(asked, "FilterExpression")
        page: list[Item] = []
        last: PlainItem | None = None
        seen = 0
        for item, answer in index.items(partition, after, is_reversed=not ScanIndexForward):
            if not is_of_key(item):
                continue
            if seen == Limit:
                break
            seen, last = seen + 1, item
            if is_wanted(item):
                page.append(answer)
        else:
            last = None
        found: dict[str, Any] = {"Items": page, "Count": len(page)}
        return found if last is None else found | {"LastEvaluatedKey": {"id": {"S": last["id"]}}}

    def get_paginator(self, _operation: str) -> "_Pages":
        """Of Query."""
        return _Pages(self)

    # Writes.

    def put_item(self, **write: Any) -> dict[str, Any]:
        """Put one item under its condition."""
        self._write_one("Put", write)
        return {}

    def delete_item(self, **write: Any) -> dict[str, Any]:
        """Delete one item under its condition."""
        self._write_one("Delete", write)
        return {}

    def update_item(self, **write: Any) -> dict[str, Any]:
        """Update one item under its condition."""
        before, after = self._write_one("Update", write)
        match write.get("ReturnValues"):
            case "ALL_OLD":
                return {"Attributes": serialize(before or {})}
            case "UPDATED_OLD":
                changed = {k: v for k, v in (before or {}).items() if (after or {}).get(k) != v}
                return {"Attributes": serialize(changed)}
            case "UPDATED_NEW":
                return {"Attributes": serialize(after or {})}
        return {}

    def transact_write_items(self, *, TransactItems: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803
        """Write all or nothing."""
        writes = [next(iter(entry.items())) for entry in TransactItems]
        keys = [_key(kind, write) for kind, write in writes]
        conflicts = [key in self._held for key in keys]
        self._hold(keys if not any(conflicts) else [], self._latencies.transaction)
        if any(conflicts):
            self._meter.add("conflicts of transactions")
            raise _cancelled(["TransactionConflict" if each else "None" for each in conflicts])
        kept = [
            holds(write, self._table(table).get(item_id))
            for (table, item_id), (_, write) in zip(keys, writes, strict=True)
        ]
        if not all(kept):
            raise _cancelled(["None" if each else "ConditionalCheckFailed" for each in kept])
        for kind, write in writes:
            self._apply(kind, write)
        return {}

    def _write_one(
        self, kind: str, write: Mapping[str, Any]
    ) -> tuple[PlainItem | None, PlainItem | None]:
        key = _key(kind, write)
        self._wait("writes", self._latencies.write)
        if key in self._held:
            raise _error("TransactionConflictException")
        before = self._table(key[0]).get(key[1])
        if not holds(write, before):
            sees = write.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            seen = {"Item": serialize(before)} if sees and before is not None else {}
            raise _error("ConditionalCheckFailedException", **seen)
        return before, self._apply(kind, write)

    def _apply(self, kind: str, write: Mapping[str, Any]) -> PlainItem | None:
        table, item_id = _key(kind, write)
        before = self._table(table).get(item_id)
        after: PlainItem | None
        match kind:
            case "Put":
                after = plain(write["Item"])
            case "Update":
                after = updated(write, before)
            case "Delete":
                after = None
            case _:  # ConditionCheck
                return before
        if after is None:
            self._table(table).pop(item_id, None)
        else:
            self._table(table)[item_id] = after
        answer = {} if after is None else serialize(after)
        for name in INDEXES:
            index = self._index(table, name)
            self._time.later(self._latencies.index_lag, partial(index.show, item_id, after, answer))
        return after

    def _hold(self, keys: Sequence[tuple[str, str]], seconds: float) -> None:
        self._held.update(keys)
        try:
            self._wait("transactions", seconds)
        finally:
            self._held.difference_update(keys)

    def _wait(self, name: str, seconds: float) -> None:
        self._meter.add(name)
        self._time.sleep(seconds)

    def _table(self, name: str) -> dict[str, PlainItem]:
        return self.tables.setdefault(name, {})

    def _index(self, table: str, name: str) -> _Index:
        key = (table, name)
        if key not in self._indexes:
            self._indexes[key] = _Index(INDEXES[name])
        return self._indexes[key]


class _Pages:
    """All pages of a query."""

    def __init__(self, client: PlainDynamoDB) -> None:
        self._client = client

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        while True:
            page = self._client.query(**asked)
            yield page
            if "LastEvaluatedKey" not in page:
                return
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _key(kind: str, write: Mapping[str, Any]) -> tuple[str, str]:
    key = write["Item"] if kind == "Put" else write["Key"]
    return write["TableName"], key["id"]["S"]


def _error(code: str, **more: Any) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}, **more}, "DynamoDB")


def _cancelled(reasons: Sequence[str]) -> ClientError:
    return _error(
        "TransactionCanceledException", CancellationReasons=[{"Code": each} for each in reasons]
    )
