"""An invocation: one run of a job, from the request to its end. Pure.

`NEXT` has all transitions. No transition leads back, except that an attempt which certainly ran
nothing leads to QUEUED as the next attempt. The last one has a reason.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """The state of an invocation."""

    SCHEDULED = "SCHEDULED"
    """Recorded, and to be queued at `at`."""
    ACCEPTED = "ACCEPTED"
    """Recorded. It is QUEUED with the same write, save in records of versions before."""
    QUEUED = "QUEUED"
    """Waits for its turn."""
    LAUNCHING = "LAUNCHING"
    """Claimed for RunTask; the request is stored."""
    LAUNCHED = "LAUNCHED"
    """RunTask accepted."""
    STARTED = "STARTED"
    """The start permit was given: user code may run from here on."""
    KILL_INITIATED = "KILL_INITIATED"
    """An end was requested."""
    FINISHED = "FINISHED"
    """Nothing of it runs any more; `reason` has the result."""
    EXPIRED = "EXPIRED"
    """`not_after` came before it was launched."""
    SKIPPED = "SKIPPED"
    """A planned run that its schedule skipped."""


class Reason(StrEnum):
    """The reason for an invocation's end."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    KILLED = "killed"
    LOST = "lost"
    """It had a start permit and no exit code is known: it may have run, partly or completely."""
    START_FAILED = "start_failed"
    TIMED_OUT = "timed_out"
    INVALID = "invalid"
    EXPIRED = "expired"
    SKIPPED = "skipped"


class Priority(StrEnum):
    """The queue it waits in. Some capacity is reserved for critical ones; low ones wait first."""

    CRITICAL = "critical"
    NORMAL = "normal"
    LOW = "low"


NEXT: dict[State, frozenset[State]] = {
    State.SCHEDULED: frozenset({State.ACCEPTED, State.FINISHED, State.EXPIRED}),
    State.ACCEPTED: frozenset({State.QUEUED, State.LAUNCHING, State.FINISHED, State.EXPIRED}),
    State.QUEUED: frozenset({State.LAUNCHING, State.FINISHED, State.EXPIRED}),
    State.LAUNCHING: frozenset(
        {
            State.QUEUED,
            State.LAUNCHED,
            State.STARTED,
            State.KILL_INITIATED,
            State.FINISHED,
            State.EXPIRED,
        }
    ),
    State.LAUNCHED: frozenset(
        {State.QUEUED, State.STARTED, State.KILL_INITIATED, State.FINISHED, State.EXPIRED}
    ),
    State.STARTED: frozenset({State.KILL_INITIATED, State.FINISHED}),
    State.KILL_INITIATED: frozenset({State.FINISHED}),
    State.FINISHED: frozenset(),
    State.EXPIRED: frozenset(),
    State.SKIPPED: frozenset(),
}

ENDS = frozenset({State.FINISHED, State.EXPIRED, State.SKIPPED})
WAITING = frozenset({State.ACCEPTED, State.QUEUED})
"""The states that allow a claim. ACCEPTED is one because a message may be handled before the write
that follows it."""
BEFORE_PERMIT = frozenset({State.LAUNCHING, State.LAUNCHED})
"""States in which a task may exist and no user code has run."""

KEPT_CHANGES = 64
"""A record keeps its first change and at most this many of the newest."""


@dataclass(frozen=True)
class UnreadableJson:
    """Stored JSON that cannot be read or shown, as its text: nested too deeply."""

    text: str


@dataclass(frozen=True)
class Change:
    """One step of the history: time, new state and cause."""

    at: float
    state: State
    cause: str


@dataclass(frozen=True)
class StartPermit:
    """The process of a task that may run user code."""

    task_arn: str
    process: str
    at: float


@dataclass(frozen=True)
class Progress:
    """The last progress that the job reported."""

    at: float
    fraction: float | None
    message: str


@dataclass(frozen=True)
class Usage:
    """The resources used by the run, as the container reported them."""

    cpu_seconds: float
    max_memory_mib: float
    wall_seconds: float


