"""An invocation: one run of a job, from the request to its end. Pure.

`NEXT` is the one table of transitions. States move forward only, save that an attempt which
provably ran nothing leads back to QUEUED as the next attempt. The end carries a reason.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where an invocation is in its life."""

    SCHEDULED = "SCHEDULED"
    """Recorded, and to be queued at `at`."""
    ACCEPTED = "ACCEPTED"
    """Recorded, and not (yet) known to be in its queue."""
    QUEUED = "QUEUED"
    """Waits for its turn."""
    LAUNCHING = "LAUNCHING"
    """Claimed for RunTask; the request is stored."""
    LAUNCHED = "LAUNCHED"
    """RunTask accepted."""
    STARTED = "STARTED"
    """The start permit was given: user code may run from here on."""
    KILL_INITIATED = "KILL_INITIATED"
    """Somebody wants it ended."""
    FINISHED = "FINISHED"
    """Nothing of it runs any more; `reason` says how it went."""
    EXPIRED = "EXPIRED"
    """`not_after` came before it was launched."""
    SKIPPED = "SKIPPED"
    """A planned run that its schedule left out."""


class Reason(StrEnum):
    """How an invocation ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    KILLED = "killed"
    LOST = "lost"
    """It had a start permit and has no exit code: it may have run, in part or whole."""
    START_FAILED = "start_failed"
    TIMED_OUT = "timed_out"
    INVALID = "invalid"
    EXPIRED = "expired"
    SKIPPED = "skipped"


class Priority(StrEnum):
    """Which queue it waits in. Capacity is kept for critical ones; low ones wait first."""

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
"""The states from which it may be claimed: a message can be quicker than the write after it."""
BEFORE_PERMIT = frozenset({State.LAUNCHING, State.LAUNCHED})
"""The states in which a task may exist and no user code has run."""

KEPT_CHANGES = 64
"""A record keeps its first change and at most this many of the newest."""


@dataclass(frozen=True)
class UnreadableJson:
    """Stored JSON that cannot be read or shown, as its text: nested too deeply."""

    text: str


@dataclass(frozen=True)
class Change:
    """One step of the history: when, to which state, and what caused it."""

    at: float
    state: State
    cause: str


@dataclass(frozen=True)
class StartPermit:
    """Which process of which task may run user code."""

    task_arn: str
    process: str
    at: float


@dataclass(frozen=True)
class Progress:
    """What the job last said of itself."""

    at: float
    fraction: float | None
    message: str


@dataclass(frozen=True)
class Usage:
    """What the run took, by the container's own word."""

    cpu_seconds: float
    max_memory_mib: float
    wall_seconds: float


