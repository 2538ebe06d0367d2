"""Rounds of the launcher that are requested for later."""

import math
from collections.abc import Callable

from chalicelib.dynamodb.table import Table
from chalicelib.jobs.model import Priority
from chalicelib.jobs.queues import JobQueues, WakeUp
from chalicelib.tasks.queues import MAX_DELAY_SECONDS

INDEX_LAG_SECONDS = 2
"""Time after which an index shows what was written: DynamoDB promises none, and takes less."""
KEPT_SECONDS = 3_600
REMEMBERED = 16
"""Number of seconds of which a process remembers that a round is requested."""


class Reruns:
    """Requests rounds by delayed wake-up messages, one message for each second."""

    def __init__(self, items: Table, queues: JobQueues, now: Callable[[], float]) -> None:
        self._items = items
        self._queues = queues
        self._now = now
        self._requested: tuple[int, ...] = ()
        """The seconds for which a round is requested already."""

    def request(self, delay_seconds: float) -> None:
        """Request a round after a delay; requests for the same second share one message.

        The message is delivered at the end of that second, so that it is not early for any of them.
        """
        now = self._now()
        second = math.ceil(now + delay_seconds)
        if second in self._requested:
            return
        self._requested = (*self._requested[-REMEMBERED + 1 :], second)
        if self._items.count(f"again#{second}", 1, second + KEPT_SECONDS):
            delay = min(math.ceil(second - now), MAX_DELAY_SECONDS)
            self._queues.send(Priority.CRITICAL, WakeUp(), delay)