@dataclass(frozen=True)
class Invocation:
    """The record of an invocation. Times are seconds since 1970. `key` is a secret."""

    id: str
    job: str
    owner: str
    key: str
    """Secret that authenticates its container."""
    priority: Priority
    created_at: float
    not_after: float
    """It is EXPIRED if it was not launched by then."""
    parameters: Any = None
    """JSON. The container receives it with its start permit."""
    at: float | None = None
    """Earliest time to queue it; None = at once."""
    callback_base_url: str = ""
    schedule_id: str | None = None
    planned_at: float | None = None
    """The time for which a schedule planned it."""
    rerun_of: str | None = None
    traceparent: str | None = None
    """W3C `traceparent` of its request."""
    request_digest: str | None = None
    """Digest of the request with an Idempotency-Key: a repetition must be equal."""
    state: State = State.ACCEPTED
    version: int = 1
    """Version of the record; each write is conditional on the version that was read."""
    attempt: int = 1
    """Number of the launch attempt; a new one is made only if the last certainly ran nothing."""
    queued_at: float | None = None
    task_definition: str | None = None
    timeout_seconds: int | None = None
    """Of the revision that it was launched on."""
    request: Mapping[str, Any] | None = None
    """The exact RunTask request of the current attempt."""
    claimed_at: float | None = None
    task_arn: str | None = None
    task_version: int = 0
    waits_for_host: bool = False
    """RunTask accepted it, and it had no host at that time."""
    permit: StartPermit | None = None
    progress: Progress | None = None
    result: Any = None
    usage: Usage | None = None
    exit_code: int | None = None
    started_at: float | None = None
    finished_at: float | None = None
    reason: Reason | None = None
    detail: str | None = None
    """Why it waits, or how it ended, for display."""
    start_failures: int = 0
    """Attempts whose task ended without a start permit."""
    refusals: int = 0
    """Number of successive RunTask calls without capacity for it."""
    next_try_at: float | None = None
    group: str | None = None
    """Its capacity group; None = the default group."""
    turn: int | None = None
    """Its position among those of its priority; see `chalicelib.capacity.fairness`."""
    attempt_counters: tuple[str, ...] = ()
    """Counters that were incremented with the claim; decremented when the attempt ends."""
    counters: tuple[str, ...] = ()
    """Counters of quotas that were incremented when it was recorded; decremented when it ends."""
    is_limited: bool = False
    """Whether its owner's quotas apply; they do not for runs of operators and schedules."""
    image: str | None = None
    """Image of the revision it was accepted for; after the launch, of the revision it was launched
    on."""
    history: tuple[Change, ...] = field(default=())
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Attributes that another version of Usher stored, in DynamoDB's JSON. They are preserved."""

    @property
    def has_ended(self) -> bool:
        """Whether it has ended: nothing of it runs or will run."""
        return self.state in ENDS

    @property
    def is_waiting(self) -> bool:
        """Whether it may be claimed."""
        return self.state in WAITING

    @property
    def is_on_fargate(self) -> bool:
        """Whether its current attempt was requested on Fargate, where tasks do not wait for
        hosts.
        """
        return self.request is not None and self.request.get("launchType") == "FARGATE"

    @property
    def waits_for_instance(self) -> bool:
        """Whether it counts against the number of tasks that may wait for hosts at ECS."""
        return self.waits_for_host and not self.is_on_fargate

    @property
    def started_by(self) -> str:
        """The `startedBy` of its task, at most 128 characters."""
        return f"{PREFIX}{self.id}/{self.attempt}"

    @property
    def changed_at(self) -> float:
        """Time of the last transition."""
        return self.history[-1].at if self.history else self.created_at

    @property
    def log_fields(self) -> dict[str, Any]:
        """The fields of log records about it."""
        return {
            "invocation": self.id,
            "job": self.job,
            "image": self.image,
            "revision": self.task_definition,
            "attempt": self.attempt,
            "owner": self.owner,
            "task": self.task_arn,
        }

    @property
    def revision(self) -> int | None:
        """Task definition revision that it was launched on."""
        number = (self.task_definition or "").rpartition(":")[2]
        return int(number) if number.isdecimal() else None

    def moved(self, state: State, now: float, cause: str, **facts: Any) -> "Invocation":
        """The invocation in its next state. Raises ValueError if `NEXT` lacks the transition."""
        if state not in NEXT[self.state]:
            raise ValueError(f"{self.state} does not lead to {state}")
        history = (*self.history, Change(now, state, cause))
        if len(history) > KEPT_CHANGES + 1:
            history = (history[0], *history[-KEPT_CHANGES:])
        return replace(self, state=state, history=history, **facts)


@dataclass(frozen=True)
class Place:
    """A position in a listing, newest first: after this invocation, or, without one, before the
    newest of the day that ends at this time.
    """

    created_at: float
    invocation_id: str | None


PREFIX = "job/"


def mark_of(started_by: str | None) -> tuple[str, int] | None:
    """The invocation and the attempt that a task was started for; None for other tasks."""
    if started_by is None or not started_by.startswith(PREFIX):
        return None
    invocation_id, _, attempt = started_by.removeprefix(PREFIX).partition("/")
    return (invocation_id, int(attempt)) if attempt.isdecimal() else None


def invocation_id_of(started_by: str | None) -> str | None:
    """The invocation that a task belongs to; None for other tasks."""
    mark = mark_of(started_by)
    return None if mark is None else mark[0]


def planned_id(schedule_id: str, planned_at: float) -> str:
    """The id of a schedule's run; equal for all processes that fire the schedule at the same
    time.
    """
    return derived_id("schedule", schedule_id, str(int(planned_at)))


def repeated_id(owner: str, job: str, idempotency_key: str) -> str:
    """The id of an invocation whose request may be repeated."""
    return derived_id("request", owner, job, idempotency_key)


def derived_id(*parts: str) -> str:
    """A UUID derived from its parts (version 8 of RFC 9562: 122 bits of a SHA-256)."""
    digest = bytearray(hashlib.sha256("\0".join(parts).encode()).digest()[:16])
    digest[6] = (digest[6] & 0x0F) | 0x80
    digest[8] = (digest[8] & 0x3F) | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))
