"""Launches waiting invocations: claims them and runs their tasks on ECS."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Any

from chalicelib.capacity.groups import Amount, container
from chalicelib.capacity.ledger import Ledger
from chalicelib.capacity.shares import Denied, next_group
from chalicelib.capacity.starter import TaskStarter
from chalicelib.capacity.turns import Turns
from chalicelib.config import Config
from chalicelib.dynamodb.records import only_readable
from chalicelib.dynamodb.table import FAILED, count_of
from chalicelib.dynamodb.writes import Write, put
from chalicelib.ecs.failures import FINAL, LaunchError, LaunchFailure
from chalicelib.ecs.requests import PLUGIN, run_task_for
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.errors import UnavailableError, UnknownJobError
from chalicelib.jobs import lifecycle, policy
from chalicelib.jobs.catalog import Catalog
from chalicelib.jobs.description import DeployedJob
from chalicelib.jobs.items import to_item
from chalicelib.jobs.lines import Line
from chalicelib.jobs.model import Invocation, Priority, Reason, State
from chalicelib.jobs.owners import NewestTurns, OwnersRunning
from chalicelib.jobs.queues import JobQueues, WakeUp
from chalicelib.jobs.quotas import running_quota
from chalicelib.jobs.reruns import INDEX_LAG_SECONDS, Reruns
from chalicelib.jobs.table import CAPACITY_KEY, InvocationsTable, NotClaimed
from chalicelib.jobs.task_requests import (
    cluster_of,
    launch_type_of,
    provider_of,
    task_request_for,
)
from chalicelib.jobs.waiting import WaitingRecords
from chalicelib.metrics import Metrics
from chalicelib.tasks.hosts_wanted import JOBS, HostsWanted
from chalicelib.tasks.lease import Busy, Held, Lease
from chalicelib.tasks.revisions import Open, RevisionState, choose_revision
from chalicelib.tasks.start_rate import StartRate
from chalicelib.tasks.stops import TaskStops
from chalicelib.tasks.store import Store, next_version

TOGETHER_SECONDS = 0.5
"""How long a function's process that finds a round at work takes no other messages. That round
looks again at its end, so nothing waits for them, and those that come meanwhile are answered
together. Lambda bills this time."""
LEASE_SECONDS = 15
"""Nothing is launched for this long after the launcher's process crashed."""
STARTS_PER_SECOND = 20
"""ECS accepts 40 starts and stops a second in total; sessions of waiting users have priority."""
STARTS_AT_ONCE = 10
"""The launcher sends a message for the next launches after this many."""
WAITING_FULL_SECONDS = 10
"""Interval of checks whether one more task may wait for a host."""
GROUP_FULL_SECONDS = 5
"""Interval of checks whether a capacity group has capacity."""
CLAIM_TRIES = 3
"""Number of plans of one claim, which is planned again when its records have changed."""
STATE_SECONDS = 1.0
"""Seconds for which the cached state of a job's revisions is used for launches."""
_log = logging.getLogger("usher.jobs")


class Outcome(Enum):
    """The result of an attempt to launch an invocation."""

    LAUNCHED = auto()
    PASSED = auto()
    """This one is not launched; try the next one."""
    BLOCKED = auto()
    """Skip those behind it that have the same launch type, too."""
    OWNER_FULL = auto()
    """Skip the others of its owner, too."""
    GROUP_FULL = auto()
    """Skip the others of its capacity group, too."""
    STOP = auto()
    """Launch no others in this run."""


@dataclass(frozen=True)
class _Launched:
    """A launch that RunTask accepted and that is not written yet."""

    before: Invocation
    task: TaskChange
    at: float

    def fold(self, before: Invocation) -> Invocation:
        return lifecycle.fold_launch(before, self.before.attempt, self.task, self.at)

    @property
    def after(self) -> Invocation:
        """The record as `write` writes it."""
        return next_version(self.before, self.fold(self.before))

    def write(self, table: InvocationsTable) -> Write:
        """The write for a transaction, on the condition that the record has not changed."""
        name, item = table.items.name, to_item(self.after)
        return {"Put": put(name, item, self.before.version)}


@dataclass
class _Round:
    """State of one round of the launcher."""

    running: int | None = None
    """Number of held places when it began, or more; None where that was not read."""
    most: int | None = None
    """Maximum of launches."""
    launched: list[Invocation] = field(default_factory=list)
    unsaved: _Launched | None = None
    """Its last launch, until it is written together with something else."""

    @property
    def is_full(self) -> bool:
        return self.most is not None and len(self.launched) >= self.most


