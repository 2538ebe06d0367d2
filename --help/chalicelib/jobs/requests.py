"""Parses and checks requests of callers and containers. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chalicelib.contract.jobs import (
    JOB_NAME,
    MAX_MESSAGE_CHARACTERS,
    MAX_PARAMETERS_BYTES,
    MAX_RESULT_BYTES,
    Outcome,
)
from chalicelib.contract.json_text import size_of
from chalicelib.contract.text import readable
from chalicelib.errors import BadRequestError
from chalicelib.fields import (
    MAX_BODY_BYTES,
    Document,
    Field,
    Schema,
    largest_body,
    object_schema,
    page_size,
    whole,
)
from chalicelib.jobs.model import Priority, Usage
from chalicelib.tasks.requests import parse_idempotency_key

MAX_AHEAD_SECONDS = 366 * 86_400
"""How far ahead an invocation may be planned."""
MAX_NUMBER = 1e12
MAX_ATTEMPT = 1_000_000
PAGE = (
    page_size(default=100, most=100),
    Field(
        "next",
        {"type": "string", "pattern": f"^{JOB_NAME.pattern}$"},
        "as the page before said",
        "From the page before.",
    ),
)
"""The query of `GET /jobs`."""
INSTANT: Schema = {"type": "string", "format": "date-time"}
MAYBE_INSTANT: Schema = {"type": ["string", "null"], "format": "date-time"}
INSTANT_RULE = "an instant like 2027-01-31T09:00:00Z"
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
PARAMETERS = Field(
    "parameters",
    {},
    "any JSON",
    f"What the job gets; they fit its schema. At most {MAX_PARAMETERS_BYTES} bytes of JSON.",
)
PRIORITY = Field(
    "priority",
    {"type": ["string", "null"], "enum": [*(each.value for each in Priority), None]},
    f"one of {', '.join(Priority)}",
    "Which queue it waits in; the job's own unless told. `critical` needs a right.",
)
INVOKE = Document(
    (
        PARAMETERS,
        Field("at", MAYBE_INSTANT, INSTANT_RULE, "When it is to run: at most a year ahead."),
        PRIORITY,
        Field("notAfter", MAYBE_INSTANT, INSTANT_RULE, "EXPIRED unless it was launched by then."),
    ),
    most_bytes=largest_body(MAX_PARAMETERS_BYTES),
    is_optional=True,
)
REGISTER = Document(
    (
        Field("image", {"type": "string"}, "a string", "The image's name.", is_required=True),
        Field("description", {}, "an object", "What the revision takes and needs."),
    ),
    most_bytes=MAX_PARAMETERS_BYTES,
    is_open=True,
)
_PROCESS = Field(
    "process",
    {"type": "string", "pattern": "^[0-9A-Za-z_-]{8,64}$"},
    "what this process made up, 8 to 64 letters and digits",
    "Made up once by each process.",
    is_required=True,
)
START = Document(
    (
        Field(
            "attempt",
            whole(1, MAX_ATTEMPT),
            "a whole number from 1",
            "`INVOCATION_ATTEMPT`.",
            is_required=True,
        ),
        Field(
            "taskArn", _TEXT_OR_NULL, "a string, or null", "As the metadata endpoint of ECS has it."
        ),
        _PROCESS,
    ),
    most_bytes=MAX_BODY_BYTES,
)
PROGRESS = Document(
    (
        _PROCESS,
        Field(
            "fraction",
            {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "a number from 0 to 1, or null",
        ),
        Field("message", _TEXT_OR_NULL, "a string", "For people; what is longer is cut."),
    ),
)
_USAGE = tuple(
    Field(name, {"type": "number", "minimum": 0, "exclusiveMaximum": MAX_NUMBER}, "a number from 0")
    for name in ("cpuSeconds", "maxMemoryMib", "wallSeconds")
)
FINISH = Document(
    (
        _PROCESS,
        Field(
            "outcome",
            {"type": "string", "enum": [each.value for each in Outcome]},
            f"one of {', '.join(Outcome)}",
            is_required=True,
        ),
        Field(
            "exitCode",
            whole(0, 255),
            "a whole number from 0 to 255",
            "0 where it succeeded, and nowhere else.",
            is_required=True,
        ),
        Field("detail", _TEXT_OR_NULL, "a string", "For people; what is longer is cut."),
        Field("result", {}, "any JSON", f"At most {MAX_RESULT_BYTES} bytes of JSON."),
        Field(
            "usage",
            {**object_schema(_USAGE), "type": ["object", "null"]},
            "an object, or null",
        ),
    ),
    most_bytes=largest_body(MAX_RESULT_BYTES),
)


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
        """Digest that is equal for equivalent requests, however they are written.

        True differs from 1; 1.0 equals 1, as in JSON Schema (draft 2020-12, 4.2.2).
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
    """The container's report of a run's end."""

    process: str
    outcome: Outcome
    exit_code: int
    detail: str
    result: Any
    usage: Usage | None


