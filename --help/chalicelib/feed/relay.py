"""The relay: writes every record of a Kinesis stream into the fan-out feed once, in its shard's
order.

Lambda passes batches of one shard, one at a time, and repeats a batch until the handler succeeds.
The handler therefore only appends what is newer than the shard's last entry, or raises. If the
server lost data (restarted empty or from an old snapshot, or replaced by a replica), the feed is
refilled from Kinesis: every shard from its last position or from some minutes ago, parents before
children, and new records are appended after that.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from chalicelib.contract.fanout import Entry, Position
from chalicelib.feed.records import Arrival, chunks, entries_of
from chalicelib.feed.stream import Begun, Filling
from chalicelib.metrics import Metrics

FILL_SECONDS = 15.0
"""Maximum time that one invocation refills; below the functions' timeout of 29 seconds. The next
one continues."""
HOLD_SECONDS = 30.0
"""Another invocation may refill after this time if the one that does died."""

WAIT_SECONDS = 8.0
WAIT_STEP_SECONDS = 0.1

log = logging.getLogger("usher.feed")


class NotRelayedError(Exception):
    """Not everything was appended; the event source must repeat the batch."""


class Stream(Protocol):
    """The target of entries; see `chalicelib.feed.stream.RedisStream`."""

    def append(self, entries: Sequence[Entry], origin: str = "") -> int | None: ...
    def begin(self, origin: str, since: int, holder: str, hold_seconds: float) -> Begun: ...
    def end(self, origin: str, holder: str, *, is_whole: bool) -> bool: ...
    def last(self) -> dict[str, Position]: ...


class History(Protocol):
    """Records in Kinesis; see `chalicelib.feed.history.History`."""

    def shards(self) -> list[str]: ...
    def read(
        self, shard_id: str, after: Position | None, since: int
    ) -> Iterator[list[Arrival]]: ...


@dataclass(frozen=True)
class Relay:
    """Relays one stream. Thread-safe, and any number of processes may run it."""

    stream: Stream
    history: History
    metrics: Metrics
    backfill_seconds: float
    """Shards without a position are refilled from this long ago."""
    random_id: Callable[[], str]
    now: Callable[[], float]
    sleep: Callable[[float], None]

    def relay(self, arrivals: Sequence[Arrival]) -> None:
        """Append these records of one shard, in order.

        Raises NotRelayedError, redis-py's RedisError or botocore's errors unless all of them are in
        the feed. All must then be passed again; those that are in the feed are ignored.
        """
        if not arrivals:
            return
        oldest = min(arrival.arrived_at for arrival in arrivals)
        try:
            relayed = repeated = 0
            for chunk in chunks(_entries(arrivals)):
                appended = self._append(chunk, oldest)
                relayed += appended
                repeated += len(chunk) - appended
        except Exception:
            self.metrics.count("feed_relay_failures")
            raise
        if relayed:
            self.metrics.count("feed_records_relayed", relayed)
            self.metrics.observe("feed_relay_lag_seconds", max(0.0, self.now() - oldest / 1000))
        if repeated:
            self.metrics.count("feed_records_repeated", repeated)

    def keep_whole(self) -> None:
        """Refill the feed if the server lost entries, even while there are no new records.

        Raises as `relay` does.
        """
        self._fill(round(self.now() * 1000))

    def _append(self, chunk: Sequence[Entry], oldest: int) -> int:
        appended = self.stream.append(chunk)
        if appended is None:
            self._fill(oldest)
            appended = self.stream.append(chunk)
        if appended is None:
            raise NotRelayedError("the feed lost its entries again while it was filled")
        return appended

    def _fill(self, oldest: int) -> None:
        """Refill; returns when the entries are complete."""
        me, origin = self.random_id(), self.random_id()
        since = max(0, oldest - round(self.backfill_seconds * 1000))
        deadline = self.now() + WAIT_SECONDS
        while True:
            begun = self.stream.begin(origin, since, me, HOLD_SECONDS)
            match begun.state:
                case Filling.WHOLE:
                    return
                case Filling.YOURS:
                    self._fill_all(begun, me)
                    return
                case Filling.ANOTHER if self.now() > deadline:
                    raise NotRelayedError("the feed is being filled by another invocation")
                case Filling.ANOTHER:
                    self.sleep(WAIT_STEP_SECONDS)

    def _fill_all(self, begun: Begun, me: str) -> None:
        log.warning("the feed is filled from Kinesis, origin %s", begun.origin)
        deadline = self.now() + FILL_SECONDS
        is_whole = False
        try:
            last = self.stream.last()
            for shard_id in self.history.shards():
                self._fill_shard(shard_id, last.get(shard_id), begun, deadline)
            is_whole = True
        finally:
            is_ours = self.stream.end(begun.origin, me, is_whole=is_whole)
        if not is_ours:
            raise NotRelayedError("the feed lost its entries again while it was filled")

    def _fill_shard(
        self, shard_id: str, last: Position | None, begun: Begun, deadline: float
    ) -> None:
        for arrivals in self.history.read(shard_id, last, begun.since):
            for chunk in chunks(_entries(arrivals)):
                appended = self.stream.append(chunk, begun.origin)
                if appended is None:
                    raise NotRelayedError("the feed lost its entries again while it was filled")
                self.metrics.count("feed_records_filled", appended)
            if self.now() > deadline:
                raise NotRelayedError("filling the feed takes longer than one invocation may")


def _entries(arrivals: Iterable[Arrival]) -> Iterator[Entry]:
    for arrival in arrivals:
        yield from entries_of(arrival)
