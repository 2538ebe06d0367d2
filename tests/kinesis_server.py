"""A small Kinesis for tests and benchmarks: what a feed meets, moto's omissions included.

Sequence numbers have 56 digits, closed shards end in a null iterator that names the children,
iterators expire, and reads can be throttled, failed or lost at will. State may be changed from
any thread. It runs in a thread of its own and listens on the loopback at a free port.
"""

import asyncio
import base64
import hashlib
import json
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate

FIRST_SEQUENCE = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898
SEQUENCE_STEP = 3_000_000_000_000_000_000
HASH_KEYS = 1 << 128


class RefusedError(Exception):
    def __init__(self, code, message="", status=400):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass
class FakeShard:
    shard_id: str
    ranges: list
    """Range of hash keys, `(first, end)`: a split divides it and a merge joins two."""
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    is_closed: bool = False
    records: list = field(default_factory=list)


class FakeKinesis:
    """One stream. Use as a context manager; `url` is the endpoint."""

    def __init__(self, stream="updates", shards=1, reads_per_second=None):
        self.stream = stream
        self.lock = threading.RLock()
        self.shards = {}
        self.calls = Counter()
        self.faults = {}
        self.reads_per_second = reads_per_second
        self.answer_bytes = 13_000_000  # 10 MiB, in base64
        self._reads = {}
        self._generation = 0
        self._sequence = FIRST_SEQUENCE
        self._ready = threading.Event()
        self._connections = set()
        for number in range(shards):
            bounds = HASH_KEYS * number // shards, HASH_KEYS * (number + 1) // shards
            self._add_shard((), [bounds])

    # Methods for tests

    def put(self, data, partition_key="key", shard_id=None):
        """Append bytes, or anything JSON can express; returns the sequence number."""
        if not isinstance(data, bytes):
            data = json.dumps(data, separators=(",", ":")).encode()
        with self.lock:
            shard = self.shards[shard_id] if shard_id else self._shard_of(partition_key)
            self._sequence += SEQUENCE_STEP
            record = {
                "Data": base64.b64encode(data).decode(),
                "PartitionKey": partition_key,
                "SequenceNumber": str(self._sequence),
                "ApproximateArrivalTimestamp": round(time.time(), 3),
            }
            shard.records.append((self._sequence, record))
            return str(self._sequence)

    def split(self, shard_id):
        with self.lock:
            ranges = self.shards[shard_id].ranges
            if len(ranges) == 1:
                first, end = ranges[0]
                ranges = [(first, (first + end) // 2), ((first + end) // 2, end)]
            middle = len(ranges) // 2
            halves = ranges[:middle], ranges[middle:]
            children = tuple(self._add_shard((shard_id,), half) for half in halves)
            self._close(shard_id, children)
            return children

    def merge(self, first, second):
        with self.lock:
            ranges = self.shards[first].ranges + self.shards[second].ranges
            child = self._add_shard((first, second), ranges)
            self._close(first, (child,))
            self._close(second, (child,))
            return child

    def expire_shard(self, shard_id):
        with self.lock:
            del self.shards[shard_id]

    def expire_iterators(self):
        with self.lock:
            self._generation += 1

    def fail(self, operation, code, times=1, status=400):
        """The next calls of an operation get an error; code "hang up" closes the connection."""
        with self.lock:
            self.faults[operation] = [code, times, status]

    def delete(self):
        with self.lock:
            self.stream = None

    # The service

    def __enter__(self):
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _serve(self):
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._over.wait()
        server.close()
        for writer in self._connections:
            writer.close()

    async def _connection(self, reader, writer):
        self._connections.add(writer)
        with suppress(OSError, EOFError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                body = await reader.readexactly(int(headers["content-length"]))
                operation = headers["x-amz-target"].partition(".")[2]
                try:
                    status, answer = 200, self._call(operation, json.loads(body))
                except RefusedError as refusal:
                    if refusal.code == "hang up":
                        break
                    status = refusal.status
                    answer = {"__type": refusal.code, "message": refusal.message}
                payload = json.dumps(answer).encode()
                writer.write(
                    f"HTTP/1.1 {status} Answer\r\nDate: {formatdate(usegmt=True)}\r\n"
                    "Content-Type: application/x-amz-json-1.1\r\n"
                    f"Content-Length: {len(payload)}\r\n\r\n".encode()
                    + payload
                )
                await writer.drain()
        self._connections.discard(writer)
        writer.close()

    def _call(self, operation, parameters):
        operations = {
            "listshards": ("ListShards", self._list_shards),
            "getsharditerator": ("GetShardIterator", self._get_iterator),
            "getrecords": ("GetRecords", self._get_records),
        }
        name, answer = operations[operation]
        with self.lock:
            self.calls[name] += 1
            fault = self.faults.get(name)
            if fault and fault[1] > 0:
                fault[1] -= 1
                raise RefusedError(fault[0], "a fault", fault[2])
            if parameters.get("StreamName", self.stream) != self.stream or self.stream is None:
                raise RefusedError("ResourceNotFoundException", "Stream not found")
            return answer(parameters)

    def _list_shards(self, _):
        shards = []
        for shard in self.shards.values():
            described = {"ShardId": shard.shard_id, "SequenceNumberRange": {}}
            for name, parent in zip(
                ("ParentShardId", "AdjacentParentShardId"), shard.parents, strict=False
            ):
                described[name] = parent
            if shard.is_closed:
                described["SequenceNumberRange"]["EndingSequenceNumber"] = str(self._sequence)
            shards.append(described)
        return {"Shards": shards}

    def _get_iterator(self, parameters):
        shard = self._shard(parameters["ShardId"])
        kind = parameters["ShardIteratorType"]
        records = shard.records
        if kind == "LATEST":
            index = len(records)
        elif kind == "TRIM_HORIZON":
            index = 0
        elif kind == "AT_TIMESTAMP":
            at = parameters["Timestamp"]
            index = sum(1 for _, r in records if r["ApproximateArrivalTimestamp"] < at)
        else:
            sequence = int(parameters["StartingSequenceNumber"])
            if not FIRST_SEQUENCE <= sequence <= self._sequence:
                raise RefusedError("InvalidArgumentException", "StartingSequenceNumber is invalid")
            is_after = kind == "AFTER_SEQUENCE_NUMBER"
            index = sum(1 for s, _ in records if s < sequence or (is_after and s == sequence))
        return {"ShardIterator": self._iterator(shard, index)}

    def _get_records(self, parameters):
        generation, shard_id, index = parameters["ShardIterator"].split("/")
        if int(generation) != self._generation:
            raise RefusedError("ExpiredIteratorException", "Iterator expired")
        index = int(index)
        shard = self._shard(shard_id)
        self._throttle(shard_id)
        records, size = [], 0
        for entry in shard.records[index : index + parameters.get("Limit", 10_000)]:
            size += len(entry[1]["Data"])
            if records and size > self.answer_bytes:
                break
            records.append(entry)
        after = index + len(records)
        behind = 0
        if after < len(shard.records):
            arrived = shard.records[after][1]["ApproximateArrivalTimestamp"]
            behind = max(1, round((time.time() - arrived) * 1000))
        answer = {"Records": [r for _, r in records], "MillisBehindLatest": behind}
        if shard.is_closed and not behind:
            answer["ChildShards"] = [
                {"ShardId": child, "ParentShards": list(self.shards[child].parents)}
                for child in shard.children
            ]
        else:
            answer["NextShardIterator"] = self._iterator(shard, after)
        return answer

    def _throttle(self, shard_id):
        if self.reads_per_second is None:
            return
        now = time.monotonic()
        recent = [at for at in self._reads.get(shard_id, []) if at > now - 1]
        self._reads[shard_id] = recent
        if len(recent) >= self.reads_per_second:
            raise RefusedError("ProvisionedThroughputExceededException", "Rate exceeded")
        recent.append(now)

    def _shard(self, shard_id):
        if shard_id not in self.shards:
            raise RefusedError("ResourceNotFoundException", "Shard not found")
        return self.shards[shard_id]

    def _iterator(self, shard, index):
        return f"{self._generation}/{shard.shard_id}/{index}"

    def _shard_of(self, partition_key):
        key = int.from_bytes(hashlib.md5(partition_key.encode()).digest(), "big")
        for shard in self.shards.values():
            if not shard.is_closed and any(first <= key < end for first, end in shard.ranges):
                return shard
        raise AssertionError("every hash key has its open shard")

    def _add_shard(self, parents, ranges):
        numbers = [int(shard_id.rpartition("-")[2]) for shard_id in self.shards]
        shard_id = f"shardId-{max(numbers, default=-1) + 1:012d}"
        self.shards[shard_id] = FakeShard(shard_id, ranges, parents)
        return shard_id

    def _close(self, shard_id, children):
        self.shards[shard_id].is_closed = True
        self.shards[shard_id].children = children
