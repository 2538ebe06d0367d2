"""Sessions in Python: request a container, follow a feed over several containers.

    for record in usher.follow(app="listings"):
        print(record.data)

    async for record in usher.follow(app="listings"):
        ...

Each record is delivered exactly once, over lost connections and containers; if history is missing,
`on_gap` is called. Connecting needs the package `websockets`.
"""

import logging
import os
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Self

from usher.client import DEFAULT_URL, KEY_VARIABLE, URL_VARIABLE
from usher.session_drivers import AsyncDriver, ClosedError, Driver, OverError
from usher.session_steps import (
    Batch,
    Feed,
    Gap,
    Record,
    Session,
    State,
    Wish,
    World,
    dispatch_steps,
)
from usher.transport import Patience, Transport

__all__ = ["Batch", "Following", "Record", "Session", "State", "dispatch", "follow"]

DISPATCH_SECONDS = 120.0

_LOG = logging.getLogger("usher")
_WORLD = World(time.monotonic, random.random, lambda: str(uuid.uuid4()))


def dispatch(
    *,
    app: str | None = None,
    url: str | None = None,
    api_key: str | None = None,
    query: Mapping[str, str] | None = None,
    wait_seconds: int | None = None,
    idempotency_key: str | None = None,
    timeout_seconds: float = DISPATCH_SECONDS,
    on_state: Callable[[State], None] = lambda _: None,
) -> Session:
    """A session with an address. It ends unless a client connects before its deadline.

    A 202 is followed; 429, 503, other 5xx and lost connections are repeated with the same
    Idempotency-Key, not before Retry-After. `query` are parameters that the app passes on. Raises
    AnswerError, UnreachableError, SessionEndedError, WaitTimeoutError.
    """
    wish = Wish(app, query or {}, wait_seconds)
    key = idempotency_key or _WORLD.new_key()
    steps = dispatch_steps(wish, key, timeout_seconds, _WORLD)
    driver = Driver(_transport(url, api_key), steps)
    try:
        while True:
            item = driver.next()
            if isinstance(item, State):
                on_state(item)
    except OverError as over:
        session: Session = over.result
        return session
    finally:
        driver.close()


def follow(
    *,
    app: str | None = None,
    url: str | None = None,
    api_key: str | None = None,
    cursor: str | None = None,
    filter: Mapping[str, Any] | None = None,  # noqa: A002 - the contract's name
    query: Mapping[str, str] | None = None,
    again: Sequence[str] = (),
    rejoin_seconds: float | None = None,
    on_gap: Callable[[Gap], None] | None = None,
    on_state: Callable[[State], None] = lambda _: None,
) -> "Following":
    """A feed, to be iterated once with `for` or `async for`: its records, without end.

    `cursor`: resume after it; by default the feed begins with new records. `filter`: as in
    docs/contracts.md. `again`: reasons of a bye after which the feed continues. Without `on_gap` a
    gap is logged as a warning. `rejoin_seconds`: time for which the same container is tried again
    after an interruption; by default as long as it waits, and at most 5.

    Iterating raises SessionEndedError after a final bye, AnswerError after a final refusal. Raises
    ValueError for an invalid filter.
    """
    feed = Feed(
        Wish(app, query or {}),
        _WORLD,
        cursor=cursor,
        wanted=filter,
        again=again,
        rejoin_seconds=rejoin_seconds,
    )
    return Following(feed, _transport(url, api_key), on_gap or _warn, on_state)


class Following:
    """The result of `follow`. Close it, or use it as a context manager."""

    def __init__(
        self,
        feed: Feed,
        transport: Transport,
        on_gap: Callable[[Gap], None],
        on_state: Callable[[State], None],
    ) -> None:
        self._feed = feed
        self._transport = transport
        self._on_gap = on_gap
        self._on_state = on_state
        self._driver: Driver | AsyncDriver | None = None
        self._is_closed = False

    @property
    def cursor(self) -> str | None:
        """Position to resume from: after the last batch whose records were all consumed."""
        return self._feed.cursor

    def batches(self) -> Iterator[Batch]:
        """Records grouped by message, each with its cursor, which may advance without records."""
        driver = Driver(self._transport, self._feed.steps())
        self._begin(driver)
        try:
            while not self._is_closed:
                item = driver.next()
                if (batch := self._batch(item)) is not None:
                    yield batch
        except ClosedError:
            return
        finally:
            driver.close()

    async def batches_async(self) -> AsyncIterator[Batch]:
        """The same for asyncio."""
        driver = AsyncDriver(self._transport, self._feed.steps())
        self._begin(driver)
        try:
            while not self._is_closed:
                item = await driver.next()
                if (batch := self._batch(item)) is not None:
                    yield batch
        except ClosedError:
            return
        finally:
            await driver.aclose()

    def __iter__(self) -> Iterator[Record]:
        for batch in self.batches():
            yield from batch.records

    async def __aiter__(self) -> AsyncIterator[Record]:
        async for batch in self.batches_async():
            for record in batch.records:
                yield record

    def retry(self) -> None:
        """End the pause before the next try. From any thread; with asyncio in its own."""
        if self._driver is not None:
            self._driver.wake()

    def close(self) -> None:
        """End the iteration. From any thread; with asyncio in its own."""
        self._is_closed = True
        if self._driver is not None:
            self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, driver: Driver | AsyncDriver) -> None:
        if self._driver is not None:
            raise RuntimeError("a feed is iterated once: call follow() again, with its cursor")
        self._driver = driver

    def _batch(self, item: Batch | Gap | State) -> Batch | None:
        match item:
            case Batch():
                return item
            case Gap():
                self._on_gap(item)
            case State():
                self._on_state(item)
        return None


def _transport(url: str | None, api_key: str | None) -> Transport:
    target = (url or os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")
    # The steps make repetitions, because their pauses can be ended.
    return Transport(target, api_key or os.environ.get(KEY_VARIABLE), Patience(tries=1))


def _warn(gap: Gap) -> None:
    _LOG.warning("records of %s may be missing: history is gone", ", ".join(gap.shards))
