"""The interface of feeds: one stream, read for one client at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

from session_handler.cursor import Cursor
from session_handler.feeds.records import Record

PREPARE_SECONDS = 30.0
"""Time for which an unreachable source is retried before the start fails."""

PATIENCE_SECONDS = 1.0
"""Time for which a new client's hello waits for the source's present position."""

log = logging.getLogger(__name__)

Deliver = Callable[[Iterator[Record], Callable[[Record], str]], Awaitable[None]]
"""Receives a page of records, and a function that returns the cursor after a record; call it with
records in order, and with any of the page's records. It may take time: no further records are read
meanwhile."""

TellGap = Callable[[tuple[str, ...]], Awaitable[None]]


E = TypeVar("E", bound=Exception)


class FeedError(Exception):
    """The feed cannot continue, and a repetition would not help; the message is for display."""


class Start(NamedTuple):
    """The position where reading begins, and the shards whose history is missing."""

    cursor: str
    gone: tuple[str, ...]


async def reach(
    read: Callable[[], Awaitable[object]],
    source: str,
    *,
    error: type[E],
    is_final: Callable[[E], bool],
    pause_seconds: Callable[[int], float],
) -> None:
    """Call `read` until it succeeds, with pauses by the number of failures in a row.

    `error` is what a failed read raises. Raises FeedError if one is final, or if none succeeds
    within PREPARE_SECONDS; `source` is its name for display.
    """
    failures, last = 0, ""
    try:
        async with asyncio.timeout(PREPARE_SECONDS):
            while True:
                try:
                    await read()
                    return
                except error as exc:
                    failures, last = failures + 1, str(exc)
                    if is_final(exc):
                        raise FeedError(f"{source}: {exc}") from exc
                    log.warning("not reached yet: %s: %s", source, exc)
                await asyncio.sleep(pause_seconds(failures))
    except TimeoutError:
        raise FeedError(f"{source}: not reached; {last}") from None


class Feed(Protocol):
    """A source of records."""

    @property
    def kind(self) -> str:
        """The sort of source: `kinesis` or `redis`."""
        ...

    @property
    def cursor(self) -> str:
        """The position after all delivered records."""
        ...

    def health(self, now: float) -> dict[str, Any]:
        """The feed's part of `/healthz`."""
        ...

    async def prepare(self) -> None:
        """Check that the stream exists. Raises FeedError if it is missing, forbidden, or
        unreachable for PREPARE_SECONDS.
        """
        ...

    async def start(self, cursor: Cursor | None) -> Start:
        """Set the position: after `cursor`, or now. Raises FeedError."""
        ...

    async def run(self, deliver: Deliver, tell_gap: TellGap) -> None:
        """Read until cancelled. Raises FeedError or a group of them, and exceptions of `deliver`
        and `tell_gap`.
        """
        ...

    def close(self) -> None: ...
