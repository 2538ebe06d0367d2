"""The interface of a kind of record to the sweep; see `chalicelib.tasks.reconciler`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from chalicelib.dynamodb.records import Unreadable
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.tasks.hosts_wanted import HostsWanted
from chalicelib.tasks.sweep_state import SweepState, Tally
from chalicelib.tasks.unreadable import UnreadableRecords

Step = tuple[str, Callable[[], object]]
"""The name of an action, and the function that performs it. It returns False if there was nothing
to do, which is not counted."""
R = TypeVar("R")


@dataclass(frozen=True)
class Page(Generic[R]):
    """A page of live records, and the position of the next page; None for the last page."""

    records: Sequence[R | Unreadable]
    after: str | None


class Kind(ABC, Generic[R]):
    """The interface of one kind of record to the sweep. The defaults are those for kinds without
    tasks.
    """

    name: str
    partitions: int = 1
    """Partitions of its index of live records."""
    unreadable: UnreadableRecords
    hosts_wanted: HostsWanted | None = None
    """The count of waiting tasks, under the kind's `counted_as`, if tasks of this kind may wait for
    hosts."""
    counted_as: str = ""

    @abstractmethod
    def page(self, partition: int, after: str | None) -> Page[R]:
        """A page of live records."""

    def overdue_page(self, partition: int, after: str | None) -> Page[R] | None:
        """As `page`, only with records that may be overdue; None if the kind has no such stage."""
        del partition, after
        return None

    def find(self, ids: Sequence[str]) -> Mapping[str, R | Unreadable]:
        """The present records, by id."""
        del ids
        return {}

    @abstractmethod
    def plan(self, record: R, tasks: Mapping[str, TaskChange]) -> Iterator[Any]:
        """The actions for one record, given its tasks by ARN. Pure."""

    def plan_task(self, record: R | None, task: TaskChange) -> Iterator[Any]:
        """The actions for one task of this kind and its record. Pure."""
        del record, task
        return iter(())

    @abstractmethod
    def steps(self, actions: Sequence[Any]) -> Iterator[Step]:
        """The steps of the actions for a page."""

    def closing_steps(self, finished: SweepState | None) -> Iterator[Step]:
        """The final steps of each invocation; `finished` is the pass that it began and
        completed.
        """
        del finished
        return iter(())

    @abstractmethod
    def log_fields(self, record: R) -> Mapping[str, Any]:
        """The fields of log records about it."""

    def task_arn_of(self, record: R) -> str | None:
        """The ARN of its task."""
        del record
        return None

    def record_id_of(self, started_by: str | None) -> str | None:
        """The id of the record that a task with this startedBy belongs to; None for other kinds."""
        del started_by
        return None

    def searched_by(self, record: R, actions: Sequence[Any]) -> str | None:
        """The startedBy to search a task by, before `actions` on a record without a task."""
        del record, actions
        return None

    def waiting(self, record: R) -> tuple[str, int, int] | None:
        """Id, attempt and version of a record that waits for a host and must be counted."""
        del record
        return None

    def may_wait(self, record: R, attempt: int) -> bool:
        """Whether this attempt of a record waits for a host, or may wait for one later."""
        del record, attempt
        return False

    def tally(self, records: Sequence[R], tally: Tally) -> None:
        """Update the tally with these records."""

    def tally_task(self, task: TaskChange, tally: Tally) -> None:
        """Update the tally with a task of this kind."""

    def report(self, state: SweepState) -> None:
        """Emit the metrics of a complete pass."""
