"""Kinesis's API on the streams of `local.aws.kinesis.model`. Thread-safe.

Streams are ACTIVE as soon as they are created. Other operations are answered as not implemented.
"""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from threading import RLock
from typing import Any

from local.aws.kinesis import listing
from local.aws.kinesis.arrivals import Arrivals
from local.aws.kinesis.errors import KinesisError, invalid, not_found, too_fast
from local.aws.kinesis.iterators import ShardIterator
from local.aws.kinesis.limits import ShardRates
from local.aws.kinesis.model import Record, Shard, Stream
from local.aws.kinesis.switches import Switches

MAX_READ_RECORDS = 10_000
MAX_READ_BYTES = 10 * (1 << 20)
MAX_RECORD_BYTES = 1 << 20
MAX_PUT_RECORDS = 500
MAX_PUT_BYTES = 10 * (1 << 20)
ON_DEMAND_SHARDS = 4
CHANGING = frozenset({"PutRecord", "PutRecords", "SplitShard", "MergeShards", "UpdateShardCount"})
"""Actions after which a reader may find something new."""

Answer = dict[str, Any]


class KinesisApi:
    """All streams of one region."""

    def __init__(
        self, region: str, account: str, switches: Switches, now: Callable[[], float] = time.time
    ) -> None:
        self._account = account
        self._arn = f"arn:aws:kinesis:{region}:{account}:stream/"
        self._now = now
        self._lock = RLock()
        self._streams: dict[str, Stream] = {}
        self._rates: dict[tuple[str, str], ShardRates] = {}
        self.arrivals = Arrivals()
        self._actions: dict[str, Callable[[Answer], Answer]] = {
            "CreateStream": self._create_stream,
            "DeleteStream": self._delete_stream,
            "ListStreams": self._list_streams,
            "DescribeStream": self._describe_stream,
            "DescribeStreamSummary": self._describe_summary,
            "ListShards": self._list_shards,
            "IncreaseStreamRetentionPeriod": self._set_retention,
            "DecreaseStreamRetentionPeriod": self._set_retention,
            "SplitShard": self._split_shard,
            "MergeShards": self._merge_shards,
            "UpdateShardCount": self._update_shard_count,
            "PutRecord": self._put_record,
            "PutRecords": self._put_records,
            "GetShardIterator": self._get_iterator,
            "GetRecords": self._get_records,
        }
        self.switches = switches

    @property
    def switches(self) -> Switches:
        """The limits in force; replaced as a whole."""
        return self._switches

    @switches.setter
    def switches(self, switches: Switches) -> None:
        with self._lock:
            self._switches = self._in_force = switches
            self._dice = random.Random(switches.seed)
            self._rates.clear()

    def call(self, action: str, parameters: Answer, *, is_observer: bool = False) -> Answer:
        """Execute one action. Observers' calls do not count towards limits.

        Raises KinesisError, NotImplementedError.
        """
        carry_out = self._actions.get(action)
        if carry_out is None:
            raise NotImplementedError(f"no {action} here")
        with self._lock:
            switches = self._switches
            if is_observer:
                switches = replace(
                    switches, read_limits=False, write_limits=False, put_failures=0.0
                )
            self._in_force = switches
            answer = carry_out(parameters)
        if action in CHANGING:
            self.arrivals.add()
        return answer

    # Streams.

    def _create_stream(self, asked: Answer) -> Answer:
        name = asked["StreamName"]
        if name in self._streams:
            raise KinesisError("ResourceInUseException", f"Stream {name} already exists.")
        mode = asked.get("StreamModeDetails", {}).get("StreamMode", "PROVISIONED")
        count = asked.get("ShardCount") or (ON_DEMAND_SHARDS if mode == "ON_DEMAND" else 0)
        if count < 1:
            raise invalid("ShardCount must be at least 1.")
        self._streams[name] = Stream(name, count, self._now(), mode)
        return {}

    def _delete_stream(self, asked: Answer) -> Answer:
        del self._streams[self._stream(asked).name]
        return {}

    def _list_streams(self, asked: Answer) -> Answer:
        after: str = asked.get("ExclusiveStartStreamName") or asked.get("NextToken") or ""
        rest = sorted(name for name in self._streams if name > after)
        shown = rest[: asked.get("Limit", 100)]
        answer: Answer = {"StreamNames": shown, "HasMoreStreams": len(shown) < len(rest)}
        if answer["HasMoreStreams"]:
            answer["NextToken"] = shown[-1]
        return answer

    def _describe_stream(self, asked: Answer) -> Answer:
        stream = self._stream(asked)
        shards = stream.shards(self._now())
        return listing.describe_stream(stream, self._arn + stream.name, shards, asked)

    def _describe_summary(self, asked: Answer) -> Answer:
        stream = self._stream(asked)
        return listing.describe_summary(stream, self._arn + stream.name)

    def _list_shards(self, asked: Answer) -> Answer:
        if "NextToken" in asked:
            stream = self._stream({"StreamName": listing.read_token(asked["NextToken"])[0]})
        else:
            stream = self._stream(asked)
        return listing.list_shards(stream.name, stream.shards(self._now()), asked)

    def _set_retention(self, asked: Answer) -> Answer:
        hours = asked["RetentionPeriodHours"]
        if not 24 <= hours <= 8760:
            raise invalid("RetentionPeriodHours is from 24 to 8760.")
        self._stream(asked).retention_hours = hours
        return {}

    def _split_shard(self, asked: Answer) -> Answer:
        self._stream(asked).split(asked["ShardToSplit"], asked["NewStartingHashKey"], self._now())
        return {}

    def _merge_shards(self, asked: Answer) -> Answer:
        self._stream(asked).merge(asked["ShardToMerge"], asked["AdjacentShardToMerge"], self._now())
        return {}

    def _update_shard_count(self, asked: Answer) -> Answer:
        stream, target = self._stream(asked), asked["TargetShardCount"]
        current = len(stream.open_shards)
        if not current / 2 <= target <= current * 2:
            raise invalid("TargetShardCount is from half to twice the current count.")
        stream.rescale(target, self._now())
        return {
            "StreamName": stream.name,
            "StreamARN": self._arn + stream.name,
            "CurrentShardCount": current,
            "TargetShardCount": target,
        }

    # Records.

    def _put_record(self, asked: Answer) -> Answer:
        shard, record = self._put(self._stream(asked), asked)
        return {"ShardId": shard.shard_id, "SequenceNumber": str(record.sequence)}

    def _put_records(self, asked: Answer) -> Answer:
        stream, records = self._stream(asked), asked["Records"]
        if not 1 <= len(records) <= MAX_PUT_RECORDS:
            raise invalid(f"Records has 1 to {MAX_PUT_RECORDS} members.")
        sizes = [_size(record) for record in records]
        if sum(sizes) > MAX_PUT_BYTES:
            raise invalid(f"Records exceed {MAX_PUT_BYTES} bytes.")
        results = [self._put_one(stream, record) for record in records]
        return {
            "FailedRecordCount": sum("ErrorCode" in result for result in results),
            "Records": results,
        }

    def _put_one(self, stream: Stream, asked: Answer) -> Answer:
        if self._dice.random() < self._in_force.put_failures:
            return {"ErrorCode": "InternalFailure", "ErrorMessage": "Internal service failure."}
        try:
            shard, record = self._put(stream, asked)
        except KinesisError as error:
            if error.code != "ProvisionedThroughputExceededException":
                raise
            return {"ErrorCode": error.code, "ErrorMessage": error.message}
        return {"ShardId": shard.shard_id, "SequenceNumber": str(record.sequence)}

    def _put(self, stream: Stream, asked: Answer) -> tuple[Shard, Record]:
        now, size = self._now(), _size(asked)
        shard = stream.shard_for(asked["PartitionKey"], asked.get("ExplicitHashKey"))
        if self._in_force.write_limits and not self._rates_of(stream, shard).may_write(size, now):
            raise too_fast(shard.shard_id, stream.name)
        return shard, stream.put(shard, asked["PartitionKey"], asked["Data"], size, now)

    def _get_iterator(self, asked: Answer) -> Answer:
        stream = self._stream(asked)
        now = self._now()
        stream.shards(now)
        shard = stream.shard(asked["ShardId"])
        if self._in_force.read_limits and not self._rates_of(stream, shard).iterators.allows(now):
            raise too_fast(shard.shard_id, stream.name)
        return {"ShardIterator": str(self._iterator(stream, shard, _start(shard, asked)))}

    def _get_records(self, asked: Answer) -> Answer:
        iterator = ShardIterator.parse(asked["ShardIterator"])
        now = self._now()
        stream = self._stream({"StreamName": iterator.stream})
        if stream.created_at != iterator.made_at:
            raise not_found(f"Stream {iterator.stream} of this iterator is deleted.")
        iterator.check(now, self._in_force.iterator_seconds)
        limit = asked.get("Limit", MAX_READ_RECORDS)
        if not 1 <= limit <= MAX_READ_RECORDS:
            raise invalid(f"Limit is from 1 to {MAX_READ_RECORDS}.")
        shard = stream.shard(iterator.shard_id)
        rates = self._rates_of(stream, shard)
        if self._in_force.read_limits and not rates.may_read(now):
            raise too_fast(shard.shard_id, stream.name)
        found = shard.read(iterator.index, limit, MAX_READ_BYTES)
        if self._in_force.read_limits:
            rates.read_bytes.spend(sum(record.size for record in found), now)
        after = max(iterator.index, shard.trimmed) + len(found)
        return self._read_answer(stream, shard, found, after)

    def _read_answer(self, stream: Stream, shard: Shard, found: list[Record], after: int) -> Answer:
        behind = 0
        if after < shard.end:
            arrived_at = shard.records[after - shard.trimmed].arrived_at
            behind = max(1, round((self._now() - arrived_at) * 1000))
        answer: Answer = {
            "Records": [record.describe() for record in found],
            "MillisBehindLatest": behind,
            "NextShardIterator": str(self._iterator(stream, shard, after)),
        }
        if not shard.is_open and after >= shard.end:
            answer["NextShardIterator"] = None
            answer["ChildShards"] = [
                {
                    "ShardId": child.shard_id,
                    "ParentShards": list(child.parents),
                    "HashKeyRange": child.hash_range,
                }
                for child in map(stream.shard, shard.children)
            ]
        return answer

    # Common to several.

    def _stream(self, asked: Answer) -> Stream:
        name = asked.get("StreamName") or asked.get("StreamARN", "").rpartition("/")[2]
        stream = self._streams.get(name)
        if stream is None:
            raise not_found(f"Stream {name} under account {self._account} not found.")
        return stream

    def _iterator(self, stream: Stream, shard: Shard, index: int) -> ShardIterator:
        return ShardIterator(stream.name, stream.created_at, shard.shard_id, index, self._now())

    def _rates_of(self, stream: Stream, shard: Shard) -> ShardRates:
        return self._rates.setdefault((stream.name, shard.shard_id), ShardRates())