def parse_page(query: Mapping[str, str]) -> tuple[int, str | None]:
    """Parse the query of GET /jobs: page size, and the name that the page follows. Raises
    BadRequestError.
    """
    limit, after = PAGE
    return limit.read(query), after.read(query)


def parse_invoke(body: Any, headers: Mapping[str, str]) -> Invoke:
    """Parse the request for an invocation. Raises BadRequestError.

    It does not check that times are in the future, because a repeated request may have times in the
    past; see `check_instants`.
    """
    document = INVOKE.check(body)
    at, not_after = parse_instant(document, "at"), parse_instant(document, "notAfter")
    key = parse_idempotency_key(headers)
    parameters = check_size(document["parameters"], MAX_PARAMETERS_BYTES, "parameters")
    return Invoke(parameters, at, priority_of(document["priority"]), not_after, key)


def check_instants(wanted: Invoke, now: float) -> None:
    """Raise BadRequestError unless a new invocation may have these times."""
    at, not_after = wanted.at, wanted.not_after
    if at is not None and at > now + MAX_AHEAD_SECONDS:
        raise BadRequestError("at: at most a year ahead")
    if not_after is not None and not_after <= max(now, at or 0):
        raise BadRequestError("notAfter: later than now, and than at")


def parse_start(body: Any) -> tuple[int, str | None, str]:
    """Parse a container's request for a start permit: attempt, task ARN, process."""
    document = START.check(body)
    return document["attempt"], document["taskArn"], document["process"]


def parse_progress(body: Any) -> tuple[str, float | None, str]:
    """Parse a report of progress: process, fraction, message."""
    document = PROGRESS.check(body)
    fraction = document["fraction"]
    progress = None if fraction is None else float(fraction)
    return document["process"], progress, _text(document["message"])


def parse_finish(body: Any) -> Finish:
    """Parse the report of a run's end."""
    document = FINISH.check(body)
    outcome, exit_code = document["outcome"], document["exitCode"]
    if (outcome == Outcome.SUCCEEDED) != (exit_code == 0):
        raise BadRequestError("exitCode: 0 where it succeeded, and nowhere else")
    return Finish(
        process=document["process"],
        outcome=Outcome(outcome),
        exit_code=exit_code,
        detail=_text(document["detail"]),
        result=check_size(document["result"], MAX_RESULT_BYTES, "result"),
        usage=_usage(document["usage"]),
    )


def priority_of(checked: str | None) -> Priority | None:
    """The priority in a checked body; None if it has none."""
    return None if checked is None else Priority(checked)


def parse_instant(document: Mapping[str, Any], name: str) -> float | None:
    """Parse a time in ISO 8601 with its offset from UTC; returns seconds since 1970."""
    text = document.get(name)
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise BadRequestError(f"{name}: with its offset from UTC, like 2027-01-31T09:00:00Z")
        return instant.astimezone(UTC).timestamp()
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRequestError(f"{name}: {INSTANT_RULE}") from error


def check_size(value: Any, most_bytes: int, name: str) -> Any:
    """Return the value if its JSON, without blanks and needless escapes, has at most `most_bytes`
    bytes of UTF-8. Raises BadRequestError.
    """
    try:
        size = size_of(value)
    except ValueError as error:
        raise BadRequestError(f"{name}: {error}") from error
    if size > most_bytes:
        raise BadRequestError(f"{name}: {size} bytes of JSON, at most {most_bytes} are taken")
    return value


def _text(text: str | None) -> str:
    return readable(text or "", MAX_MESSAGE_CHARACTERS)


def _usage(document: Mapping[str, Any] | None) -> Usage | None:
    if document is None:
        return None
    return Usage(*(float(field.check(document.get(field.name, 0))) for field in _USAGE))
