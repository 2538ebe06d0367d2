"""The order in which shards are read: parents to their end before their children. Pure.

Kinesis keeps the order of a partition key across splits and merges only for readers that finish the
parent first ("Resharding, scaling, and parallel processing" in its developer guide).
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from session_handler.cursor import (
    After,
    Cursor,
    Ended,
    Horizon,
    Position,
    Since,
    Waiting,
    encode,
    join,
)


class Shard(NamedTuple):
    """One shard as ListShards describes it."""

    shard_id: str
    parents: tuple[str, ...]
    is_closed: bool

    @classmethod
    def from_api(cls, shard: Mapping[str, Any]) -> "Shard":
        """Parse an element of ListShards' `Shards`."""
        parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
        ending = shard.get("SequenceNumberRange", {}).get("EndingSequenceNumber")
        return cls(shard["ShardId"], tuple(p for p in parents if p), ending is not None)

    @classmethod
    def from_child(cls, child: Mapping[str, Any]) -> "Shard":
        """Parse an element of GetRecords' `ChildShards`."""
        return cls(child["ShardId"], tuple(child.get("ParentShards", ())), is_closed=False)


_WAITS = encode(Waiting())


def start_at_latest(shards: Iterable[Shard], millis: int) -> dict[str, Position]:
    """Positions that begin now: at the open shards; records of closed ones are past."""
    return {shard.shard_id: Since(millis) for shard in shards if not shard.is_closed}


class Resumption(NamedTuple):
    """The positions for a cursor, and its shards that no longer exist."""

    positions: dict[str, Position]
    gone: tuple[str, ...]


def resume(shards: Iterable[Shard], cursor: Cursor) -> Resumption:
    """Positions for a cursor that an earlier container wrote.

    A shard outside the cursor descends from one in it and is read after its parents, or ended
    before the cursor's time and is never read. Shards that expired since are a gap: what they
    still held is lost, and their oldest living descendants are read from the beginning.

    The fan-out feed's cursors name only shards that it has seen, and parents beside their children:
    every shard with a named descendant was read to its end. Others are read from an instant.
    """
    listed = {shard.shard_id: shard for shard in shards}
    named = {n: p for n, p in cursor.positions.items() if not isinstance(p, Waiting)}
    kept: dict[str, Position] = {n: p for n, p in named.items() if n in listed}
    gone = tuple(n for n, p in named.items() if n not in listed and _is_missed(n, p, kept, listed))
    if isinstance(cursor.others, Since):
        kept |= dict.fromkeys(_strangers(named, listed), cursor.others)
    if gone or not kept:
        roots = [s for s in listed.values() if not any(parent in listed for parent in s.parents)]
        for shard in roots:
            # A root without parents ended before the cursor's time, unless nothing is left of it.
            if (shard.parents or not kept) and not _is_covered(shard, kept, listed):
                kept[shard.shard_id] = Horizon()
    return Resumption(_without_past(kept, listed) if cursor.others else kept, gone)


def _without_past(kept: Mapping[str, Position], listed: Mapping[str, Shard]) -> dict[str, Position]:
    """`kept`, with each ancestor of another shard ended, or omitted if nothing depends on it."""
    past = _ancestors_of(kept, listed) & listed.keys()
    covered = past | kept.keys()
    parents_of_new = {p for s in listed.values() if s.shard_id not in covered for p in s.parents}
    ended: dict[str, Position] = dict.fromkeys(past & parents_of_new, Ended())
    return {name: position for name, position in kept.items() if name not in past} | ended


def _is_missed(
    shard_id: str,
    position: Position,
    kept: Mapping[str, Position],
    listed: Mapping[str, Shard],
) -> bool:
    """Whether records may have been lost with a missing shard. Not if its child was begun: the
    fan-out feed does not know when a shard has ended.
    """
    if isinstance(position, Ended):
        return False
    return not any(shard_id in listed[n].parents for n, p in kept.items() if isinstance(p, After))


def _strangers(named: Mapping[str, Position], listed: Mapping[str, Shard]) -> list[str]:
    """The first of those shards that are unrelated to the named ones."""
    past = _ancestors_of(named, listed)
    found = {
        name
        for name in listed
        if not (name in named or name in past) and _ancestors_of([name], listed).isdisjoint(named)
    }
    return [name for name in found if found.isdisjoint(listed[name].parents)]


