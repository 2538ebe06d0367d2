"""The direct feed: this container reads all shards of a Kinesis stream.

Suitable for about five sessions on a stream, because Kinesis allows five reads a second and shard
in total. Errors are followed by backoff and reported as lag; only an empty shard causes no lag.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

from session_handler.backoff import jitter
from session_handler.cursor import After, Cursor, CursorError, Horizon, Position, Since
from session_handler.feeds.feed import (
    PATIENCE_SECONDS,
    Deliver,
    FeedError,
    Start,
    TellGap,
    reach,
)
from session_handler.feeds.kinesis_client import TOO_LARGE, KinesisClient, KinesisError
from session_handler.feeds.pacing import LONGEST_INTERVAL_SECONDS, Pacer, pause_seconds
from session_handler.feeds.records import Record, decode_records
from session_handler.feeds.shards import Lineage, Shard, resume, start_at_latest

READ_LIMIT = 5_000
"""Records in one request: with JSON of usual size a few MiB of memory."""

FRESH_LIST_SECONDS = 5.0
"""A list of shards that is younger than this is not read again when the client connects."""

log = logging.getLogger(__name__)


@dataclass
class ShardReading:
    """The state of reading one shard. Times are the event loop's."""

    read_at: float
    pacer: Pacer = field(default_factory=Pacer)
    iterator: str | None = None
    limit: int = READ_LIMIT
    behind_seconds: float = 0.0
    error: str | None = None

    def lag_seconds(self, now: float) -> float:
        """The lag at the last read, plus the time since."""
        return self.behind_seconds + max(0.0, now - self.read_at - LONGEST_INTERVAL_SECONDS)


