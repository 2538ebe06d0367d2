"""The store of records that own an ECS task: load, decide, compare-and-set, notify the observer.

Every write is conditional on the version that was read; a failed condition is a result, not an
exception. The counters of a record are decremented in the transaction that releases them, so they
cannot drift.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from chalicelib.capacity import counting
from chalicelib.dynamodb.records import Item, Unreadable, read_record, readable
from chalicelib.dynamodb.table import FAILED, Table, change
from chalicelib.dynamodb.writes import Write, lowered, put

_log = logging.getLogger("usher.tasks")


class Record(Protocol):
    """The common fields of all records."""

    @property
    def id(self) -> str:
        """The key of its item."""

    @property
    def version(self) -> int:
        """Incremented by each write."""

    @property
    def log_fields(self) -> dict[str, Any]:
        """The fields of log records about it."""


R = TypeVar("R", bound=Record)
R_contra = TypeVar("R_contra", contravariant=True)


def _no_member(_key: str, _record: Any) -> None:
    return None


@dataclass(frozen=True)
class Codec(Generic[R]):
    """Serializes a kind of record."""

    to_item: Callable[[R], dict[str, Any]]
    from_item: Callable[[Item], R]
    """Raises ValueError; see `chalicelib.dynamodb.records`."""
    counters: Callable[[R], tuple[str, ...]]
    """Keys of the counters that the record has incremented and not decremented."""
    without: Callable[[R, Sequence[str]], R]
    """The record without these counters."""
    member: Callable[[str, R], str | None] = _no_member
    """The member of a counter's list for this record; None if the counter has no list."""


def next_version(before: R, after: R) -> R:
    """`after` in the version that follows `before`."""
    written: R = replace(after, version=before.version + 1)  # type: ignore[type-var]
    return written


class RecordTable(Generic[R]):
    """Records by id, through a boto3 DynamoDB client."""

    def __init__(
        self, dynamodb: Any, name: str, codec: Codec[R], groups_table: str | None = None
    ) -> None:
        """`groups_table` has the counters of capacity groups; None = they are in this table."""
        self.items = Table(dynamodb, name)
        self._codec = codec
        self._groups_table = groups_table or name

    def get(self, record_id: str) -> R | None:
        """The present record (consistent read). Raises UnreadableRecordError."""
        return readable(self.find(record_id))

    def find(self, record_id: str) -> R | Unreadable | None:
        """As `get`, for callers that continue without an unreadable record."""
        item = self.items.get(record_id)
        return read_record(item, self._codec.from_item) if item else None

    def get_all(self, ids: Sequence[str], projection: Sequence[str] = ()) -> list[R | Unreadable]:
        """The existing records of these ids, in their order (consistent read)."""
        items = self.items.get_all(ids, projection)
        found = (items[record_id] for record_id in ids if record_id in items)
        return [read_record(item, self._codec.from_item) for item in found]

    def replace(self, before: R, after: R, *more: Write) -> R | None:
        """Write `after` if the record is still `before`; None if it has changed.

        Counters that it releases are decremented, and `more` is written, in the same transaction.
        Returns the record as written, in its next version. Repeated after a pause while other
        transactions hold a counter. Raises BusyError.
        """
        codec, name = self._codec, self.items.name
        written = next_version(before, after)
        item, kept = codec.to_item(written), codec.counters(after)
        released = [key for key in codec.counters(before) if key not in kept]
        refusal = self.items.transact(
            [
                {"Put": put(name, item, before.version)},
                *({"Update": self._lowered(key, before)} for key in released),
                *more,
            ],
            waits_for_others=bool(released or more),
        )
        if refusal is None or self.items.is_written(item, refusal):
            return written
        reasons = refusal.reasons[1 : len(released) + 1]
        gone = [key for key, why in zip(released, reasons, strict=False) if why == FAILED]
        if not gone or refusal.reasons[0] == FAILED:
            return None
        # A counter was deleted. That must not prevent the end of a record.
        _log.error("counters that should count it do not: %s", gone, extra=before.log_fields)
        return self.replace(codec.without(before, gone), after, *more)

    def _lowered(self, counter: str, before: R) -> Write:
        if counting.is_group_counter(counter):
            return counting.lowered(self._groups_table, counter)
        return lowered(self.items.name, counter, self._codec.member(counter, before))


class Observer(Protocol[R_contra]):
    """Receives the transitions of one kind of record."""

    def on_transition(self, before: R_contra, after: R_contra) -> None:
        """A change was written. After a crash before this call its effects are missing."""


class Store(Generic[R]):
    """The table and its observer. All changes of records after their creation use it."""

    def __init__(self, table: RecordTable[R], observer: Observer[R]) -> None:
        self._table = table
        self._observer = observer

    def change(
        self,
        record_id: str,
        decide: Callable[[R], R],
        seen: R | None = None,
        write_with: Callable[[R, R], Write] | None = None,
    ) -> R | None:
        """Load, decide, write conditionally; None without a record. See `dynamodb.table.change`.

        The writes that `write_with` returns for the records before and after are part of the
        transaction.
        """

        def write(before: R, after: R) -> R | None:
            more = () if write_with is None else (write_with(before, after),)
            return self._table.replace(before, after, *more)

        changed = change(lambda: self._table.get(record_id), decide, write, seen)
        if changed is None:
            return None
        before, after = changed
        if after is not before:
            self._observer.on_transition(before, after)
        return after

    def written(self, before: R, after: R) -> None:
        """Tell the observer of a change that was written without this store."""
        self._observer.on_transition(before, after)

    def update(self, seen: R, decide: Callable[[R], R]) -> R:
        """As `change`, for a record that was just read; returns `seen` if it no longer exists."""
        return self.change(seen.id, decide, seen) or seen


class Recent(Generic[R]):
    """The last records that this process wrote, to try the next write on without a read.

    Only where the next write is certain to be tried: its condition knows whether the record has
    moved on. What `take` returns must decide nothing that is not written. Thread-safe.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._records: OrderedDict[str, R] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, record: R) -> None:
        """Remember a record as it was written, and forget the oldest beyond the bound."""
        with self._lock:
            self._records[record.id] = record
            self._records.move_to_end(record.id)
            if len(self._records) > self._most:
                self._records.popitem(last=False)

    def take(self, record_id: str) -> R | None:
        """A record, if it is remembered; from now on it is not."""
        with self._lock:
            return self._records.pop(record_id, None)


LIVE_BUCKETS = 8
"""The index of live records is spread over this many partitions: one accepts 1,000 writes a
second."""


def live_or_expiring(
    record_id: str, *, ended_at: float | None, kept_seconds: int
) -> Mapping[str, int]:
    """The key of the index of live records, or the expiry of an ended one."""
    if ended_at is None:
        return {"live_bucket": int(record_id[:8], 16) % LIVE_BUCKETS}
    return {"expire_at": int(ended_at) + kept_seconds}
