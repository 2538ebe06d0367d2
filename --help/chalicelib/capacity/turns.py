"""The turns of waiting items, in a table; see `chalicelib.capacity.fairness`."""

from chalicelib.capacity.fairness import clock_key, next_turns, owner_key
from chalicelib.dynamodb.expressions import Attr, expressions
from chalicelib.dynamodb.table import Table, count_of
from chalicelib.dynamodb.writes import Write
from chalicelib.errors import UnavailableError

KEPT_SECONDS = 400 * 86_400
"""How long after its last use an owner's newest turn is kept."""
CLOCK_SECONDS = 1.0
"""Seconds for which a clock's value is used for an owner with something waiting: the next turn
follows from the owner's newest one, and the clock only shows that this is not behind it.
"""
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
        self._read_at: dict[str, float] = {}
        """When `next` last read a clock."""

    def clock(self, queue: str) -> int:
        """The highest turn of a queue that was started."""
        clock = self._items.counted(clock_key(queue))
        self._clocks[queue] = clock
        return clock

    def next(self, queue: str, owner: str, now: float) -> int:
        """The next turn of an owner. Raises UnavailableError, BusyError."""
        if abs(now - self._read_at.get(queue, -CLOCK_SECONDS)) < CLOCK_SECONDS:
            following = self._one_more(queue, owner, self._clocks[queue], now)
            if following is not None:
                return following
        for _ in range(TRIES):
            clock, newest = self._read(queue, owner, now)
            turn = (
                self._one_more(queue, owner, clock, now)
                if newest is not None and newest >= clock
                else self._first(queue, owner, clock, now)
            )
            if turn is not None:
                return turn
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

    def starting(self, queue: str, turn: int | None) -> tuple[Write, ...]:
        """The write that moves a clock to a turn; none where it is known to be there.

        Its condition is lost where the clock has moved past it: call `clock`, and ask again.
        """
        if turn is None or turn <= self._clocks.get(queue, 0):
            return ()
        not_past = Attr("n").not_exists() | Attr("n").lte(turn)
        key = {"TableName": self._items.name, "Key": {"id": {"S": clock_key(queue)}}}
        return ({"Update": key | expressions(condition=not_past, set_values={"n": turn})},)

    def moved(self, queue: str, turn: int | None) -> None:
        """Cache the clock after `starting`'s items were written."""
        self._clocks[queue] = max(turn or 0, self._clocks.get(queue, 0))

    def _read(self, queue: str, owner: str, now: float) -> tuple[int, int | None]:
        """Where the clock stands, and the owner's newest turn."""
        keys = clock_key(queue), owner_key(queue, owner)
        found = self._items.get_all(keys)
        clock = count_of(found.get(keys[0]))
        self._clocks[queue], self._read_at[queue] = clock, now
        return clock, count_of(found[keys[1]]) if keys[1] in found else None

    def _one_more(self, queue: str, owner: str, clock: int, now: float) -> int | None:
        """The turn behind the owner's newest one; None where that is behind the clock."""
        return self._items.update_number(
            {"TableName": self._items.name, "Key": {"id": {"S": owner_key(queue, owner)}}}
            | expressions(
                condition=Attr("n").gte(clock),
                add_values={"n": 1},
                set_values={"expire_at": int(now) + KEPT_SECONDS},
            )
        )

    def _first(self, queue: str, owner: str, clock: int, now: float) -> int | None:
        """The turn of an owner who has nothing at the clock or behind it; None if that changed."""
        (first,) = next_turns(clock, None, 1)
        values = {"n": first, "expire_at": int(now) + KEPT_SECONDS}
        nothing_waits = Attr("n").not_exists() | Attr("n").lt(clock)
        updated = self._items.update(owner_key(queue, owner), values, nothing_waits)
        return None if updated is None else first
