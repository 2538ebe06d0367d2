"""Requests the start permit from the dispatcher and reports progress and end.

http.client only, because the start of every job waits for these imports.
"""

import http.client
import json
import os
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from usher.child_messages import Progress
from usher.log import say
from usher.protocol import (
    Ending,
    Limits,
    Settings,
    StartPermit,
    Usage,
    finish_body,
    read_object,
    read_permit,
    refusal,
)
from usher.repeating import Verdict, judge, pause_seconds

T = TypeVar("T")

MAX_ANSWER_BYTES = 1024 * 1024
METADATA_SECONDS = 2.0
METADATA_VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"
"""https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html"""


class NotPermittedError(Exception):
    """The start permit was refused or could not be requested: no user code may run."""


class Coordinator(Protocol):
    """Gives start permits: the dispatcher, or `usher run` itself."""

    def request_permit(self) -> StartPermit:
        """Raises NotPermittedError."""

    def tell_progress(self, progress: Progress) -> None:
        """Report progress. Never raises. Called from a separate thread."""

    def tell_end(self, ending: Ending, usage: Usage, seconds: float) -> None:
        """Report the end of the run; repeated for at most `seconds`. Never raises."""


class Dispatcher:
    """The dispatcher, for one process of one attempt."""

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self._settings = settings
        self._limits = limits
        self._process = os.urandom(16).hex()

    def request_permit(self) -> StartPermit:
        body = {
            "attempt": self._settings.attempt,
            "taskArn": task_arn(),
            "process": self._process,
        }

        def ask() -> StartPermit | None:
            answer = self._post("start", body, self._limits.request_seconds)
            if judge(answer.status) is Verdict.NEVER:
                raise NotPermittedError(
                    f"not given the start permit: {refusal(answer.status, answer.body)}"
                )
            permit = read_permit(answer.body) if answer.status == 200 else None
            if permit is None:
                say(f"usher: no start permit yet: {refusal(answer.status, answer.body)}")
            return permit

        permit = _repeat(ask, self._limits.permit_seconds)
        if permit is None:
            seconds = self._limits.permit_seconds
            raise NotPermittedError(
                f"no start permit within {seconds:g} s: the dispatcher does not answer"
            )
        return permit

    def tell_progress(self, progress: Progress) -> None:
        body = {
            "process": self._process,
            "fraction": progress.fraction,
            "message": progress.message,
        }
        try:
            answer = self._post("progress", body, self._limits.request_seconds)
        except (OSError, http.client.HTTPException) as error:
            say(f"usher: progress was not told: {_message(error)}")
            return
        if judge(answer.status) is not Verdict.ACCEPTED:
            say(f"usher: progress was not taken: {refusal(answer.status, answer.body)}")

    def tell_end(self, ending: Ending, usage: Usage, seconds: float) -> None:
        body = finish_body(self._process, ending, usage)

        def tell() -> bool | None:
            answer = self._post("finish", body, min(seconds, self._limits.request_seconds))
            verdict = judge(answer.status)
            if verdict is not Verdict.ACCEPTED:
                say(f"usher: the end was not taken: {refusal(answer.status, answer.body)}")
            return None if verdict is Verdict.REPEAT else True

        if _repeat(tell, seconds) is None:
            say("usher: the end was never told: the dispatcher has the exit code from ECS")

    def _post(self, call: str, document: dict[str, Any], seconds: float) -> "Answer":
        headers = {
            "Authorization": f"Bearer {self._settings.key}",
            "Content-Type": "application/json",
        }
        # Not escaped, because the dispatcher limits the bytes of this form, in which the result was
        # measured.
        body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
        url = f"{self._settings.url}/{call}"
        return request("POST", url, seconds, headers, body)


class Answer(NamedTuple):
    """Status and body of an HTTP answer."""

    status: int
    body: bytes


def request(
    method: str, url: str, seconds: float, headers: dict[str, str], body: bytes | None = None
) -> Answer:
    """One request on a new connection; `seconds` limits each wait for the network.

    Raises OSError and http.client.HTTPException.
    """
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.read(MAX_ANSWER_BYTES))
    finally:
        connection.close()


def task_arn() -> str | None:
    """The ARN of this task from ECS's metadata endpoint; None if there is none."""
    url = os.environ.get(METADATA_VARIABLE)
    if not url:
        return None
    try:
        answer = request("GET", f"{url}/task", METADATA_SECONDS, {})
    except (OSError, http.client.HTTPException) as error:
        say(f"usher: the task's ARN is not known: {_message(error)}")
        return None
    arn = read_object(answer.body).get("TaskARN")
    return arn if isinstance(arn, str) else None


def _repeat(attempt: Callable[[], T | None], seconds: float) -> T | None:
    """Call until it returns a value, with growing pauses; None when `seconds` are over."""
    deadline = time.monotonic() + seconds
    failures = 0
    while True:
        try:
            answer = attempt()
        except (OSError, http.client.HTTPException) as error:
            say(f"usher: the dispatcher was not reached: {_message(error)}")
            answer = None
        if answer is not None:
            return answer
        failures += 1
        pause = pause_seconds(failures, random.random())  # noqa: S311 - spreads retries only
        if time.monotonic() + pause >= deadline:
            return None
        time.sleep(pause)


def _message(error: Exception) -> str:
    return str(error) or type(error).__name__
