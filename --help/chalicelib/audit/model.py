"""Audit records: a change with its caller, address, time and outcome. Pure.

A record has names and states, never parameters, results, keys or values of environment variables:
the code that builds `before` and `after` selects fields that operators may read.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

DAY_SECONDS = 86_400
MINUTE_SECONDS = 60
BUCKETS = 4
"""A day's records are spread over this many partitions: one accepts 1,000 writes a second."""
REFUSALS_A_MINUTE = 32
"""Maximum number of refused requests that are recorded a minute, over all callers."""
MAX_TEXT = 512

Facts = Mapping[str, Any]


class Kind(StrEnum):
    """How the caller was identified."""

    OPERATOR = "operator"
    OWNER = "owner"
    ANONYMOUS = "anonymous"
    UNKNOWN = "unknown"
    """The caller was not identified."""


class Action(StrEnum):
    """The requested change."""

    JOB_REGISTER = "job.register"
    JOB_DEREGISTER = "job.deregister"
    INVOKE = "invocation.invoke"
    KILL = "invocation.kill"
    RERUN = "invocation.rerun"
    SCHEDULE_PUT = "schedule.put"
    SCHEDULE_PAUSE = "schedule.pause"
    SCHEDULE_RESUME = "schedule.resume"
    SCHEDULE_DELETE = "schedule.delete"
    SCHEDULE_RUN = "schedule.run"
    APP_REGISTER = "app.register"
    APP_ROLLBACK = "app.rollback"
    APP_DRAIN = "app.drain"
    APP_DEREGISTER = "app.deregister"
    ASSIGNMENT_PUT = "assignment.put"
    ASSIGNMENT_DELETE = "assignment.delete"
    ASSIGNMENT_PREPARE = "assignment.prepare"
    ASSIGNMENT_REGRADE = "assignment.regrade"
    SUBMISSION_ADD = "submission.add"
    SUBMISSION_REGRADE = "submission.regrade"
    SESSION_STOP = "session.stop"
    REFUSED = "refused"
    """A request that was answered 403 `forbidden`; the resource is its method and path."""


class Outcome(StrEnum):
    """The outcome of the change."""

    DONE = "done"
    UNCHANGED = "unchanged"
    ATTEMPTED = "attempted"
    """Recorded before the change; the dispatcher ended before it recorded the outcome."""
    FAILED = "failed"
    """Nothing was changed, or only a part; see `reason`."""
    REFUSED = "refused"


@dataclass(frozen=True)
class Actor:
    """The caller of the request and its address."""

    who: str
    """The caller's owner name."""
    kind: Kind
    address: str
    request_id: str
    principal: str | None = None
    """With IAM, the complete ARN, including the session name."""


@dataclass(frozen=True)
class AuditRecord:
    """One change, or one refused request. `at` is in seconds since 1970."""

    id: str
    at: float
    actor: Actor
    action: Action
    resource: str
    """Such as `jobs/NAME`, `apps/NAME`, `invocations/ID`, `schedules/ID`, `sessions/ID`."""
    outcome: Outcome
    before: Facts | None = None
    """None if it did not exist."""
    after: Facts | None = None
    reason: str | None = None
    """The error's code, if the change failed or was refused."""

    @property
    def place(self) -> str:
        """Sort key of the record: unique, in order of time."""
        return f"{instant_key(self.at)}#{self.id}"

    @property
    def partition(self) -> str:
        """Partition key: the UTC day and one of its buckets."""
        bucket = int(hashlib.sha256(self.id.encode()).hexdigest()[:8], 16) % BUCKETS
        return partition_key(self.at, bucket)


@dataclass(frozen=True)
class Refusal:
    """Place of the record of a refused request; there is a limited number of places a minute."""

    partition: str
    place: str


@dataclass(frozen=True)
class Search:
    """Filters of a listing. `between` includes both ends."""

    between: tuple[float, float]
    limit: int
    after: str | None = None
    """Place of the last record of the previous page."""
    filters: Mapping[str, str] = field(default_factory=dict)
    """Exact values of `who`, `action`, `resource`."""

    def wants(self, record: AuditRecord) -> bool:
        """Whether the record passes the filters."""
        values = {
            "who": record.actor.who,
            "action": record.action.value,
            "resource": record.resource,
        }
        earliest, latest = self.between
        fits = all(values[name] == wanted for name, wanted in self.filters.items())
        return fits and earliest <= record.at <= latest


def refusal_place(actor: Actor, action: str, at: float) -> Refusal:
    """The place of a refusal: equal for requests of one caller and one kind within a minute."""
    digest = hashlib.sha256(json.dumps([actor.who, actor.address, action]).encode()).digest()
    slot = digest[0] % REFUSALS_A_MINUTE
    minute = at // MINUTE_SECONDS * MINUTE_SECONDS
    return Refusal(
        partition_key(minute, slot % BUCKETS), f"{instant_key(minute)}#refused-{slot:02d}"
    )


def instant_key(at: float) -> str:
    """A time as text that sorts chronologically."""
    return f"{max(0.0, at):017.6f}"


def partition_key(at: float, bucket: int) -> str:
    """Partition of a UTC day and a bucket, such as `2026-11-28#3`."""
    return f"{datetime.fromtimestamp(at, UTC).date().isoformat()}#{bucket}"


def day_start(at: float) -> float:
    """The start of the UTC day of `at`."""
    return at // DAY_SECONDS * DAY_SECONDS
