"""Transitions of invocations. Pure: each function takes a record and returns a record.

Reports arrive late, repeatedly and in any order: from ECS (task changes), from the container
(request for a start permit, progress, finish) and from users (kill). A function that returns the
same record found nothing new.

User code runs only with a start permit, which is given once. An attempt that ended without one
certainly ran nothing and is repeated; one that ended with a permit is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.contract.jobs import EXIT_NOT_RUN, EXIT_TIMED_OUT, Outcome
from chalicelib.ecs.failures import FINAL, LaunchError, LaunchFailure, backoff_seconds
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.jobs.model import (
    BEFORE_PERMIT,
    Change,
    Invocation,
    Progress,
    Reason,
    StartPermit,
    State,
    Usage,
)

MAX_START_FAILURES = 5
"""An invocation is given up after this many tasks that ended without a start permit."""
PERMITTED = "the start permit was given"
"""Cause of the change to STARTED."""
HOST_GONE = "Host EC2"
"""Prefix of ECS's stopped reason when the instance disappeared."""


@dataclass(frozen=True)
class Refused:
    """The state does not allow this call."""

    why: str


_REASON_OF = {
    Outcome.SUCCEEDED: Reason.SUCCEEDED,
    Outcome.FAILED: Reason.FAILED,
    Outcome.TIMED_OUT: Reason.TIMED_OUT,
    Outcome.INVALID: Reason.INVALID,
    Outcome.KILLED: Reason.KILLED,
}


def is_due(invocation: Invocation, now: float) -> bool:
    """Whether the time of a deferred invocation has come."""
    return invocation.state is State.SCHEDULED and now >= (invocation.at or 0)


def came_due(invocation: Invocation, turn: int | None, now: float) -> Invocation:
    """Let a deferred invocation whose time has come wait for its turn."""
    if not is_due(invocation, now):
        return invocation
    return queue(invocation.moved(State.ACCEPTED, now, "its time has come", turn=turn), now)


def queue(invocation: Invocation, now: float) -> Invocation:
    """An accepted one waits in the queue of its priority from now on."""
    if invocation.state is not State.ACCEPTED:
        return invocation
    cause = f"in the queue of {invocation.priority}"
    return invocation.moved(State.QUEUED, now, cause, queued_at=now)


def expire(invocation: Invocation, now: float) -> Invocation:
    """End an invocation that waited too long to be launched."""
    cause = invocation.detail or "not launched in time"
    return _ended(invocation, State.EXPIRED, Reason.EXPIRED, cause, now)


def claim(
    invocation: Invocation,
    *,
    task_definition: str,
    image: str,
    timeout_seconds: int,
    request: Mapping[str, Any],
    attempt_counters: tuple[str, ...],
    now: float,
) -> Invocation:
    """Claim an invocation: it is launched with exactly this RunTask request."""
    return invocation.moved(
        State.LAUNCHING,
        now,
        f"attempt {invocation.attempt} claimed",
        task_definition=task_definition,
        image=image,
        timeout_seconds=timeout_seconds,
        request=request,
        attempt_counters=attempt_counters,
        claimed_at=now,
        task_arn=None,
        task_version=0,
        queued_at=invocation.queued_at or now,
    )


def fold_launch(invocation: Invocation, attempt: int, change: TaskChange, now: float) -> Invocation:
    """RunTask accepted the request of `attempt`. No effect if a later report was applied
    already.
    """
    if invocation.attempt != attempt or invocation.task_arn is not None:
        return invocation
    if invocation.state in {State.STARTED, State.KILL_INITIATED}:
        return replace(invocation, task_arn=change.task_arn)
    if invocation.state is not State.LAUNCHING:
        return invocation
    return invocation.moved(
        State.LAUNCHED,
        now,
        "RunTask accepted",
        task_arn=change.task_arn,
        waits_for_host=change.waits_for_host,
        detail="waiting for a host" if change.waits_for_host else invocation.detail,
        refusals=0,
        next_try_at=None,
    )


def fold_refusal(
    invocation: Invocation, attempt: int, error: LaunchError, now: float
) -> Invocation:
    """RunTask refused `attempt`, or its result is unknown (UNCERTAIN): then the lease must expire
    first.
    """
    unknown = error.failure is LaunchFailure.UNCERTAIN
    if invocation.attempt != attempt or invocation.task_arn is not None or unknown:
        return invocation
    if invocation.state is State.KILL_INITIATED:
        return finish(invocation, Reason.KILLED, "killed before it started", now)
    if invocation.state is not State.LAUNCHING:
        return invocation
    if error.failure in FINAL:
        return finish(invocation, Reason.START_FAILED, error.public_message, now)
    backoff = backoff_seconds(invocation.refusals + 1)
    return requeue(
        replace(invocation, refusals=invocation.refusals + 1, next_try_at=now + backoff),
        f"{error.failure}: {error.public_message}",
        now,
    )


