"""Sessions over HTTP, from the launch queue and from the timer: parse, call, render."""

import hashlib
import hmac
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from chalice.app import Blueprint, Response, SQSEvent

from chalicelib.api.audit import record_of
from chalicelib.api.changes import IF_NONE_MATCH, WAIT_FOR_CHANGE, when_changed
from chalicelib.api.http import (
    CORS,
    answer,
    answering,
    authorizer_for,
    bearer,
    caller_of,
    document_of,
    known_caller_of,
    own_path,
    own_url,
    takes,
)
from chalicelib.audit.model import Action
from chalicelib.callers import Caller
from chalicelib.config import authorization, launches_queue, stage
from chalicelib.contract import Callback
from chalicelib.errors import NoRouteError
from chalicelib.sessions.answers import answer_to_callback, body_of, retry_after, status_of
from chalicelib.sessions.launch_queue import (
    LaunchAgain,
    ReconcilePool,
    StartWaiting,
    read_message,
)
from chalicelib.sessions.listings import (
    LISTING,
    parse_search,
    show_history,
    show_next,
    show_row,
)
from chalicelib.sessions.model import Reason, Session, State
from chalicelib.sessions.requests import (
    CALLBACK,
    DISPATCH,
    SESSION_ID,
    SESSION_PATH,
    DispatchRequest,
    parse_callback,
    parse_dispatch,
)
from chalicelib.tasks.requests import IDEMPOTENCY_KEY, TRACEPARENT, parse_record_id
from chalicelib.wiring import services

if TYPE_CHECKING:
    from chalicelib.sessions.service import Sessions

routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())


@routes.route("/session", methods=["GET", "POST"], cors=CORS, authorizer=AUTHORIZER)
@answering
@takes(query=DISPATCH, headers=(IDEMPOTENCY_KEY, TRACEPARENT), ignores_others=True)
def dispatch_session() -> Response:
    """A session in its own container for the caller."""
    request = routes.current_request
    config = services().config
    caller = caller_of(request, config)
    caller.require_change()
    header = request.headers.get(TRACEPARENT.name)
    if header is None and config.traces_endpoint is None:
        return _render(_sessions().dispatch(_parse_dispatch(caller, None)))
    return _render(_traced(caller, header))


def _traced(caller: Caller, header: str | None) -> Session:
    """Dispatch within a trace whose `traceparent` the container receives."""
    traces, now = services().traces, services().environment.now
    above, place = traces.contexts(header)
    began, session = now(), None
    try:
        dispatch = _parse_dispatch(caller, None if place is None else place.header)
        session = _sessions().dispatch(dispatch)
    finally:
        attributes = _attributes_of(session)
        traces.requested("GET /session", above, place, began, attributes, failed=session is None)
    return session


def _attributes_of(session: Session | None) -> dict[str, str | None]:
    """A span's attributes about a session: neither address nor owner."""
    if session is None:
        return {}
    return {
        "usher.session": session.id,
        "usher.app": session.app,
        "usher.state": session.state.value,
        "usher.warm": "true" if session.pooled else "false",
        "aws.ecs.task.arn": session.task_arn,
    }


def _parse_dispatch(caller: Caller, traceparent: str | None) -> DispatchRequest:
    request = routes.current_request
    config = services().config
    return parse_dispatch(
        request.query_params or {},
        request.headers,
        apps=services().sessions.apps,
        caller=caller,
        callback_base_url=config.callback_base_url or own_url(request),
        default_wait_seconds=config.default_wait_seconds,
        traceparent=traceparent,
    )


