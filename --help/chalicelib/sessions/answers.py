"""Answers to clients about a session. Pure. No answer contains the container's key."""

from typing import Any

from chalicelib.contract import Callback
from chalicelib.instants import instant
from chalicelib.sessions.model import HANDED_OUT, Session, State

RETRY_AFTER_SECONDS = 1


def address_of(session: Session, url_template: str) -> dict[str, Any]:
    """The address that the browser opens: ip, port, path and url. The path is a secret; it permits
    to connect.
    """
    path = f"/{session.uuid}"
    ip = session.ip or ""
    url = url_template.format(
        id=session.id,
        ip=f"[{ip}]" if ":" in ip else ip,
        dashed_ip=ip.replace(".", "-").replace(":", "-"),
        port=session.port,
        path=path,
    )
    return {"ip": ip, "port": session.port, "path": path, "url": url}


def body_of(session: Session, url_template: str, *, with_address: bool = True) -> dict[str, Any]:
    """The JSON body of a session: its address, when to repeat the request, or the reason of its
    end.

    `with_address`: include the address. It permits to connect and must not be sent to callers that
    may only read.
    """
    answer: dict[str, Any] = {
        "id": session.id,
        "state": session.state.value,
        "app": session.app,
        "revision": session.revision,
    }
    if session.state in HANDED_OUT:
        answer |= address_of(session, url_template) if with_address else {}
        answer |= {"warm": session.pooled, "connectBy": instant(session.connect_by)}
    elif session.state in {State.STOPPING, State.ENDED}:
        answer |= {"reason": session.reason, "detail": session.detail}
        answer |= {"endedAt": instant(session.ended_at)}
    else:
        answer |= {"retryAfter": retry_after(session)}
        if session.state is State.QUEUED and session.queue_position is not None:
            answer |= {"position": session.queue_position, "detail": session.detail}
    return answer


def retry_after(session: Session) -> int:
    """Seconds after which the client should repeat its request."""
    waits = session.state is State.QUEUED and session.retry_after_seconds
    return waits or RETRY_AFTER_SECONDS


def status_of(session: Session) -> int:
    """The HTTP status: 202 while the session has no address, else 200."""
    return 202 if session.is_live and session.state not in HANDED_OUT else 200


def answer_to_callback(session: Session, callback: Callback) -> dict[str, Any]:
    """The body of the answer to a callback. Each answer to `connected` has the claims and
    parameters of the session's user and the `traceparent` of the request; other answers are empty.
    """
    if callback is not Callback.CONNECTED:
        return {}
    claims, query = dict(session.claims or {}), dict(session.query or {})
    answer: dict[str, Any] = {
        "user": {"owner": session.owner, "claims": claims, "query": query},
    }
    return answer | ({"traceparent": session.traceparent} if session.traceparent else {})
