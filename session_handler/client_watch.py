"""Monitors one client's connection: whether it accepts data, and whether it answers pings."""

import asyncio
import logging
from contextlib import suppress

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from session_handler.outflow import Outflow, measure
from session_handler.slowness import Slowness

INTERVAL_SECONDS = 1.0

PROBE_SECONDS = 3.0
"""Time for a client to answer when another one connects."""

log = logging.getLogger(__name__)


class SlowClientError(Exception):
    """The client is too slow; the message has the details."""


class SilentClientError(Exception):
    """The client does not answer."""


class ClientWatch:
    """One connection, from its handshake to its end. `ping_interval_seconds` of 0 sends no
    pings.
    """

    def __init__(
        self,
        websocket: ServerConnection,
        *,
        ping_interval_seconds: float,
        ping_timeout_seconds: float,
    ) -> None:
        self._websocket = websocket
        self._interval = ping_interval_seconds
        self._timeout = ping_timeout_seconds
        self._now = asyncio.get_running_loop().time
        self._slowness = Slowness(self._now())
        self._pinged_at = self._now()
        self._ping_taken_at: float | None = None
        self._pong: asyncio.Task[None] | None = None
        self._probe: asyncio.Task[bool] | None = None

    @property
    def bytes_per_second(self) -> float | None:
        """The speed of a client that is being waited for; None for one that keeps up."""
        return self._slowness.bytes_per_second

    async def run(self) -> None:
        """Raises SlowClientError or SilentClientError when the client is given up."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            now = self._now()
            outflow = self._observe(now)
            # With a full buffer a message of the feed is waiting: the client is slow, or gone.
            if self._websocket.paused:
                if self._slowness.is_stalled(now):
                    raise SlowClientError("takes nothing")
            elif self._interval:
                self._keep_alive(now, outflow)

    def _keep_alive(self, now: float, outflow: Outflow) -> None:
        if self._timeout and self._slowness.idle_seconds(now) >= self._timeout:
            raise SilentClientError
        if self._pong is None or self._pong.done():
            # A ping behind unread bytes gives no more information than these do.
            if outflow.waiting == 0 and now - self._pinged_at >= self._interval:
                self._pinged_at, self._ping_taken_at = now, None
                self._pong = asyncio.create_task(self._ping())
            return
        if self._ping_taken_at is None:
            if outflow.waiting == 0:
                self._ping_taken_at = now
            return
        patience = self._timeout + self._slowness.allowance_seconds
        if self._timeout and now - self._ping_taken_at >= patience:
            raise SilentClientError

    async def answers(self) -> bool:
        """Whether the client is connected: sends a ping at once, one for all concurrent callers."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._ask())
        return await asyncio.shield(self._probe)

    def is_reading(self) -> bool:
        """Whether bytes wait for the client, and it accepted some just now."""
        now = self._now()
        outflow = self._observe(now)
        return outflow.waiting > 0 and self._slowness.idle_seconds(now) < 2 * INTERVAL_SECONDS

    def stop(self) -> None:
        """The connection is closed."""
        if self._pong is not None:
            self._pong.cancel()

    def _observe(self, now: float) -> Outflow:
        outflow = measure(self._websocket.transport)
        self._slowness.observe(now, outflow)
        return outflow

    async def _ping(self) -> None:
        with suppress(ConnectionClosed):
            await (await self._websocket.ping())
            self._slowness.caught_up()

    async def _ask(self) -> bool:
        pong = asyncio.create_task(self._ping())
        done, _ = await asyncio.wait({pong}, timeout=PROBE_SECONDS)
        if done:
            return self._websocket.close_code is None
        pong.cancel()
        if self._observe(self._now()).waiting and self.bytes_per_second is not None:
            # The ping is behind unread bytes: check whether the client reads these.
            return self._slowness.idle_seconds(self._now()) < PROBE_SECONDS
        return self._slowness.allowance_seconds > PROBE_SECONDS


async def close(
    websocket: ServerConnection,
    watch: ClientWatch,
    code: int,
    reason: str,
    *,
    bye: str | None = None,
    patience_seconds: float,
    waits_for_reader: bool = False,
    ends_at: float | None = None,
) -> None:
    """Send `bye` after all earlier data and close: within `patience_seconds`, or, with
    `waits_for_reader`, within that time after the last byte that the client accepted, but before
    `ends_at`.
    """
    loop = asyncio.get_running_loop()
    websocket.close_timeout = None  # this function enforces the timeout
    # Sending waits until a slow client has space; closing must not wait for that.
    tasks = [loop.create_task(websocket.send(bye))] if bye else []
    await asyncio.sleep(0)
    closing = loop.create_task(websocket.close(code, reason))
    progress_at = loop.time()
    while True:
        wait = min(INTERVAL_SECONDS, patience_seconds)
        done, _ = await asyncio.wait({closing}, timeout=wait)
        now = loop.time()
        if waits_for_reader and watch.is_reading():
            progress_at = now
        is_late = ends_at is not None and now >= ends_at
        if done or is_late or now - progress_at >= patience_seconds:
            break
    websocket.transport.abort()
    await asyncio.gather(closing, *tasks, return_exceptions=True)


def close_at_once(websocket: ServerConnection) -> None:
    """Close with 1001 without waiting: the client is believed to be gone."""
    with suppress(Exception):
        websocket.protocol.send_close(CloseCode.GOING_AWAY, "replaced")
        websocket.send_data()
    websocket.transport.abort()