def _ancestors_of(names: Iterable[str], listed: Mapping[str, Shard]) -> set[str]:
    found: set[str] = set()
    pending = list(names)
    while pending:
        shard = listed.get(pending.pop())
        for parent in shard.parents if shard else ():
            if parent not in found:
                found.add(parent)
                pending.append(parent)
    return found


def _is_covered(shard: Shard, names: Mapping[str, Position], listed: Mapping[str, Shard]) -> bool:
    """Whether the shard is one of `names`, or was read before them."""
    return shard.shard_id in names or shard.shard_id in _ancestors_of(names, listed)


class Lineage:
    """Positions of all shards being read, and those that may be read now."""

    def __init__(self, positions: Mapping[str, Position], shards: Iterable[Shard] = ()) -> None:
        self._positions = dict(positions)
        self._entries = {name: f"{encode(p)}.{name}" for name, p in positions.items()}
        self._waiting: dict[str, Shard] = {}
        self._waiting_entries: list[str] = []
        listed = {shard.shard_id: shard for shard in shards}
        self._past = _ancestors_of(positions, listed) - positions.keys()
        self.add(listed.values())

    def __getitem__(self, shard_id: str) -> Position:
        return self._positions[shard_id]

    @property
    def cursor(self) -> str:
        """Raises CursorError when there are too many shards.

        The cursor names waiting shards too: for a reader without the list of shards, others that
        were created before a named one are past.
        """
        return join([*self._entries.values(), *self._waiting_entries])

    @property
    def shard_count(self) -> int:
        return len(self._positions)

    def readable(self) -> list[str]:
        """Shards that are not read to their end and whose parents all are."""
        return [
            name for name, position in self._positions.items() if not isinstance(position, Ended)
        ]

    def advance(self, shard_id: str, position: Position) -> None:
        """`shard_id` was delivered up to `position`."""
        self._positions[shard_id] = position
        self._entries[shard_id] = f"{encode(position)}.{shard_id}"

    def add(self, shards: Iterable[Shard]) -> None:
        """Register shards. Only descendants of shards being read are used."""
        for shard in shards:
            if shard.shard_id not in self._positions and shard.shard_id not in self._past:
                self._waiting[shard.shard_id] = shard
        self._note_waiting()

    def end(self, shard_id: str, children: Iterable[Shard] = ()) -> list[str]:
        """`shard_id` was read to its end. Returns the shards that may be read from now on."""
        self.advance(shard_id, Ended())
        children = list(children)
        self.add(children)
        begun = self.begin_children()
        if children:
            self._drop_if_passed(shard_id)
        return begun

    def begin_children(self) -> list[str]:
        """Begin the waiting shards whose parents are all read to the end."""
        begun = [shard for shard in self._waiting.values() if self._may_begin(shard)]
        for shard in begun:
            del self._waiting[shard.shard_id]
            self.advance(shard.shard_id, Horizon())
        for shard in begun:
            for parent in shard.parents:
                self._drop_if_passed(parent)
        self._note_waiting()
        return [shard.shard_id for shard in begun]

    def _may_begin(self, shard: Shard) -> bool:
        states = [self._positions[p] for p in shard.parents if p in self._positions]
        if any(parent in self._waiting for parent in shard.parents):
            # A parent that must be read first, unless it is before the cursor's time.
            states += [Horizon() for p in shard.parents if p in self._waiting and self._is_ahead(p)]
        return bool(states) and all(isinstance(state, Ended) for state in states)

    def _is_ahead(self, shard_id: str) -> bool:
        """Whether a waiting shard descends from one being read."""
        return not _ancestors_of([shard_id], self._waiting).isdisjoint(self._positions)

    def _note_waiting(self) -> None:
        ahead = [name for name in self._waiting if self._is_ahead(name)]
        self._waiting_entries = [f"{_WAITS}.{name}" for name in ahead]

    def _drop_if_passed(self, shard_id: str) -> None:
        """Remove an ended shard once all its known children have begun."""
        if not isinstance(self._positions.get(shard_id), Ended):
            return
        if not any(shard_id in shard.parents for shard in self._waiting.values()):
            del self._positions[shard_id]
            del self._entries[shard_id]
            self._past.add(shard_id)
