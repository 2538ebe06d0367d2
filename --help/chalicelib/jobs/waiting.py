"""The records of what waits, as the launcher read them a moment ago.

A claim is written on the condition of its record's version. So a record that was read in an earlier
round can be tried; if the claim is lost, it is read anew.
"""

from collections.abc import Callable, Iterator

from chalicelib.jobs.model import Invocation
from chalicelib.jobs.table import PAGE, InvocationsTable

KNOWN_SECONDS = 10.0
KNOWN = 2 * PAGE
"""Maximum of cached records; each has up to 64 KiB of parameters."""


class WaitingRecords:
    """Which invocations wait, and in what order, is always read; their records are remembered."""

    def __init__(self, table: InvocationsTable, now: Callable[[], float]) -> None:
        self._table = table
        self._now = now
        self._known: dict[str, tuple[Invocation, float]] = {}

    def pages(self, partition: str) -> Iterator[list[Invocation]]:
        """One partition of what waits in order, page by page."""
        now = self._now()
        known = {
            name: record
            for name, (record, read_at) in list(self._known.items())
            if 0 <= now - read_at < KNOWN_SECONDS
        }
        for page in self._table.waiting(partition, known):
            for record in page:
                if record.id not in known:
                    self._known[record.id] = record, now
            self._known = dict(list(self._known.items())[-KNOWN:])
            yield page

    def forget(self, invocation_id: str) -> None:
        """Its record was written, or is not what it was."""
        self._known.pop(invocation_id, None)