@dataclass(frozen=True)
class Invocation:
    """The record of an invocation. Instants are seconds since 1970. `key` is a secret."""

    id: str
    job: str
    owner: str
    key: str
    """What its container proves itself with."""
    priority: Priority
    created_at: float
    not_after: float
    """Not launched after this: EXPIRED."""
    parameters: Any = None
    """JSON. The container fetches it with its start permit."""
    at: float | None = None
    """Not queued before this; None = at once."""
    callback_base_url: str = ""
    schedule_id: str | None = None
    planned_at: float | None = None
    """The instant a schedule planned it for."""
    rerun_of: str | None = None
    traceparent: str | None = None
    """Where in a trace the request for it stands; W3C's header."""
    request_digest: str | None = None
    """Of the request with an Idempotency-Key: who repeats it must ask for the same."""
    state: State = State.ACCEPTED
    version: int = 1
    """Of the record: every write expects the version it read."""
    attempt: int = 1
    """Of the launch; a new one only where the last provably ran nothing."""
    queued_at: float | None = None
    task_definition: str | None = None
    timeout_seconds: int | None = None
    """Of the revision it was launched on."""
    request: Mapping[str, Any] | None = None
    """The exact RunTask request of the current attempt."""
    claimed_at: float | None = None
    task_arn: str | None = None
    task_version: int = 0
    waits_for_host: bool = False
    """RunTask accepted it, and no host had it yet."""
    permit: StartPermit | None = None
    progress: Progress | None = None
    result: Any = None
    usage: Usage | None = None
    exit_code: int | None = None
    started_at: float | None = None
    finished_at: float | None = None
    reason: Reason | None = None
    detail: str | None = None
    """For people: why it waits, or how it ended."""
    start_failures: int = 0
    """Attempts whose task ended without a start permit."""
    refusals: int = 0
    """How often in a row RunTask found no capacity for it."""
    next_try_at: float | None = None
    group: str | None = None
    """The capacity group it belongs to; None = the default one."""
    turn: int | None = None
    """Its place among those of its priority; see `chalicelib.capacity.fairness`."""
    attempt_counters: tuple[str, ...] = ()
    """Counters raised with the claim, lowered when the attempt ends."""
    counters: tuple[str, ...] = ()
    """Counters of quotas raised when it was recorded, lowered when it ends."""
    is_limited: bool = False
    """Whether its owner's quotas hold for it: operators' and schedules' runs have none."""
    image: str | None = None
    """Of the revision it was accepted for, then of that it was launched on."""
    history: tuple[Change, ...] = field(default=())
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Attributes that another version stored with it, in DynamoDB's JSON: kept as they are."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it runs, or ever will."""
        return self.state in ENDS

    @property
    def is_waiting(self) -> bool:
        """Whether it may be claimed."""
        return self.state in WAITING

    @property
    def is_on_fargate(self) -> bool:
        """Whether its current attempt was asked for on Fargate, which has no hosts to wait for."""
        return self.request is not None and self.request.get("launchType") == "FARGATE"

    @property
    def waits_for_instance(self) -> bool:
        """Whether it counts against the number of tasks that may wait for hosts at ECS."""
        return self.waits_for_host and not self.is_on_fargate

    @property
    def started_by(self) -> str:
        """What its task is marked with: at most 128 characters."""
        return f"{PREFIX}{self.id}/{self.attempt}"

    @property
    def changed_at(self) -> float:
        """When it came to its present state."""
        return self.history[-1].at if self.history else self.created_at

    @property
    def log_fields(self) -> dict[str, Any]:
        """What each log line about it says, in fields of their own."""
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
        """Revision of the task definition it was launched on."""
        number = (self.task_definition or "").rpartition(":")[2]
        return int(number) if number.isdecimal() else None

    def moved(self, state: State, now: float, cause: str, **facts: Any) -> "Invocation":
        """The same invocation one state on. Raises ValueError where `NEXT` has no such step."""
        if state not in NEXT[self.state]:
            raise ValueError(f"{self.state} does not lead to {state}")
        history = (*self.history, Change(now, state, cause))
        if len(history) > KEPT_CHANGES + 1:
            history = (history[0], *history[-KEPT_CHANGES:])
        return replace(self, state=state, history=history, **facts)


@dataclass(frozen=True)
class Place:
    """A place in a listing, newest first: just behind this invocation, or, without one, in front
    of the day that ends then.
    """

    created_at: float
    invocation_id: str | None


PREFIX = "job/"


def mark_of(started_by: str | None) -> tuple[str, int] | None:
    """The invocation and the attempt that a task was started for; None when it is no job's."""
    if started_by is None or not started_by.startswith(PREFIX):
        return None
    invocation_id, _, attempt = started_by.removeprefix(PREFIX).partition("/")
    return (invocation_id, int(attempt)) if attempt.isdecimal() else None


def invocation_id_of(started_by: str | None) -> str | None:
    """The invocation a task belongs to, or None when it is no job's."""
    mark = mark_of(started_by)
    return None if mark is None else mark[0]


def planned_id(schedule_id: str, planned_at: float) -> str:
    """The id of a schedule's run: the same for everybody who fires the same instant."""
    return derived_id("schedule", schedule_id, str(int(planned_at)))


def repeated_id(owner: str, job: str, idempotency_key: str) -> str:
    """The id of an invocation whose request may be repeated."""
    return derived_id("request", owner, job, idempotency_key)


def derived_id(*parts: str) -> str:
    """A UUID that follows from its parts (version 8 of RFC 9562: 122 bits of a SHA-256)."""
    digest = bytearray(hashlib.sha256("\0".join(parts).encode()).digest()[:16])
    digest[6] = (digest[6] & 0x0F) | 0x80
    digest[8] = (digest[8] & 0x3F) | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))
