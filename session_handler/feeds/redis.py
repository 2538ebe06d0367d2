"""The fan-out feed: this container reads the entries that a relay appends to a Redis or Valkey
stream.

Any number of sessions read without calls to Kinesis and without AWS credentials. Every wait is a
blocking XREAD. An unreachable server is retried with backoff and jitter; if it returns with fewer
entries than before, the client is not affected once the relay has refilled it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from chalicelib.contract.fanout import Entry, FanoutError, keys_of
from chalicelib.contract.repeating import backoff_seconds
from session_handler.backoff import jitter
from session_handler.cursor import After, Cursor
from session_handler.feeds.feed import (
    PATIENCE_SECONDS,
    Deliver,
    Start,
    TellGap,
    reach,
)
from session_handler.feeds.progress import BEGINNING, EntryId, Progress, Snapshot, Verdict
from session_handler.feeds.records import Record, decode_record
from session_handler.redis_client import TOO_LARGE, RedisClient, RedisError

BLOCK_SECONDS = 5.0
"""Timeout of one XREAD: a lost connection or a new origin is noticed within this time."""

MOST_ENTRIES = 128
"""Entries in one request; fewer while they are large."""

PAGE_BYTES = 2 * 1024 * 1024
"""Target size of an answer, estimated from the previous one."""

FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 5.0

FAR_BEHIND_SECONDS = 5.0
"""With a greater lag entries may be trimmed before they are read."""

log = logging.getLogger(__name__)

Item = tuple[EntryId, Entry]
Page = list[tuple[EntryId, Entry | None]]


class RedisFeed:
    """The stream of one relay, for one client at a time."""

    kind = "redis"

    def __init__(self, stream: str, client: RedisClient, *, now: Callable[[], float]) -> None:
        """`now` gives epoch seconds."""
        self._stream = stream
        self._client = client
        self._now = now
        self._keys = keys_of(stream)
        self._progress = Progress(Cursor({}))
        self._count = MOST_ENTRIES // 4
        self._failures = 0
        self._error: str | None = None
        self._read_at: float | None = None
        self._behind_seconds = 0.0
        self._was_far_behind = False
        self._server_ahead_seconds = 0.0

    @property
    def cursor(self) -> str:
        return self._progress.cursor

    def lag_seconds(self, now: float) -> float:
        if self._read_at is None:
            return 0.0
        return self._behind_seconds + max(0.0, now - self._read_at - BLOCK_SECONDS)

    def health(self, now: float) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "shards": self._progress.shard_count,
            "lagSeconds": round(self.lag_seconds(now), 3),
            "errors": [self._error] if self._error else [],
        }

    async def prepare(self) -> None:
        await reach(
            self._read_snapshot,
            f"feed {self._stream}",
            error=RedisError,
            is_final=lambda exc: exc.is_refusal,
            pause_seconds=pause_seconds,
        )

    async def start(self, cursor: Cursor | None) -> Start:
        if cursor is not None:
            self._progress = Progress(cursor)
        else:
            snapshot = None
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    snapshot = await self._read_snapshot()
            except (TimeoutError, RedisError) as exc:
                log.warning("the end of the feed %s: %s", self._stream, exc or "no answer yet")
            self._progress = Progress.from_now(int(self._now() * 1000), snapshot)
        self._progress.forget_ahead()
        self._read_at = asyncio.get_running_loop().time()
        self._behind_seconds = 0.0
        # Missing records are noticed when they are read.
        return Start(self._progress.cursor, ())

    async def run(self, deliver: Deliver, tell_gap: TellGap) -> None:
        while True:
            try:
                self._progress.observe(await self._read_snapshot())
                await self._tell_missed(self._progress.missed(), tell_gap)
                await self._read(deliver, tell_gap)
            except RedisError as exc:
                self._failures += 1
                self._error = exc.code
                if exc.code == TOO_LARGE:
                    self._count = max(1, self._count // 8)
                log.warning("reading the feed %s: %s", self._stream, exc)
                self._progress.forget_ahead()
                await asyncio.sleep(pause_seconds(self._failures))

    def close(self) -> None:
        self._client.close()

    async def _read_snapshot(self) -> Snapshot:
        """The present state of the feed. Raises RedisError."""
        records = self._keys.records
        *_, found = await self._client.call(
            ("MULTI",),
            ("GET", self._keys.origin),
            ("HGETALL", self._keys.last),
            ("XRANGE", records, "-", "+", "COUNT", 1),
            ("XREVRANGE", records, "+", "-", "COUNT", 1),
            ("TIME",),
            ("EXEC",),
        )
        origin, last, first, tail, (seconds, micros) = found
        server_millis = int(seconds) * 1000 + int(micros) // 1000
        self._server_ahead_seconds = server_millis / 1000 - self._now()
        return Snapshot(
            origin=origin.decode() if origin is not None else None,
            last=dict(_positions(last)),
            first_id=EntryId.parse(first[0][0]) if first else None,
            tail_id=EntryId.parse(tail[0][0]) if tail else BEGINNING,
            server_millis=server_millis,
        )

    async def _read(self, deliver: Deliver, tell_gap: TellGap) -> None:
        """Read until the origin changes or the connection is lost (RedisError)."""
        while True:
            page = await self._next_page()
            if page is None:
                return
            if self._was_far_behind or not self._progress.is_following:
                self._progress.rewind(await self._read_snapshot())
            if page:
                await self._deliver(page, deliver, tell_gap)
                await self._tell_missed(self._progress.passed(page[-1][0]), tell_gap)
            if len(page) < self._count and self._was_far_behind:
                self._was_far_behind = False
                return
            self._adapt(page)

    async def _next_page(self) -> Page | None:
        """The next entries, empty if none arrived for a while; None if the origin changed."""
        read = ("XREAD", "COUNT", self._count, "BLOCK", round(BLOCK_SECONDS * 1000), "STREAMS")
        # The origin is read after the entries, so that they certainly belong to it.
        found, origin = await self._client.call(
            (*read, self._keys.records, str(self._progress.place)),
            ("GET", self._keys.origin),
            wait_seconds=BLOCK_SECONDS,
        )
        self._failures, self._error = 0, None
        if (origin.decode() if origin is not None else None) != self._progress.origin:
            return None
        entries = found[0][1] if found else ()
        page = [(EntryId.parse(entry_id), self._decode(fields)) for entry_id, fields in entries]
        self._note_read(page)
        return page

    def _decode(self, fields: list[bytes]) -> Entry | None:
        """The parsed entry; None for an invalid one: the gap is noticed at the next entry of its
        shard.
        """
        try:
            return Entry.decode(fields)
        except FanoutError as exc:
            log.warning("in the feed %s: %s", self._stream, exc)
            return None

    def _note_read(self, page: Page) -> None:
        self._read_at = asyncio.get_running_loop().time()
        self._behind_seconds = 0.0
        if len(page) >= self._count:
            appended_at = page[-1][0].millis / 1000
            server_now = self._now() + self._server_ahead_seconds
            self._behind_seconds = max(0.0, server_now - appended_at)
            self._was_far_behind |= self._behind_seconds > FAR_BEHIND_SECONDS

    def _adapt(self, page: Page) -> None:
        """Adapt the number of requested entries to PAGE_BYTES."""
        largest = max((len(entry.data) for _, entry in page if entry), default=0)
        fitting = PAGE_BYTES // max(1, largest)
        self._count = max(1, min(MOST_ENTRIES, fitting, self._count * 2))

    async def _deliver(self, page: Page, deliver: Deliver, tell_gap: TellGap) -> None:
        wanted: list[Item] = []
        for entry_id, entry in page:
            verdict = self._progress.judge(entry) if entry else Verdict.DELIVERED
            if entry is None or verdict is Verdict.DELIVERED:
                continue
            if verdict is Verdict.AFTER_GAP:
                await self._deliver_all(wanted, deliver)
                wanted = []
                await tell_gap((entry.shard_id,))
            wanted.append((entry_id, entry))
        await self._deliver_all(wanted, deliver)

    async def _deliver_all(self, items: list[Item], deliver: Deliver) -> None:
        pending: deque[tuple[Record, Item]] = deque()

        def records() -> Iterator[Record]:
            for item in items:
                record = decode_record(item[1])
                pending.append((record, item))
                yield record

        def passed(last: Record) -> str:
            """All records up to this one were delivered."""
            newest: dict[str, Item] = {}
            while pending:
                record, item = pending.popleft()
                newest.pop(item[1].shard_id, None)  # reinsert, so that the newest is last
                newest[item[1].shard_id] = item
                if record is last:
                    break
            for entry_id, entry in newest.values():
                self._progress.delivered(entry_id, entry)
            return self._progress.cursor

        if items:
            await deliver(records(), passed)

    async def _tell_missed(self, shards: tuple[str, ...], tell_gap: TellGap) -> None:
        if shards:
            await tell_gap(shards)


def _positions(pairs: list[bytes]) -> Iterator[tuple[str, After]]:
    for shard, position in zip(pairs[::2], pairs[1::2], strict=True):
        sequence, _, subsequence = position.partition(b"-")
        yield shard.decode(), After(int(sequence), int(subsequence))


def pause_seconds(failures: int) -> float:
    """Seconds without requests to the server after `failures` in a row."""
    return backoff_seconds(
        failures,
        jitter(),
        first_seconds=FIRST_BACKOFF_SECONDS,
        longest_seconds=LONGEST_BACKOFF_SECONDS,
    )
