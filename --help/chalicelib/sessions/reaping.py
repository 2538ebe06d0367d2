"""Repairs of the sweep for sessions and their tasks. Pure: everything it considers is a parameter.

Events and callbacks can be lost; records and tasks then differ. The sweep compares all records with
all tasks and repairs both. All repairs are idempotent.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from chalicelib.apps import App
from chalicelib.dynamodb.expressions import Attr, Condition
from chalicelib.ecs.task_changes import SETTLE_SECONDS, TaskChange
from chalicelib.sessions.model import Reason, Session, State, session_id_of
from chalicelib.tasks.repairs import Observe, StopOrphan

RELAUNCH_SECONDS = 45
"""A QUEUED session whose next try is overdue by this much is launched by the sweep: its message was
lost."""
FURTHEST_TRY_SECONDS = 60
"""A next try further ahead was written by a wrong clock."""
START_DEADLINE_SECONDS = 300
"""Counted from the assignment of a host: a container that is not ready by then is stopped.

Fargate needs 30 to 70 seconds. Waiting for a host is not counted.
"""
ASK_WHETHER_READY_SECONDS = 60
"""Counted from the same instant: from then on a container whose `ready` was not heard is asked. It
repeats its report, but a dispatcher without free executions does not hear it."""
NOT_READY = "not ready in time"
"""Reason for stopping a container that did not report `ready`."""
MARGIN_SECONDS = 10
"""Containers end themselves at their deadlines; the sweep acts this much later."""
UNASKED_SECONDS = 300
"""The same for a client that did not connect, where containers cannot be queried. Containers repeat
the report of a client at least every five seconds until it is acknowledged; one that is silent for
this long, and has not ended either, does not work."""


@dataclass(frozen=True)
class Stop:
    """Stop an overdue session, if its state has not changed since it was read."""

    session: Session
    reason: Reason
    cause: str


@dataclass(frozen=True)
class AskWhetherConnected:
    """Query the container of a session whose client should have connected. Silence alone stops no
    session.
    """

    session: Session


@dataclass(frozen=True)
class AskWhetherReady:
    """Query the container of a session that starts for long: its `ready` may not have been heard,
    which is no fault of its image.
    """

    session: Session
    is_late: bool
    """It is stopped unless it answers that it is ready."""


@dataclass(frozen=True)
class Expire:
    """End a session whose task waited for a host until its deadline."""

    session: Session


@dataclass(frozen=True)
class Relaunch:
    """Launch a session that was recorded and never launched."""

    session: Session


@dataclass(frozen=True)
class EndLost:
    """End a session whose task no longer exists in ECS, if its record has not changed since it was
    read.
    """

    session: Session


RecordRepair = Stop | Expire | Relaunch | EndLost
Repair = Observe | StopOrphan | RecordRepair
Question = AskWhetherConnected | AskWhetherReady
Action = Repair | Question


def plan_reaping(
    sessions: Iterable[Session],
    tasks: Mapping[str, TaskChange],
    apps: Mapping[str, App],
    now: float,
    *,
    can_ask: bool = True,
) -> Iterator[Action]:
    """All repairs for the live sessions and the running tasks of sessions, by ARN.

    Without `can_ask` containers cannot be reached from here and are not queried. A container is
    queried only if the record has the address that ECS reports for its task now: another container
    may have the record's address by now.
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
            if isinstance(action, AskWhetherReady) and own.version > session.task_version:
                action = None  # its address may be among the news: the next sweep asks there
        if isinstance(action, Question) and not (can_ask and _is_at(session, own)):
            action = _without_asking(action, now)
        if action is not None:
            yield action


def plan_task(session: Session | None, task: TaskChange) -> Iterator[Observe | StopOrphan]:
    """Repair for a task, given the live session that it refers to, or None."""
    if session is None or not session.has_claim_to(task.task_arn):
        if not task.is_stopped:
            yield StopOrphan(task)
    elif _is_news(task, session):
        yield Observe(task)


def too_old_since(apps: Iterable[App], now: float) -> float:
    """The latest creation time of sessions that may have exceeded their maximum lifetime."""
    return now - START_DEADLINE_SECONDS - min((app.max_session_seconds for app in apps), default=0)


SERVED = (
    Attr("state").eq(State.WARM) | Attr("state").eq(State.RESERVED) | Attr("state").eq(State.ACTIVE)
)
"""Filter: states that a maximum lifetime applies to."""


def looks_overdue(now: float) -> Condition:
    """Filter: besides those that are too old, every session that `_overdue` may end.

    DynamoDB applies it, so that the sweep does not read the others.
    """
    return (
        (Attr("state").eq(State.QUEUED) & Attr("not_after").lte(now))
        | Attr("state").eq(State.STARTING)
        | (Attr("state").eq(State.RESERVED) & Attr("connect_by").lt(now - MARGIN_SECONDS))
        | Attr("state").eq(State.STOPPING)
    )


def _is_at(session: Session, task: TaskChange | None) -> bool:
    """Whether the task has the address of the record. ECS reports the port only in bridge mode."""
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
        case State.STARTING:
            starts_for = min(since, _since_host(task, now))
            if starts_for > ASK_WHETHER_READY_SECONDS:
                return AskWhetherReady(session, starts_for > START_DEADLINE_SECONDS)
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
    """Seconds since a host got the task, as far as ECS reports it."""
    if task.waits_for_host:
        return 0.0
    return float("inf") if task.pull_started_at is None else now - task.pull_started_at


def _without_asking(question: Question, now: float) -> Action | None:
    session = question.session
    if isinstance(question, AskWhetherReady):
        return Stop(session, Reason.FAILED_TO_START, NOT_READY) if question.is_late else None
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
