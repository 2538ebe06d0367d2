"""The turns of waiting items, in a table; see `chalicelib.capacity.fairness`."""

from chalicelib.capacity.fairness import clock_key, next_turns, owner_key
from chalicelib.dynamodb.expressions import Attr, expressions
from chalicelib.dynamodb.table import Table
from chalicelib.errors import UnavailableError

KEPT_SECONDS = 400 * 86_400
"""An owner's newest turn is kept for this long after its last use."""
TRIES = 12
NONE_WAITS = -1
"""Replaces an owner's newest turn after its start."""


class Turns:
    """Assigns turns. May be called concurrently. An unused turn leaves a gap, which does no
    harm.
    """

    def __init__(self, items: Table) -> None:
        self._items = items
        self._clocks: dict[str, int] = {}
        """Where clocks stood at least when they were last read or moved."""

    def clock(self, queue: str) -> int:
        """The highest turn of a queue that was started."""
        clock = self._items.counted(clock_key(queue))
        self._clocks[queue] = clock
        return clock

    def next(self, queue: str, owner: str, now: float) -> int:
        """The next turn of an owner. Raises UnavailableError, BusyError."""
        clock = self.clock(queue)
        key, expire_at = owner_key(queue, owner), int(now) + KEPT_SECONDS
        one_more = {"TableName": self._items.name, "Key": {"id": {"S": key}}} | expressions(
            condition=Attr("n").gte(clock), add_values={"n": 1}, set_values={"expire_at": expire_at}
        )
        nothing_waits = Attr("n").not_exists() | Attr("n").lt(clock)
        (first,) = next_turns(clock, None, 1)
        for _ in range(TRIES):
            following = self._items.update_number(one_more)
            if following is not None:
                return following
            values = {"n": first, "expire_at": expire_at}
            if self._items.update(key, values, nothing_waits) is not None:
                return first
        raise UnavailableError("too many at once ask for a turn", retry_after_seconds=1)

    def give_back(self, queue: str, owner: str) -> None:
        """An item ended before its start: its owner's next turn is not delayed by it."""
        key = owner_key(queue, owner)
        self._items.update_number(
            {"TableName": self._items.name, "Key": {"id": {"S": key}}}
            | expressions(condition=Attr("n").gt(NONE_WAITS), add_values={"n": -1})
        )

    def none_waits(self, queue: str, owner: str, turn: int) -> None:
        """An item with this turn was started: if it is its owner's newest turn, the owner has none
        that wait.
        """
        self._items.update(owner_key(queue, owner), {"n": NONE_WAITS}, Attr("n").eq(turn))

    def started(self, queue: str, turn: int) -> None:
        """Advance the clock of a queue to at least this turn."""
        if turn <= self._clocks.get(queue, 0):
            return
        behind = Attr("n").not_exists() | Attr("n").lt(turn)
        self._items.update(clock_key(queue), {"n": turn}, behind)
        self._clocks[queue] = turn
