"""Delivers the feed to one client: through the session app, in batches, at the client's speed."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from session_handler import messages
from session_handler.app import SessionApp
from session_handler.client_watch import ClientWatch, SlowClientError
from session_handler.feeds.records import Record
from session_handler.outflow import measure
from session_handler.server import Connection
from session_handler.slowness import FallingBehind

BATCH_CHARACTERS = 64 * 1024
"""Maximum size of a message; a single larger record is sent alone."""

SMALLEST_BATCH_CHARACTERS = 4 * 1024
BATCH_SECONDS = 2.0
"""A message to a slow client has about as much as it accepts in this time, because a resumption
repeats messages."""

QUIET_SECONDS = 10.0
"""Interval at which the cursor is sent while the app forwards no records."""


class AppFailedError(Exception):
    """The session app raised an exception, which is `__cause__`."""


class Delivery:
    """One client's connection, from hello to its end."""

    def __init__(
        self,
        websocket: Connection,
        app: SessionApp,
        watch: ClientWatch,
        *,
        delivered: str | None,
        on_records: Callable[[], None] | None = None,
    ) -> None:
        """`delivered` is the client's initial cursor; `on_records` is called when records were
        sent.
        """
        self._on_records = on_records
        self._websocket = websocket
        self._app = app
        self._watch = watch
        self._lock = asyncio.Lock()
        self._now = asyncio.get_running_loop().time
        self._falling = FallingBehind(self._now())
        self._sent_at = self._now()
        self._delivered = delivered
        self._undelivered: deque[tuple[int, str]] = deque()
        """Cursors of messages that the client has to take, with what it has taken by then."""

    def delivered_cursor(self) -> str | None:
        """The cursor of the last message that the client accepted completely, once the connection
        is closed; None if it had no cursor and received none.
        """
        self._settle(self._websocket.taken)
        return self._delivered

    async def send(self, message: str) -> None:
        """Send a complete message after earlier ones, and wait until there is space for more."""
        async with self._lock:
            await self._send(message)

    async def begin(self, hello: str, cursor: str | None) -> None:
        """Send hello, which acknowledges everything up to `cursor`."""
        self._delivered = cursor
        await self.send(hello)

    async def deliver(self, records: Iterator[Record], passed: Callable[[Record], str]) -> None:
        """Send a page of one shard. Raises AppFailedError, SlowClientError and ConnectionClosed."""
        async with self._lock:
            forwards = self._app.forwards_everything
            batch: list[str] = []
            size = 0
            last: Record | None = None
            for record in records:
                encoded = record.to_json() if forwards else await self._through_app(record)
                if encoded is not None:
                    if last and batch and size + len(encoded) > self._batch_characters():
                        await self._send_records(batch, last, passed)
                        batch, size = [], 0
                    batch.append(encoded)
                    size += len(encoded)
                last = record
            if last is None:
                return
            if batch or self._now() - self._sent_at >= QUIET_SECONDS:
                await self._send_records(batch, last, passed)
            else:
                passed(last)

    async def tell_gap(self, shards: Iterable[str], cursor: str) -> None:
        await self.send(messages.gap(shards, cursor))

    def _batch_characters(self) -> float:
        speed = self._watch.bytes_per_second
        if speed is None:
            return BATCH_CHARACTERS
        return max(SMALLEST_BATCH_CHARACTERS, min(BATCH_CHARACTERS, speed * BATCH_SECONDS))

    async def _send_records(
        self, batch: list[str], last: Record, passed: Callable[[Record], str]
    ) -> None:
        began = self._now()
        cursor = passed(last)
        await self._send(messages.records(batch, cursor), cursor)
        if batch and self._on_records is not None:
            self._on_records()
        age_seconds = time.time() - last.arrived_at / 1000
        if self._falling.sent(began, self._now(), age_seconds):
            raise SlowClientError("falls ever further behind the feed")

    async def _send(self, message: str, cursor: str | None = None) -> None:
        await self._websocket.send(message)
        self._sent_at = self._now()
        if cursor is not None:
            outflow = measure(self._websocket.transport)
            # Without data about accepted bytes, sent ones are assumed to be accepted.
            self._undelivered.append((outflow.written if outflow.taken else 0, cursor))
            self._settle(outflow.taken)

    def _settle(self, taken: int) -> None:
        while self._undelivered and self._undelivered[0][0] <= taken:
            self._delivered = self._undelivered.popleft()[1]

    async def _through_app(self, record: Record) -> str | None:
        try:
            answer = await self._app.on_record(record)
            return None if answer is None else answer.to_json()
        except Exception as exc:
            raise AppFailedError("on_record failed") from exc
