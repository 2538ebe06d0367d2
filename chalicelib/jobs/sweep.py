"""What the sweep does for jobs: compare each record with its task, act, look who waits."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import assert_never

from chalicelib.config import Config
from chalicelib.dynamodb.records import Unreadable, only_readable
from chalicelib.ecs.launcher import Launcher
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.jobs import lifecycle, reaping
from chalicelib.jobs.launching import JobLauncher
from chalicelib.jobs.model import Invocation, Priority, Reason, State, invocation_id_of
from chalicelib.jobs.service import Invocations
from chalicelib.jobs.table import InvocationsTable
from chalicelib.metrics import Metrics
from chalicelib.tasks.hosts_wanted import JOBS, HostsWanted
from chalicelib.tasks.reconciler import Step
from chalicelib.tasks.store import Store
from chalicelib.tasks.unreadable import UnreadableRecords, without_theirs


class JobsRoom:
    """The invocations, as the sweep sees them; see `chalicelib.tasks.reconciler.Room`."""

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
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._records = records
        self._invocations = invocations
        self._job_launcher = job_launcher
        self._launcher = launcher
        self._hosts_wanted = hosts_wanted
        self._unreadable = unreadable
        self._config = config
        self._metrics = metrics
        self._now = now

    def look(self) -> "JobsLook":
        """All invocations that have not ended."""
        return JobsLook(self, list(self._table.live()))

    def steps(
        self,
        found: Sequence[Invocation | Unreadable],
        tasks: Mapping[str, TaskChange],
        taken: Counter[str],
    ) -> Iterator[Step]:
        """The count of what waits for hosts, what to do about these, launches, then the figures."""
        invocations = only_readable(found)
        unreadable = [record for record in found if isinstance(record, Unreadable)]
        if self._config.capacity_provider is not None:
            # Before the actions, each of which lowers the count where it ends such a wait.
            waiting = sum(invocation.waits_for_instance for invocation in invocations)
            yield "CountWaiting", partial(self._hosts_wanted.correct, JOBS, waiting)
        if unreadable:
            yield from self._unreadable.marks(unreadable)
        own = without_theirs(tasks, unreadable, invocation_id_of)
        for action in reaping.plan_reaping(invocations, own, self._now()):
            yield type(action).__name__, partial(self._act, action)
        if any(i.is_waiting or i.state is State.SCHEDULED for i in invocations):
            yield "LaunchWaiting", self._job_launcher.run
        yield "Measure", partial(self._measure, found, taken.copy())

    def _act(self, action: reaping.Action) -> None:
        match action:
            case reaping.Observe(task) | reaping.StopOrphan(task):
                self._invocations.on_task_change(task)
            case reaping.ComeDue(invocation):
                self._invocations.came_due(invocation.id)
            case reaping.Send(invocation):
                self._with_all_of(invocation, self._invocations.send)
            case reaping.Expire(invocation):
                self._expire(invocation)
            case reaping.LaunchAgain(invocation):
                self._with_all_of(invocation, self._job_launcher.launch)
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

    def _with_all_of(self, seen: Invocation, act: Callable[[Invocation], object]) -> None:
        """Act on the whole record, as it is now: the sweep compares without its parameters."""
        whole = self._table.get(seen.id)
        if whole is not None:
            act(whole)

    def _expire(self, seen: Invocation) -> None:
        """Take the permit away first: its task may get a host at this very moment."""
        after = self._fold(seen, lifecycle.expire)
        if after is not None and after.has_ended:
            self._stop(seen, "no host in time")

    def _give_up_start(self, seen: Invocation) -> None:
        """Close the fence to it first: it may be about to ask."""
        after = self._fold(seen, lifecycle.never_asked)
        if after is not None and (after.attempt != seen.attempt or after.has_ended):
            self._stop(seen, "it never asked for leave to start")

    def _stop(self, invocation: Invocation, why: str) -> None:
        if invocation.task_arn is not None:
            self._launcher.stop(invocation.task_arn, why)

    def _fold(
        self, seen: Invocation, fold: Callable[[Invocation, float], Invocation]
    ) -> Invocation | None:
        """Fold it in, unless the record has moved on since it was seen; the record then."""
        now = self._now()

        def decide(before: Invocation) -> Invocation:
            return fold(before, now) if before.version == seen.version else before

        return self._records.change(seen.id, decide)

    def _measure(self, found: Sequence[Invocation | Unreadable], taken: Counter[str]) -> None:
        invocations = only_readable(found)
        self._unreadable.report([record for record in found if isinstance(record, Unreadable)])
        states = Counter((i.state, i.priority) for i in invocations)
        for state in (State.SCHEDULED, State.QUEUED, State.LAUNCHED, State.STARTED):
            for priority in Priority:
                amount = states[state, priority]
                self._metrics.gauge(
                    "invocations", amount, state=state.value, priority=priority.value
                )
        queued = [i for i in invocations if i.is_waiting]
        oldest = min((max(i.created_at, i.at or 0) for i in queued), default=None)
        age = 0.0 if oldest is None else self._now() - oldest
        self._metrics.gauge("job_queue_age_seconds", age)
        if self._config.jobs_capacity:
            self._metrics.gauge("job_places_taken", self._table.running())
        for name, amount in taken.items():
            self._metrics.count("sweep_actions", amount, action=name)


class JobsLook:
    """What was seen of the invocations; see `chalicelib.tasks.reconciler.Look`."""

    def __init__(self, room: JobsRoom, invocations: Sequence[Invocation | Unreadable]) -> None:
        self._room = room
        self._invocations = invocations

    @property
    def task_arns(self) -> list[str]:
        """Tasks of invocations."""
        return [i.task_arn for i in self._invocations if i.task_arn]

    def steps(self, tasks: Mapping[str, TaskChange], taken: Counter[str]) -> Iterator[Step]:
        """See `JobsRoom.steps`."""
        return self._room.steps(self._invocations, tasks, taken)
