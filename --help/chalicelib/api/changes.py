"""Conditional answers with entity tags, and long polling until the tag changes.

There are no server-sent events, because Lambda's Python runtime streams no answers:
docs/decisions/0015.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from chalice.app import Response

from chalicelib.config import MAX_WAIT_SECONDS
from chalicelib.fields import Field
from chalicelib.wiring import Services

IF_NONE_MATCH = Field(
    "If-None-Match", {"type": "string"}, "entity tags", "The ETag of what the client has."
)
WAIT_FOR_CHANGE = Field(
    "wait",
    {"type": "number", "minimum": 0, "maximum": MAX_WAIT_SECONDS, "default": 0},
    f"a number of seconds from 0 to {MAX_WAIT_SECONDS:g}",
    "With `If-None-Match`: how many seconds to wait for another answer, before a 304.",
)
FIRST_POLL_SECONDS = 0.25
POLL_GROWTH = 0.1
"""Interval between polls of a record, as a fraction of the time waited so far: about 28 reads in 25
s."""

R = TypeVar("R")


def tag_of(text: str) -> str:
    """The weak entity tag of a text; weak because API Gateway compresses. Pure."""
    return f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def is_known(request: Any, tag: str) -> bool:
    """Whether the client's `If-None-Match` contains the tag."""
    known = request.headers.get(IF_NONE_MATCH.name.lower(), "")
    return tag in [one.strip() for one in known.split(",")]


def unless_known(request: Any, response: Response) -> Response:
    """The JSON answer with its entity tag, or a 304 if the client has it."""
    tag = tag_of(json.dumps([response.status_code, response.body], sort_keys=True))
    response.headers.update({"ETag": tag})
    if not is_known(request, tag):
        return response
    return Response("", status_code=304, headers={"Cache-Control": "no-store", "ETag": tag})


def when_changed(
    request: Any,
    services: Services,
    *,
    owner: str,
    load: Callable[[], R],
    render: Callable[[R], Response],
) -> Response:
    """The record as it is now, or as it becomes within the seconds that the client waits.

    A change of the record is noticed at the next poll; data that `render` adds from other sources,
    such as the position in a queue, is read at the end. A waiting request occupies a Lambda
    environment: `Sessions.may_wait` limits their number, and requests above the limit are answered
    at once. Raises BadRequestError, and the errors of `load`.
    """
    seconds, environment = WAIT_FOR_CHANGE.read(request.query_params or {}), services.environment
    record = load()
    response = unless_known(request, render(record))
    if response.status_code != 304 or not seconds or not services.sessions.service.may_wait(owner):
        return response
    started = environment.now()
    until = started + seconds
    while (now := environment.now()) < until:
        pause = max(FIRST_POLL_SECONDS, (now - started) * POLL_GROWTH)
        environment.wait(threading.Event(), min(pause, until - now))
        before, record = record, load()
        if record != before:
            response = unless_known(request, render(record))
            if response.status_code != 304:
                return response
    return unless_known(request, render(record))
