"""A stream as Kinesis keeps it: shards with their lineage, records with their numbers. Pure.

Instants are seconds since 1970 and are passed in; nothing here knows of iterators or requests.
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from hashlib import md5
from itertools import pairwise
from typing import Any

from local.aws.kinesis.errors import KinesisError, invalid, not_found

HASH_KEYS = 1 << 128
"""Partition keys are hashed to 128 bits; every shard takes a range of them."""

_FIRST_SEQUENCE = 1 << 184
_MILLIS_SHIFT, _COUNT_SHIFT, _SHARD_BITS = 64, 4, 4


def millis_of(instant: float) -> int:
    """The millisecond that an instant lies in: Kinesis keeps and compares instants to that.

    Source: GetShardIterator, "Timestamp" ("with precision in milliseconds"). By way of
    microseconds, as N / 1000 * 1000 may lie just below N.
    """
    return round(instant * 1_000_000) // 1000


@dataclass(frozen=True)
class Record:
    """One record. `data` in base64, as it came and as it will be given out."""

    sequence: int
    arrived_at: float
    partition_key: str
    data: str
    size: int
    """Bytes of data and partition key, which is what limits count."""

    def describe(self) -> dict[str, Any]:
        """The record as an element of GetRecords' `Records`."""
        return {
            "SequenceNumber": str(self.sequence),
            "ApproximateArrivalTimestamp": self.arrived_at,
            "Data": self.data,
            "PartitionKey": self.partition_key,
        }


@dataclass
class Shard:
    """One shard. Its records keep their index for ever, also when older ones are trimmed."""

    shard_id: str
    number: int
    first_hash: int
    last_hash: int
    starting_sequence: int
    created_at: float
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    ending_sequence: int | None = None
    closed_at: float | None = None
    trimmed: int = 0
    """Number of removed records, which is the index of the oldest remaining one."""
    records: list[Record] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.ending_sequence is None

    @property
    def end(self) -> int:
        """The index after the newest record."""
        return self.trimmed + len(self.records)

    def index_of_sequence(self, sequence: int) -> int:
        """The index of the first record with this sequence number or a later one."""
        return self.trimmed + bisect_left(self.records, sequence, key=lambda r: r.sequence)

    def index_of_instant(self, instant: float) -> int:
        """The index of the first record that arrived in that millisecond or later."""
        return self.trimmed + bisect_left(
            self.records, millis_of(instant), key=lambda r: millis_of(r.arrived_at)
        )

    def read(self, index: int, limit: int, max_bytes: int) -> list[Record]:
        """Records from `index` on, at least one if there is one, at most `limit` and
        `max_bytes`.
        """
        at = max(index - self.trimmed, 0)
        found: list[Record] = []
        size = 0
        for record in self.records[at : at + limit]:
            size += record.size
            if found and size > max_bytes:
                break
            found.append(record)
        return found

    def trim(self, oldest: float) -> None:
        """Remove the records that arrived before `oldest`."""
        count = bisect_left(self.records, oldest, key=lambda r: r.arrived_at)
        if count:
            del self.records[:count]
            self.trimmed += count

    def describe(self) -> dict[str, Any]:
        """The shard as an element of ListShards' `Shards`."""
        numbers = {"StartingSequenceNumber": str(self.starting_sequence)}
        if self.ending_sequence is not None:
            numbers["EndingSequenceNumber"] = str(self.ending_sequence)
        names = ("ParentShardId", "AdjacentParentShardId")
        return {
            "ShardId": self.shard_id,
            **dict(zip(names, self.parents, strict=False)),
            "HashKeyRange": self.hash_range,
            "SequenceNumberRange": numbers,
        }

    @property
    def hash_range(self) -> dict[str, str]:
        """The number as Kinesis writes it."""
        return {"StartingHashKey": str(self.first_hash), "EndingHashKey": str(self.last_hash)}


