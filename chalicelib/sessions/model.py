"""A session: one user's container, from the request to its end. Pure.

States move forward only; `NEXT` is the one table of transitions. The end carries a reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where a session is in its life."""

    QUEUED = "QUEUED"
    """Recorded, and no host has it: not accepted by ECS, or waiting there in PROVISIONING."""
    STARTING = "STARTING"
    """RunTask accepted, and a host has it."""
    WARM = "WARM"
    """Ready, nobody's."""
    RESERVED = "RESERVED"
    """The address was handed out; the client has until `connect_by`."""
    ACTIVE = "ACTIVE"
    """The client is connected."""
    STOPPING = "STOPPING"
    """On its way out; `reason` is known."""
    ENDED = "ENDED"
    """Nothing runs any more."""


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
"""The states in which a client may be told the address."""

COMING = frozenset({State.QUEUED, State.STARTING})
"""The states in which it is worth waiting for an address."""

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
    """The record of a session. Instants are seconds since 1970. `uuid` and `key` are secrets."""

    id: str
    uuid: str
    """The path the container serves; whoever knows it may connect."""
    key: str
    """What the container proves itself with when it calls back."""
    app: str
    owner: str | None
    callback_url: str
    created_at: float
    not_after: float
    """How long it may stay QUEUED."""
    pooled: bool = False
    """Whether it was started ahead, before anybody asked."""
    state: State = State.QUEUED
    version: int = 1
    """Of the record: every write expects the version it read."""
    attempt: int = 1
    """Of RunTask; a new one only where the last provably started nothing."""
    waits_in: str | None = None
    """The capacity group that has to have more before it may start."""
    turn: int | None = None
    """Its place among those that wait there; see `chalicelib.capacity.fairness`."""
    queue_position: int | None = None
    """About how many wait for capacity before it, itself included."""
    retry_after_seconds: int | None = None
    """When the next try comes, from the last."""
    tried_at: float | None = None
    """When RunTask last answered."""
    task_definition: str | None = None
    task_arn: str | None = None
    task_version: int = 0
    """ECS's `version` of the newest observation taken in."""
    container_instance: str | None = None
    ip: str | None = None
    port: int | None = None
    ready_at: float | None = None
    connect_by: float | None = None
    ended_at: float | None = None
    counters: tuple[str, ...] = ()
    """What was raised when it got its owner, and is lowered when it ends."""
    reason: Reason | None = None
    claims: Mapping[str, str] | None = None
    """Of its owner's token, those that the app's `pass_claims` names."""
    query: Mapping[str, str] | None = None
    """Of the request that it was handed out to, the parameters that `pass_query` names."""
    asked_at: float | None = None
    """When the request came that it was claimed for; of one that was warm alone."""
    traceparent: str | None = None
    """Where in a trace the request stands that it was handed out to; W3C's header."""
    is_impossible: bool = False
    """ECS refused what its app asks for: no task of this kind can exist."""
    detail: str | None = None
    """For people: what ECS or the container said."""
    history: tuple[Change, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Attributes that another version stored with it, in DynamoDB's JSON: kept as they are."""

    @property
    def is_live(self) -> bool:
        """Whether a client may still come to it, now or later."""
        return self.state not in {State.STOPPING, State.ENDED}

    @property
    def is_reachable(self) -> bool:
        """Whether its address is known."""
        return self.ip is not None and self.port is not None

    @property
    def waits_for_group(self) -> bool:
        """Whether it may not start before its capacity group has more."""
        return self.state is State.QUEUED and self.waits_in is not None

    @property
    def waits_for_host(self) -> bool:
        """Whether its task waits in ECS's PROVISIONING for a host."""
        return self.state is State.QUEUED and self.task_arn is not None

    @property
    def is_unowned(self) -> bool:
        """Whether it waits, or will wait, for somebody to claim it."""
        return self.owner is None and self.is_live

    @property
    def started_by(self) -> str:
        """What its task is marked with; the way back from a task to this record."""
        return started_by(self.id)

    @property
    def log_fields(self) -> dict[str, Any]:
        """What each log line about it has as fields."""
        return {"session": self.id, "app": self.app, "owner": self.owner, "task": self.task_arn}

    @property
    def changed_at(self) -> float:
        """When it came to its present state."""
        return self.history[-1].at if self.history else self.created_at

    @property
    def next_try_at(self) -> float:
        """When a QUEUED session is to be launched by who has it in hand."""
        if self.tried_at is None:
            return self.created_at
        return self.tried_at + (self.retry_after_seconds or 0)

    @property
    def revision(self) -> int | None:
        """Revision of the task definition it runs on."""
        number = (self.task_definition or "").rpartition(":")[2]
        return int(number) if number.isdecimal() else None

    def has_claim_to(self, task_arn: str) -> bool:
        """Whether this task is the session's own, or the first that could become it."""
        return self.state is not State.ENDED and self.task_arn in {None, task_arn}

    def moved(self, state: State, now: float, cause: str) -> "Session":
        """The same session one state on. Raises ValueError where `NEXT` has no such step."""
        if state not in NEXT[self.state]:
            raise ValueError(f"{self.state} does not lead to {state}")
        history = (*self.history, Change(now, state, cause))[-KEPT_CHANGES:]
        return replace(self, state=state, history=history)


PREFIX = "session/"


def started_by(session_id: str) -> str:
    """ECS's startedBy of a session's task."""
    return PREFIX + session_id


def session_id_of(started_by: str | None) -> str | None:
    """The session a task belongs to, or None when it is no session's."""
    if started_by is None or not started_by.startswith(PREFIX):
        return None
    return started_by.removeprefix(PREFIX)
