"""Messages between a job's container and the dispatcher. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.contract.jobs import MAX_MESSAGE_CHARACTERS, JobEnv, Outcome


@dataclass(frozen=True)
class Limits:
    """Timeouts of the container, in seconds."""

    permit_seconds: float = 120.0
    """Time for an answer to the request for the start permit."""
    finish_seconds: float = 60.0
    """Time for reporting the end."""
    stop_seconds: float = 9.5
    """Time from SIGTERM to the container's exit. ECS kills it after the stopTimeout of its task
    definition, 10 s; this must be less, so that the exit code is the container's own.
    """
    request_seconds: float = 10.0
    """Timeout of one request."""
    grace_seconds: float = 8.0
    """Time from SIGTERM to SIGKILL for the job."""
    progress_seconds: float = 1.0
    """Interval between two reports of progress."""
    output_seconds: float = 10.0
    """Time for forwarding the last output, after all processes that write it have ended."""


class SettingsError(Exception):
    """The environment is not that of a job's container."""


@dataclass(frozen=True)
class Settings:
    """The identity of this container. `key` is a secret."""

    invocation_id: str
    attempt: int
    key: str
    url: str
    job: str
    revision: str


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises SettingsError with the missing variables."""
    missing = [name for name in JobEnv if not environment.get(name)]
    if missing:
        raise SettingsError(f"not in the environment: {', '.join(missing)}")
    attempt = environment[JobEnv.INVOCATION_ATTEMPT]
    if not (attempt.isascii() and attempt.isdigit()):
        raise SettingsError(f"{JobEnv.INVOCATION_ATTEMPT} is no number: {attempt!r}")
    return Settings(
        invocation_id=environment[JobEnv.INVOCATION_ID],
        attempt=int(attempt),
        key=environment[JobEnv.INVOCATION_KEY],
        url=environment[JobEnv.INVOCATION_URL].rstrip("/"),
        job=environment[JobEnv.JOB_NAME],
        revision=environment[JobEnv.JOB_REVISION],
    )


@dataclass(frozen=True)
class StartPermit:
    """Permission to run, once, with these parameters."""

    job: str
    parameters: Any
    timeout_seconds: float


def read_permit(body: bytes) -> StartPermit | None:
    """The dispatcher's start permit; None for other answers, for example of a proxy."""
    document = read_object(body)
    job, seconds = document.get("job"), document.get("timeoutSeconds")
    if not isinstance(job, str) or isinstance(seconds, bool):
        return None
    if not isinstance(seconds, int | float) or not seconds > 0:
        return None
    return StartPermit(job, document.get("parameters"), float(seconds))


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; empty if it is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def refusal(status: int, body: bytes) -> str:
    """An error answer for display: `409 conflict: …`."""
    error = read_object(body).get("error")
    fields = error if isinstance(error, dict) else {}
    code, message = fields.get("code"), fields.get("message")
    return shortened(f"{status} {code}: {message}" if code else str(status))


@dataclass(frozen=True)
class Usage:
    """The resources used by the run."""

    cpu_seconds: float
    max_memory_mib: float
    wall_seconds: float


@dataclass(frozen=True)
class Ending:
    """The result of the run. The container exits with `exit_code`."""

    outcome: Outcome
    exit_code: int
    detail: str
    result: Any = None


def finish_body(process: str, ending: Ending, usage: Usage) -> dict[str, Any]:
    """Body of `…/finish`."""
    return {
        "process": process,
        "outcome": ending.outcome.value,
        "exitCode": ending.exit_code,
        "detail": shortened(ending.detail),
        "result": ending.result,
        "usage": {
            "cpuSeconds": round(usage.cpu_seconds, 3),
            "maxMemoryMib": round(usage.max_memory_mib, 1),
            "wallSeconds": round(usage.wall_seconds, 3),
        },
    }


def announcement(settings: Settings) -> str:
    """The first line of every log, which identifies it."""
    return (
        f"usher: job={settings.job} invocation={settings.invocation_id} "
        f"attempt={settings.attempt} revision={settings.revision}"
    )


def farewell(ending: Ending, usage: Usage) -> str:
    """The last line of every log: seconds, CPU seconds, MiB."""
    return (
        f"usher: finished outcome={ending.outcome} exit={ending.exit_code} "
        f"seconds={usage.wall_seconds:.2f} cpu={usage.cpu_seconds:.2f} "
        f"memory={usage.max_memory_mib:.0f}"
    )


def shortened(text: str) -> str:
    """Its first MAX_MESSAGE_CHARACTERS."""
    if len(text) <= MAX_MESSAGE_CHARACTERS:
        return text
    return text[: MAX_MESSAGE_CHARACTERS - 1] + "…"
