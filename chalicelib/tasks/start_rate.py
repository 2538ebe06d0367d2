"""The start rate: RunTask, StartTask and StopTask share 40 calls a second, and starts that can wait
leave some to those that cannot.
"""

from collections.abc import Callable

from chalicelib.dynamodb.table import Table

KEPT_SECONDS = 3_600


class StartRate:
    """Counts the starts of each second, of sessions and jobs together."""

    def __init__(self, table: Table, now: Callable[[], float]) -> None:
        self._table = table
        self._now = now

    def may_start(self, most: int) -> bool:
        """Whether this second has had fewer than `most` starts. Counts one more if so."""
        second = int(self._now())
        return self._table.count(f"rate#starts#{second}", most, second + KEPT_SECONDS)