class JobLauncher:
    """Launches waiting invocations in order. May be called concurrently."""

    def __init__(
        self,
        *,
        table: InvocationsTable,
        records: Store[Invocation],
        turns: Turns,
        ledger: Ledger,
        starter: TaskStarter,
        stops: TaskStops,
        catalog: Catalog,
        queues: JobQueues,
        reruns: Reruns,
        rate: StartRate,
        hosts_wanted: HostsWanted,
        lease: Lease,
        config: Config,
        metrics: Metrics,
        now: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._table = table
        self._records = records
        self._turns = turns
        self._ledger = ledger
        self._starter = starter
        self._stops = stops
        self._catalog = catalog
        self._queues = queues
        self._reruns = reruns
        self._rate = rate
        self._hosts_wanted = hosts_wanted
        self._lease = lease
        self._config = config
        self._metrics = metrics
        self._now = now
        self._sleep = sleep
        self._waiting = WaitingRecords(table, now)
        self._states: dict[str, tuple[RevisionState, float]] = {}
        """The states of jobs' revisions, and the times at which they were read."""

    def run(
        self,
        newcomers: Sequence[str] = (),
        *,
        capacity_freed: bool = False,
        priority: Priority = Priority.CRITICAL,
        ends: int = 0,
        of_messages: bool = False,
    ) -> int:
        """Launch as many as there is capacity for, in order, unless another process does.

        `newcomers` are the ids of those that the index may not show yet. Nothing is done where no
        place is open to `priority`: the end that frees one sends a message. `ends`: so many ended,
        and nothing else is to be launched for; where places are counted, so many are launched at
        most, and how many run is not read. `of_messages`: as a queue's function, see
        TOGETHER_SECONDS. Returns how many were launched.
        """
        counts_places = self._config.jobs_capacity and not self._ledger.groups.is_counted
        if ends and counts_places:
            found: dict[str, Any] = {}
            round_ = _Round(most=min(ends, STARTS_AT_ONCE))
        else:
            found = self._table.items.get_all((CAPACITY_KEY, self._lease.item_id))
            round_ = _Round(running=count_of(found.get(CAPACITY_KEY)))
            if not self._is_open(priority, round_):
                if newcomers:
                    # the end that frees a place may look before the index shows them
                    self._reruns.request(INDEX_LAG_SECONDS)
                return 0
        held = self._lease.acquire(found.get(self._lease.item_id))
        if isinstance(held, Busy):
            if newcomers:  # the holder may look before the index shows them
                self._reruns.request(INDEX_LAG_SECONDS)
            if of_messages:
                self._sleep(TOGETHER_SECONDS)
            return 0
        launched = 0
        try:
            while True:
                self._launch_waiting(newcomers, round_, capacity_freed=capacity_freed)
                launched += len(round_.launched)
                if not self._runs_again(held, round_):
                    return launched
                round_ = _Round(running=self._running(), unsaved=round_.unsaved)
                capacity_freed = True  # it may be what the rerun was requested for
        except Exception:
            self._lease.release(held)
            self._save_launched(round_)
            raise

    def _runs_again(self, held: Held, round_: "_Round") -> bool:
        """Release the lease, together with the write of the last launch; or extend it, and leave
        that write to the next round.
        """
        last = round_.unsaved
        if last is None:
            return self._lease.runs_again(held)
        writes = [last.write(self._table), {"Update": self._lease.released(held)}]
        refusal = self._table.items.transact(writes)
        if refusal is None:
            self._saved(round_)
            return False
        if refusal.reasons == ["None", FAILED] and self._lease.extend(held):
            return True
        self._save_launched(round_)
        return self._lease.runs_again(held)

    def _running(self) -> int:
        """Number of invocations that hold a place, if places are counted."""
        return self._table.running() if self._config.jobs_capacity else 0

    def _is_open(self, priority: Priority, round_: "_Round") -> bool:
        """True if the number of running ones is unknown: the claim's condition decides then."""
        config = self._config
        if round_.running is None:
            return True
        return policy.is_open(
            priority,
            round_.running + len(round_.launched),
            config.jobs_capacity,
            config.jobs_kept_for_critical,
        )

    def _launch_waiting(
        self, newcomers: Sequence[str], round_: "_Round", *, capacity_freed: bool
    ) -> None:
        seen = NewestTurns()
        owners = OwnersRunning(
            self._table.items.counted, self._config.jobs_running_per_owner, self._now()
        )
        lines = self._lines(newcomers, owners, seen, capacity_freed=capacity_freed)
        while not round_.is_full and (line := self._next_line(lines)) is not None:
            if len(round_.launched) == STARTS_AT_ONCE:
                self._queues.send(Priority.CRITICAL, WakeUp())
                break
            invocation = line.take_first()
            outcome = self._try(invocation, round_)
            if outcome is Outcome.STOP:
                break
            if outcome is Outcome.GROUP_FULL:
                line.close()
            elif outcome is Outcome.BLOCKED:
                line.blocked.add(self._launch_type_of(invocation))
            elif outcome is Outcome.OWNER_FULL:
                owners.found_full(invocation)
            elif outcome is Outcome.LAUNCHED:
                owners.launched(invocation)
                round_.launched.append(invocation)
        for queue, owner, turn in seen.of_last(round_.launched):
            self._turns.none_waits(queue, owner, turn)

    def _lines(
        self,
        newcomers: Sequence[str],
        owners: OwnersRunning,
        seen: NewestTurns,
        *,
        capacity_freed: bool,
    ) -> dict[str, Line]:
        """The waiting invocations of each capacity group, by the group's name."""
        groups, now = self._ledger.groups, self._now()
        found = only_readable(self._table.get_all(newcomers)) if newcomers else []
        new = seen.take_in(one for one in found if one.is_waiting)
        self._ledger.standings(fresh=True)

        def in_order(group: str | None) -> Iterator[Invocation]:
            for partition in policy.partitions_of(group):
                for page in self._waiting.pages(partition):
                    yield from seen.take_in(page)

        def candidates(name: str, blocked: set[str]) -> Iterator[Invocation]:
            group = None if name == groups.default else name
            waiting = in_order(group)
            for each in new:
                if each.group == group:
                    waiting = policy.in_its_place(each, waiting)
            return policy.candidates(
                waiting,
                now,
                capacity_freed=capacity_freed,
                launch_type_of=self._launch_type_of,
                blocked=blocked,
                owner_is_full=owners.is_full,
            )

        return {name: Line(partial(candidates, name)) for name in groups.by_name}

    def _next_line(self, lines: Mapping[str, Line]) -> Line | None:
        """The line whose first invocation is to be tried next; None if no more may start."""
        if not self._ledger.groups.is_counted:
            (line,) = lines.values()
            return line if line.first is not None else None
        wanted = {name: self._size_of(line.first) for name, line in lines.items() if line.first}
        name = next_group(self._ledger.groups, self._ledger.standings(), wanted)
        if name is not None:
            return lines[name]
        for each, amount in wanted.items():
            self._wait_for_group(each, amount)
        return None

    def _wait_for_group(self, group: str | None, wanted: Amount) -> None:
        """Record the wait, because the end of a session sends no message to the launcher."""
        self._ledger.note_waiting(group, wanted)
        self._reruns.request(GROUP_FULL_SECONDS)

    def _size_of(self, invocation: Invocation) -> Amount:
        """The capacity that its container uses, by the newest revision of its job."""
        try:
            description = self._catalog.get(invocation.job).description
        except (UnknownJobError, UnavailableError):
            return container(0, 0)
        return container(description.cpu, description.memory)

    def launch(self, invocation: Invocation) -> Outcome:
        """Send the stored RunTask request of a claimed invocation. Repetitions have no further
        effect.
        """
        round_ = _Round()
        outcome = self._launch(invocation, round_)
        self._save_launched(round_)
        return outcome

    def _launch(self, invocation: Invocation, round_: "_Round") -> Outcome:
        """Launch like `launch`. RunTask's answer is written with the next write of the round, or at
        once if the task waits for a host.
        """
        attempt, request = invocation.attempt, invocation.request
        if request is None or invocation.state is not State.LAUNCHING:
            return Outcome.PASSED
        try:
            task = self._starter.run(request)
        except LaunchError as error:
            return self._refused(invocation, error)
        counted = task.waits_for_host and not invocation.is_on_fargate
        if counted:
            self._hosts_wanted.add(JOBS, invocation.id, attempt)
        round_.unsaved = _Launched(invocation, task, self._now())
        if counted:
            self._save_launched(round_)
        return Outcome.LAUNCHED

    def _saved(self, round_: "_Round") -> None:
        """Cache the records of the last launch after their transaction."""
        last, round_.unsaved = round_.unsaved, None
        if last is not None:
            self._records.written(last.before, last.after)

    def _save_launched(self, round_: "_Round") -> None:
        """Write the last launch that was not written with something else."""
        last, round_.unsaved = round_.unsaved, None
        if last is None:
            return
        invocation, attempt, task = last.before, last.before.attempt, last.task
        after = self._records.update(invocation, last.fold)
        counted = task.waits_for_host and not invocation.is_on_fargate
        if counted and not after.waits_for_host:  # an event with its host was handled first
            self._hosts_wanted.remove(JOBS, invocation.id, attempt)
        if after.attempt != attempt or after.task_arn != task.task_arn:
            self._stops.stop(
                task.task_arn, "its attempt was over when it was launched", after.log_fields
            )
        elif after.state is State.KILL_INITIATED:
            self._stops.stop(task.task_arn, "it was killed while it was launched", after.log_fields)

    def _try(self, invocation: Invocation, round_: "_Round") -> Outcome:
        now = self._now()
        if now >= invocation.not_after:
            self._records.update(
                invocation,
                lambda before: lifecycle.expire(before, now) if before.is_waiting else before,
            )
            return Outcome.PASSED
        if not self._is_open(invocation.priority, round_):
            return self._no_capacity()
        try:
            job = self._job_for(invocation)
        except UnknownJobError as error:
            detail = str(error)
            self._give_up(invocation, detail)
            return Outcome.PASSED
        except UnavailableError as error:
            _log.warning(
                "nothing is launched for the moment: %s", error, extra=invocation.log_fields
            )
            self._reruns.request(1)
            return Outcome.STOP
        if isinstance(job, Open):
            self._tell_why(invocation, f"the breaker of its revision is open: {job.reason}")
            self._reruns.request(job.retry_after_seconds)
            return Outcome.PASSED
        return self._start(invocation, job, round_)

    def _start(self, invocation: Invocation, job: DeployedJob, round_: "_Round") -> Outcome:
        if not self._may_wait_at_ecs(invocation, job):
            self._tell_why(invocation, "too many containers wait for hosts; they go first")
            self._reruns.request(WAITING_FULL_SECONDS)
            return Outcome.BLOCKED
        return self._claim_and_launch(invocation, job, round_)

    def _no_capacity(self) -> Outcome:
        """The outcome for an invocation without an open place. An end releases one and sends a
        message.
        """
        return Outcome.GROUP_FULL if self._ledger.groups.is_counted else Outcome.STOP

    def _launch_type_of(self, invocation: Invocation) -> str:
        """The launch type of the newest revision of its job; the default if that cannot be read."""
        try:
            return launch_type_of(self._catalog.get(invocation.job), self._config)
        except (UnknownJobError, UnavailableError):
            return self._config.jobs_launch_type

    def _may_wait_at_ecs(self, invocation: Invocation, job: DeployedJob) -> bool:
        """Whether one more task that may have to wait for a host is sent to ECS.

        ECS starts waiting tasks in an order of its choice, so few wait there; some places are
        reserved for critical ones. Tasks that a placement plug-in places never wait there.
        """
        config = self._config
        provider = provider_of(job.description.name, config)
        has_plugin = job.description.placement.plugin is not None
        if provider is None or has_plugin or launch_type_of(job, config) != "EC2":
            return True
        kept = min(config.jobs_kept_for_critical, config.waiting_jobs // 2)
        most = config.waiting_jobs - (0 if invocation.priority is Priority.CRITICAL else kept)
        return self._hosts_wanted.count(JOBS) < most

    def _job_for(self, invocation: Invocation) -> DeployedJob | Open:
        newest = self._catalog.get(invocation.job)
        state = self._state_of(invocation.job)
        chosen = choose_revision(state, newest.task_definition, self._now())
        if isinstance(chosen, Open) or chosen == newest.task_definition:
            return chosen if isinstance(chosen, Open) else newest
        return self._catalog.revision(chosen)

    def _state_of(self, job: str) -> RevisionState:
        """Returns the cached state of a job's revisions, at most `STATE_SECONDS` old."""
        now = self._now()
        self._states = {
            name: (state, read_at)
            for name, (state, read_at) in self._states.items()
            if 0 <= now - read_at < STATE_SECONDS
        }
        if job not in self._states:
            self._states[job] = (self._table.revisions.get(job), now)
        return self._states[job][0]

    def _claim_and_launch(
        self,
        invocation: Invocation,
        job: DeployedJob,
        round_: "_Round",
        tries: int = CLAIM_TRIES,
    ) -> Outcome:
        config, now = self._config, self._now()
        most = policy.slots_for(
            invocation.priority, config.jobs_capacity, config.jobs_kept_for_critical
        )
        cluster = cluster_of(invocation.job, config)
        request = run_task_for(task_request_for(invocation, job, config), cluster)
        quota = running_quota(invocation, config.jobs_running_per_owner, now)
        size = container(job.description.cpu, job.description.memory)
        take = self._ledger.plan_take(invocation.group, size, has_waited=True)
        if isinstance(take, Denied):
            self._wait_for_group(invocation.group, size)
            return Outcome.GROUP_FULL
        counters = [] if most is None else [CAPACITY_KEY]
        counters += [] if quota is None else [quota.key]
        counted = [] if most is None else [(NotClaimed.CAPACITY, self._table.place(most, now))]
        counted += [] if quota is None else [(NotClaimed.OWNER, self._table.counted(quota))]
        counted.append((NotClaimed.RATE, self._rate.counted(STARTS_PER_SECOND)))
        queue = policy.turns_of(invocation)
        known = (*self._turns.starting(queue, invocation.turn), *take.writes)
        counted += [(NotClaimed.KNOWLEDGE, write) for write in known]
        claimed = lifecycle.claim(
            invocation,
            task_definition=job.task_definition,
            image=job.image,
            timeout_seconds=job.description.timeout_seconds,
            request=request,
            attempt_counters=(*counters, *take.counters),
            now=now,
        )
        if round_.unsaved is not None:
            counted.append((NotClaimed.LAUNCHED, round_.unsaved.write(self._table)))
        written = self._table.claim(invocation, claimed, *counted)
        self._waiting.forget(invocation.id)
        if isinstance(written, Invocation):
            self._saved(round_)
            self._ledger.taken(invocation.group, size, has_waited=True)
            self._turns.moved(queue, invocation.turn)
            return self._launch(written, round_)
        self._ledger.forget()
        if tries > 1:
            planned_anew = self._plan_anew(written, invocation, round_)
            if planned_anew is not None:
                return self._claim_and_launch(planned_anew, job, round_, tries - 1)
        return self._not_claimed(written)

    def _plan_anew(
        self, lost: NotClaimed, invocation: Invocation, round_: "_Round"
    ) -> Invocation | None:
        """Refresh the data that the claim was planned on; None if a new plan would not differ."""
        match lost:
            case NotClaimed.LAUNCHED:
                self._save_launched(round_)
                return invocation
            case NotClaimed.KNOWLEDGE:
                self._turns.clock(policy.turns_of(invocation))
                return invocation
            case NotClaimed.RECORD:  # it may have been read in an earlier round
                found = self._table.find(invocation.id)
                if not isinstance(found, Invocation) or found.version == invocation.version:
                    return None
                return found if policy.may_be_tried(found, self._now()) else None
        return None

    def _not_claimed(self, lost: NotClaimed) -> Outcome:
        match lost:
            case NotClaimed.CAPACITY:
                return self._no_capacity()
            case NotClaimed.RATE:
                self._reruns.request(1)
                return Outcome.STOP
            case NotClaimed.OWNER:
                return Outcome.OWNER_FULL
        return Outcome.PASSED

    def _refused(self, invocation: Invocation, error: LaunchError) -> Outcome:
        fields = invocation.log_fields | {"failure": error.failure}
        _log.warning("not launched: %s", error, extra=fields)
        self._metrics.count("job_launch_failures", job=invocation.job, failure=error.failure.value)
        attempt, now = invocation.attempt, self._now()
        after = self._records.update(
            invocation, lambda before: lifecycle.fold_refusal(before, attempt, error, now)
        )
        if error.failure in {*FINAL, LaunchFailure.UNCERTAIN}:
            return Outcome.PASSED
        self._reruns.request((after.next_try_at or now) - now)
        if error.failure is LaunchFailure.THROTTLED:
            return Outcome.STOP  # the rate of RunTask is shared by all
        if PLUGIN in (invocation.request or {}):  # other invocations may still find a host
            return Outcome.PASSED
        return Outcome.BLOCKED if policy.blocks_its_launch_type(after) else Outcome.PASSED

    def _give_up(self, invocation: Invocation, detail: str) -> None:
        now = self._now()

        def decide(before: Invocation) -> Invocation:
            if not before.is_waiting:
                return before
            return lifecycle.finish(before, Reason.START_FAILED, detail, now)

        self._records.update(invocation, decide)

    def _tell_why(self, invocation: Invocation, detail: str) -> None:
        self._records.update(invocation, lambda before: lifecycle.waits_because(before, detail))
