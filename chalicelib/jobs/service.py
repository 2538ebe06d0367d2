"""Operations on invocations for callers, containers and ECS: load, decide, write conditionally,
act.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from chalicelib.audit.table import AuditEntry
from chalicelib.callers import Caller
from chalicelib.capacity.ledger import Ledger
from chalicelib.capacity.turns import Turns
from chalicelib.config import Config, jobs_queue
from chalicelib.contract.jobs import Outcome
from chalicelib.dynamodb.records import Unreadable
from chalicelib.dynamodb.writes import Write
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.environment import Ids
from chalicelib.errors import (
    ConflictError,
    ForbiddenError,
    InvalidParametersError,
    LimitError,
    NotFoundError,
    UnavailableError,
)
from chalicelib.jobs import lifecycle, policy
from chalicelib.jobs.answers import facts_of, why_it_waits
from chalicelib.jobs.catalog import Catalog
from chalicelib.jobs.clock import Clock
from chalicelib.jobs.listings import Listing, Page, plan_search
from chalicelib.jobs.model import (
    Change,
    Invocation,
    Priority,
    Reason,
    State,
    UnreadableJson,
    Usage,
    mark_of,
)
from chalicelib.jobs.queues import JobQueues, WakeUp, message_of
from chalicelib.jobs.quotas import Quota, quotas_for, running_quota
from chalicelib.jobs.reruns import INDEX_LAG_SECONDS, Reruns
from chalicelib.jobs.schemas import check_parameters
from chalicelib.jobs.table import InvocationsTable
from chalicelib.metrics import Metrics
from chalicelib.tasks.requests import authenticated
from chalicelib.tasks.stops import TaskStops
from chalicelib.tasks.store import Recent, Store
from chalicelib.tasks.unreadable import UnreadableRecords

EXIT_SECONDS = 30
"""How long after its report a container may take to exit before its task is an orphan."""
PERMITTED = 32
"""Maximum of started invocations that are cached for their reports; each has up to 200 KiB."""
ORPHANED = "no live invocation has any claim to this task"

_log = logging.getLogger("usher.jobs")


@dataclass(frozen=True)
class QueueFacts:
    """Numbers of waiting and running invocations. `capacity` 0 means no limit; running ones are not
    counted then.
    """

    waiting: Mapping[Priority, int]
    oldest_at: float | None
    """Time since which the first one waits."""
    running: int
    capacity: int


class Invocations:
    """The invocations of one deployment."""

    def __init__(
        self,
        *,
        table: InvocationsTable,
        records: Store[Invocation],
        turns: Turns,
        ledger: Ledger,
        stops: TaskStops,
        catalog: Catalog,
        queues: JobQueues,
        reruns: Reruns,
        clock: Clock,
        ids: Ids,
        unreadable: UnreadableRecords,
        config: Config,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._records = records
        self._turns = turns
        self._ledger = ledger
        self._stops = stops
        self._catalog = catalog
        self._queues = queues
        self._reruns = reruns
        self._clock = clock
        self._ids = ids
        self._unreadable = unreadable
        self._config = config
        self._metrics = metrics
        self._now = now
        self._permitted: Recent[Invocation] = Recent(PERMITTED)

    def draft(
        self,
        *,
        job: str,
        owner: str,
        parameters: Any,
        callback_base_url: str,
        invocation_id: str | None = None,
        priority: Priority | None = None,
        at: float | None = None,
        not_after: float | None = None,
        schedule_id: str | None = None,
        planned_at: float | None = None,
        rerun_of: str | None = None,
        request_digest: str | None = None,
        traceparent: str | None = None,
    ) -> Invocation:
        """Create a record without writing it; checks the job and its parameters.

        Raises UnknownJobError, InvalidParametersError, UnavailableError.
        """
        deployed = self._catalog.get(job)
        description = deployed.description
        if isinstance(parameters, UnreadableJson):
            raise InvalidParametersError("the parameters are nested too deeply to be read")
        check_parameters(description.parameters, parameters)
        now = self._now()
        later = at if at is not None and at > now else None
        state = State.SCHEDULED if later else State.ACCEPTED
        return Invocation(
            id=invocation_id or self._ids.uuid(),
            job=job,
            owner=owner,
            key=self._ids.key(),
            priority=priority or description.priority,
            group=policy.group_for(description, self._ledger.groups),
            created_at=now,
            not_after=not_after or (later or now) + description.queue_seconds,
            parameters=parameters,
            at=later,
            callback_base_url=callback_base_url,
            schedule_id=schedule_id,
            planned_at=planned_at,
            rerun_of=rerun_of,
            request_digest=request_digest,
            traceparent=traceparent,
            image=deployed.image,
            state=state,
            history=(Change(now, state, f"asked for by {owner}"),),
        )

    def accept(
        self, draft: Invocation, *, by: Caller | None = None, audit: AuditEntry | None = None
    ) -> Invocation:
        """Write the record if its id is new, and have it launched. Returns the present record.

        `by`: the caller whose quotas apply; `audit` is written with it. Raises LimitError,
        UnavailableError.
        """
        if draft.state is State.ACCEPTED:
            now = self._now()
            turn = self._turns.next(policy.turns_of(draft), draft.owner, now)
            draft = lifecycle.queue(replace(draft, turn=turn), now)
        try:
            written = self._record(draft, by, audit)
        except LimitError:
            self._give_turn_back(draft)  # a refused request must not delay the owner's next one
            raise
        if written is None:
            self._give_turn_back(draft)
            found = self._table.get(draft.id)
            if found is None:  # another transaction held the items
                raise UnavailableError("it was not recorded", retry_after_seconds=1)
            return found
        self._metrics.count("jobs_accepted", job=draft.job, priority=draft.priority.value)
        if written.state is State.SCHEDULED:
            queue = jobs_queue(self._config.stage, written.priority)
            self._clock.wake_at(
                written.at or 0, message_of(WakeUp(written.id, comes_due=True)), queue
            )
            return written
        if self._is_full(written):
            self._reruns.request(INDEX_LAG_SECONDS)
        else:
            self._wake_launcher(written)
        return written

    def _is_full(self, written: Invocation) -> bool:
        """Whether no place is open to one that was just written: the end that frees one sends a
        message.

        Read only where none was open a moment ago. It must be read after the record was written: a
        place that is freed before this is seen here, and one that is freed later is given by a
        round that finds the record, once the index shows it.
        """
        return not self._is_open_to(written, self._turns.count_beside) and not self._is_open_to(
            written, self._table.running()
        )

    def _is_open_to(self, invocation: Invocation, running: int) -> bool:
        config = self._config
        return policy.is_open(
            invocation.priority, running, config.jobs_capacity, config.jobs_kept_for_critical
        )

    def _give_turn_back(self, draft: Invocation) -> None:
        if draft.turn is not None:
            self._turns.give_back(policy.turns_of(draft), draft.owner)

    def accept_at_once(self, draft: Invocation) -> None:
        """Write an invocation without quota and turn, like `accept`: it precedes those with a
        turn.
        """
        written = self._table.put_if_absent(lifecycle.queue(draft, self._now()))
        if written is not None:
            self._metrics.count("jobs_accepted", job=draft.job, priority=draft.priority.value)
            self._wake_launcher(written)

    def _record(
        self, draft: Invocation, by: Caller | None, audit: AuditEntry | None
    ) -> Invocation | None:
        more = () if audit is None else (audit.write(None, facts_of(draft)),)
        if by is None or by.is_operator:
            return self._table.put_if_absent(draft, *more)
        draft = replace(draft, is_limited=True)
        live, a_day = self._config.jobs_per_owner, self._config.jobs_per_owner_a_day
        quotas = quotas_for(by.owner, live=live, a_day=a_day, now=self._now())
        if not quotas:
            return self._table.put_if_absent(draft, *more)
        recorded = self._table.accept(draft, quotas, *more)
        if isinstance(recorded, Quota):
            raise LimitError(
                f"the limit of {recorded.maximum} for {recorded.label} is reached",
                retry_after_seconds=recorded.retry_after_seconds,
            )
        return recorded

    def skip(self, draft: Invocation, why: str) -> Invocation:
        """Write the record of a planned run that is skipped, if its id is new."""
        written = self._table.put_if_absent(lifecycle.skipped(draft, why, self._now()))
        if written is not None:
            self._metrics.count("jobs_ended", job=draft.job, reason=Reason.SKIPPED.value)
        found = written or self._table.find(draft.id)
        return found if isinstance(found, Invocation) else draft

    def _wake_launcher(self, invocation: Invocation) -> None:
        """Have it launched soon; without the message the sweep has it launched."""
        self._queues.send(invocation.priority, WakeUp(invocation.id))

    def came_due(self, invocation_id: str) -> None:
        """Let a deferred invocation wait for its turn, if its time has come."""
        now, seen = self._now(), self._table.find(invocation_id)
        # the sweep does it when the record can be read again
        if seen is None or isinstance(seen, Unreadable):
            return
        turn = None
        if lifecycle.is_due(seen, now):
            turn = self._turns.next(policy.turns_of(seen), seen.owner, now)
        self._records.update(seen, lambda before: lifecycle.came_due(before, turn, now))

    def regroup(self, invocation_id: str) -> None:
        """Move an invocation that waits in a removed capacity group to the default group, behind
        those of its owner that wait there. Raises UnavailableError, BusyError.
        """
        seen = self._table.find(invocation_id)
        if not isinstance(seen, Invocation) or not seen.is_waiting:
            return
        group = policy.known_group(seen.group, self._ledger.groups)
        if group == seen.group:
            return
        moved = replace(seen, group=group)
        turn = self._turns.next(policy.turns_of(moved), seen.owner, self._now())
        after = self._records.update(
            seen, lambda before: lifecycle.regroup(before, seen.group, group, turn)
        )
        if after.turn == turn:
            self._wake_launcher(after)

    def get_record(self, invocation_id: str) -> Invocation | None:
        """The present record."""
        return self._table.get(invocation_id)

    def get(self, invocation_id: str, caller: Caller) -> Invocation:
        """The invocation with this id. Raises NotFoundError, also for invocations of other
        owners.
        """
        invocation = self._table.get(invocation_id)
        if invocation is None or not caller.may_see(invocation.owner):
            raise NotFoundError("no such invocation")
        return invocation

    def search(self, listing: Listing, caller: Caller) -> Page:
        """One page of the caller's invocations, newest first; of all owners, or of the owner in the
        listing, for an operator or viewer. Raises ForbiddenError.
        """
        if listing.owner is not None and not caller.may_see(listing.owner):
            raise ForbiddenError("owner: only operators may see what belongs to others")
        owner = listing.owner if caller.sees_all else caller.owner
        return self._table.search(plan_search(listing, owner, self._now()))

    def queue_facts(self) -> QueueFacts:
        """Approximate numbers of waiting and running invocations: counts the first megabyte of the
        index for each priority.
        """
        groups = self._groups()
        oldest = [
            self._table.oldest_waiting(partition)
            for group in groups
            for partition in policy.partitions_of(group)
        ]
        waiting = {
            priority: sum(
                self._table.count_waiting(*policy.range_of(group, priority)) for group in groups
            )
            for priority in Priority
        }
        return QueueFacts(
            waiting=waiting,
            oldest_at=min((at for at in oldest if at is not None), default=None),
            running=self._table.running(),
            capacity=self._config.jobs_capacity,
        )

    def waiting_in(self, group: str) -> int:
        """The approximate number of invocations that wait in a capacity group."""
        own = None if group == self._ledger.groups.default else group
        ranges = [policy.range_of(own, priority) for priority in Priority]
        return sum(self._table.count_waiting(*each) for each in ranges)

    def _groups(self) -> list[str | None]:
        """The groups in which invocations wait, as records store them."""
        groups = self._ledger.groups
        return [None, *(name for name in groups.by_name if name != groups.default)]

    def why_it_waits(self, invocation: Invocation) -> dict[str, Any] | None:
        """Why it is not launched; None if it does not wait."""
        if not (invocation.is_waiting or invocation.state is State.SCHEDULED):
            return None
        config, priority = self._config, invocation.priority
        most = policy.slots_for(priority, config.jobs_capacity, config.jobs_kept_for_critical)
        ahead = self._ahead_of(invocation)
        quota = running_quota(invocation, config.jobs_running_per_owner, self._now())
        return why_it_waits(
            invocation,
            owner_running=0 if quota is None else self._table.items.counted(quota.key),
            owner_most=None if quota is None else quota.maximum,
            ahead=ahead,
            estimate_seconds=self._ledger.estimate_seconds(invocation.group, ahead),
            running=self._table.running() if most is not None else 0,
            most=most,
        )

    def _ahead_of(self, invocation: Invocation) -> int:
        """The approximate number of invocations of its group that precede it."""
        count, own = self._table.count_waiting, policy.order_in_partition(invocation)
        if invocation.group is not None:
            ahead = count(policy.partition_of(invocation), 0, own)
        else:
            more = policy.ORDER[: policy.ORDER.index(invocation.priority)]
            ahead = sum(count(*policy.range_of(None, priority)) for priority in more)
            ahead += count(invocation.priority, 0, own)
        return max(0, ahead - invocation.is_waiting)

    def kill(
        self,
        invocation_id: str,
        cause: str,
        reason: Reason | None = None,
        audit: AuditEntry | None = None,
    ) -> Invocation:
        """End it in any state; no effect on one that has ended. Raises NotFoundError.

        `audit` is written with the change, if there is one.
        """
        now = self._now()
        after = self._records.change(
            invocation_id,
            lambda before: lifecycle.ask_for_end(before, cause, now, reason),
            write_with=None if audit is None else partial(_audited, audit),
        )
        if after is None:
            raise NotFoundError("no such invocation")
        if after.state is State.KILL_INITIATED:
            self._stops.stop(after.task_arn, cause, after.log_fields)
        return after

    def start(
        self, invocation_id: str, key: str, attempt: int, task_arn: str | None, process: str
    ) -> Mapping[str, Any]:
        """A container asks for a start permit. Raises ConflictError where there is none for it."""
        now = self._now()
        given = task_arn and self._table.permit(
            invocation_id, key, attempt=attempt, task_arn=task_arn, process=process, now=now
        )
        if given:
            before, after = given
            self._records.written(before, after)
        else:
            seen = authenticated(self._table.get(invocation_id), key, "invocation")
            after = self._fold(
                seen, lambda before: lifecycle.give_permit(before, attempt, task_arn, process, now)
            )
        if isinstance(after.parameters, UnreadableJson):
            raise ConflictError("its parameters are nested too deeply to be read")
        self._permitted.put(after)
        return {
            "job": after.job,
            "parameters": after.parameters,
            "timeoutSeconds": after.timeout_seconds,
        }

    def progress(
        self, invocation_id: str, key: str, process: str, fraction: float | None, message: str
    ) -> None:
        """Store the job's progress. Raises ConflictError."""
        seen, now = self._known(invocation_id, key), self._now()
        after = self._fold(
            seen, lambda before: lifecycle.fold_progress(before, process, fraction, message, now)
        )
        self._permitted.put(after)

    def finish(
        self,
        invocation_id: str,
        key: str,
        process: str,
        outcome: Outcome,
        *,
        exit_code: int,
        detail: str,
        result: Any,
        usage: Usage | None,
    ) -> None:
        """Store the container's report of the run's end. Raises ConflictError."""
        seen, now = self._known(invocation_id, key), self._now()
        self._fold(
            seen,
            lambda before: lifecycle.fold_finish(
                before,
                process,
                outcome,
                exit_code=exit_code,
                detail=detail,
                result=result,
                usage=usage,
                now=now,
            ),
        )

    def on_task_change(self, change: TaskChange) -> bool:
        """Handle a task change of ECS. A task that no invocation refers to is stopped: returns
        whether this one was.
        """
        mark = mark_of(change.started_by)
        if mark is None:
            return False
        invocation_id, attempt = mark
        seen = self._table.find(invocation_id)
        if isinstance(seen, Unreadable):
            self._unreadable.skip_task_change(seen)
            return False
        if seen is None:
            return self._stops.stop_orphan(change, ORPHANED, {"invocation": invocation_id})
        now = self._now()
        after = self._records.update(
            seen, lambda before: lifecycle.fold_task(before, attempt, change, now)
        )
        if after.has_ended and after.task_arn == change.task_arn:
            if now < (after.finished_at or now) + EXIT_SECONDS:
                return False  # it has reported and is about to exit
        elif attempt == after.attempt and after.task_arn == change.task_arn:
            return False
        return self._stops.stop_orphan(change, ORPHANED, after.log_fields)

    def _known(self, invocation_id: str, key: str) -> Invocation:
        """An invocation with a permit, as this process wrote it or as it is stored. Each report of
        its container is written on the condition that the record has not changed.
        """
        seen = self._permitted.take(invocation_id) or self._table.get(invocation_id)
        return authenticated(seen, key, "invocation")

    def _fold(
        self,
        seen: Invocation,
        fold: Callable[[Invocation], Invocation | lifecycle.Refused],
    ) -> Invocation:
        def decide(before: Invocation) -> Invocation:
            after = fold(before)
            if isinstance(after, lifecycle.Refused):
                raise ConflictError(after.why)
            return after

        return self._records.update(seen, decide)


def _audited(audit: AuditEntry, before: Invocation, after: Invocation) -> Write:
    return audit.write(facts_of(before), facts_of(after))
