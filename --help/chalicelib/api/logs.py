"""Log lines of jobs and sessions over HTTP: parse, call, render."""

from typing import TYPE_CHECKING

from chalice.app import Blueprint, Response

from chalicelib.api.http import answer, answering, authorizer_for, known_caller_of, takes
from chalicelib.callers import Caller
from chalicelib.config import authorization
from chalicelib.instants import instant
from chalicelib.tasks.requests import LOG_LIMIT, LOGS, parse_record_id
from chalicelib.wiring import services

if TYPE_CHECKING:
    from chalicelib.tasks.logs import LogPage

routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())
LAG_SECONDS = 5
"""The last lines of a task may reach CloudWatch this long after its end,"""
LOCAL_LAG_SECONDS = 1
"""and the local cloud's files this long after it."""


@routes.route("/invocations/{invocation_id}/logs", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes(query=LOGS)
def get_logs(invocation_id: str) -> Response:
    """One page of the log of an invocation's current attempt."""
    wanted = _wanted()
    found = services().jobs.invocations.get(parse_record_id(invocation_id, "invocation"), _caller())
    page = services().jobs.logs.page(found.job, found.task_arn, *wanted)
    return _render(page, found.task_arn, found.finished_at or 0 if found.has_ended else None)


@routes.route("/sessions/{session_id}/logs", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes(query=LOGS)
def get_session_logs(session_id: str) -> Response:
    """One page of the log of a session's container. For operators and viewers."""
    wanted, caller = _wanted(), _caller()
    caller.require_sight()
    found = services().sessions.service.get(parse_record_id(session_id, "session"), caller)
    page = services().sessions.logs.page(found.app, found.task_arn, *wanted)
    return _render(page, found.task_arn, None if found.is_live else found.ended_at or 0)


def _wanted() -> tuple[str | None, int]:
    """The position of the page, and its maximum number of lines."""
    query = routes.current_request.query_params or {}
    return query.get("next"), LOG_LIMIT.read(query)


def _render(page: "LogPage", task_arn: str | None, ended_at: float | None) -> Response:
    """A page of a task's log; `ended_at` is None while its record has not ended."""
    lag = LOCAL_LAG_SECONDS if services().config.metrics_here else LAG_SECONDS
    is_settled = ended_at is not None and services().environment.now() >= ended_at + lag
    return answer(
        {
            "lines": [{"at": instant(line.at), "text": line.text} for line in page.lines],
            "next": page.next_token,
            "ended": ended_at is not None and page.is_last and (is_settled or task_arn is None),
        }
    )


def _caller() -> Caller:
    return known_caller_of(routes.current_request, services().config)
