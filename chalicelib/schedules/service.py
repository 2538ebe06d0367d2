"""Schedules as callers, their queue and the sweep see them: load, decide, write on condition, act.

The write comes before the acts: see `chalicelib.schedules.model` for what that is good for.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from chalicelib.audit.table import AuditEntry
from chalicelib.callers import Caller
from chalicelib.config import Config, schedules_queue
from chalicelib.dynamodb.records import Unreadable
from chalicelib.dynamodb.table import change
from chalicelib.errors import (
    BadRequestError,
    NotFoundError,
    UnavailableError,
    UnreadableRecordError,
)
from chalicelib.jobs.model import Invocation, Priority, planned_id, repeated_id
from chalicelib.schedules import model as rules
from chalicelib.schedules.model import Attention, Schedule
from chalicelib.schedules.requests import Fire, facts_of, message_of
from chalicelib.schedules.table import SchedulesPage, SchedulesTable
from chalicelib.tasks.unreadable import log_unreadable

MAX_SKEW_SECONDS = 5
"""A message that comes so little before its time comes from a clock that is ahead of this one."""
ATTEMPTS = 12

_log = logging.getLogger("usher.jobs")


class Runs(Protocol):
    """What schedules ask for; see `chalicelib.jobs.service.Invocations`."""

    def draft(
        self,
        *,
        job: str,
        owner: str,
        parameters: Any,
        callback_base_url: str,
        invocation_id: str | None = None,
        priority: Priority | None = None,
        schedule_id: str | None = None,
        planned_at: float | None = None,
    ) -> Invocation:
        """A record that was not written yet. Raises BadRequestError for what does not fit."""

    def accept(self, draft: Invocation, *, audit: AuditEntry | None = None) -> Invocation:
        """Record it, if there is none of this id, and have it launched."""

    def skip(self, draft: Invocation, why: str) -> Invocation:
        """Record that it is left out, if there is none of this id."""

    def kill(self, invocation_id: str, cause: str) -> Invocation:
        """End it, wherever it is. Raises NotFoundError."""

    def get_record(self, invocation_id: str) -> Invocation | None:
        """The record as it is now."""


class Wakes(Protocol):
    """See `chalicelib.jobs.clock.Clock`."""

    def wake_at(
        self, at: float, message: Mapping[str, Any], queue: str, name: str | None = None
    ) -> bool:
        """Have the message in the queue at an instant; whether it will be."""

    def forget(self, name: str) -> None:
        """Take such a wake away."""


class Schedules:
    """The schedules of one deployment."""

    def __init__(
        self,
        *,
        table: SchedulesTable,
        invocations: Runs,
        clock: Wakes,
        config: Config,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._invocations = invocations
        self._clock = clock
        self._config = config
        self._queue = schedules_queue(config.stage)
        self._now = now

    # What callers do.

    def put(self, wanted: Schedule, audit: AuditEntry) -> tuple[Schedule, bool]:
        """Make it, or put it in the place of what has its id; and whether it is new.

        `audit` is recorded with the change. Raises BadRequestError when the job would not take it.
        """
        self._draft(wanted)
        for _ in range(ATTEMPTS):
            before = self._table.get(wanted.id)
            if before is None:
                if self._table.put_if_absent(wanted, audit.write(None, facts_of(wanted))):
                    return self._arm(wanted), True
                continue
            after = rules.edited(before, wanted, self._now())
            record = audit.write(facts_of(before), facts_of(after))
            written = self._table.replace(before, after, record)
            if written is not None:
                return self._arm(written), False
        raise UnavailableError("the schedule is changing too fast", retry_after_seconds=1)

    def get(self, schedule_id: str) -> Schedule:
        """The schedule as it is now. Raises NotFoundError."""
        found = self._table.get(schedule_id)
        if found is None:
            raise NotFoundError("no such schedule")
        return found

    def page(self, limit: int, after: str | None) -> SchedulesPage:
        """Schedules by id."""
        return self._table.page(limit, after)

    def delete(self, schedule_id: str, audit: AuditEntry) -> None:
        """Take it away; what it asked for runs on. Raises NotFoundError."""
        before = self._table.find(schedule_id)
        if before is None:
            raise NotFoundError("no such schedule")
        facts = None if isinstance(before, Unreadable) else facts_of(before)
        if not self._table.delete(schedule_id, audit.write(facts, None)):
            raise NotFoundError("no such schedule")
        self._clock.forget(_wake_name(schedule_id))

    def pause(self, schedule_id: str, audit: AuditEntry) -> Schedule:
        """Plan nothing until it is resumed. Raises NotFoundError."""
        return self._change(schedule_id, rules.paused, audit)

    def resume(self, schedule_id: str, audit: AuditEntry) -> Schedule:
        """Plan again from now on. Raises NotFoundError."""
        return self._arm(self._change(schedule_id, rules.resumed, audit))

    def run_now(
        self,
        schedule_id: str,
        caller: Caller,
        idempotency_key: str | None,
        audit: Callable[[str], AuditEntry],
    ) -> tuple[Invocation, bool]:
        """Run it once besides its times, paused or not; and whether the run is new.

        The same key again gives the same run, whatever became of the schedule and its job.
        `audit` gives the entry that is recorded with a new run, by the run's id.
        Raises NotFoundError, BadRequestError.
        """
        repeated = None
        if idempotency_key is not None:
            repeated = repeated_id(caller.key_scope, f"schedule/{schedule_id}", idempotency_key)
            found = self._invocations.get_record(repeated)
            if found is not None:
                return found, False
        draft = replace(self._draft(self.get(schedule_id)), owner=caller.owner)
        draft = draft if repeated is None else replace(draft, id=repeated)
        written = self._invocations.accept(draft, audit=audit(draft.id))
        return written, written.key == draft.key

    # What time does.

    def fire(self, message: Fire) -> None:
        """A schedule may be due. Messages may come late, early, twice, or for what has changed."""
        now = self._now()
        if 0 < message.planned_at - now <= MAX_SKEW_SECONDS:
            now = message.planned_at
        self._fire(message.schedule_id, now)

    def attend(self, schedule: Schedule, found: Attention) -> None:
        """Do what the sweep found to do."""
        match found:
            case Attention.ARM:
                self._arm(schedule)
            case Attention.CARRY_OUT | Attention.FIRE:
                self._fire(schedule.id, self._now())

    def _fire(self, schedule_id: str, now: float) -> None:
        for _ in range(ATTEMPTS):
            seen = self._table.find(schedule_id)
            if seen is None:
                return
            if isinstance(seen, Unreadable):  # the sweep fires it, once it can be read
                log_unreadable(seen, "schedule")
                return
            if seen.pending is not None:
                self._carry_out(seen)
                continue
            decision = rules.plan_firing(seen, now, self._is_live(seen.last_invocation))
            if decision is None:
                self._arm(seen)
                return
            run_id = planned_id(seen.id, decision.run_at or 0)
            decided = self._table.replace(seen, rules.decided(seen, decision, run_id, now))
            if decided is not None:
                self._carry_out(decided)
                return
        raise UnavailableError("the schedule is changing too fast", retry_after_seconds=1)

    def _is_live(self, invocation_id: str | None) -> bool:
        try:
            found = None if invocation_id is None else self._invocations.get_record(invocation_id)
        except UnreadableRecordError as error:
            return not error.has_ended
        return found is not None and not found.has_ended

    def _carry_out(self, schedule: Schedule) -> None:
        """Do what was decided, all of which may be done twice, and note that it is done."""
        pending, trouble = schedule.pending, None
        if pending is None:
            return
        fields = {"schedule": schedule.id, "job": schedule.job, "owner": schedule.owner}
        try:
            for skipped in pending.skipped:
                draft = self._draft(schedule, skipped.planned_at)
                self._invocations.skip(draft, skipped.why)
            if pending.run_at is not None:
                draft = self._draft(schedule, pending.run_at)
                if pending.kill is not None:
                    self._kill(pending.kill, draft.id)
                self._invocations.accept(draft)
        except UnreadableRecordError as error:  # that run, or the one in whose place it comes
            trouble = str(error)
            _log.warning("record %s: %s", error.record_id, error, extra=fields)
        except BadRequestError as error:  # the job is gone, or takes other parameters by now
            trouble = str(error)
            _log.warning("this schedule cannot run: %s", error, extra=fields)
        done = rules.carried_out(schedule, trouble, self._now())
        self._table.replace(schedule, self._woken(done))  # if it fails, another process did it

    def _kill(self, invocation_id: str, by: str) -> None:
        try:
            self._invocations.kill(invocation_id, f"its schedule's next run, {by}, takes its place")
        except NotFoundError:
            _log.info("it is forgotten already", extra={"invocation": invocation_id})

    def _draft(self, schedule: Schedule, planned_at: float | None = None) -> Invocation:
        return self._invocations.draft(
            job=schedule.job,
            owner=schedule.owner,
            parameters=schedule.parameters,
            callback_base_url=self._config.callback_base_url or schedule.callback_base_url,
            invocation_id=None if planned_at is None else planned_id(schedule.id, planned_at),
            priority=schedule.priority,
            schedule_id=schedule.id,
            planned_at=planned_at,
        )

    def _arm(self, schedule: Schedule) -> Schedule:
        """Have it fired when it is due next, and note for when; harmless when it is."""
        armed = schedule if schedule.pending is not None else self._woken(schedule)
        if armed is schedule:
            return schedule
        # If the condition fails, the process that changed it arms it.
        return self._table.replace(schedule, armed) or schedule

    def _woken(self, schedule: Schedule) -> Schedule:
        """The schedule with a message under way for its next instant, if there can be one."""
        at = rules.next_planned(schedule)
        if at is None or at == schedule.armed_for:
            return schedule
        message = message_of(schedule.id, at)
        if not self._clock.wake_at(at, message, self._queue, _wake_name(schedule.id)):
            return schedule
        return replace(schedule, armed_for=at)

    def _change(
        self,
        schedule_id: str,
        decide: Callable[[Schedule, float], Schedule],
        audit: AuditEntry,
    ) -> Schedule:
        now = self._now()
        changed = change(
            lambda: self._table.get(schedule_id),
            lambda before: decide(before, now),
            lambda before, after: self._table.replace(
                before, after, audit.write(facts_of(before), facts_of(after))
            ),
        )
        if changed is None:
            raise NotFoundError("no such schedule")
        return changed[1]


def _wake_name(schedule_id: str) -> str:
    return f"schedule-{schedule_id}"