def _start(shard: Shard, asked: Answer) -> int:
    """The index that an iterator begins at. Raises KinesisError."""
    match asked["ShardIteratorType"]:
        case "TRIM_HORIZON":
            return shard.trimmed
        case "LATEST":
            return shard.end
        case "AT_TIMESTAMP" if "Timestamp" in asked:
            return shard.index_of_instant(asked["Timestamp"])
        case "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER" as kind:
            sequence = _sequence(shard, asked.get("StartingSequenceNumber", ""))
            return shard.index_of_sequence(sequence + (kind == "AFTER_SEQUENCE_NUMBER"))
    raise invalid("ShardIteratorType lacks its parameter, or is none.")


def _sequence(shard: Shard, text: str) -> int:
    newest = shard.records[-1].sequence if shard.records else shard.starting_sequence
    newest = shard.ending_sequence or newest
    if not (text.isascii() and text.isdigit()) or not (
        shard.starting_sequence <= int(text) <= newest
    ):
        raise invalid(
            f"StartingSequenceNumber {text} used in GetShardIterator on shard {shard.shard_id} "
            "is invalid because it did not come from this stream."
        )
    return int(text)


def _size(asked: Answer) -> int:
    """Bytes of a record: data, in base64, and partition key. Raises KinesisError."""
    data, key = asked.get("Data"), asked.get("PartitionKey")
    if not isinstance(data, str) or not isinstance(key, str) or not 1 <= len(key) <= 256:
        raise KinesisError("ValidationException", "Data and a PartitionKey of 1 to 256 characters.")
    size = len(data) * 3 // 4 - data[-2:].count("=")
    if size > MAX_RECORD_BYTES:
        raise KinesisError(
            "ValidationException", f"Data has {size} bytes, more than {MAX_RECORD_BYTES}."
        )
    return size + len(key.encode())
