"""The invocations' part of the sweep: compares records with tasks, repairs, launches waiting
ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, assert_never

from chalicelib.capacity.groups import Groups
from chalicelib.config import Config
from chalicelib.dynamodb.records import Unreadable
from chalicelib.ecs.launcher import Launcher
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.jobs import lifecycle, policy, reaping
from chalicelib.jobs.items import COMPARED
from chalicelib.jobs.launching import JobLauncher
from chalicelib.jobs.model import WAITING, Invocation, Priority, Reason, State, invocation_id_of
from chalicelib.jobs.service import Invocations
from chalicelib.jobs.table import InvocationsTable
from chalicelib.metrics import Metrics
from chalicelib.tasks.hosts_wanted import JOBS, HostsWanted
from chalicelib.tasks.kinds import Kind, Page, Step
from chalicelib.tasks.repairs import Observe, StopOrphan, repair_of
from chalicelib.tasks.store import LIVE_BUCKETS, Store
from chalicelib.tasks.sweep_state import SweepState, Tally
from chalicelib.tasks.trend import START_SECONDS, STARTED
from chalicelib.tasks.unreadable import UnreadableRecords

PAGE = 200
OLDEST = "invocation/waiting"
SHOWN = (State.SCHEDULED, State.QUEUED, State.LAUNCHED, State.STARTED)


class JobsKind(Kind[Invocation]):
    """The interface of invocations to the sweep."""

    name = "invocation"
    partitions = LIVE_BUCKETS
    page_size = PAGE
    counted_as = JOBS

    def __init__(
        self,
        *,
        table: InvocationsTable,
        records: Store[Invocation],
        invocations: Invocations,
        job_launcher: JobLauncher,
        launcher: Launcher,
        hosts_wanted: HostsWanted,
        unreadable: UnreadableRecords,
        config: Config,
        groups: Groups,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._records = records
        self._invocations = invocations
        self._job_launcher = job_launcher
        self._launcher = launcher
        self._config = config
        self._groups = groups
        self._metrics = metrics
        self._now = now
        self.unreadable = unreadable
        self.hosts_wanted = None if config.capacity_provider is None else hosts_wanted

    # Reads.

    def page(self, partition: int, after: str | None) -> Page[Invocation]:
        """A page of live invocations."""
        return Page(*self._table.live(partition, after, self.page_size))

    def overdue_page(self, partition: int, after: str | None) -> Page[Invocation]:
        """The invocations of a page that may be overdue."""
        page, now = self.page(partition, after), self._now()
        overdue = [
            record
            for record in page.records
            if not isinstance(record, Unreadable) and reaping.looks_overdue(record, now)
        ]
        return Page(overdue, page.after)

    def find(self, ids: Sequence[str]) -> Mapping[str, Invocation | Unreadable]:
        """The present records of invocations, by id."""
        return {record.id: record for record in self._table.get_all(ids, COMPARED)}

    def log_fields(self, record: Invocation) -> Mapping[str, Any]:
        """The fields of log records about it."""
        return record.log_fields

    def task_arn_of(self, record: Invocation) -> str | None:
        """The ARN of its task."""
        return record.task_arn

    def record_id_of(self, started_by: str | None) -> str | None:
        """The id of the invocation that a task belongs to."""
        return invocation_id_of(started_by)

    def waiting(self, record: Invocation) -> tuple[str, int, int] | None:
        """Only invocations on hosts are counted; Fargate tasks wait for no host."""
        return (record.id, record.attempt, record.version) if record.waits_for_instance else None

    def may_wait(self, record: Invocation, attempt: int) -> bool:
        """Whether RunTask may have been called for it: it is LAUNCHING with this attempt."""
        waits = record.waits_for_instance or record.state is State.LAUNCHING
        return waits and record.attempt == attempt

    # Decisions.

    def plan(self, record: Invocation, tasks: Mapping[str, TaskChange]) -> Iterator[reaping.Action]:
        """See `reaping.plan_reaping`; also moves invocations out of removed groups, which no
        launcher reads.
        """
        if record.is_waiting and record.group != policy.known_group(record.group, self._groups):
            yield reaping.Regroup(record)
        yield from reaping.plan_reaping([record], tasks, self._now())

    def plan_task(self, record: Invocation | None, task: TaskChange) -> Iterator[reaping.Action]:
        """See `reaping.plan_task`."""
        return reaping.plan_task(record, task)

    def searched_by(self, record: Invocation, actions: Sequence[reaping.Action]) -> str | None:
        """The `startedBy` to search for before the invocation is launched again or ended: RunTask's
        answer may have been lost.

        ECS forgets client tokens after some time.
        """
        was_claimed = record.claimed_at is not None and not record.is_waiting
        return record.started_by if actions and was_claimed and record.task_arn is None else None

    # Repairs.

    def steps(self, actions: Sequence[reaping.Action]) -> Iterator[Step]:
        """The repairs."""
        for action in actions:
            yield type(action).__name__, self._step_of(action)

    def closing_steps(self, finished: SweepState | None) -> Iterator[Step]:
        """Launch waiting invocations, unless a complete pass found none."""
        if finished is None or any(finished.counts.get(name) for name in _WAITING):
            yield "LaunchWaiting", self._job_launcher.run
        if self._config.jobs_capacity:
            yield "Measure", self._measure_places

    def _measure_places(self) -> None:
        self._metrics.gauge("job_places_taken", self._table.running())

    def _step_of(self, action: reaping.Action) -> Callable[[], object]:
        if isinstance(action, Observe | StopOrphan):
            return repair_of(action, self._invocations.on_task_change)
        return partial(self._act, action)

    def _act(self, action: reaping.RecordRepair) -> None:
        match action:
            case reaping.ComeDue(invocation):
                self._invocations.came_due(invocation.id)
            case reaping.Regroup(invocation):
                self._invocations.regroup(invocation.id)
            case reaping.Expire(invocation):
                self._expire(invocation)
            case reaping.LaunchAgain(invocation):
                self._launch_again(invocation)
            case reaping.Forget(invocation):
                self._fold(invocation, lifecycle.forgotten)
            case reaping.TimeUp(invocation):
                cause = f"its {invocation.timeout_seconds} s were over"
                self._invocations.kill(invocation.id, cause, Reason.TIMED_OUT)
            case reaping.NeverAsked(invocation):
                self._give_up_start(invocation)
            case reaping.StopTask(invocation):
                self._stop(invocation, "it did not stop by itself")
            case _:
                assert_never(action)

    def _launch_again(self, seen: Invocation) -> None:
        """Launch the whole record, as it is now: the sweep compares without its parameters."""
        whole = self._table.get(seen.id)
        if whole is not None:
            self._job_launcher.launch(whole)

    def _expire(self, seen: Invocation) -> None:
        """Revoke the start permit first: its task may get a host at this moment."""
        after = self._fold(seen, lifecycle.expire)
        if after is not None and after.has_ended:
            self._stop(seen, "no host in time")

    def _give_up_start(self, seen: Invocation) -> None:
        """Refuse the start permit first: the container may be about to request it."""
        after = self._fold(seen, lifecycle.never_asked)
        if after is not None and (after.attempt != seen.attempt or after.has_ended):
            self._stop(seen, "it never asked for a start permit")

    def _stop(self, invocation: Invocation, why: str) -> None:
        if invocation.task_arn is not None:
            self._launcher.stop(invocation.task_arn, why)

    def _fold(
        self, seen: Invocation, fold: Callable[[Invocation, float], Invocation]
    ) -> Invocation | None:
        """Apply `fold`, if the record has not changed since it was read; returns the present
        record.
        """
        now = self._now()

        def decide(before: Invocation) -> Invocation:
            return fold(before, now) if before.version == seen.version else before

        return self._records.change(seen.id, decide)

    # Counts.

    def tally(self, records: Sequence[Invocation], tally: Tally) -> None:
        """Count invocations by state and priority; find the oldest that waits."""
        tally.counts.update(_figure(record.state, record.priority) for record in records)
        for record in records:
            if record.is_waiting:
                tally.saw(OLDEST, max(record.created_at, record.at or 0))

    def tally_task(self, task: TaskChange, tally: Tally) -> None:
        """Count recently started tasks."""
        tally.counts[STARTED] += task.is_younger_than(START_SECONDS, self._now())

    def report(self, state: SweepState) -> None:
        """Emit the metrics of a complete pass."""
        for each in SHOWN:
            for priority in Priority:
                amount = state.counts.get(_figure(each, priority), 0)
                labels = {"state": each.value, "priority": priority.value}
                self._metrics.gauge("invocations", amount, **labels)
        oldest = state.oldest.get(OLDEST)
        age = 0.0 if oldest is None else self._now() - oldest
        self._metrics.gauge("job_queue_age_seconds", age)


def _figure(state: State, priority: Priority) -> str:
    return f"invocation/{state.value}/{priority.value}"


_WAITING = tuple(
    _figure(state, priority)
    for state in State
    if state in WAITING or state is State.SCHEDULED
    for priority in Priority
)
