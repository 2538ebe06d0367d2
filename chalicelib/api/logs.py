"""What jobs printed, over HTTP: parse, call, render."""

from typing import TYPE_CHECKING

from chalice.app import Blueprint, Response

from chalicelib.api.http import (
    Takes,
    answer,
    answering,
    authorizer_for,
    known_caller_of,
    takes_lazily,
)
from chalicelib.config import authorization
from chalicelib.instants import instant
from chalicelib.tasks.requests import parse_record_id
from chalicelib.wiring import services

if TYPE_CHECKING:
    from chalicelib.jobs.wiring import Jobs

routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())
LAG_SECONDS = 5
"""So long after its end the last lines of a task may still be on their way to CloudWatch,"""
LOCAL_LAG_SECONDS = 1
"""and so long to the local cloud's files."""


def _logs() -> Takes:
    from chalicelib.jobs.requests import LOGS

    return Takes(query=LOGS)


@routes.route("/invocations/{invocation_id}/logs", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes_lazily(_logs)
def get_logs(invocation_id: str) -> Response:
    """One page of what an invocation's current attempt printed."""
    from chalicelib.jobs.requests import LOG_LIMIT

    request = routes.current_request
    query = request.query_params or {}
    limit = LOG_LIMIT.read(query)
    config = services().config
    caller = known_caller_of(request, config)
    found = _jobs().invocations.get(parse_record_id(invocation_id, "invocation"), caller)
    page = _jobs().logs.page(found.job, found.task_arn, query.get("next"), limit)
    lag = LOCAL_LAG_SECONDS if config.metrics_here else LAG_SECONDS
    settled = services().environment.now() >= (found.finished_at or 0) + lag
    return answer(
        {
            "lines": [{"at": instant(line.at), "text": line.text} for line in page.lines],
            "next": page.next_token,
            "ended": found.has_ended and page.is_last and (settled or found.task_arn is None),
        }
    )


def _jobs() -> "Jobs":
    return services().jobs
