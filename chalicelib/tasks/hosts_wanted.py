"""About how many tasks wait in ECS's PROVISIONING for a host: of sessions, and of jobs.

ECS lets 500 wait in a cluster and refuses more. The counts are kept so that a bounded number waits
there and the rest here, in order. They are raised when RunTask answers, lowered when a task is seen
to have a host or to have ended, and corrected by each sweep, which sees all records: a crash
between is an error of one, for a minute. Calls that are under way are not counted, so bounds leave
room.
"""

from chalicelib.dynamodb.table import Table

SESSIONS, JOBS = "sessions", "jobs"
KEPT_SECONDS = 3_600


class HostsWanted:
    """The counts, in one item each."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def count(self, kind: str) -> int:
        """About how many wait."""
        return max(0, self._table.counted(_key(kind)))

    def raised(self, kind: str) -> int:
        """One more waits; about how many with it."""
        return self._table.added(_key(kind), 1)

    def lowered(self, kind: str) -> None:
        """One waits no longer."""
        self._table.added(_key(kind), -1)

    def correct(self, kind: str, seen: int) -> None:
        """The sweep has seen so many records of tasks that wait for a host."""
        difference = seen - self._table.counted(_key(kind))
        if difference:
            self._table.added(_key(kind), difference)


def _key(kind: str) -> str:
    return f"waiting#{kind}"
