"""What the sweep does about each invocation and each task of one. Pure: everything seen goes in.

Messages, events and calls may be lost; records and tasks then disagree. Every action is harmless
when repeated.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from chalicelib.ecs.task_changes import TaskChange
from chalicelib.jobs.lifecycle import found_host
from chalicelib.jobs.model import BEFORE_PERMIT, Invocation, State, mark_of

SETTLE_SECONDS = 15
"""ListTasks lags behind RunTask; a launch is no loss before this."""
LEASE_SECONDS = 60
"""A claim that did not become a task by then was forgotten by a crash: the same request again."""
START_DEADLINE_SECONDS = 600
"""A task that has not asked for a start permit so long after a host got it never will; pulling a
large image takes minutes. Waiting for a host is not counted.
"""
MARGIN_SECONDS = 30
"""Containers end by themselves at their deadlines; the sweep comes after them."""
STOP_SECONDS = 30


@dataclass(frozen=True)
class Observe:
    """Take in what ECS says: an event of this was lost, or is on its way."""

    task: TaskChange


@dataclass(frozen=True)
class StopOrphan:
    """A task without an invocation that claims it."""

    task: TaskChange


@dataclass(frozen=True)
class ComeDue:
    """A deferred one whose time has come, and whose message was lost."""

    invocation: Invocation


@dataclass(frozen=True)
class Send:
    """One that was recorded and never got into its queue."""

    invocation: Invocation


@dataclass(frozen=True)
class Regroup:
    """One that waits in a capacity group that the configuration has no more."""

    invocation: Invocation


@dataclass(frozen=True)
class Expire:
    """One that waited for too long, here or at ECS for a host, or whose launch was forgotten."""

    invocation: Invocation


@dataclass(frozen=True)
class LaunchAgain:
    """One that was claimed and then forgotten by a crash."""

    invocation: Invocation


@dataclass(frozen=True)
class Forget:
    """One whose task ECS knows nothing of any more."""

    invocation: Invocation


@dataclass(frozen=True)
class TimeUp:
    """One that runs for longer than its job may."""

    invocation: Invocation


@dataclass(frozen=True)
class NeverAsked:
    """One whose task never asked for a start permit."""

    invocation: Invocation


@dataclass(frozen=True)
class StopTask:
    """One whose task should have ended."""

    invocation: Invocation


Action = (
    Observe
    | StopOrphan
    | ComeDue
    | Send
    | Regroup
    | Expire
    | LaunchAgain
    | Forget
    | TimeUp
    | NeverAsked
    | StopTask
)


def plan_reaping(
    invocations: Iterable[Invocation], tasks: Mapping[str, TaskChange], now: float
) -> Iterator[Action]:
    """All actions for what was seen: live invocations, and tasks by ARN (running, and of these)."""
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
    """What to do about a task, given the invocation that it names, if there is one."""
    mark = mark_of(task.started_by)
    if mark is None:
        return
    if invocation is None or not _is_its_own(invocation, mark[1], task):
        if not task.is_stopped:
            yield StopOrphan(task)
    elif invocation.task_arn is None or task.is_stopped or found_host(invocation, task):
        yield Observe(task)


def looks_overdue(invocation: Invocation, now: float) -> bool:
    """Whether its record alone lets one expect that it is due, expired, or beyond its time."""
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
        case State.ACCEPTED if since > SETTLE_SECONDS:
            return Send(invocation)
    if task is None:
        return _without_task(invocation, since, now)
    if task.is_stopped:
        return None  # observed
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
    """For how long a host has had the task, as far as ECS says so."""
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
