"""Repairs of the sweep for invocations and their tasks. Pure: everything it considers is a
parameter.

Messages, events and calls can be lost; records and tasks then differ. All repairs are idempotent.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from chalicelib.ecs.task_changes import SETTLE_SECONDS, TaskChange
from chalicelib.jobs.lifecycle import found_host
from chalicelib.jobs.model import BEFORE_PERMIT, Invocation, State, mark_of
from chalicelib.tasks.repairs import Observe, StopOrphan

LEASE_SECONDS = 60
"""A claim without a task after this time was forgotten by a crash; the same request is sent
again."""
START_DEADLINE_SECONDS = 600
"""A task that has not requested a start permit this long after it got a host is given up. Pulling a
large image takes minutes. Waiting for a host is not counted."""
MARGIN_SECONDS = 30
"""Containers end themselves at their deadlines; the sweep acts this much later."""
STOP_SECONDS = 30


@dataclass(frozen=True)
class ComeDue:
    """Let a deferred invocation wait for its turn: its time has come, and its message was lost."""

    invocation: Invocation


@dataclass(frozen=True)
class Regroup:
    """Move an invocation that waits in a removed capacity group."""

    invocation: Invocation


@dataclass(frozen=True)
class Expire:
    """End an invocation that waited too long, here or at ECS for a host, or whose launch was
    forgotten.
    """

    invocation: Invocation


@dataclass(frozen=True)
class LaunchAgain:
    """Launch an invocation that was claimed and then forgotten by a crash."""

    invocation: Invocation


@dataclass(frozen=True)
class Forget:
    """End an invocation whose task no longer exists in ECS."""

    invocation: Invocation


@dataclass(frozen=True)
class TimeUp:
    """End an invocation that exceeded its job's timeout."""

    invocation: Invocation


@dataclass(frozen=True)
class NeverAsked:
    """End an invocation whose task never requested a start permit."""

    invocation: Invocation


@dataclass(frozen=True)
class StopTask:
    """Stop a task that should have ended."""

    invocation: Invocation


RecordRepair = ComeDue | Regroup | Expire | LaunchAgain | Forget | TimeUp | NeverAsked | StopTask
Action = Observe | StopOrphan | RecordRepair


def plan_reaping(
    invocations: Iterable[Invocation], tasks: Mapping[str, TaskChange], now: float
) -> Iterator[Action]:
    """All repairs for the live invocations and their running tasks, by ARN."""
    by_id = {invocation.id: invocation for invocation in invocations}
    seen: dict[str, TaskChange] = {}
    for task in tasks.values():
        mark = mark_of(task.started_by)
        if mark is None:
            continue
        invocation = by_id.get(mark[0])
        yield from plan_task(invocation, task)
        if invocation is not None and _is_its_own(invocation, mark[1], task):
            seen[invocation.id] = task
    for invocation in by_id.values():
        action = _overdue(invocation, seen.get(invocation.id), now)
        if action is not None:
            yield action


def plan_task(invocation: Invocation | None, task: TaskChange) -> Iterator[Observe | StopOrphan]:
    """Repair for a task, given the live invocation that it refers to, or None."""
    mark = mark_of(task.started_by)
    if mark is None:
        return
    if invocation is None or not _is_its_own(invocation, mark[1], task):
        if not task.is_stopped:
            yield StopOrphan(task)
    elif invocation.task_arn is None or task.is_stopped or found_host(invocation, task):
        yield Observe(task)


def looks_overdue(invocation: Invocation, now: float) -> bool:
    """Whether the record alone suggests that the invocation is due, expired or beyond its
    timeout.
    """
    since = now - invocation.changed_at
    match invocation.state:
        case State.SCHEDULED:
            return now >= (invocation.at or 0)
        case State.ACCEPTED | State.QUEUED:
            return now >= invocation.not_after
        case State.KILL_INITIATED:
            return since > STOP_SECONDS
        case State.STARTED if invocation.timeout_seconds is not None:
            runs = now - (invocation.started_at or now)
            return runs > invocation.timeout_seconds + MARGIN_SECONDS
        case state if state in BEFORE_PERMIT:
            return now >= invocation.not_after or since > START_DEADLINE_SECONDS
    return False


def _is_its_own(invocation: Invocation, attempt: int, task: TaskChange) -> bool:
    return (
        attempt == invocation.attempt
        and not invocation.has_ended
        and not invocation.is_waiting
        and invocation.task_arn in {None, task.task_arn}
    )


def _overdue(invocation: Invocation, task: TaskChange | None, now: float) -> Action | None:
    since = now - invocation.changed_at
    match invocation.state:
        case State.SCHEDULED if now >= (invocation.at or 0):
            return ComeDue(invocation)
        case State.ACCEPTED | State.QUEUED if now >= invocation.not_after:
            return Expire(invocation)
    if task is None:
        return _without_task(invocation, since, now)
    if task.is_stopped:
        return None  # `Observe` ends it
    return _with_task(invocation, task, since, now)


def _without_task(invocation: Invocation, since: float, now: float) -> Action | None:
    if invocation.task_arn is not None or invocation.permit is not None:
        return Forget(invocation) if since > SETTLE_SECONDS else None
    if now - (invocation.claimed_at or now) <= LEASE_SECONDS:
        return None
    if invocation.state is State.LAUNCHING:
        return LaunchAgain(invocation) if now < invocation.not_after else Expire(invocation)
    return Forget(invocation) if invocation.state is State.KILL_INITIATED else None


def _since_host(task: TaskChange, now: float) -> float:
    """Seconds since a host got the task, as far as ECS reports it."""
    return float("inf") if task.pull_started_at is None else now - task.pull_started_at


def _with_task(invocation: Invocation, task: TaskChange, since: float, now: float) -> Action | None:
    if invocation.state in BEFORE_PERMIT:
        if task.waits_for_host:
            return Expire(invocation) if now >= invocation.not_after else None
        late = min(since, _since_host(task, now)) > START_DEADLINE_SECONDS
        return NeverAsked(invocation) if late else None
    if invocation.state is State.KILL_INITIATED and since > STOP_SECONDS:
        return StopTask(invocation)
    if invocation.state is State.STARTED and invocation.timeout_seconds is not None:
        runs = now - (invocation.started_at or now)
        if runs > invocation.timeout_seconds + MARGIN_SECONDS:
            return TimeUp(invocation)
    return None
