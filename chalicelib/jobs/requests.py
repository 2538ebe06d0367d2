"""What callers and containers may send, read and checked. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chalicelib.contract.jobs import (
    MAX_MESSAGE_CHARACTERS,
    MAX_PARAMETERS_BYTES,
    MAX_RESULT_BYTES,
    Outcome,
)
from chalicelib.contract.text import readable
from chalicelib.errors import BadRequestError
from chalicelib.jobs.model import Priority, Usage
from chalicelib.tasks.requests import parse_idempotency_key

MAX_AHEAD_SECONDS = 366 * 86_400
"""How far ahead an invocation may be planned."""
MAX_LOG_LINES = 1_000
DEFAULT_LOG_LINES = 500
MAX_NUMBER = 1e12
MAX_ATTEMPT = 1_000_000
_PROCESS = re.compile(r"[0-9A-Za-z_-]{8,64}")


@dataclass(frozen=True)
class Invoke:
    """One POST /jobs/{job}/invocations."""

    parameters: Any
    at: float | None
    priority: Priority | None
    not_after: float | None
    idempotency_key: str | None

    @property
    def digest(self) -> str:
        """The same for requests that ask for the same, in whatever way it is written.

        True is not 1; but 1.0 is 1, as JSON Schema has it (draft 2020-12, 4.2.2).
        """
        content = [self.parameters, self.at, self.priority, self.not_after]
        text = json.dumps(_with_whole_numbers(content), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _with_whole_numbers(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            return {name: _with_whole_numbers(part) for name, part in value.items()}
        case list():
            return [_with_whole_numbers(part) for part in value]
        case _:
            return value


@dataclass(frozen=True)
class Finish:
    """How a run went, by its container's word."""

    process: str
    outcome: Outcome
    exit_code: int
    detail: str
    result: Any
    usage: Usage | None


def parse_invoke(body: Any, headers: Mapping[str, str]) -> Invoke:
    """Read the request for an invocation. Raises BadRequestError.

    Whether its instants are still to come is no matter of a request that is repeated: see
    `check_instants`.
    """
    document = _document(body, {"parameters", "at", "priority", "notAfter"})
    at, not_after = parse_instant(document, "at"), parse_instant(document, "notAfter")
    key = parse_idempotency_key(headers)
    parameters = check_size(document.get("parameters"), MAX_PARAMETERS_BYTES, "parameters")
    return Invoke(parameters, at, parse_priority(document), not_after, key)


def check_instants(wanted: Invoke, now: float) -> None:
    """Raise BadRequestError unless a new invocation may have these instants."""
    at, not_after = wanted.at, wanted.not_after
    if at is not None and at > now + MAX_AHEAD_SECONDS:
        raise BadRequestError("at: at most a year ahead")
    if not_after is not None and not_after <= max(now, at or 0):
        raise BadRequestError("notAfter: later than now, and than at")


def parse_limit(query: Mapping[str, str], default: int, most: int) -> int:
    """How many a page is to have. Raises BadRequestError."""
    limit = query.get("limit", str(default))
    if not re.fullmatch(r"[0-9]{1,9}", limit) or not 1 <= int(limit) <= most:
        raise BadRequestError(f"limit: a whole number from 1 to {most}")
    return int(limit)


def parse_start(body: Any) -> tuple[int, str | None, str]:
    """Read a container's request for leave: attempt, task ARN, process."""
    document = _document(body, {"attempt", "taskArn", "process"})
    attempt, task_arn = document.get("attempt"), document.get("taskArn")
    if not isinstance(attempt, int) or isinstance(attempt, bool) or not 1 <= attempt <= MAX_ATTEMPT:
        raise BadRequestError("attempt: a whole number from 1")
    if task_arn is not None and not isinstance(task_arn, str):
        raise BadRequestError("taskArn: a string, or null")
    return attempt, task_arn, _process(document)


