"""The progress of one session in a fan-out feed: which entries it wants, and which are missing.
Pure.

Entries arrive in the stream's order, those of each shard in the shard's, children's after their
parents'. Positions mark delivered records, and each entry's `p` shows missing ones. With a cursor
of the direct feed, or a new origin, the stream is read from its beginning; otherwise from a known
entry.
"""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from chalicelib.contract.fanout import Entry
from session_handler.cursor import (
    MAX_LENGTH,
    VERSION,
    Above,
    After,
    Cursor,
    Ended,
    EntryPlace,
    Position,
    Since,
    encode,
    encode_rest,
    join,
    number_of,
)

SKEW_MILLIS = 1_000
"""Maximum difference between Kinesis's and the server's clocks."""


class EntryId(NamedTuple):
    """An entry's id in the stream: the time at which it was appended, by the server's clock."""

    millis: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.millis}-{self.sequence}"

    @classmethod
    def parse(cls, text: bytes) -> "EntryId":
        millis, _, sequence = text.partition(b"-")
        return cls(int(millis), int(sequence))


BEGINNING = EntryId(0, 0)


class Snapshot(NamedTuple):
    """The state of the feed."""

    origin: str | None
    last: Mapping[str, After]
    """The newest position of each shard that was ever appended."""
    first_id: EntryId | None
    """The oldest entry that still exists."""
    tail_id: EntryId
    server_millis: int


class Verdict(Enum):
    """The meaning of an entry for the session."""

    DELIVERED = "delivered"
    WANTED = "wanted"
    AFTER_GAP = "after gap"
    """Wanted, and entries before it are missing."""


