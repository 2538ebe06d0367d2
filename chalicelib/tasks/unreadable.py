"""What is done about records that this version cannot read; see `chalicelib.dynamodb.records`.

They are skipped, counted and logged; their tasks are left alone. One that has not ended is marked
to expire, once, so that it does not stay for ever: the version that can read it takes the mark away
with its next write, and there is time for that.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from chalicelib.dynamodb.records import LATEST, Unreadable
from chalicelib.dynamodb.table import Table
from chalicelib.metrics import Metrics

MOST_LOGGED = 50
"""Records of one page that the sweep names in the log."""

_log = logging.getLogger("usher.records")


class UnreadableRecords:
    """Those of one table and kind."""

    def __init__(
        self,
        table: Table,
        kind: str,
        *,
        kept_seconds: int,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        """`kept_seconds`: how long one is kept after the last instant that it names."""
        self._table = table
        self._kind = kind
        self._kept_seconds = kept_seconds
        self._metrics = metrics
        self._now = now

    def log(self, found: Sequence[Unreadable]) -> None:
        """Name the first of a page in the log."""
        for record in found[:MOST_LOGGED]:
            log_unreadable(record, self._kind)

    def gauge(self, number: int) -> None:
        """So many were found in a whole pass."""
        self._metrics.gauge("records_unreadable", number, kind=self._kind)

    def marks(self, found: Iterable[Unreadable]) -> Iterator[tuple[str, Callable[[], object]]]:
        """One step for each that has no mark yet; see `chalicelib.tasks.kinds.Step`."""
        for record in found:
            if not record.is_marked:
                yield "MarkUnreadable", partial(self.mark, record)

    def mark(self, record: Unreadable) -> None:
        """Have it expire; nothing else of it is touched, and an earlier mark stays."""
        expire_at = expires_at(record, self._now(), self._kept_seconds)
        self._table.set_expiry(record.id, expire_at)

    def skip_task_change(self, record: Unreadable) -> None:
        """ECS says something of its task. It is left as it is; so is its task."""
        log_unreadable(record, self._kind)
        if not record.is_marked:
            self.mark(record)


def log_unreadable(record: Unreadable, kind: str) -> None:
    """One line with the id."""
    _log.warning("%s %s cannot be read: %s", kind, record.id, record.why, extra={kind: record.id})


def expires_at(record: Unreadable, now: float, kept_seconds: int) -> int:
    """When it may be forgotten. What is deferred is kept until long after its time. Pure."""
    named = (record.number(name) or 0.0 for name in ("at", "not_after"))
    return int(min(max(now, *named), LATEST)) + kept_seconds
