"""What containers printed, from CloudWatch Logs, page by page.

The stream of a task is found by the name of its job or app, its container and its id:
`{name}/{container}/{task id}`.
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
"""Bytes of an escaped character outside of the basic plane: two surrogates."""
CUT = " … (cut: the line is too long for an answer)"

_TOKEN = re.compile(r"[\w/+=:.-]{1,256}")


@dataclass(frozen=True)
class Line:
    """One line, and when it arrived, in seconds since 1970."""

    at: float
    text: str


@dataclass(frozen=True)
class LogPage:
    """Lines in order. `next_token` leads on, also when there is nothing more for now."""

    lines: tuple[Line, ...]
    next_token: str | None
    is_last: bool
    """Whether nothing more was there."""


class TaskLogs:
    """The logs of one kind of container through a boto3 client of CloudWatch Logs."""

    def __init__(self, logs: Callable[[], Any], group: str, container: str) -> None:
        """`logs()` gives the client: most never need it, and it costs time to make.

        `container` is the name of the one container of each task.
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
        """The lines after `next_token`, or the first ones; at most `limit`, and as many as an
        answer can have. A line that no answer can have is cut.

        A task that has printed nothing yet has no stream: no lines, and no error.
        Raises BadRequestError for a token that is none.
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
        # CloudWatch may give an empty page in the middle: the end is where the token stays.
        return LogPage(lines, following, is_last=following == next_token)

    def _events(self, query: dict[str, Any]) -> Any:
        """One page of GetLogEvents, up to 1 MiB. Fewer lines are asked for where they would not fit
        into an answer: tokens stand behind the last line of a page, so none is left out.
        """
        while True:
            answer = self._logs().get_log_events(**query)
            number = fitting(event["message"] for event in answer["events"])
            if number == len(answer["events"]):
                return answer
            query = query | {"limit": number}


def _cut(message: str) -> str:
    """The line, or the part of it that an answer can have."""
    if len(message) * LARGEST_CHARACTER <= MOST_BYTES or escaped_bytes(message) <= MOST_BYTES:
        return message
    return message[: MOST_BYTES // LARGEST_CHARACTER] + CUT


def stream_of(name: str, container: str, task_arn: str) -> str:
    """The stream of a task: prefix, container, task id."""
    return f"{name}/{container}/{task_arn.rpartition('/')[2]}"
