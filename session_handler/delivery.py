"""Brings the feed to one client: through the session app, in batches, no faster than it reads."""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from websockets.asyncio.server import ServerConnection

from session_handler import messages
from session_handler.app import SessionApp
from session_handler.feeds.records import Record
from session_handler.slowness import Slowness

BATCH_CHARACTERS = 64 * 1024
"""A message is sent when it has grown beyond; one larger record goes alone."""

QUIET_SECONDS = 10.0
"""While the app keeps all records to itself, the client hears so often how far the cursor is."""

WATCH_INTERVAL_SECONDS = 1.0


class AppFailedError(Exception):
    """The session app raised; `__cause__` is what."""


class SlowClientError(Exception):
    """The client is too slow to go on with."""


class Delivery:
    """One client's connection, from hello to its end."""

    def __init__(self, websocket: ServerConnection, app: SessionApp) -> None:
        self._websocket = websocket
        self._app = app
        self._turn = asyncio.Lock()
        self._now = asyncio.get_running_loop().time
        self._slowness = Slowness(self._now())
        self._told_at = self._now()

    async def send(self, message: str) -> None:
        """Send a whole message after those before it, and wait until there is room for more."""
        async with self._turn:
            await self._send(message)

    async def deliver(self, records: Iterator[Record], passed: Callable[[Record], str]) -> None:
        """Send a page of one shard. Raises AppFailedError, and ConnectionClosed."""
        async with self._turn:
            forwards = self._app.forwards_everything
            batch: list[str] = []
            size = 0
            record = None
            for record in records:
                encoded = record.to_json() if forwards else await self._through_app(record)
                if encoded is None:
                    continue
                batch.append(encoded)
                size += len(encoded)
                if size >= BATCH_CHARACTERS:
                    await self._send(messages.records(batch, passed(record)))
                    batch, size = [], 0
            if record is None:
                return
            cursor = passed(record)
            if batch or self._now() - self._told_at >= QUIET_SECONDS:
                await self._send(messages.records(batch, cursor))

    async def tell_gap(self, shards: Iterable[str], cursor: str) -> None:
        await self.send(messages.gap(shards, cursor))

    async def watch(self, lag_seconds: Callable[[float], float]) -> None:
        """Raises SlowClientError once waiting for the client has become hopeless."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_SECONDS)
            now = self._now()
            if self._slowness.is_hopeless(now, lag_seconds(now)):
                raise SlowClientError

    async def _send(self, message: str) -> None:
        self._slowness.began(self._now())
        await self._websocket.send(message)
        self._told_at = self._now()
        self._slowness.done(self._told_at)

    async def _through_app(self, record: Record) -> str | None:
        try:
            answer = await self._app.on_record(record)
            return None if answer is None else answer.to_json()
        except Exception as exc:
            raise AppFailedError("on_record failed") from exc
