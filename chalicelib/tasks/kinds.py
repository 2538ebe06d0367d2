"""What the sweep has to know of each kind of record; see `chalicelib.tasks.reconciler`."""

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
"""What is done, in a word, and the doing of it."""
R = TypeVar("R")


@dataclass(frozen=True)
class Page(Generic[R]):
    """Some of the live records of a kind, and where the next page begins; None after the last."""

    records: Sequence[R | Unreadable]
    after: str | None


class Kind(ABC, Generic[R]):
    """What the sweep has to know of one kind of record. The defaults are those without tasks."""

    name: str
    partitions: int = 1
    """Of its index of live records."""
    unreadable: UnreadableRecords
    hosts_wanted: HostsWanted | None = None
    """Where tasks of this kind may wait for hosts: their count, under the kind's `counted_as`."""
    counted_as: str = ""

    @abstractmethod
    def page(self, partition: int, after: str | None) -> Page[R]:
        """A page of live records."""

    def overdue_page(self, partition: int, after: str | None) -> Page[R] | None:
        """As `page`, with only those that look overdue; None where there is no such stage."""
        del partition, after
        return None

    def find(self, ids: Sequence[str]) -> Mapping[str, R | Unreadable]:
        """Records as they are now, by id."""
        del ids
        return {}

    @abstractmethod
    def plan(self, record: R, tasks: Mapping[str, TaskChange]) -> Iterator[Any]:
        """What to do about one record, given its tasks by ARN. Pure."""

    def plan_task(self, record: R | None, task: TaskChange) -> Iterator[Any]:
        """What to do about one task of this kind and its record. Pure."""
        del record, task
        return iter(())

    @abstractmethod
    def steps(self, actions: Sequence[Any]) -> Iterator[Step]:
        """The doing of what was planned for a page."""

    def closing_steps(self, finished: SweepState | None) -> Iterator[Step]:
        """What each invocation does at its end; `finished` is the pass that it began and ended."""
        del finished
        return iter(())

    @abstractmethod
    def log_fields(self, record: R) -> Mapping[str, Any]:
        """What log lines about a record name."""

    def task_arn_of(self, record: R) -> str | None:
        """The task that a record has."""
        del record
        return None

    def record_id_of(self, started_by: str | None) -> str | None:
        """The id of the record that a task with this startedBy belongs to; None of other kinds."""
        del started_by
        return None

    def searched_by(self, record: R, actions: Sequence[Any]) -> str | None:
        """The startedBy to look for a task by, before `actions` on a record that knows none."""
        del record, actions
        return None

    def waiting(self, record: R) -> tuple[str, int, int] | None:
        """Id, attempt and version of a record that waits for a host and is to be counted."""
        del record
        return None

    def may_wait(self, record: R, attempt: int) -> bool:
        """Whether this attempt of a record waits for a host, or may come to that."""
        del record, attempt
        return False

    def tally(self, records: Sequence[R], tally: Tally) -> None:
        """Count what the figures are made of."""

    def tally_task(self, task: TaskChange, tally: Tally) -> None:
        """Count a task of this kind."""

    def report(self, state: SweepState) -> None:
        """The figures of a whole pass."""