class Stream:
    """One stream, with all its shards and their lineage."""

    def __init__(self, name: str, shard_count: int, now: float, mode: str = "PROVISIONED") -> None:
        self.name = name
        self.mode = mode
        self.created_at = now
        self.retention_hours = 24
        self.consumers: dict[str, dict[str, Any]] = {}
        self._millis = 0
        self._count = 0
        self._made = 0
        self._all: dict[str, Shard] = {}
        step = HASH_KEYS // shard_count
        for n in range(shard_count):
            last = HASH_KEYS - 1 if n == shard_count - 1 else (n + 1) * step - 1
            self._add(n * step, last, (), now)

    @property
    def open_shards(self) -> list[Shard]:
        """The open shards, by their hash keys."""
        return sorted((s for s in self._all.values() if s.is_open), key=lambda s: s.first_hash)

    def shards(self, now: float) -> list[Shard]:
        """All shards that still exist, the oldest first. Those older than the retention are
        removed.
        """
        oldest = now - self.retention_hours * 3600
        for shard in list(self._all.values()):
            shard.trim(oldest)
            if shard.closed_at is not None and shard.closed_at < oldest:
                del self._all[shard.shard_id]
        return list(self._all.values())

    def shard(self, shard_id: str) -> Shard:
        """Raises KinesisError."""
        shard = self._all.get(shard_id)
        if shard is None:
            raise not_found(f"Shard {shard_id} in stream {self.name} does not exist.")
        return shard

    def shard_for(self, partition_key: str, explicit_hash_key: str | None) -> Shard:
        """The shard of a record. Raises KinesisError."""
        if explicit_hash_key is None:
            digest = md5(partition_key.encode(), usedforsecurity=False).digest()
            hash_key = int.from_bytes(digest, "big")
        else:
            hash_key = _hash_key(explicit_hash_key)
        return next(s for s in self.open_shards if s.first_hash <= hash_key <= s.last_hash)

    def put(self, shard: Shard, partition_key: str, data: str, size: int, now: float) -> Record:
        """Append a record; instants never go back within a stream."""
        sequence = self._next_sequence(shard.number, now)
        record = Record(sequence, self._millis / 1000, partition_key, data, size)
        shard.records.append(record)
        return record

    def split(self, shard_id: str, new_hash_key: str, now: float) -> list[Shard]:
        """Two children take the place of a shard. Raises KinesisError."""
        shard = self._open(shard_id)
        start = _hash_key(new_hash_key)
        if not shard.first_hash < start <= shard.last_hash:
            raise invalid(f"NewStartingHashKey {start} used in SplitShard() is not in its range.")
        ranges = [(shard.first_hash, start - 1), (start, shard.last_hash)]
        return self._replace([shard], ranges, now)

    def merge(self, shard_id: str, adjacent_id: str, now: float) -> list[Shard]:
        """One child takes the place of two neighbours. Raises KinesisError."""
        shards = [self._open(shard_id), self._open(adjacent_id)]
        low, high = sorted(shards, key=lambda s: s.first_hash)
        if low.last_hash + 1 != high.first_hash:
            raise invalid(f"Shards {shard_id} and {adjacent_id} are not adjacent.")
        return self._replace(shards, [(low.first_hash, high.last_hash)], now)

    def rescale(self, target: int, now: float) -> None:
        """Split the widest and merge the narrowest shards until there are `target` open ones."""
        while len(self.open_shards) < target:
            widest = max(self.open_shards, key=lambda s: s.last_hash - s.first_hash)
            middle = (widest.first_hash + widest.last_hash + 1) // 2
            self.split(widest.shard_id, str(middle), now)
        while len(self.open_shards) > target:
            shards = self.open_shards
            pairs = pairwise(shards)
            low, high = min(pairs, key=lambda pair: pair[1].last_hash - pair[0].first_hash)
            self.merge(low.shard_id, high.shard_id, now)

    def _open(self, shard_id: str) -> Shard:
        shard = self.shard(shard_id)
        if not shard.is_open:
            raise KinesisError(
                "ResourceInUseException", f"Shard {shard_id} in stream {self.name} is closed."
            )
        return shard

    def _replace(
        self, parents: list[Shard], ranges: list[tuple[int, int]], now: float
    ) -> list[Shard]:
        for parent in parents:
            parent.ending_sequence = self._next_sequence(parent.number, now)
            parent.closed_at = now
        names = tuple(parent.shard_id for parent in parents)
        children = [self._add(first, last, names, now) for first, last in ranges]
        for parent in parents:
            parent.children = tuple(child.shard_id for child in children)
        return children

    def _add(self, first: int, last: int, parents: tuple[str, ...], now: float) -> Shard:
        number, self._made = self._made, self._made + 1
        starting = self._next_sequence(number, now)
        shard = Shard(f"shardId-{number:012d}", number, first, last, starting, now, parents)
        self._all[shard.shard_id] = shard
        return shard

    def _next_sequence(self, shard_number: int, now: float) -> int:
        """Larger than all before it in this stream, children's than their parents' included;
        56 digits, time in the upper ones, as Kinesis's own are.
        """
        self._millis = max(self._millis, millis_of(now))
        self._count += 1
        return (
            _FIRST_SEQUENCE
            + (self._millis << _MILLIS_SHIFT)
            + (self._count << _COUNT_SHIFT)
            + shard_number % (1 << _SHARD_BITS)
        )


def _hash_key(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) >= HASH_KEYS:
        raise invalid(f"{text!r} is no hash key.")
    return int(text)
