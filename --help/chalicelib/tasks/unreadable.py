"""Treatment of records that this version cannot read; see `chalicelib.dynamodb.records`.

They are skipped, counted and logged; their tasks are not stopped. One that has not ended is marked
once to expire, so that it does not stay for ever. A version that can read it removes the mark with
its next write, and there is enough time for that.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from chalicelib.dynamodb.records import LATEST, Unreadable
from chalicelib.dynamodb.table import Table
from chalicelib.metrics import Metrics

MOST_LOGGED = 50
"""Maximum number of records of a page that the sweep logs."""

_log = logging.getLogger("usher.records")


class UnreadableRecords:
    """The unreadable records of one table and kind."""

    def __init__(
        self,
        table: Table,
        kind: str,
        *,
        kept_seconds: int,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        """`kept_seconds`: time after the latest time in the record for which it is kept."""
        self._table = table
        self._kind = kind
        self._kept_seconds = kept_seconds
        self._metrics = metrics
        self._now = now

    def log(self, found: Sequence[Unreadable]) -> None:
        """Log the first ones of a page."""
        for record in found[:MOST_LOGGED]:
            log_unreadable(record, self._kind)

    def gauge(self, number: int) -> None:
        """Emit the number that a complete pass found."""
        self._metrics.gauge("records_unreadable", number, kind=self._kind)

    def marks(self, found: Iterable[Unreadable]) -> Iterator[tuple[str, Callable[[], object]]]:
        """One step for each record without a mark; see `chalicelib.tasks.kinds.Step`."""
        for record in found:
            if not record.is_marked:
                yield "MarkUnreadable", partial(self.mark, record)

    def mark(self, record: Unreadable) -> None:
        """Set its expiry, without other changes; an earlier mark stays."""
        expire_at = expires_at(record, self._now(), self._kept_seconds)
        self._table.set_expiry(record.id, expire_at)

    def skip_task_change(self, record: Unreadable) -> None:
        """Ignore a change of its task. Neither record nor task is changed."""
        log_unreadable(record, self._kind)
        if not record.is_marked:
            self.mark(record)


def log_unreadable(record: Unreadable, kind: str) -> None:
    """Log one line with the id."""
    _log.warning("%s %s cannot be read: %s", kind, record.id, record.why, extra={kind: record.id})


def expires_at(record: Unreadable, now: float, kept_seconds: int) -> int:
    """When it may expire. Deferred records are kept until long after their time. Pure."""
    named = (record.number(name) or 0.0 for name in ("at", "not_after"))
    return int(min(max(now, *named), LATEST)) + kept_seconds
