"""Transitions of sessions. Pure: each function takes a record and returns a record.

Reports arrive late, repeatedly and in any order from three sources: ECS (task changes), containers
(callbacks) and users (stop). Each report is stored in the record as a fact, and the state is
derived from the facts, so that the order of arrival does not matter. A function that returns the
same record found nothing new.
"""

from dataclasses import dataclass, replace
from typing import Any

from chalicelib.apps import App
from chalicelib.capacity.counting import group_counters
from chalicelib.contract import Bye, Callback
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.sessions.model import HANDED_OUT, Reason, Session, State

HEALTHY = "HEALTHY"
WAITS = "waiting for a host"


@dataclass(frozen=True)
class Refused:
    """The session's state does not allow this callback."""

    why: str


_REASON_OF_BYE = {
    Bye.DISCONNECTED: Reason.DISCONNECTED,
    Bye.SLOW_CLIENT: Reason.DISCONNECTED,
    Bye.NEVER_CONNECTED: Reason.NEVER_CONNECTED,
    Bye.EXPIRED: Reason.EXPIRED,
    Bye.STOPPED: Reason.STOPPED,
    Bye.APP_FAILED: Reason.UNHEALTHY,
    Bye.FEED_FAILED: Reason.UNHEALTHY,
}


def fold_launch(session: Session, change: TaskChange, now: float) -> Session:
    """RunTask accepted the session's request, if nothing overtook the answer.

    With a host it is STARTING. Without one it goes on waiting, and is QUEUED: at ECS now.
    """
    if session.task_arn is not None or session.state is not State.QUEUED:
        return session
    started = replace(
        session,
        task_arn=change.task_arn,
        task_definition=change.task_definition_arn or session.task_definition,
        tried_at=now,
    )
    if change.waits_for_host:
        return replace(started, detail=WAITS, retry_after_seconds=None)
    return _with_host(started, "RunTask accepted", now)


def _with_host(session: Session, cause: str, now: float) -> Session:
    started = replace(session, detail=None, queue_position=None, retry_after_seconds=None)
    return started.moved(State.STARTING, now, cause)


def wait_again(session: Session, why: str, now: float) -> Session:
    """ECS stopped the task for lack of capacity before it ran: another attempt is allowed."""
    return replace(
        session,
        attempt=session.attempt + 1,
        task_arn=None,
        task_version=0,
        tried_at=now,
        retry_after_seconds=1,
        detail=f"waiting, no host in time: {why}",
    )


def _may_wait_again(session: Session, change: TaskChange, now: float) -> bool:
    waits = session.state is State.QUEUED and session.owner is not None
    return waits and change.found_no_host and now < session.not_after


def expire(session: Session, now: float) -> Session:
    """End a session whose time to wait for a host is over. Its task, which has no host, is to be
    stopped.
    """
    if session.state is not State.QUEUED or now < session.not_after:
        return session
    if session.task_arn is None:
        return end(session, Reason.QUEUE_TIMEOUT, session.detail or "no capacity in time", now=now)
    return _leaving(session, Reason.QUEUE_TIMEOUT, "no host in time", now)


def fold_task(
    session: Session, change: TaskChange, ip: str | None, app: App, now: float
) -> Session:
    """Take in what ECS says of the session's task. Old and repeated news changes nothing.

    Of the very version that is known already an address is news still: ECS and EC2 may have it
    only a moment after the task runs, and nothing announces it.
    """
    if session.state is State.ENDED or session.task_arn not in {None, change.task_arn}:
        return session
    has_port = change.host_port is not None or change.network_interface_id is not None
    found_address = not session.is_reachable and ip is not None and has_port
    known = change.version == session.task_version and not found_address
    if known or change.version < session.task_version:
        return session
    if session.task_arn is None and not change.is_stopped:
        session = fold_launch(session, change, now)
    session = replace(
        session,
        task_arn=change.task_arn,
        task_version=change.version,
        container_instance=change.container_instance_arn or session.container_instance,
        port=change.host_port or (app.port if change.network_interface_id else session.port),
        ip=ip or session.ip,
    )
    if change.is_stopped:
        if _may_wait_again(session, change, now):
            return wait_again(session, change.why_stopped, now)
        return end(session, *_why_ended(session, change, app, now), now=now)
    if session.state is State.QUEUED and not change.waits_for_host:
        session = _with_host(session, "a host has it", now)
    if change.health_status == HEALTHY and session.ready_at is None:
        session = replace(session, ready_at=now)
    return settle(session, app, now)


def fold_callback(
    session: Session, callback: Callback, app: App, now: float, text: str = ""
) -> Session | Refused:
    """Apply a callback of the container. `text`: its reason or detail, or `reason: detail`."""
    if session.state is State.ENDED:
        return Refused("the session has ended")
    match callback:
        case Callback.READY:
            if session.waits_for_host:  # the event with its host has not arrived yet
                session = _with_host(session, "the container called", now)
            ready_at = session.ready_at or now
            return settle(_with(session, ready_at=ready_at), app, now)
        case Callback.CONNECTED:
            return _connected(session, now)
        case Callback.DISCONNECTED:
            return _leaving(session, Reason.DISCONNECTED, "the client disconnected", now)
        case Callback.STOPPING:
            bye, _, detail = text.partition(": ")
            reason = _REASON_OF_BYE[Bye(bye)] if bye in set(Bye) else Reason.STOPPED
            leaving = _leaving(session, reason, f"the container is stopping: {text}", now)
            return _with(leaving, detail=detail) if detail else leaving
        case Callback.FAILED:
            return _with(session, detail=text or "the container failed")