@routes.route("/sessions", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes(query=LISTING)
def list_sessions() -> Response:
    """One page of the sessions that have not ended, newest first."""
    request = routes.current_request
    caller = known_caller_of(request, services().config)
    search = parse_search(request.query_params or {})
    page = _sessions().search(search, caller)
    rows = [show_row(session, with_host=caller.sees_all) for session in page.sessions]
    return answer({"sessions": rows, "next": show_next(page, search)})


@routes.route("/sessions/{session_id}/history", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes(query=(WAIT_FOR_CHANGE,), headers=(IF_NONE_MATCH,))
def get_history(session_id: str) -> Response:
    """A session with its history, up to a week after its end; with `wait` and `If-None-Match` as it
    becomes.
    """
    caller = known_caller_of(routes.current_request, services().config)
    known = parse_record_id(session_id, "session")
    return when_changed(
        routes.current_request,
        services(),
        owner=caller.owner,
        load=lambda: _sessions().get(known, caller),
        render=lambda session: answer(show_history(session, with_host=caller.sees_all)),
    )


@routes.route("/sessions/{session_id}", methods=["GET"], cors=CORS, authorizer=AUTHORIZER)
@answering
@takes(query=(WAIT_FOR_CHANGE,), headers=(IF_NONE_MATCH,))
def get_session(session_id: str) -> Response:
    """The session as it is now; with `wait` and `If-None-Match` as it becomes."""
    known, caller = parse_record_id(session_id, "session"), _caller()
    return when_changed(
        routes.current_request,
        services(),
        owner=caller.owner,
        load=lambda: _sessions().get(known, caller),
        render=_render,
    )


@routes.route("/sessions/{session_id}", methods=["DELETE"], cors=CORS, authorizer=AUTHORIZER)
@answering
def stop_session(session_id: str) -> Response:
    """Stop the session."""
    caller = _caller()
    session = _sessions().get(parse_record_id(session_id, "session"), caller)
    if session.state in {State.STOPPING, State.ENDED}:  # nothing to change or to record
        return _render(session)
    resource = f"sessions/{session.id}"
    stopped = services().audit.around(
        record_of(routes.current_request, caller, Action.SESSION_STOP, resource),
        _facts_of(session),
        lambda: _sessions().stop(session.id, Reason.STOPPED, "its owner asked"),
        _facts_of,
    )
    return _render(stopped)


@routes.route("/sessions/{session_id}/events", methods=["POST"])
@answering
@takes(body=CALLBACK)
def handle_container_callback(session_id: str) -> Response:
    """A container reports its state."""
    request = routes.current_request
    key = bearer(request)
    callback, text = parse_callback(document_of(request, CALLBACK))
    session = _sessions().handle_callback(
        parse_record_id(session_id, "session"), key, callback, text
    )
    is_start = callback is Callback.READY and session.owner is not None
    if is_start and session.traceparent and session.ready_at is not None and not session.pooled:
        step = ("ECS start", session.created_at, session.ready_at)
        services().traces.steps(session.traceparent, [step], _attributes_of(session))
    return answer(answer_to_callback(session, callback))


@routes.route("/sessions/{session_id}/credentials", methods=["GET"])
@answering
@takes()
def get_user_credentials(session_id: str) -> Response:
    """AWS credentials with the rights of the session's user, for its container only."""
    key = bearer(routes.current_request)
    record_id = parse_record_id(session_id, "session")
    return answer(services().sessions.user_credentials.give(record_id, key))


@routes.route("/route", methods=["GET"])
@answering
@takes(headers=(SESSION_ID, SESSION_PATH), ignores_others=True)
def find_container() -> Response:
    """A router requests the container of a path; the answer has the header X-Usher-Address.

    Id and path are in headers, because URLs are logged. nginx may cache the answer until the end of
    this second.
    """
    request = routes.current_request
    if not is_routers(bearer(request), services().config.router_keys):
        raise NoRouteError("this key is no router's")
    values = [request.headers.get(field.name.lower(), "") for field in (SESSION_ID, SESSION_PATH)]
    address = _sessions().locate(*values)
    headers = {"X-Usher-Address": address, "X-Accel-Expires": f"@{int(time.time())}"}
    return answer({}, headers=headers)


@routes.on_sqs_message(queue=launches_queue(stage()), batch_size=1, name="launch_queued")
def launch_queued(event: SQSEvent) -> None:
    """Launch sessions that wait for capacity, and reconcile pools."""
    for record in event:
        match read_message(record.body):
            case LaunchAgain(session_id, tries):
                services().sessions.launches.launch_later(session_id, tries)
            case ReconcilePool() as message:
                services().sessions.pools.on_message(message)
            case StartWaiting(group):
                services().sessions.launches.start_waiting(group)


def is_routers(key: str, digests: Iterable[str]) -> bool:
    """Whether the SHA-256 of a key is one of `digests`, the routers' keys. All of them are
    compared.
    """
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    return any([hmac.compare_digest(digest, each) for each in digests])  # noqa: C419


def _facts_of(session: Session) -> dict[str, Any]:
    """The fields of a session in an audit record."""
    facts = {"app": session.app, "owner": session.owner, "state": session.state.value}
    return {name: value for name, value in facts.items() if value is not None}


def _render(session: Session) -> Response:
    status = status_of(session)
    headers = {}
    if status == 202:
        headers = {
            "Location": own_path(routes.current_request, f"/sessions/{session.id}"),
            "Retry-After": str(retry_after(session)),
        }
    template = services().config.session_url_template
    body = body_of(session, template, with_address=not _caller().is_viewer)
    return answer(body, status, headers)


def _sessions() -> "Sessions":
    return services().sessions.service


def _caller() -> Caller:
    return caller_of(routes.current_request, services().config)
