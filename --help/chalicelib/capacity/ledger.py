"""The capacity that groups use, in DynamoDB: read at most once a second, written conditionally."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from chalicelib.capacity import counting
from chalicelib.capacity.groups import Amount, Groups
from chalicelib.capacity.shares import Denied, Standing, decide_take
from chalicelib.dynamodb.expressions import Attr
from chalicelib.dynamodb.table import Table
from chalicelib.dynamodb.writes import Write

FRESH_SECONDS = 1.0
"""Values that are not older than this are used for a first try; the condition of the write checks
the present ones."""
NOTED_SECONDS = 5.0
"""A recorded wait is renewed when it is older than this."""


@dataclass(frozen=True)
class Take:
    """The writes of a start for its transaction; empty if nothing is counted."""

    counters: tuple[str, ...] = ()
    """Kept with the record until the capacity is released."""
    writes: tuple[Write, ...] = ()


class Ledger:
    """The counters of all groups. May be called concurrently."""

    def __init__(self, items: Table, groups: Groups, now: Callable[[], float]) -> None:
        self.groups = groups
        self._items = items
        self._now = now
        self._read: tuple[float, Mapping[str, Standing]] = (-FRESH_SECONDS, {})

    def standings(self, *, fresh: bool = False) -> Mapping[str, Standing]:
        """The usage and the waits of each group."""
        if not self.groups.is_counted:
            return {}
        read_at, known = self._read
        now = self._now()
        if fresh or not 0 <= now - read_at < FRESH_SECONDS:
            known = counting.read_standings(self._items.get(counting.ITEM), self.groups, now)
            self._read = (now, known)
        return known

    def plan_take(
        self, group: str | None, wanted: Amount, *, has_waited: bool = False
    ) -> Take | Denied:
        """The writes that count one more container of a group, or the reason why none may start.

        `has_waited`: whether the container waited in the group. If the transaction's condition
        fails, call `forget` and plan again.
        """
        if not self.groups.is_counted:
            return Take()
        name = self.groups.of(group).name
        read_before = self._read[0]
        standings = self.standings()
        decided = decide_take(self.groups, standings, name, wanted)
        if isinstance(decided, Denied) and self._read[0] == read_before:
            standings = self.standings(fresh=True)
            decided = decide_take(self.groups, standings, name, wanted)
        if isinstance(decided, Denied):
            return decided
        now = self._now()
        pace = counting.next_pace(standings[name], now) if has_waited else None
        write = counting.raised(
            self._items.name, self.groups, decided, name=name, amount=wanted, now=now, pace=pace
        )
        return Take((counting.counter_of(name, wanted),), ({"Update": write},))

    def taken(self, group: str | None, wanted: Amount, *, has_waited: bool = False) -> None:
        """The planned writes succeeded: count them here until the next read."""
        if not self.groups.is_counted:
            return
        name = self.groups.of(group).name
        read_at, known = self._read
        standing = known.get(name, Standing())
        after = replace(
            standing,
            taken=standing.taken + wanted,
            took_at=self._now(),
            waits=None if has_waited else standing.waits,
        )
        self._read = (read_at, {**known, name: after})

    def forget(self) -> None:
        """Discard the values that were read."""
        self._read = (-FRESH_SECONDS, {})

    def someone_waits(self, group: str | None) -> bool:
        """Whether a wait in a group was recorded at the last read."""
        standing = self.standings().get(self.groups.of(group).name)
        return standing is not None and standing.waits is not None

    def note_waiting(self, group: str | None, wanted: Amount) -> None:
        """Record a wait in a group, so that groups of lower rank borrow nothing for a while."""
        if not self.groups.is_counted:
            return
        name, now = self.groups.of(group).name, self._now()
        is_first = not self.someone_waits(name)
        values = counting.waiting_noted(name, wanted, now, is_first=is_first)
        noted_at = Attr(f"{name}/waits_at")
        self._items.update(
            counting.ITEM, values, noted_at.not_exists() | noted_at.lt(now - NOTED_SECONDS)
        )

    def estimate_seconds(self, group: str | None, ahead: int) -> int | None:
        """Estimated seconds until the start of a container that `ahead` others of its group
        precede; None if unknown.
        """
        standing = self.standings().get(self.groups.of(group).name)
        if standing is None or standing.pace is None:
            return None
        return math.ceil((ahead + 1) * standing.pace)
