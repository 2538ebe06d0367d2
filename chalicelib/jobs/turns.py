"""The turns of those that wait, in the table of jobs; see `chalicelib.jobs.fairness`."""

from chalicelib.dynamodb.expressions import Attr, expressions
from chalicelib.dynamodb.table import Table
from chalicelib.errors import UnavailableError
from chalicelib.jobs.fairness import (
    SPACING_MS,
    ahead_after,
    ahead_key,
    first_turn,
    owner_key,
)
from chalicelib.jobs.model import Priority

KEPT_SECONDS = 400 * 86_400
"""How long after its last use an owner's newest turn is kept."""
TRIES = 12


class Turns:
    """Hands out turns. Safe at once from several places; a turn that is not used is a gap."""

    def __init__(self, items: Table) -> None:
        self._items = items

    def next(self, owner: str, priority: Priority, now: float) -> int:
        """The next turn of an owner. Raises UnavailableError, BusyError."""
        first = first_turn(self._items.counted(ahead_key(priority)), now)
        key, expire_at = owner_key(owner, priority), int(now) + KEPT_SECONDS
        one_more = {"TableName": self._items.name, "Key": {"id": {"S": key}}} | expressions(
            condition=Attr("n").gte(first - SPACING_MS),
            add_values={"n": SPACING_MS},
            set_values={"expire_at": expire_at},
        )
        nothing_waits = Attr("n").not_exists() | Attr("n").lt(first - SPACING_MS)
        for _ in range(TRIES):
            following = self._items.update_number(one_more)
            if following is not None:
                return following
            values = {"n": first, "expire_at": expire_at}
            if self._items.update(key, values, nothing_waits) is not None:
                return first
        raise UnavailableError("too many at once ask for a turn", retry_after_seconds=1)

    def give_back(self, owner: str, priority: Priority) -> None:
        """One that had a turn ended before it was launched: its owner's next one is no later."""
        key = owner_key(owner, priority)
        self._items.update_number(
            {"TableName": self._items.name, "Key": {"id": {"S": key}}}
            | expressions(condition=Attr("n").gt(SPACING_MS), add_values={"n": -SPACING_MS})
        )

    def none_waits(self, owner: str, priority: Priority, turn: int) -> None:
        """What has this turn was launched: if it is its owner's newest one, nothing waits."""
        self._items.update(owner_key(owner, priority), {"n": 0}, Attr("n").eq(turn))

    def launched(self, priority: Priority, turn: int, now: float) -> None:
        """Virtual time is at least at this turn."""
        ahead = ahead_after(turn, now)
        if ahead <= 0:
            return
        values = {"n": ahead, "expire_at": int(now) + KEPT_SECONDS}
        behind = Attr("n").not_exists() | Attr("n").lt(ahead)
        self._items.update(ahead_key(priority), values, behind)