def waits_because(invocation: Invocation, detail: str) -> Invocation:
    """Store why it is not launched, for display."""
    if not invocation.is_waiting or invocation.detail == detail:
        return invocation
    return replace(invocation, detail=detail)


def regroup(invocation: Invocation, gone: str | None, group: str | None, turn: int) -> Invocation:
    """Move an invocation that waits in the removed capacity group `gone` to another one, with this
    turn.
    """
    if not invocation.is_waiting or invocation.group != gone:
        return invocation
    return replace(invocation, group=group, turn=turn)


def requeue(invocation: Invocation, why: str, now: float) -> Invocation:
    """Make the next attempt, because this one certainly ran nothing; or end it if its time is
    over.
    """
    if now >= invocation.not_after:
        return _ended(invocation, State.EXPIRED, Reason.EXPIRED, why, now)
    return invocation.moved(
        State.QUEUED,
        now,
        why,
        attempt=invocation.attempt + 1,
        task_arn=None,
        task_version=0,
        waits_for_host=False,
        request=None,
        claimed_at=None,
        attempt_counters=(),
        detail=f"waiting, {why}",
    )


def give_permit(
    invocation: Invocation, attempt: int, task_arn: str | None, process: str, now: float
) -> Invocation | Refused:
    """Give the start permit once, to one process of the current attempt.

    A container without a task ARN (no metadata endpoint) is identified by its attempt's key alone.
    """
    if attempt != invocation.attempt:
        return Refused(f"attempt {attempt} is over, the current one is {invocation.attempt}")
    if invocation.permit is not None:
        return _permitted_before(invocation, process)
    if invocation.state not in BEFORE_PERMIT:
        return Refused(f"nothing may start while it is {invocation.state}")
    if invocation.task_arn is not None and task_arn not in {None, invocation.task_arn}:
        return Refused("another task was started for this attempt")
    arn = task_arn or invocation.task_arn or ""
    return invocation.moved(State.STARTED, now, PERMITTED, **permit_facts(arn, process, now))


def permit_facts(task_arn: str, process: str, now: float) -> dict[str, Any]:
    """The fields of an invocation that its start permit changes, besides state and history."""
    return {
        "task_arn": task_arn or None,
        "permit": StartPermit(task_arn, process, now),
        "started_at": now,
        "detail": None,
        "waits_for_host": False,
        "refusals": 0,
        "next_try_at": None,
    }


def _permitted_before(invocation: Invocation, process: str) -> Invocation | Refused:
    """Repeat the answer, which may have been lost; refuse if it was killed meanwhile."""
    if invocation.permit is None or invocation.permit.process != process:
        return Refused("the start permit was given before")
    if invocation.state is not State.STARTED:
        return Refused(f"nothing may start while it is {invocation.state}")
    return invocation


def fold_progress(
    invocation: Invocation, process: str, fraction: float | None, message: str, now: float
) -> Invocation | Refused:
    """Apply the job's progress."""
    if invocation.permit is None or invocation.permit.process != process:
        return Refused("this process has no start permit")
    if invocation.has_ended:
        return Refused("it has ended")
    return replace(invocation, progress=Progress(now, fraction, message))


def fold_finish(
    invocation: Invocation,
    process: str,
    outcome: Outcome,
    *,
    exit_code: int,
    detail: str,
    result: Any,
    usage: Usage | None,
    now: float,
) -> Invocation | Refused:
    """Apply the container's report of the run's end."""
    if invocation.permit is None or invocation.permit.process != process:
        return Refused("this process has no start permit")
    if invocation.has_ended:
        return invocation
    reported = replace(invocation, exit_code=exit_code, result=result, usage=usage)
    reason = _REASON_OF[outcome]
    if reason is Reason.KILLED and invocation.reason is not None:
        reason = invocation.reason  # it received the SIGTERM because its time was up
    return finish(reported, reason, detail or _default_detail(reason, exit_code), now)


def found_host(invocation: Invocation, change: TaskChange) -> bool:
    """Whether the task of an invocation that waits for a host has one now."""
    return invocation.waits_for_host and not change.waits_for_host and not change.is_stopped


def fold_task(invocation: Invocation, attempt: int, change: TaskChange, now: float) -> Invocation:
    """Apply a change of the task of `attempt`. Old and repeated changes have no effect."""
    if (
        invocation.has_ended
        or attempt != invocation.attempt
        or invocation.is_waiting
        or invocation.task_arn not in {None, change.task_arn}
        or change.version <= invocation.task_version
        or not (change.is_stopped or invocation.task_arn is None or found_host(invocation, change))
    ):
        return invocation  # for a known task only its host and its end matter
    invocation = fold_launch(invocation, attempt, change, now)
    if found_host(invocation, change):
        invocation = replace(invocation, waits_for_host=False, detail=None)
    seen = replace(invocation, task_arn=change.task_arn, task_version=change.version)
    return _fold_stop(seen, change, now) if change.is_stopped else seen


