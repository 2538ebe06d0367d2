"""A lease: one process at a time does some work; others may request a rerun.

When a lease expires another process may acquire it. A holder that exceeds its lease therefore runs
concurrently with another one, and the work must be correct with two holders: its writes are
conditional. The lease only prevents needless concurrency.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.dynamodb.expressions import Attr
from chalicelib.dynamodb.table import Table
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
        self._id = f"lease#{name}"
        self._seconds = seconds
        self._now = now

    def acquire(self) -> Held | Busy:
        """Acquire the lease, or request a rerun from its holder."""
        holder = secrets.token_hex(8)
        while True:
            now = self._now()
            # An expiry beyond this was written by a wrong clock.
            latest = now + self._seconds + CLOCKS_DIFFER_SECONDS
            over = EXPIRES_AT.not_exists() | EXPIRES_AT.lt(now) | EXPIRES_AT.gt(latest)
            acquired = {"holder": holder, "expires_at": now + self._seconds, "rerun": NONE}
            if self._table.update(self._id, acquired, over | HOLDER.eq(holder)) is not None:
                return Held(holder)
            before = self._table.update(self._id, {"rerun": holder}, EXPIRES_AT.gte(now))
            # boto3 may have sent the write twice: then this process holds the lease
            if before is not None:
                requested_by = before.get("rerun", {"S": NONE})["S"]
                return Busy(is_first=requested_by in {NONE, holder})

    def runs_again(self, held: Held) -> bool:
        """Release the lease and return False; extend it and return True if a rerun is requested.

        Also False if the lease has expired and another process has acquired it.
        """
        own = HOLDER.eq(held.holder)
        if self._table.update(self._id, {"expires_at": 0}, own & RERUN.eq(NONE)) is not None:
            return False
        extended = {"rerun": NONE, "expires_at": self._now() + self._seconds}
        return self._table.update(self._id, extended, own) is not None

    def release(self, held: Held, *, pause_seconds: float = 0) -> None:
        """Release the lease despite rerun requests; it stays unavailable for `pause_seconds`."""
        until = self._now() + pause_seconds if pause_seconds else 0
        self._table.update(self._id, {"expires_at": until}, HOLDER.eq(held.holder))
