"""The schedules' part of the sweep: repairs after crashes and lost messages."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from chalicelib.ecs.task_changes import TaskChange
from chalicelib.schedules import model as rules
from chalicelib.schedules.model import Attention, Schedule
from chalicelib.schedules.service import Schedules
from chalicelib.schedules.table import SchedulesTable
from chalicelib.tasks.kinds import Kind, Page, Step
from chalicelib.tasks.unreadable import UnreadableRecords

PAGE = 100

Action = tuple[Schedule, Attention]


class SchedulesKind(Kind[Schedule]):
    """The interface of schedules to the sweep. They have no tasks."""

    name = "schedule"
    page_size = PAGE

    def __init__(
        self,
        *,
        table: SchedulesTable,
        schedules: Schedules,
        unreadable: UnreadableRecords,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._schedules = schedules
        self._now = now
        self.unreadable = unreadable

    def page(self, partition: int, after: str | None) -> Page[Schedule]:
        """A page of all schedules; they are in one partition."""
        del partition
        return Page(*self._table.read_page(self.page_size, after))

    def log_fields(self, record: Schedule) -> Mapping[str, Any]:
        """The fields of log records about it."""
        return {"schedule": record.id}

    def plan(self, record: Schedule, tasks: Mapping[str, TaskChange]) -> Iterator[Action]:
        """Its repair; see `model.attention`."""
        del tasks
        attention = rules.attention(record, self._now())
        if attention is not None:
            yield record, attention

    def steps(self, actions: Sequence[Action]) -> Iterator[Step]:
        """One step for each action."""
        for schedule, attention in actions:
            yield f"Schedule_{attention}", partial(self._schedules.attend, schedule, attention)
