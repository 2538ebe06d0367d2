"""The gradings' part of the sweep: repairs after crashes, and hands waiting gradings over."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from chalicelib.ecs.task_changes import TaskChange
from chalicelib.grading.judging import Judging
from chalicelib.grading.model import Grading
from chalicelib.grading.table import GradingTable
from chalicelib.metrics import Metrics
from chalicelib.tasks.kinds import Kind, Page, Step
from chalicelib.tasks.store import LIVE_BUCKETS
from chalicelib.tasks.sweep_state import SweepState, Tally
from chalicelib.tasks.unreadable import UnreadableRecords

UNDONE_SECONDS = 20
"""Time for a process that handed a grading over to request its judge."""

WAITING, OLDEST = "gradings_waiting", "oldest_grading"


class GradingsKind(Kind[Grading]):
    """The interface of gradings without a verdict to the sweep. Their judges' tasks belong to
    jobs.
    """

    name = "grading"
    partitions = LIVE_BUCKETS
    page_size = 100

    def __init__(
        self,
        *,
        table: GradingTable,
        judging: Judging,
        unreadable: UnreadableRecords,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._judging = judging
        self._metrics = metrics
        self._now = now
        self.unreadable = unreadable

    def page(self, partition: int, after: str | None) -> Page[Grading]:
        """A page of the gradings without a verdict."""
        return Page(*self._table.live(partition, after, self.page_size))

    def log_fields(self, record: Grading) -> Mapping[str, Any]:
        """The fields of log records about it."""
        return record.log_fields

    def plan(self, record: Grading, tasks: Mapping[str, TaskChange]) -> Iterator[Grading]:
        """Gradings that a judge has had for a while: its invocation may have ended or be missing.
        Gradings that wait for images: the preparation may have ended.
        """
        del tasks
        since = record.handed_at if record.awaits is None else record.created_at
        if since is not None and not record.is_waiting and self._now() - since > UNDONE_SECONDS:
            yield record

    def steps(self, actions: Sequence[Grading]) -> Iterator[Step]:
        """One step for each action."""
        for grading in actions:
            yield "RepairGrading", partial(self._judging.repair, grading)

    def closing_steps(self, finished: SweepState | None) -> Iterator[Step]:
        """Hand waiting gradings over."""
        del finished
        yield "HandOver", self._judging.hand_over

    def tally(self, records: Sequence[Grading], tally: Tally) -> None:
        """Count waiting gradings and find the oldest."""
        for record in records:
            if record.is_waiting:
                tally.counts[WAITING] += 1
                tally.saw(OLDEST, record.created_at)

    def report(self, state: SweepState) -> None:
        """The number of waiting gradings and the age of the oldest."""
        oldest = state.oldest.get(OLDEST)
        age = 0.0 if oldest is None else max(0.0, self._now() - oldest)
        self._metrics.gauge("gradings_waiting", state.counts.get(WAITING, 0))
        self._metrics.gauge("grading_queue_age_seconds", age)