def found_ready(session: Session, app: App, now: float) -> Session:
    """The container answered that it is ready: its callback was not heard."""
    if session.state is not State.STARTING:
        return session
    return settle(_with(session, ready_at=session.ready_at or now), app, now)


def found_connected(session: Session, now: float) -> Session:
    """The container answered that its client is connected: its callback was lost."""
    after = _connected(session, now)
    return session if isinstance(after, Refused) else after


def fold_stop(session: Session, reason: Reason, cause: str, now: float) -> Session:
    """Apply a request to stop. A session that never reached ECS ends at once."""
    if not session.is_live:
        return session
    if session.state is State.QUEUED and session.task_arn is None:
        return end(session, reason, cause, now=now)
    return _leaving(session, reason, cause, now)


def abandon(session: Session, reason: Reason, cause: str, now: float) -> Session:
    """Stop a session whose container or client is gone, because its owner requests another one. It
    counts against no limit of its owner from now on, even if the container takes long to end.
    """
    if session.state not in HANDED_OUT:
        return session
    kept = group_counters(session.counters)  # its container still exists
    return replace(_leaving(session, reason, cause, now), counters=kept)


def end(session: Session, reason: Reason, detail: str | None, *, now: float) -> Session:
    """End the session: nothing of it runs any more. The reason that was known first is kept, so
    that a stop explains the exit code.
    """
    if session.state is State.ENDED:
        return session
    after = session.reason or reason
    ended = replace(
        session,
        reason=after,
        detail=session.detail or detail,
        ended_at=now,
        connect_by=None,
        claims=None,  # personal data that is no longer needed
        query=None,
    )
    return ended.moved(State.ENDED, now, detail or after)


def settle(session: Session, app: App, now: float) -> Session:
    """Derive the state from the facts: a session with an address and a ready container can be
    reserved.
    """
    arrived = session.is_reachable and session.ready_at is not None
    if session.state is not State.STARTING or not arrived:
        return session
    if session.owner is None:
        return session.moved(State.WARM, now, "ready, nobody's")
    return reserve(session, app, now, "ready")


def reserve(session: Session, app: App, now: float, cause: str) -> Session:
    """Reserve the session: its client has to connect from now until the deadline."""
    reserved = session.moved(State.RESERVED, now, cause)
    return replace(reserved, connect_by=now + app.connect_deadline_seconds)


def _with(session: Session, **facts: Any) -> Session:
    """The session with these facts; the identical object if it has them already."""
    changed = replace(session, **facts)
    return session if changed == session else changed


def _connected(session: Session, now: float) -> Session | Refused:
    if session.state is State.ACTIVE:
        return session
    if session.state is not State.RESERVED:
        return Refused(f"nobody may connect while it is {session.state}")
    active = session.moved(State.ACTIVE, now, "the client connected")
    return replace(active, connect_by=None)


def _leaving(session: Session, reason: Reason, cause: str, now: float) -> Session:
    if session.state is State.STOPPING:
        return session
    if session.state is State.QUEUED and session.task_arn is None:
        # The container called before RunTask's answer was written.
        session = session.moved(State.STARTING, now, "the container called")
    return replace(session.moved(State.STOPPING, now, cause), reason=reason, connect_by=None)


def _why_not_started(session: Session, change: TaskChange, app: App, now: float) -> Reason:
    """The container may have been ready, and was not heard. Then it ended with 0 once its client
    had not come; an image that cannot start would not have run until that deadline.
    """
    if change.stop_code == "UserInitiated":
        return Reason.STOPPED
    ran_for, deadline = now - session.changed_at, app.connect_deadline_seconds
    is_owned = session.owner is not None  # others wait for a client as long as the pool keeps them
    waited = is_owned and change.exit_code == 0 and 0 < deadline <= ran_for
    return Reason.NEVER_CONNECTED if waited else Reason.FAILED_TO_START


def _why_ended(
    session: Session, change: TaskChange, app: App, now: float
) -> tuple[Reason, str | None]:
    detail = change.why_stopped
    asked = change.stop_code == "UserInitiated"
    if detail.startswith("Host EC2") or change.found_no_host:
        return (Reason.QUEUE_TIMEOUT if change.found_no_host else Reason.LOST), detail
    if session.state in {State.QUEUED, State.STARTING}:
        return _why_not_started(session, change, app, now), detail
    if "health check" in detail.lower():
        return Reason.UNHEALTHY, detail
    if asked:
        return Reason.STOPPED, detail
    if change.exit_code == 0:
        came = session.state is State.ACTIVE
        return (Reason.DISCONNECTED if came else Reason.NEVER_CONNECTED), detail
    return Reason.LOST, detail
