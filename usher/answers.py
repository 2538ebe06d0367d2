"""The dispatcher's answers as typed values. Pure.

Fields are those of docs/contracts.md in snake case; times are aware datetimes in UTC. Unknown
fields are ignored, so that an older client works with a newer dispatcher.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

ENDS = frozenset({"FINISHED", "EXPIRED", "SKIPPED"})


@dataclass(frozen=True)
class Progress:
    """The last progress that the job reported."""

    at: datetime
    fraction: float | None
    message: str


@dataclass(frozen=True)
class Usage:
    """The resources used by the run, as its container reported them."""

    cpu_seconds: float
    max_memory_mib: float
    wall_seconds: float


@dataclass(frozen=True)
class Waiting:
    """Why it has not been launched: the number of invocations before it, and the time of the next
    try.
    """

    because: str
    ahead: int | None
    next_try_at: datetime | None


@dataclass(frozen=True)
class Change:
    """One step of its history."""

    at: datetime
    state: str
    cause: str


@dataclass(frozen=True)
class Invocation:
    """One run of a job, from the request to its end."""

    id: str
    job: str
    state: str
    """SCHEDULED, ACCEPTED, QUEUED, LAUNCHING, LAUNCHED, STARTED, KILL_INITIATED, or an end:
    FINISHED, EXPIRED, SKIPPED."""
    reason: str | None
    """How it ended: succeeded, failed, killed, lost, start_failed, timed_out, invalid, expired,
    skipped."""
    detail: str | None
    priority: str
    revision: int | None
    attempt: int | None
    created_at: datetime | None
    at: datetime | None
    not_after: datetime | None
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    exit_code: int | None
    parameters: Any
    result: Any
    progress: Progress | None
    usage: Usage | None
    waiting: Waiting | None
    schedule: str | None
    planned_at: datetime | None
    rerun_of: str | None
    task_arn: str | None
    history: tuple[Change, ...]

    @property
    def has_ended(self) -> bool:
        """Whether it has ended: nothing of it runs or will run."""
        return self.state in ENDS

    @property
    def succeeded(self) -> bool:
        """Whether it ended successfully."""
        return self.reason == "succeeded"


@dataclass(frozen=True)
class LogLine:
    """A line of the job's log; `at` is the time of its arrival in the log."""

    at: datetime | None
    text: str


@dataclass(frozen=True)
class LogPage:
    """A page of lines. `ended`: the task has ended and there are no more lines at present."""

    lines: tuple[LogLine, ...]
    next: str | None
    ended: bool


@dataclass(frozen=True)
class JobInfo:
    """A registered job."""

    name: str
    summary: str
    revision: int | None
    image: str
    description: Mapping[str, Any]
    """The registered description, with the JSON schema of its parameters."""


@dataclass(frozen=True)
class Schedule:
    """A schedule of a job."""

    id: str
    job: str
    expression: str
    timezone: str
    parameters: Any
    priority: str | None
    overlap: str
    gap: str
    misfire_seconds: int | None
    paused: bool
    next_runs: tuple[datetime, ...]
    last_planned_at: datetime | None
    last_invocation: str | None


def read_invocation(document: Mapping[str, Any]) -> Invocation:
    progress, usage, waiting = (document.get(name) for name in ("progress", "usage", "waiting"))
    return Invocation(
        id=str(document["id"]),
        job=str(document.get("job", "")),
        state=str(document.get("state", "")),
        reason=document.get("reason"),
        detail=document.get("detail"),
        priority=str(document.get("priority", "")),
        revision=document.get("revision"),
        attempt=document.get("attempt"),
        created_at=instant(document.get("createdAt")),
        at=instant(document.get("at")),
        not_after=instant(document.get("notAfter")),
        queued_at=instant(document.get("queuedAt")),
        started_at=instant(document.get("startedAt")),
        finished_at=instant(document.get("finishedAt")),
        exit_code=document.get("exitCode"),
        parameters=document.get("parameters"),
        result=document.get("result"),
        progress=_progress(progress) if progress else None,
        usage=_usage(usage) if usage else None,
        waiting=_waiting(waiting) if waiting else None,
        schedule=document.get("schedule"),
        planned_at=instant(document.get("plannedAt")),
        rerun_of=document.get("rerunOf"),
        task_arn=document.get("taskArn"),
        history=tuple(_change(change) for change in document.get("history") or ()),
    )


def read_log_page(document: Mapping[str, Any]) -> LogPage:
    lines = (LogLine(instant(line.get("at")), str(line["text"])) for line in document["lines"])
    return LogPage(tuple(lines), document.get("next"), bool(document.get("ended")))


def read_job(document: Mapping[str, Any]) -> JobInfo:
    return JobInfo(
        name=str(document["name"]),
        summary=str(document.get("summary") or ""),
        revision=document.get("revision"),
        image=str(document.get("image") or ""),
        description=document,
    )


def read_schedule(document: Mapping[str, Any]) -> Schedule:
    runs = (instant(run) for run in document.get("nextRuns") or ())
    return Schedule(
        id=str(document["id"]),
        job=str(document["job"]),
        expression=str(document["expression"]),
        timezone=str(document.get("timezone") or "UTC"),
        parameters=document.get("parameters"),
        priority=document.get("priority"),
        overlap=str(document.get("overlap") or ""),
        gap=str(document.get("gap") or ""),
        misfire_seconds=document.get("misfireSeconds"),
        paused=bool(document.get("paused")),
        next_runs=tuple(run for run in runs if run is not None),
        last_planned_at=instant(document.get("lastPlannedAt")),
        last_invocation=document.get("lastInvocation"),
    )


def instant(text: str | None) -> datetime | None:
    """A time in an answer."""
    return None if text is None else datetime.fromisoformat(text)


def _progress(document: Mapping[str, Any]) -> Progress:
    return Progress(
        at=datetime.fromisoformat(document["at"]),
        fraction=document.get("fraction"),
        message=str(document.get("message") or ""),
    )


def _usage(document: Mapping[str, Any]) -> Usage:
    return Usage(
        cpu_seconds=float(document["cpuSeconds"]),
        max_memory_mib=float(document["maxMemoryMib"]),
        wall_seconds=float(document["wallSeconds"]),
    )


def _waiting(document: Mapping[str, Any]) -> Waiting:
    return Waiting(
        because=str(document.get("because") or ""),
        ahead=document.get("ahead"),
        next_try_at=instant(document.get("nextTryAt")),
    )


def _change(document: Mapping[str, Any]) -> Change:
    return Change(
        datetime.fromisoformat(document["at"]), str(document["state"]), str(document["cause"])
    )
