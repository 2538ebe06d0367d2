"""The start rate: RunTask, StartTask and StopTask share 40 calls a second, and starts that can wait
leave some to those that cannot.
"""

from collections.abc import Callable

from chalicelib.dynamodb.table import Table
from chalicelib.dynamodb.writes import Write, raised

KEPT_SECONDS = 3_600


class StartRate:
    """Counts the starts of each second, of sessions and jobs together."""

    def __init__(self, table: Table, now: Callable[[], float]) -> None:
        self._table = table
        self._now = now

    def may_start(self, most: int) -> bool:
        """Whether this second has had fewer than `most` starts. Counts one more if so."""
        second = int(self._now())
        return self._table.count(_key(second), most, second + KEPT_SECONDS)

    def counted(self, most: int) -> Write:
        """The write that counts one more start, on the condition that there were fewer."""
        second = int(self._now())
        return {"Update": raised(self._table.name, _key(second), most, second + KEPT_SECONDS)}


def _key(second: int) -> str:
    return f"rate#starts#{second}"
