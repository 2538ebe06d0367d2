"""What the sweep does about each session and each task. Pure: everything seen goes in.

Events and callbacks may be lost; records and tasks then disagree. The sweep compares all of
both and repairs either side. Every action is harmless when repeated.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from chalicelib.apps import App
from chalicelib.dynamodb.expressions import Attr, Condition
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.sessions.model import Reason, Session, State, session_id_of

SETTLE_SECONDS = 15
"""ListTasks lags behind RunTask; a launch is no loss before this."""
RELAUNCH_SECONDS = 45
"""A QUEUED session whose next try is overdue by this much was forgotten by a crash."""
FURTHEST_TRY_SECONDS = 60
"""No next try is further ahead, unless it was written by a clock that was wrong."""
START_DEADLINE_SECONDS = 300
"""From the host's beginning: a container that is not ready by then never will be.

Fargate needs 30 to 70 seconds. Waiting for a host is not counted.
"""
NOT_READY = "not ready in time"
"""Why a container is stopped that has not reported `ready`."""
MARGIN_SECONDS = 10
"""Containers end by themselves at their deadlines; the sweep comes after them."""
UNASKED_SECONDS = 300
"""The same for a client that did not come, where containers cannot be asked for it. Containers tell
of one every five seconds at least, until it is acknowledged: one that has been silent for so long,
and has not ended either, does not work.
"""


@dataclass(frozen=True)
class Observe:
    """Take in what ECS says: an event of this was lost, or is on its way."""

    task: TaskChange


@dataclass(frozen=True)
class StopOrphan:
    """A task without a session that claims it."""

    task: TaskChange


@dataclass(frozen=True)
class Stop:
    """A session that is overdue, unless it has moved on since it was seen."""

    session: Session
    reason: Reason
    cause: str


@dataclass(frozen=True)
class AskWhetherConnected:
    """A session whose client should have come: its container knows, silence alone kills nothing."""

    session: Session


@dataclass(frozen=True)
class Expire:
    """A session whose task has waited for a host until its deadline."""

    session: Session


@dataclass(frozen=True)
class Relaunch:
    """A session that was recorded and never launched."""

    session: Session


@dataclass(frozen=True)
class EndLost:
    """A session whose task ECS knows nothing of any more, unless it has changed since."""

    session: Session


Repair = Observe | StopOrphan | Stop | Expire | Relaunch | EndLost
Action = Repair | AskWhetherConnected


def plan_reaping(
    sessions: Iterable[Session],
    tasks: Mapping[str, TaskChange],
    apps: Mapping[str, App],
    now: float,
    *,
    can_ask: bool = True,
) -> Iterator[Action]:
    """All actions for what was seen: live sessions, and tasks by ARN (running, and of sessions).

    Unless it `can_ask`, the containers have addresses that are not reached from here. Only a
    container at the address that ECS says of its task now is asked: at the record's address there
    may be another one by now.
    """
    by_id = {session.id: session for session in sessions}
    for task in tasks.values():
        session_id = session_id_of(task.started_by)
        if session_id is not None:
            yield from plan_task(by_id.get(session_id), task)
    seen = {session_id_of(task.started_by): task for task in tasks.values()}
    for session in by_id.values():
        own = seen.get(session.id)
        if own is None:
            action = _without_task(session, now)
        else:
            action = _overdue(session, own, apps.get(session.app), now)
        if isinstance(action, AskWhetherConnected) and not (can_ask and _is_at(session, own)):
            action = _without_asking(session, now)
        if action is not None:
            yield action


def plan_task(session: Session | None, task: TaskChange) -> Iterator[Observe | StopOrphan]:
    """What to do about a task, given the live session that it names, if there is one."""
    if session is None or not session.has_claim_to(task.task_arn):
        if not task.is_stopped:
            yield StopOrphan(task)
    elif _is_news(task, session):
        yield Observe(task)


def too_old_since(apps: Iterable[App], now: float) -> float:
    """Only sessions created until then may be beyond their maximum lifetime."""
    return now - START_DEADLINE_SECONDS - min((app.max_session_seconds for app in apps), default=0)


SERVED = (
    Attr("state").eq(State.WARM) | Attr("state").eq(State.RESERVED) | Attr("state").eq(State.ACTIVE)
)
"""Filter: what a maximum lifetime may end."""


def looks_overdue(now: float) -> Condition:
    """Filter: besides those that are too old, every session that `_overdue` may want ended.

    DynamoDB applies it, so that the many others cost the sweep no time.
    """
    return (
        (Attr("state").eq(State.QUEUED) & Attr("not_after").lte(now))
        | Attr("state").eq(State.STARTING)
        | (Attr("state").eq(State.RESERVED) & Attr("connect_by").lt(now - MARGIN_SECONDS))
        | Attr("state").eq(State.STOPPING)
    )


def _is_at(session: Session, task: TaskChange | None) -> bool:
    """Whether the task runs where the record says. A port is ECS's word only in bridge mode."""
    return (
        task is not None
        and task.is_running
        and session.is_reachable
        and task.host_port in {None, session.port}
        and task.container_instance_arn in {None, session.container_instance}
    )


def _is_news(task: TaskChange, session: Session) -> bool:
    if session.task_arn is None or task.version > session.task_version:
        return True
    return session.state is State.STARTING and task.is_running and not session.is_reachable


def _overdue(session: Session, task: TaskChange, app: App | None, now: float) -> Action | None:
    since = now - session.changed_at
    lifetime = app.max_session_seconds if app else 0
    if app and session.pooled:
        lifetime += app.pool.max_age_seconds
    stop_timeout = app.stop_timeout_seconds if app else 30
    match session.state:
        case State.QUEUED if now >= session.not_after and task.waits_for_host:
            return Expire(session)
        case State.STARTING if min(since, _since_host(task, now)) > START_DEADLINE_SECONDS:
            return Stop(session, Reason.FAILED_TO_START, NOT_READY)
        case State.RESERVED if now > (session.connect_by or now) + MARGIN_SECONDS:
            return AskWhetherConnected(session)
        case State.STOPPING if since > stop_timeout + MARGIN_SECONDS:
            return Stop(session, session.reason or Reason.STOPPED, "did not stop by itself")
        case State.WARM | State.RESERVED | State.ACTIVE if (
            app and now > session.created_at + lifetime + START_DEADLINE_SECONDS
        ):
            return Stop(session, Reason.EXPIRED, "beyond its maximum lifetime")
    return None


def _since_host(task: TaskChange, now: float) -> float:
    """For how long a host has had the task, as far as ECS says so."""
    if task.waits_for_host:
        return 0.0
    return float("inf") if task.pull_started_at is None else now - task.pull_started_at


def _without_asking(session: Session, now: float) -> Action | None:
    if now <= (session.connect_by or now) + UNASKED_SECONDS:
        return None
    cause = f"no word of a client for {UNASKED_SECONDS} s after it should have come"
    return Stop(session, Reason.NEVER_CONNECTED, cause)


def _without_task(session: Session, now: float) -> Action | None:
    if session.task_arn is not None:
        young = now - max(session.changed_at, session.tried_at or 0) < SETTLE_SECONDS
        return None if young else EndLost(session)
    if session.state is State.QUEUED and (
        not now - RELAUNCH_SECONDS <= session.next_try_at <= now + FURTHEST_TRY_SECONDS
        or now > session.not_after
    ):
        return Relaunch(session)
    if session.state is State.STOPPING and now - session.changed_at > SETTLE_SECONDS:
        return EndLost(session)
    return None
