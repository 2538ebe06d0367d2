"""The state of the sweep: its position, the counts of the current pass, and the last complete pass.

One item of the table of sessions. A sweep holds it by a lease that each write extends, so that
another sweep soon continues after a crash. Writes are conditional on the version that was read: a
sweep that was overtaken notices and ends. If the item is lost, a new pass begins.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from chalicelib.dynamodb.records import Unreadable, build, read_record
from chalicelib.dynamodb.serialization import deserialize, serialize
from chalicelib.dynamodb.table import Item, Table

ITEM_ID = "sweep#state"
LEASE_SECONDS = 15.0
"""A sweep is regarded as running for this long after its last write."""

UNREADABLE = -1
"""The version of a state that cannot be read."""

_log = logging.getLogger("usher.sweep")


@dataclass(frozen=True)
class Finished:
    """The last complete pass."""

    at: float
    seconds: float
    """Duration, including the pauses between invocations."""
    records: int
    tasks: int
    skipped: int
    """Pages, and parts of partitions, that could not be processed."""
    orphans: int = 0
    """Orphaned tasks that its last invocation stopped."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Its counts by name: see the `tally` of each kind."""
    oldest: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepState:
    """The state of the current pass, if `stage` is set."""

    version: int = 0
    stage: str | None = None
    """The name of the next stage; see `chalicelib.tasks.reconciler`."""
    after: str | None = None
    """Position in the stage, as the previous page returned it."""
    begun_at: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    oldest: Mapping[str, float] = field(default_factory=dict)
    """The earliest time of each name."""
    skipped: int = 0
    tries: int = 0
    """Number of invocations that began at this position."""
    lease_until: float = 0.0
    finished: Finished | None = None
    trend: tuple[Mapping[str, float], ...] = ()
    """Figures of the last hours, the oldest first; see `chalicelib.tasks.trend`."""


Position = tuple[str | None, str | None]
"""A stage and a position in it; no stage at the end of a pass."""


@dataclass
class Tally:
    """The counts of a part of a pass, to be added to the state."""

    counts: Counter[str] = field(default_factory=Counter)
    oldest: dict[str, float] = field(default_factory=dict)

    def saw(self, name: str, at: float) -> None:
        """Record the earliest time of `name`."""
        self.oldest[name] = min(at, self.oldest.get(name, at))


def begun(state: SweepState, stage: str, now: float) -> SweepState:
    """The state of a new pass at its first stage. Pure."""
    return SweepState(
        version=state.version,
        stage=stage,
        begun_at=now,
        tries=1,
        lease_until=state.lease_until,
        finished=state.finished,
        trend=state.trend,
    )


def moved(state: SweepState, position: Position, tally: Tally) -> SweepState:
    """The state after a page, with its counts. Pure."""
    counts = Counter(state.counts)
    counts.update(tally.counts)
    oldest = dict(state.oldest)
    for name, at in tally.oldest.items():
        oldest[name] = min(at, oldest.get(name, at))
    stage, after = position
    return replace(state, stage=stage, after=after, counts=dict(counts), oldest=oldest, tries=0)


def finished_of(state: SweepState, now: float, orphans: int = 0) -> Finished:
    """The result of a complete pass. Pure."""
    return Finished(
        at=now,
        seconds=round(max(0.0, now - state.begun_at), 3),
        records=state.counts.get("records", 0),
        tasks=state.counts.get("tasks", 0),
        skipped=state.skipped,
        orphans=orphans,
        counts=state.counts,
        oldest=state.oldest,
    )


def to_item(state: SweepState) -> Item:
    """The DynamoDB item of the state. Pure."""
    return serialize({"id": ITEM_ID} | asdict(state))


def from_item(item: Mapping[str, Any]) -> SweepState:
    """The inverse of `to_item`. Raises ValueError. Pure."""
    return build(SweepState, deserialize(item), always=("version",))


class SweepStates:
    """Reads and writes the item."""

    def __init__(self, table: Table, now: Callable[[], float]) -> None:
        self._table = table
        self._now = now

    def read(self) -> SweepState:
        """The present state; an unreadable item is treated as missing."""
        item = self._table.get(ITEM_ID)
        state = read_record(item, from_item) if item else SweepState()
        if isinstance(state, Unreadable):
            _log.error("the state of the sweep is forgotten: %s", state.why)
            return SweepState(version=UNREADABLE)
        return state

    def take(self, prepare: Callable[[SweepState], SweepState]) -> SweepState | None:
        """Acquire the lease and write the state that `prepare` returns; None while another sweep
        has the lease.
        """
        state, now = self.read(), self._now()
        # A lease beyond this was written by a wrong clock.
        if now < state.lease_until <= now + LEASE_SECONDS + 1:
            return None
        return self.write(prepare(state))

    def write(self, state: SweepState, *, release: bool = False) -> SweepState | None:
        """Write the state and extend the lease, or `release` it; None if another sweep has
        continued.
        """
        lease = 0.0 if release else round(self._now() + LEASE_SECONDS, 3)
        written = replace(state, version=state.version + 1, lease_until=lease)
        if state.version == UNREADABLE:
            written = replace(written, version=1)
            self._table.overwrite(to_item(written))
            return written
        return written if self._table.put(to_item(written), state.version or None) else None
