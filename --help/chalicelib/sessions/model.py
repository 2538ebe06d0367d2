"""A session: one user's container, from the request to its end. Pure.

`NEXT` has all transitions; none leads back. The last one has a reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """The state of a session."""

    QUEUED = "QUEUED"
    """Recorded, and no host has it: not accepted by ECS, or waiting there in PROVISIONING."""
    STARTING = "STARTING"
    """RunTask accepted, and a host has it."""
    WARM = "WARM"
    """Ready, without an owner."""
    RESERVED = "RESERVED"
    """The address was handed out; the client has until `connect_by`."""
    ACTIVE = "ACTIVE"
    """The client is connected."""
    STOPPING = "STOPPING"
    """About to end; `reason` is set."""
    ENDED = "ENDED"
    """Its task has stopped, or there is none."""


class Reason(StrEnum):
    """Why a session ended."""

    DISCONNECTED = "disconnected"
    NEVER_CONNECTED = "never_connected"
    EXPIRED = "expired"
    STOPPED = "stopped"
    FAILED_TO_START = "failed_to_start"
    UNHEALTHY = "unhealthy"
    LOST = "lost"
    DRAINED = "drained"
    QUEUE_TIMEOUT = "queue_timeout"


NEXT: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.STARTING, State.STOPPING, State.ENDED}),
    State.STARTING: frozenset({State.WARM, State.RESERVED, State.STOPPING, State.ENDED}),
    State.WARM: frozenset({State.RESERVED, State.STOPPING, State.ENDED}),
    State.RESERVED: frozenset({State.ACTIVE, State.STOPPING, State.ENDED}),
    State.ACTIVE: frozenset({State.STOPPING, State.ENDED}),
    State.STOPPING: frozenset({State.ENDED}),
    State.ENDED: frozenset(),
}

HANDED_OUT = frozenset({State.RESERVED, State.ACTIVE})
"""States in which the client may receive the address."""

COMING = frozenset({State.QUEUED, State.STARTING})
"""States in which a request waits for the address."""

KEPT_CHANGES = 32
"""A record keeps at most this many changes of its history."""


@dataclass(frozen=True)
class Change:
    """One step of a session's history: when, to which state, and what caused it."""

    at: float
    state: State
    cause: str


@dataclass(frozen=True)
class Session:
    """The record of a session. Times are seconds since 1970. `uuid` and `key` are secrets."""

    id: str
    uuid: str
    """The secret path of the container; it permits to connect."""
    key: str
    """Secret that authenticates the container's callbacks."""
    app: str
    owner: str | None
    callback_url: str
    created_at: float
    not_after: float
    """Until when it may stay QUEUED."""
    pooled: bool = False
    """Whether it was started for the pool, before any request."""
    state: State = State.QUEUED
    version: int = 1
    """Version of the record; each write is conditional on the version that was read."""
    attempt: int = 1
    """Number of the launch attempt; a new one is made only if the last certainly started
    nothing."""
    waits_in: str | None = None
    """The capacity group for whose capacity it waits."""
    turn: int | None = None
    """Its position among those that wait there; see `chalicelib.capacity.fairness`."""
    queue_position: int | None = None
    """Its approximate position in the queue for capacity, counted from 1."""
    retry_after_seconds: int | None = None
    """Seconds from the last try to the next one."""
    tried_at: float | None = None
    """Time of the last answer of RunTask."""
    task_definition: str | None = None
    task_arn: str | None = None
    task_version: int = 0
    """ECS's `version` of the newest task change that was applied."""
    container_instance: str | None = None
    ip: str | None = None
    port: int | None = None
    ready_at: float | None = None
    connect_by: float | None = None
    ended_at: float | None = None
    counters: tuple[str, ...] = ()
    """Keys of the counters that were incremented for it and are decremented when it ends."""
    reason: Reason | None = None
    claims: Mapping[str, str] | None = None
    """Claims of its owner's token that the app's `pass_claims` names."""
    query: Mapping[str, str] | None = None
    """Parameters of its request that the app's `pass_query` names."""
    asked_at: float | None = None
    """Time of the request that claimed it; only for sessions from the pool."""
    traceparent: str | None = None
    """W3C `traceparent` of the request that claimed it."""
    is_impossible: bool = False
    """ECS refused the task's requirements: no such task can exist."""
    detail: str | None = None
    """Message of ECS or the container, for display."""
    history: tuple[Change, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Attributes that another version of Usher stored, in DynamoDB's JSON. They are preserved."""

    @property
    def is_live(self) -> bool:
        """Whether a client may connect to it, now or later."""
        return self.state not in {State.STOPPING, State.ENDED}

    @property
    def is_reachable(self) -> bool:
        """Whether its address is known."""
        return self.ip is not None and self.port is not None

    @property
    def waits_for_group(self) -> bool:
        """Whether it waits for capacity of its group."""
        return self.state is State.QUEUED and self.waits_in is not None

    @property
    def waits_for_host(self) -> bool:
        """Whether its task waits in ECS's PROVISIONING for a host."""
        return self.state is State.QUEUED and self.task_arn is not None

    @property
    def is_unowned(self) -> bool:
        """Whether it is, or will be, available to be claimed."""
        return self.owner is None and self.is_live

    @property
    def started_by(self) -> str:
        """The `startedBy` of its task, by which the record of a task is found."""
        return started_by(self.id)

    @property
    def log_fields(self) -> dict[str, Any]:
        """The fields of log records about it."""
        return {"session": self.id, "app": self.app, "owner": self.owner, "task": self.task_arn}

    @property
    def changed_at(self) -> float:
        """Time of the last transition."""
        return self.history[-1].at if self.history else self.created_at

    @property
    def next_try_at(self) -> float:
        """When the message of a QUEUED session is to launch it."""
        if self.tried_at is None:
            return self.created_at
        return self.tried_at + (self.retry_after_seconds or 0)

    @property
    def revision(self) -> int | None:
        """Revision of the task definition it runs on."""
        number = (self.task_definition or "").rpartition(":")[2]
        return int(number) if number.isdecimal() else None

    def has_claim_to(self, task_arn: str) -> bool:
        """Whether this task is the session's, or may become it because the session has none yet."""
        return self.state is not State.ENDED and self.task_arn in {None, task_arn}

    def moved(self, state: State, now: float, cause: str) -> "Session":
        """The session in its next state. Raises ValueError if `NEXT` lacks the transition."""
        if state not in NEXT[self.state]:
            raise ValueError(f"{self.state} does not lead to {state}")
        history = (*self.history, Change(now, state, cause))[-KEPT_CHANGES:]
        return replace(self, state=state, history=history)


PREFIX = "session/"


def started_by(session_id: str) -> str:
    """The `startedBy` of a session's task."""
    return PREFIX + session_id


def session_id_of(started_by: str | None) -> str | None:
    """The session that a task belongs to; None for other tasks."""
    if started_by is None or not started_by.startswith(PREFIX):
        return None
    return started_by.removeprefix(PREFIX)