def forgotten(invocation: Invocation, now: float) -> Invocation:
    """ECS no longer has its task."""
    detail = "ECS knows nothing of its task any more"
    if invocation.claimed_at is None or invocation.has_ended:
        return invocation
    if invocation.permit is not None:
        return _ended_with_permit(invocation, None, detail, now)
    if invocation.state is State.KILL_INITIATED:
        return finish(invocation, invocation.reason or Reason.KILLED, detail, now)
    return requeue(invocation, detail, now)


def never_asked(invocation: Invocation, now: float) -> Invocation:
    """Its task has not requested a start permit in time; later requests are refused."""
    if invocation.state not in BEFORE_PERMIT:
        return invocation
    return _failed_start(invocation, "it never asked for a start permit", now)


def ask_for_end(
    invocation: Invocation, cause: str, now: float, reason: Reason | None = None
) -> Invocation:
    """Apply a request to end it. An invocation without a task ends at once."""
    if invocation.has_ended or invocation.state is State.KILL_INITIATED:
        return invocation
    if invocation.state is State.SCHEDULED or invocation.is_waiting:
        return finish(invocation, reason or Reason.KILLED, cause, now)
    return invocation.moved(State.KILL_INITIATED, now, cause, reason=reason, detail=cause)


def finish(invocation: Invocation, reason: Reason, detail: str, now: float) -> Invocation:
    """End the invocation: nothing of it runs any more."""
    return _ended(invocation, State.FINISHED, reason, detail, now)


def skipped(invocation: Invocation, why: str, now: float) -> Invocation:
    """The record of a planned run that its schedule skips."""
    return replace(
        invocation,
        state=State.SKIPPED,
        reason=Reason.SKIPPED,
        detail=why,
        finished_at=now,
        history=(Change(now, State.SKIPPED, why),),
    )


def _ended(
    invocation: Invocation, state: State, reason: Reason, detail: str, now: float
) -> Invocation:
    if invocation.has_ended:
        return invocation
    return invocation.moved(
        state,
        now,
        detail,
        reason=reason,
        detail=detail,
        finished_at=now,
        attempt_counters=(),
        request=None,
        waits_for_host=False,
    )


def _fold_stop(invocation: Invocation, change: TaskChange, now: float) -> Invocation:
    detail = change.why_stopped
    if invocation.permit is not None:
        return _ended_with_permit(invocation, change.exit_code, detail, now)
    if invocation.state is State.KILL_INITIATED:
        return finish(invocation, invocation.reason or Reason.KILLED, detail, now)
    if detail.startswith(HOST_GONE):
        return requeue(invocation, detail, now)
    if change.found_no_host:
        return requeue(invocation, f"no host in time: {detail}", now)
    if change.exit_code == EXIT_NOT_RUN:
        detail = f"it was given no start permit, or could not ask for one: {detail}"
    return _failed_start(invocation, detail, now)


def _failed_start(invocation: Invocation, detail: str, now: float) -> Invocation:
    failures = invocation.start_failures + 1
    failed = replace(
        invocation,
        start_failures=failures,
        exit_code=None,
        next_try_at=now + backoff_seconds(failures),
    )
    if failures >= MAX_START_FAILURES:
        return finish(failed, Reason.START_FAILED, f"{failures} starts failed: {detail}", now)
    return requeue(failed, f"start failed: {detail}", now)


def _ended_with_permit(
    invocation: Invocation, exit_code: int | None, detail: str, now: float
) -> Invocation:
    """End an invocation with a start permit whose container reported no result: user code may have
    run.
    """
    ended = replace(invocation, exit_code=exit_code)
    if invocation.state is State.KILL_INITIATED:
        return finish(ended, invocation.reason or Reason.KILLED, detail, now)
    if exit_code is None:
        return finish(ended, Reason.LOST, f"may have run: {detail}", now)
    if exit_code == 0:
        return finish(ended, Reason.SUCCEEDED, "exit code 0; its report was lost", now)
    if exit_code == EXIT_NOT_RUN:
        detail = f"its start permit did not reach it, so that nothing ran: {detail}"
    started = invocation.started_at or now
    if exit_code == EXIT_TIMED_OUT and now >= started + (invocation.timeout_seconds or 0):
        return finish(ended, Reason.TIMED_OUT, detail, now)
    return finish(ended, Reason.FAILED, detail, now)


def _default_detail(reason: Reason, exit_code: int) -> str:
    return "succeeded" if reason is Reason.SUCCEEDED else f"{reason} (exit code {exit_code})"
