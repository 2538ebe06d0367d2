"""Operations on schedules for callers, their queue and the sweep: load, decide, write
conditionally, act.

The decision is written before it is carried out; see `chalicelib.schedules.model`.
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
"""A message may be early by this much, because clocks differ."""
ATTEMPTS = 12

_log = logging.getLogger("usher.jobs")


class Runs(Protocol):
    """Invocations for schedules; see `chalicelib.jobs.service.Invocations`."""

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
        """Create a record without writing it. Raises BadRequestError if the job does not accept
        it.
        """

    def accept(self, draft: Invocation, *, audit: AuditEntry | None = None) -> Invocation:
        """Write the record if its id is new, and have it launched."""

    def skip(self, draft: Invocation, why: str) -> Invocation:
        """Write it as skipped, if its id is new."""

    def kill(self, invocation_id: str, cause: str) -> Invocation:
        """End it in any state. Raises NotFoundError."""

    def get_record(self, invocation_id: str) -> Invocation | None:
        """The present record."""


class Wakes(Protocol):
    """See `chalicelib.jobs.clock.Clock`."""

    def wake_at(
        self, at: float, message: Mapping[str, Any], queue: str, name: str | None = None
    ) -> bool:
        """Deliver the message at a time; returns whether it was arranged."""

    def forget(self, name: str) -> None:
        """Cancel such a message."""


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

    # For callers.

    def put(self, wanted: Schedule, audit: AuditEntry) -> tuple[Schedule, bool]:
        """Create or replace a schedule; returns whether it is new.

        `audit` is written with the change. Raises BadRequestError if the job does not accept its
        invocations.
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
        """The present schedule. Raises NotFoundError."""
        found = self._table.get(schedule_id)
        if found is None:
            raise NotFoundError("no such schedule")
        return found

    def page(self, limit: int, after: str | None) -> SchedulesPage:
        """A page of schedules by id."""
        return self._table.page(limit, after)

    def delete(self, schedule_id: str, audit: AuditEntry) -> None:
        """Delete it; its invocations continue. Raises NotFoundError."""
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
        """Resume planning from now on. Raises NotFoundError."""
        return self._arm(self._change(schedule_id, rules.resumed, audit))

    def run_now(
        self,
        schedule_id: str,
        caller: Caller,
        idempotency_key: str | None,
        audit: Callable[[str], AuditEntry],
    ) -> tuple[Invocation, bool]:
        """Run it once besides its planned times, even if it is paused; returns whether the run is
        new.

        A repetition with the same key returns the same run, even if schedule or job have changed.
        `audit` returns the entry that is written with a new run, given the run's id. Raises
        NotFoundError, BadRequestError.
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

    # For the queue and the sweep.

    def fire(self, message: Fire) -> None:
        """Fire a schedule if it is due. Messages may be late, early, repeated or outdated."""
        now = self._now()
        if 0 < message.planned_at - now <= MAX_SKEW_SECONDS:
            now = message.planned_at
        self._fire(message.schedule_id, now)

    def attend(self, schedule: Schedule, found: Attention) -> None:
        """Make a repair of the sweep."""
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
            if isinstance(seen, Unreadable):  # the sweep fires it when it can be read again
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
        """Carry out the decision, whose steps are idempotent, and record that."""
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
        except UnreadableRecordError as error:  # that of the run, or of the run that it replaces
            trouble = str(error)
            _log.warning("record %s: %s", error.record_id, error, extra=fields)
        except BadRequestError as error:  # the job was removed or has other parameters now
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
        """Arrange a message for its next planned time and record that; no effect if one is
        arranged.
        """
        armed = schedule if schedule.pending is not None else self._woken(schedule)
        if armed is schedule:
            return schedule
        # If the condition fails, the process that changed it arranges the message.
        return self._table.replace(schedule, armed) or schedule

    def _woken(self, schedule: Schedule) -> Schedule:
        """The schedule with a message arranged for its next planned time, if possible."""
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
