"""Logs of containers from CloudWatch Logs, page by page.

A task's log stream is `{name}/{container}/{task id}`, with the name of its job or app.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.answer_size import MOST_BYTES, escaped_bytes, fitting
from chalicelib.errors import BadRequestError
from chalicelib.tasks.requests import DEFAULT_LOG_LINES, MAX_LOG_LINES

LARGEST_CHARACTER = 14
"""Bytes of an escaped character outside the basic plane: two surrogates."""
CUT = " … (cut: the line is too long for an answer)"

_TOKEN = re.compile(r"[\w/+=:.-]{1,256}")


@dataclass(frozen=True)
class Line:
    """One line and its time of arrival, in seconds since 1970."""

    at: float
    text: str


@dataclass(frozen=True)
class LogPage:
    """Lines in order. `next_token` is valid even if there are no more lines at present."""

    lines: tuple[Line, ...]
    next_token: str | None
    is_last: bool
    """Whether there were no more lines."""


class TaskLogs:
    """The logs of one kind of container, through a boto3 client of CloudWatch Logs."""

    def __init__(self, logs: Callable[[], Any], group: str, container: str) -> None:
        """`logs()` returns the client, which is created when it is first needed because that takes
        time.

        `container` is the name of the only container of each task.
        """
        self._logs = logs
        self._group = group
        self._container = container

    def page(
        self,
        name: str,
        task_arn: str | None,
        next_token: str | None,
        limit: int = DEFAULT_LOG_LINES,
    ) -> LogPage:
        """The lines after `next_token`, or the first ones: at most `limit`, and as many as fit into
        an answer. A line that does not fit is cut.

        A task without output has no stream: no lines, and no error. Raises BadRequestError for an
        invalid token.
        """
        if next_token is not None and not _TOKEN.fullmatch(next_token):
            raise BadRequestError("next: as the page before said")
        if task_arn is None:
            return LogPage((), next_token, is_last=True)
        query = {
            "logGroupName": self._group,
            "logStreamName": stream_of(name, self._container, task_arn),
            "startFromHead": True,
            "limit": max(1, min(limit, MAX_LOG_LINES)),
        }
        if next_token is not None:
            query["nextToken"] = next_token
        try:
            answer = self._events(query)
        except ClientError as error:
            match error.response["Error"]["Code"]:
                case "ResourceNotFoundException":
                    return LogPage((), next_token, is_last=True)
                case "InvalidParameterException" if next_token is not None:
                    raise BadRequestError("next: as the page before said") from error
            raise
        lines = tuple(
            Line(event["timestamp"] / 1000, _cut(event["message"])) for event in answer["events"]
        )
        following = answer["nextForwardToken"]
        # CloudWatch may return an empty page in the middle; the token does not change at the end.
        return LogPage(lines, following, is_last=following == next_token)

    def _events(self, query: dict[str, Any]) -> Any:
        """One page of GetLogEvents, up to 1 MiB. Fewer lines are requested if they would not fit
        into an answer: a token points after the last line of its page, so no line is skipped.
        """
        while True:
            answer = self._logs().get_log_events(**query)
            number = fitting(event["message"] for event in answer["events"])
            if number == len(answer["events"]):
                return answer
            query = query | {"limit": number}


def _cut(message: str) -> str:
    """The line, or its part that fits into an answer."""
    if len(message) * LARGEST_CHARACTER <= MOST_BYTES or escaped_bytes(message) <= MOST_BYTES:
        return message
    return message[: MOST_BYTES // LARGEST_CHARACTER] + CUT


def stream_of(name: str, container: str, task_arn: str) -> str:
    """The stream of a task: prefix, container, task id."""
    return f"{name}/{container}/{task_arn.rpartition('/')[2]}"
