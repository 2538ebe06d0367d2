"""What every feed is to the session: one stream, read for one client at a time."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple, Protocol

from session_handler.cursor import Cursor
from session_handler.feeds.records import Record

PREPARE_SECONDS = 30.0
"""How long a source that cannot be reached is asked again before the start has failed."""

PATIENCE_SECONDS = 1.0
"""How long a new client's hello waits for the source to say what "now" is."""

Deliver = Callable[[Iterator[Record], Callable[[Record], str]], Awaitable[None]]
"""Given a page of records and what turns a record into the cursor just after it, to be called with
records in their order, and with any of those that were taken from the page. It may take its time:
nothing is read meanwhile that would have to be kept.
"""

TellGap = Callable[[tuple[str, ...]], Awaitable[None]]


class FeedError(Exception):
    """The feed cannot go on, and repeating would not help; the message is for people."""


class Start(NamedTuple):
    """Where reading begins, and the shards of which history is gone."""

    cursor: str
    gone: tuple[str, ...]


class Feed(Protocol):
    """A source of records."""

    @property
    def kind(self) -> str:
        """The sort of source: `kinesis` or `redis`."""
        ...

    @property
    def cursor(self) -> str:
        """Just after all that was delivered."""
        ...

    def health(self, now: float) -> dict[str, Any]:
        """What `/healthz` tells of the feed."""
        ...

    async def prepare(self) -> None:
        """See that there is something to read. Raises FeedError when it is missing, refused to
        us, or not to be reached for PREPARE_SECONDS.
        """
        ...

    async def start(self, cursor: Cursor | None) -> Start:
        """Set the place to read from: after `cursor`, or now. Raises FeedError."""
        ...

    async def run(self, deliver: Deliver, tell_gap: TellGap) -> None:
        """Read until cancelled. Raises FeedError or a group of them, and what `deliver` and
        `tell_gap` raise.
        """
        ...

    def close(self) -> None: ...