def parse_progress(body: Any) -> tuple[str, float | None, str]:
    """Read a report of progress: process, fraction, message."""
    document = _document(body, {"process", "fraction", "message"})
    fraction = document.get("fraction")
    if fraction is not None and not 0 <= _number(document, "fraction") <= 1:
        raise BadRequestError("fraction: a number from 0 to 1, or null")
    progress = None if fraction is None else _number(document, "fraction")
    return _process(document), progress, _text(document, "message")


def parse_finish(body: Any) -> Finish:
    """Read the report of an end."""
    document = _document(body, {"process", "outcome", "exitCode", "detail", "result", "usage"})
    outcome, exit_code = document.get("outcome"), document.get("exitCode")
    if not isinstance(outcome, str) or outcome not in set(Outcome):
        raise BadRequestError(f"outcome: one of {', '.join(Outcome)}")
    if not isinstance(exit_code, int) or isinstance(exit_code, bool) or not 0 <= exit_code < 256:
        raise BadRequestError("exitCode: a whole number from 0 to 255")
    if (outcome == Outcome.SUCCEEDED) != (exit_code == 0):
        raise BadRequestError("exitCode: 0 where it succeeded, and nowhere else")
    return Finish(
        process=_process(document),
        outcome=Outcome(outcome),
        exit_code=exit_code,
        detail=_text(document, "detail"),
        result=check_size(document.get("result"), MAX_RESULT_BYTES, "result"),
        usage=_usage(document.get("usage")),
    )


def parse_priority(document: Mapping[str, Any]) -> Priority | None:
    """`priority` of a body; None where there is none."""
    priority = document.get("priority")
    if priority is None:
        return None
    if not isinstance(priority, str) or priority not in set(Priority):
        raise BadRequestError(f"priority: one of {', '.join(Priority)}")
    return Priority(priority)


def parse_instant(document: Mapping[str, Any], name: str) -> float | None:
    """An instant in ISO 8601 with its offset from UTC, in seconds since 1970."""
    text = document.get(name)
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise BadRequestError(f"{name}: with its offset from UTC, like 2027-01-31T09:00:00Z")
        return instant.astimezone(UTC).timestamp()
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRequestError(f"{name}: an instant like 2027-01-31T09:00:00Z") from error


def check_size(value: Any, most_bytes: int, name: str) -> Any:
    """The value, if its JSON has at most so many bytes of UTF-8, without blanks and needless
    escapes, however it was written. Raises BadRequestError.
    """
    try:
        compact = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(compact.encode())
    except (ValueError, UnicodeEncodeError) as error:
        raise BadRequestError(f"{name}: {error}") from error
    if size > most_bytes:
        raise BadRequestError(f"{name}: {size} bytes of JSON, at most {most_bytes} are taken")
    return value


def _document(body: Any, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise BadRequestError("the body must be a JSON object")
    unknown = sorted(set(body) - known)
    if unknown:
        raise BadRequestError(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    return body


def _process(document: Mapping[str, Any]) -> str:
    process = document.get("process")
    if not isinstance(process, str) or not _PROCESS.fullmatch(process):
        raise BadRequestError("process: what this process made up, 8 to 64 letters and digits")
    return process


def _text(document: Mapping[str, Any], name: str) -> str:
    text = document.get(name) or ""
    if not isinstance(text, str):
        raise BadRequestError(f"{name}: a string")
    return readable(text, MAX_MESSAGE_CHARACTERS)


def _usage(document: Any) -> Usage | None:
    if document is None:
        return None
    if not isinstance(document, Mapping):
        raise BadRequestError("usage: an object, or null")
    names = ("cpuSeconds", "maxMemoryMib", "wallSeconds")
    return Usage(*(_number(document, name) for name in names))


def _number(document: Mapping[str, Any], name: str) -> float:
    value = document.get(name, 0)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < MAX_NUMBER:
        raise BadRequestError(f"{name}: a number from 0")
    return float(value)
