"""Size limits of Lambda and API Gateway, and their own answers if a function gives none.

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html

Pure.
"""

import json
from dataclasses import dataclass
from typing import Any

MAX_SYNCHRONOUS_BYTES = 6 * 1024 * 1024
"""Maximum size of a request and of its response."""

MAX_ASYNCHRONOUS_BYTES = 1024 * 1024
"""256 KB until October 2025."""

MAX_HTTP_BYTES = 10 * 1024 * 1024
"""Maximum size of a request to API Gateway."""

INTEGRATION_SECONDS = 29.0
"""API Gateway's timeout for a function, its cold start included."""


class TooManyRequestsError(Exception):
    """All environments that the function may have are busy: Lambda's TooManyRequestsException."""


class RequestTooLargeError(Exception):
    """More than Lambda takes: its RequestTooLargeException, 413."""


@dataclass(frozen=True)
class Outcome:
    """The answer to an invocation: JSON, and X-Amz-Function-Error."""

    payload: bytes
    error: str | None = None


def error_text(outcome: Outcome) -> str:
    """Kind and message of a failed invocation."""
    try:
        document = json.loads(outcome.payload)
        return ": ".join(
            str(document[name]) for name in ("errorType", "errorMessage") if document.get(name)
        )
    except (ValueError, AttributeError):
        return outcome.error or ""


def check_request(payload: bytes, most_bytes: int = MAX_SYNCHRONOUS_BYTES) -> None:
    """Raises RequestTooLargeError, in Lambda's words."""
    if len(payload) > most_bytes:
        raise RequestTooLargeError(
            f"Request must be smaller than {most_bytes} bytes for the InvokeFunction operation"
        )


def limited(outcome: Outcome) -> Outcome:
    """The outcome, or the error that Lambda puts in the place of one that is too large."""
    if len(outcome.payload) <= MAX_SYNCHRONOUS_BYTES:
        return outcome
    return failed(
        "Function.ResponseSizeTooLarge",
        f"Response payload size exceeded maximum allowed payload size "
        f"({MAX_SYNCHRONOUS_BYTES} bytes).",
    )


def killed(request_id: str) -> Outcome:
    """The process ended, or took more memory than it has."""
    return failed(
        "Runtime.ExitError",
        f"RequestId: {request_id} Error: Runtime exited with error: signal: killed",
    )


def exited(request_id: str, status: int) -> Outcome:
    """The process ended with this exit status."""
    return failed(
        "Runtime.ExitError",
        f"RequestId: {request_id} Error: Runtime exited with error: exit status {status}",
    )


def timed_out(request_id: str, seconds: float) -> Outcome:
    """The function took longer than it may."""
    return failed(
        "Sandbox.Timedout",
        f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds",
    )


def failed(error_type: str, message: str) -> Outcome:
    """An error that is none of the handler's own."""
    document = {"errorType": error_type, "errorMessage": message}
    return Outcome(json.dumps(document).encode(), "Unhandled")


def gateway_answer(status: int, message: str) -> dict[str, Any]:
    """API Gateway's own answer, as a proxy response."""
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"},
        "multiValueHeaders": {},
        "body": json.dumps({"message": message}),
    }


def proxy_response(outcome: Outcome) -> dict[str, Any]:
    """API Gateway's answer for a function's outcome: 502 unless it is a proxy response.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    document = None if outcome.error else json.loads(outcome.payload)
    if not isinstance(document, dict) or not isinstance(document.get("statusCode"), int):
        return gateway_answer(502, "Internal server error")
    empty: dict[str, Any] = {"headers": {}, "multiValueHeaders": {}, "body": ""}
    return empty | {name: value for name, value in document.items() if value is not None}
