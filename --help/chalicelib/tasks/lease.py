"""A lease: one process at a time does some work; others may request a rerun.

When a lease expires another process may acquire it. A holder that exceeds its lease therefore runs
concurrently with another one, and the work must be correct with two holders: its writes are
conditional. The lease only prevents needless concurrency.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.dynamodb.expressions import Attr, expressions
from chalicelib.dynamodb.table import Item, Table
from chalicelib.dynamodb.writes import Write
from chalicelib.tasks.revisions import CLOCKS_DIFFER_SECONDS

HOLDER, EXPIRES_AT, RERUN = Attr("holder"), Attr("expires_at"), Attr("rerun")
NONE = ""
"""No rerun is requested."""


@dataclass(frozen=True)
class Held:
    """The lease was acquired."""

    holder: str


@dataclass(frozen=True)
class Busy:
    """Another process holds the lease, and a rerun is requested now."""

    is_first: bool
    """No rerun had been requested since the lease was acquired."""


class Lease:
    """A named lease in a table, for `seconds`."""

    def __init__(self, table: Table, name: str, seconds: float, now: Callable[[], float]) -> None:
        self._table = table
        self.item_id = f"lease#{name}"
        self._seconds = seconds
        self._now = now

    def acquire(self, seen: Item | None = None) -> Held | Busy:
        """Acquire the lease, or request a rerun from its holder.

        `seen`: its item as it was just read. A rerun that is requested by then is enough.
        """
        holder = secrets.token_hex(8)
        if seen is not None and self._is_held(seen) and _text(seen, "rerun") != NONE:
            return Busy(is_first=False)
        while True:
            now = self._now()
            over = EXPIRES_AT.not_exists() | EXPIRES_AT.lt(now) | EXPIRES_AT.gt(self._latest(now))
            acquired = {"holder": holder, "expires_at": now + self._seconds, "rerun": NONE}
            is_mine, seen = self._table.update_or_see(
                self.item_id, acquired, over | HOLDER.eq(holder)
            )
            if is_mine:
                return Held(holder)
            if seen is not None and _text(seen, "rerun") != NONE:
                return Busy(is_first=False)
            before = self._table.update(self.item_id, {"rerun": holder}, EXPIRES_AT.gte(now))
            if before is not None:  # boto3 may have sent it twice: then it finds itself
                return Busy(is_first=_text(before, "rerun") in {NONE, holder})

    def runs_again(self, held: Held) -> bool:
        """Release the lease and return False; extend it and return True if a rerun is requested.

        Also False if the lease has expired and another process has acquired it.
        """
        own = HOLDER.eq(held.holder)
        if self._table.update(self.item_id, {"expires_at": 0}, own & RERUN.eq(NONE)) is not None:
            return False
        return self.extend(held)

    def extend(self, held: Held) -> bool:
        """Do what a rerun was requested for. False if another process has acquired the lease."""
        own = HOLDER.eq(held.holder)
        extended = {"rerun": NONE, "expires_at": self._now() + self._seconds}
        return self._table.update(self.item_id, extended, own) is not None

    def released(self, held: Held) -> Write:
        """The write that releases the lease, on the condition that no rerun is requested."""
        condition = HOLDER.eq(held.holder) & RERUN.eq(NONE)
        return {"TableName": self._table.name, "Key": {"id": {"S": self.item_id}}} | expressions(
            condition=condition, set_values={"expires_at": 0}
        )

    def release(self, held: Held, *, pause_seconds: float = 0) -> None:
        """Release the lease despite rerun requests; it stays unavailable for `pause_seconds`."""
        until = self._now() + pause_seconds if pause_seconds else 0
        self._table.update(self.item_id, {"expires_at": until}, HOLDER.eq(held.holder))

    def _is_held(self, seen: Item) -> bool:
        now = self._now()
        return now <= float(seen["expires_at"]["N"]) <= self._latest(now)

    def _latest(self, now: float) -> float:
        """A lease that ends later than any can was written by a clock that was wrong."""
        return now + self._seconds + CLOCKS_DIFFER_SECONDS


def _text(item: Item, name: str) -> str:
    return str(item.get(name, {"S": NONE})["S"])
