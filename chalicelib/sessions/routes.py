"""Sessions over HTTP, from the launch queue and on the clock: parse, call, render."""

import json
from typing import Any

from chalice.app import Blueprint, Rate, Response, SQSEvent

from chalicelib.config import MAX_WAIT_SECONDS, launches_queue, stage
from chalicelib.errors import UnauthorizedError
from chalicelib.http import CORS, answer, answering, json_body
from chalicelib.sessions.answers import RETRY_AFTER_SECONDS, body_of, status_of
from chalicelib.sessions.model import Reason, Session
from chalicelib.sessions.requests import parse_callback, parse_dispatch, parse_session_id
from chalicelib.wiring import services

routes = Blueprint(__name__)

ANYBODY = "anybody"
"""The owner recorded where the deployment asks nobody who they are."""


@routes.route("/session", methods=["GET", "POST"], cors=CORS)
@answering
def dispatch_session() -> Response:
    """A container of their own for whoever asks."""
    request = routes.current_request
    config = services().config
    dispatch = parse_dispatch(
        request.query_params or {},
        request.headers,
        apps=config.apps,
        owner=ANYBODY,
        callback_base_url=config.callback_base_url or _own_url(request),
        default_wait_seconds=config.default_wait_seconds,
        max_wait_seconds=MAX_WAIT_SECONDS,
    )
    return _render(services().sessions.dispatch(dispatch))


@routes.route("/sessions/{session_id}", methods=["GET"], cors=CORS)
@answering
def get_session(session_id: str) -> Response:
    """The session as it is now."""
    return _render(services().sessions.get(parse_session_id(session_id)))


@routes.route("/sessions/{session_id}", methods=["DELETE"], cors=CORS)
@answering
def stop_session(session_id: str) -> Response:
    """Stop the session."""
    cause = "its user asked"
    session_id = parse_session_id(session_id)
    return _render(services().sessions.stop(session_id, Reason.STOPPED, cause))


@routes.route("/sessions/{session_id}/events", methods=["POST"])
@answering
def hear_container(session_id: str) -> Response:
    """A container says how it is."""
    request = routes.current_request
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise UnauthorizedError("send the session's key as a bearer token")
    callback, words = parse_callback(json_body(request.raw_body))
    services().sessions.hear(parse_session_id(session_id), key, callback, words)
    return answer({})


@routes.on_sqs_message(queue=launches_queue(stage()), batch_size=1, name="launch_queued")
def launch_queued(event: SQSEvent) -> None:
    """The next try for sessions that wait for capacity."""
    for record in event:
        message = json.loads(record.body)
        services().launches.launch_queued(message["session"], message["tries"])


@routes.schedule(Rate(1, unit=Rate.MINUTES), name="sweep_sessions")
def sweep_sessions(_event: Any) -> dict[str, int]:
    """Compare all records with all tasks, and repair."""
    return services().sweep.run()


def _render(session: Session) -> Response:
    status = status_of(session)
    headers = {}
    if status == 202:
        headers = {
            "Location": f"/sessions/{session.id}",
            "Retry-After": str(RETRY_AFTER_SECONDS),
        }
    return answer(body_of(session, services().config.session_url_template), status, headers)


def _own_url(request: Any) -> str:
    """The API's URL as API Gateway says it, for containers to call back."""
    context = request.context
    if "domainName" not in context:  # chalice local
        return f"http://{request.headers['host']}"
    return f"https://{context['domainName']}/{context['stage']}"