class Progress:
    """Begins at a cursor. Call `observe` with a snapshot before judging entries, and again after
    the connection or the origin was lost; then read from `place`. `judge` runs ahead of delivery;
    `deliver` confirms, `forget_ahead` returns to what was confirmed.
    """

    def __init__(self, cursor: Cursor) -> None:
        self._positions = dict(cursor.positions)
        self._texts = {name: f"{encode(p)}.{name}" for name, p in cursor.positions.items()}
        self._others = cursor.others or Above(_highest(cursor))
        entry = cursor.entry
        self._origin = entry.origin if entry else None
        self.place = EntryId(entry.millis, entry.sequence) if entry else BEGINNING
        self._is_following = entry is not None
        """Whether all before `place` is delivered; else the stream is being passed through."""
        self._delivered_to = self.place if self._is_following else None
        self._known: dict[str, After] = {}
        """Newest positions of shards that nothing was delivered of, as far as they are past."""
        self._ahead: dict[str, Position] = dict(self._positions)
        self._seen: dict[str, After] = {}
        """Newest entries that were passed over of shards that nothing was delivered of."""
        self._snapshot: Snapshot | None = None
        self._first_id: EntryId | None = None
        self._lost_entries = False
        """Whether some were trimmed that came after `place`."""

    @classmethod
    def from_now(cls, now_millis: int, snapshot: Snapshot | None) -> "Progress":
        """Begin at the end of the stream; without a snapshot, at a time."""
        millis = snapshot.server_millis if snapshot else now_millis
        place = None
        if snapshot and snapshot.origin:
            place = EntryPlace(*snapshot.tail_id, snapshot.origin)
        progress = cls(Cursor({}, Since(max(0, millis - SKEW_MILLIS)), place))
        if snapshot:
            progress._known = dict(snapshot.last)
            progress._ahead |= snapshot.last
        return progress

    @property
    def origin(self) -> str | None:
        return self._origin

    @property
    def is_following(self) -> bool:
        return self._is_following

    @property
    def shard_count(self) -> int:
        return len(self._ahead)

    @property
    def cursor(self) -> str:
        """The position after the delivered records. If there are too many shards, the oldest are
        omitted: for these only the entry's id shows what is new, and without it records are
        repeated.
        """
        entry = None
        if self._delivered_to is not None and self._origin is not None:
            entry = EntryPlace(*self._delivered_to, self._origin)
        rest = encode_rest(self._others, entry)
        characters_left = MAX_LENGTH - len(VERSION) - sum(len(word) + 1 for word in rest)
        if sum(len(text) + 1 for text in self._texts.values()) <= characters_left:
            return join([*self._texts.values(), *rest])
        return self._bounded_cursor(entry)

    def _bounded_cursor(self, entry: EntryPlace | None) -> str:
        rest = encode_rest(Since(0), entry)
        characters_left = MAX_LENGTH - len(VERSION) - sum(len(word) + 1 for word in rest)
        texts = []
        for name in sorted(self._texts, key=number_of, reverse=True):
            characters_left -= len(self._texts[name]) + 1
            if characters_left < 0:
                break
            texts.append(self._texts[name])
        return join([*texts, *rest])

    def observe(self, snapshot: Snapshot) -> None:
        """Apply the feed's present state. If its origin is new, it is read from its beginning."""
        self._snapshot = snapshot
        if snapshot.origin != self._origin:
            self._origin = snapshot.origin
            self._is_following = False
            self.place = BEGINNING
            self._delivered_to = None
            self._seen.clear()
            self._lost_entries = False
        self.rewind(snapshot)

    def rewind(self, snapshot: Snapshot) -> None:
        """Apply the trimming so far. Call it after reading and before judging, while entries may be
        trimmed before they are read.
        """
        first = self._first_id = snapshot.first_id
        if self._is_following or self.place != BEGINNING:
            self._lost_entries |= first is None or first > self.place

    def judge(self, entry: Entry) -> Verdict:
        """The meaning of `entry`, the next one of the stream, for the session."""
        shard = entry.shard_id
        position = self._ahead.get(shard)
        here = After(entry.sequence, entry.subsequence)
        if isinstance(position, After):
            if here <= position:
                return Verdict.DELIVERED
            is_gap = entry.previous is None or entry.previous > position
        elif not self._wants_new(entry, position):
            self._seen[shard] = here
            return Verdict.DELIVERED
        else:
            before = entry.previous
            is_gap = before is not None and self._may_have_missed(shard, position, After(*before))
        self._ahead[shard] = here
        return Verdict.AFTER_GAP if is_gap else Verdict.WANTED

    def delivered(self, entry_id: EntryId, entry: Entry) -> None:
        """`entry` was delivered, and all entries of its shard that were judged before."""
        self._confirm(entry.shard_id, After(entry.sequence, entry.subsequence))
        if self._is_following:
            self._delivered_to = entry_id

    def passed(self, entry_id: EntryId) -> tuple[str, ...]:
        """All entries up to this one were judged, and delivered if wanted. Returns shards with
        missing records that no entry shows.
        """
        self.place = entry_id
        if self._is_following:
            self._delivered_to = entry_id
        return self.missed()

    def missed(self) -> tuple[str, ...]:
        """Shards whose last entries are gone from the stream. Call it after `observe`; empty until
        the stream was read to its end at that time.
        """
        snapshot = self._snapshot
        if snapshot is None or self.place < snapshot.tail_id:
            return ()
        missed = []
        for shard, last in snapshot.last.items():
            position = self._ahead.get(shard)
            if isinstance(position, Ended) or (isinstance(position, After) and last <= position):
                continue
            if isinstance(position, After) or self._may_have_missed(shard, position, last):
                missed.append(shard)
                self._confirm(shard, last)
                self._ahead[shard] = last
        self._snapshot = None
        self._is_following = True
        self._delivered_to = self.place
        self._lost_entries = False
        self._seen.clear()
        return tuple(missed)

    def forget_ahead(self) -> None:
        """Entries that were judged and not confirmed were not delivered."""
        self._ahead = {**self._known, **self._positions}
        if self._is_following and self._delivered_to is not None:
            self.place = self._delivered_to

    def _confirm(self, shard: str, position: After) -> None:
        self._positions[shard] = position
        self._texts[shard] = f"{encode(position)}.{shard}"

    def _wants_new(self, entry: Entry, position: Position | None) -> bool:
        """Whether an entry is wanted of a shard without deliveries."""
        match self._rule(position):
            case Ended():
                return False
            case Since(millis):
                return entry.arrived_at >= millis
            case Above(number):
                return number_of(entry.shard_id) > number
            case _:
                return True

    def _may_have_missed(self, shard: str, position: Position | None, before: After) -> bool:
        """Whether `before`, which is gone, was wanted of a shard without deliveries."""
        rule = self._rule(position)
        if shard in self._seen and before <= self._seen[shard]:
            return False
        if isinstance(rule, Above):
            return number_of(shard) > rule.number
        if not isinstance(rule, Since):
            return True
        if self._is_following or self._lost_entries:
            return self._lost_entries
        # The missing entry was appended, and therefore arrived, before the oldest existing one.
        return self._first_id is None or self._first_id.millis >= rule.millis

    def _rule(self, position: Position | None) -> Position | Above:
        return self._others if position is None else position


def _highest(cursor: Cursor) -> int:
    numbers = [number_of(shard) for shard in cursor.positions]
    return int(max((n for n in numbers if n != float("inf")), default=0))