class KinesisFeed:
    """All shards of one stream, for one client at a time."""

    kind = "kinesis"

    def __init__(self, stream: str, client: KinesisClient) -> None:
        self._stream = stream
        self._client = client
        self._shards: list[Shard] = []
        self._listed_at = float("-inf")
        self._lineage = Lineage({})
        self._readings: dict[str, ShardReading] = {}

    @property
    def cursor(self) -> str:
        return self._lineage.cursor

    def lag_seconds(self, now: float) -> float:
        """The client's lag behind the stream, as far as reading is concerned; 0 before it
        connects.
        """
        return max((r.lag_seconds(now) for r in self._readings.values()), default=0.0)

    def health(self, now: float) -> dict[str, Any]:
        """The feed's part of `/healthz`."""
        errors = sorted({r.error for r in self._readings.values() if r.error})
        return {
            "kind": self.kind,
            "shards": len(self._readings) or len(self._shards),
            "lagSeconds": round(self.lag_seconds(now), 3),
            "errors": errors,
        }

    async def prepare(self) -> None:
        """Find the shards. Raises FeedError if the stream is missing, forbidden, or unreachable for
        PREPARE_SECONDS.
        """
        await reach(
            self._list_shards,
            f"stream {self._stream}",
            error=KinesisError,
            is_final=lambda exc: exc.is_hopeless_at_start,
            pause_seconds=lambda failures: pause_seconds(failures, jitter()),
        )

    async def start(self, cursor: Cursor | None) -> Start:
        """Set the position: after `cursor`, or now. Raises FeedError."""
        await self._refresh_shards()
        self._readings = {}
        gone: tuple[str, ...] = ()
        if cursor is None:
            # Before the iterators are requested: a resumption from here repeats no delivered record
            # and skips no later one.
            millis = int(self._client.server_now() * 1000)
            self._lineage = Lineage(start_at_latest(self._shards, millis), self._shards)
            await self._take_latest_iterators()
        else:
            positions, gone = resume(self._shards, cursor)
            self._lineage = Lineage(positions, self._shards)
            self._lineage.begin_children()
        return Start(self._cursor_or_fail(), gone)

    async def run(self, deliver: Deliver, tell_gap: TellGap) -> None:
        """Read all shards until cancelled. Raises a group of FeedErrors and of exceptions of
        `deliver` and `tell_gap`.
        """
        async with asyncio.TaskGroup() as group:
            for shard_id in self._lineage.readable():
                group.create_task(self._follow(shard_id, group, deliver, tell_gap))

    def close(self) -> None:
        self._client.close()

    async def _list_shards(self) -> None:
        shards: list[Shard] = []
        parameters: dict[str, Any] = {"StreamName": self._stream}
        while True:
            answer = await self._client.call("ListShards", parameters)
            shards += [Shard.from_api(shard) for shard in answer["Shards"]]
            if not answer.get("NextToken"):
                break
            parameters = {"NextToken": answer["NextToken"]}
        self._shards = shards
        self._listed_at = asyncio.get_running_loop().time()

    async def _refresh_shards(self) -> None:
        if asyncio.get_running_loop().time() - self._listed_at < FRESH_LIST_SECONDS:
            return
        try:
            await self._list_shards()
        except KinesisError as exc:
            # New shards are still found through the ends of the old ones.
            log.warning("listing the shards of %s anew: %s", self._stream, exc)

    async def _take_latest_iterators(self) -> None:
        """Determine the present position of each shard. A shard whose iterator is late is read from
        the time in the cursor instead, which may include records of up to a second before.
        """

        async def take(shard_id: str) -> None:
            try:
                iterator = await self._get_iterator(shard_id, {"ShardIteratorType": "LATEST"})
                self._reading(shard_id).iterator = iterator
            except KinesisError as exc:
                log.warning("the latest iterator of %s: %s", shard_id, exc)

        try:
            async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
                for shard_id in self._lineage.readable():
                    group.create_task(take(shard_id))
        except TimeoutError:
            log.warning("no latest iterators within %g s", PATIENCE_SECONDS)

    def _reading(self, shard_id: str) -> ShardReading:
        if shard_id not in self._readings:
            self._readings[shard_id] = ShardReading(asyncio.get_running_loop().time())
        return self._readings[shard_id]

    def _cursor_or_fail(self) -> str:
        try:
            return self._lineage.cursor
        except CursorError as exc:
            raise FeedError(f"stream {self._stream}: {exc}; use the fan-out feed") from exc

    async def _get_iterator(self, shard_id: str, where: dict[str, Any]) -> str:
        parameters = {"StreamName": self._stream, "ShardId": shard_id, **where}
        answer = await self._client.call("GetShardIterator", parameters)
        return str(answer["ShardIterator"])

    async def _follow(
        self, shard_id: str, group: asyncio.TaskGroup, deliver: Deliver, tell_gap: TellGap
    ) -> None:
        """Read one shard to its end, then let its children begin."""
        children = await self._read_to_end(shard_id, deliver, tell_gap)
        del self._readings[shard_id]
        begun = self._lineage.end(shard_id, children)
        failures = 0
        while not (begun or self._readings):
            # The last shard has ended, and its child must exist but is not listed yet.
            failures += 1
            await asyncio.sleep(pause_seconds(failures, jitter()))
            begun = await self._find_child_shards()
        for child in begun:
            self._reading(child)
            group.create_task(self._follow(child, group, deliver, tell_gap))

    async def _find_child_shards(self) -> list[str]:
        try:
            await self._list_shards()
        except KinesisError as exc:
            self._fail_if_deleted(exc)
            log.warning("looking for the next shards of %s: %s", self._stream, exc)
            return []
        self._lineage.add(self._shards)
        return self._lineage.begin_children()

    async def _read_to_end(self, shard_id: str, deliver: Deliver, tell_gap: TellGap) -> list[Shard]:
        """Returns the children that Kinesis reports."""
        loop = asyncio.get_running_loop()
        reading = self._reading(shard_id)
        while True:
            await asyncio.sleep(reading.pacer.next_read_at - loop.time())
            started_at = loop.time()
            try:
                if reading.iterator is None:
                    where = place(self._lineage[shard_id], self._client.server_now())
                    reading.iterator = await self._get_iterator(shard_id, where)
                parameters = {"ShardIterator": reading.iterator, "Limit": reading.limit}
                answer = await self._client.call("GetRecords", parameters)
            except KinesisError as exc:
                if await self._is_lost(shard_id, reading, exc, tell_gap):
                    return await self._children_of(shard_id)
                continue
            now = loop.time()
            reading.error = None
            reading.limit = min(READ_LIMIT, reading.limit * 2)
            reading.read_at = now
            reading.behind_seconds = answer.get("MillisBehindLatest", 0) / 1000
            reading.pacer.answered(started_at, now, caught_up=reading.behind_seconds <= 0)
            if answer["Records"]:
                position = self._lineage[shard_id]
                records = decode_records(answer["Records"], position)
                await deliver(records, lambda record: self._passed(shard_id, record))
            reading.iterator = answer.get("NextShardIterator")
            if reading.iterator is None:
                named = [Shard.from_child(child) for child in answer.get("ChildShards", ())]
                return named + await self._children_of(shard_id)

    def _passed(self, shard_id: str, record: Record) -> str:
        self._lineage.advance(shard_id, record.position)
        return self._cursor_or_fail()

    async def _children_of(self, shard_id: str) -> list[Shard]:
        """Waits until all shards are known: one that merged with an unknown one would begin too
        early, and cursors must name all that were created before those begun now.
        """
        reading, failures = self._reading(shard_id), 0
        while True:
            try:
                await self._list_shards()
                break
            except KinesisError as exc:
                self._fail_if_deleted(exc)
                log.warning("looking for the children of %s: %s", shard_id, exc)
                reading.error = exc.code
            failures += 1
            await asyncio.sleep(pause_seconds(failures, jitter()))
        self._lineage.add(self._shards)
        return [shard for shard in self._shards if shard_id in shard.parents]

    async def _is_lost(
        self, shard_id: str, reading: ShardReading, exc: KinesisError, tell_gap: TellGap
    ) -> bool:
        """Handle an error of reading; True if the shard itself is gone."""
        now = asyncio.get_running_loop().time()
        reading.error = exc.code
        if exc.is_throttling:
            reading.pacer.throttled(now, jitter())
            return False
        log.warning("reading %s: %s", shard_id, exc)
        reading.pacer.failed(now, jitter())
        if exc.code == TOO_LARGE:
            # Kinesis stops at 10 MiB, local replacements may not.
            reading.limit = max(1, reading.limit // 8)
            reading.pacer.next_read_at = now
        elif exc.code == "ExpiredIteratorException":
            reading.iterator = None
            reading.pacer.next_read_at = now
        elif exc.code == "InvalidArgumentException":
            if reading.iterator is None:
                # The start position was refused, not an iterator: nothing is available there.
                self._lineage.advance(shard_id, Horizon())
                await tell_gap((shard_id,))
            reading.iterator = None
        elif exc.code == "ResourceNotFoundException":
            reading.iterator = None
            return await self._has_expired(shard_id, tell_gap)
        return False

    async def _has_expired(self, shard_id: str, tell_gap: TellGap) -> bool:
        """Whether the shard is gone from an existing stream."""
        try:
            await self._list_shards()
        except KinesisError as exc:
            self._fail_if_deleted(exc)
            return False
        if any(shard.shard_id == shard_id for shard in self._shards):
            return False
        await tell_gap((shard_id,))
        return True

    def _fail_if_deleted(self, exc: KinesisError) -> None:
        if exc.code == "ResourceNotFoundException":
            raise FeedError(f"stream {self._stream}: {exc}") from exc


def place(position: Position, server_now: float) -> dict[str, Any]:
    """GetShardIterator's parameters for a position."""
    match position:
        case After(sequence, subsequence):
            # The rest of an aggregated record may be missing.
            kind = "AT_SEQUENCE_NUMBER" if subsequence else "AFTER_SEQUENCE_NUMBER"
            return {"ShardIteratorType": kind, "StartingSequenceNumber": str(sequence)}
        case Since(millis):
            # Kinesis refuses times in the future.
            instant = min(millis / 1000, server_now)
            return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": instant}
        case _:
            return {"ShardIteratorType": "TRIM_HORIZON"}
