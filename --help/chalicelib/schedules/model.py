"""A schedule, and the decisions about its planned times. Pure.

A schedule has decided about all planned times up to `decided_until`. Firing it decides about later
ones that have passed: the newest is run, unless it is too late or the previous run prevents it, and
the others are skipped. The decision is written conditionally before it is carried out, so it is
made once by any number of processes. After a crash it is found as `pending`, and the next process
carries it out. All its steps are idempotent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from itertools import takewhile
from typing import Any

from chalicelib.jobs.model import Priority
from chalicelib.schedules.cron import Expression, Gap, Rate, next_run, parse_expression, parse_zone

ON_TIME_SECONDS = 150
"""A run that is delayed by less than this is on time: EventBridge Scheduler may be a minute late,
and the sweep, which replaces it, another minute."""
KEPT_SKIPPED = 10
"""Of missed runs at most the newest ten are recorded as skipped."""
OVERDUE_SECONDS = 75
"""A schedule that is due for longer than this was not fired because a message was lost."""
UNDONE_SECONDS = 15
"""A decision that is not carried out after this was left by a crash."""

_WINDOWS = (3_600, 86_400, 31 * 86_400, 366 * 86_400)
"""Periods in which the newest missed runs are searched, increasing because there may be
millions."""


class Overlap(StrEnum):
    """Treatment of a run that is due before the previous one has ended."""

    ALLOW = "allow"
    SKIP = "skip"
    REPLACE = "replace"
    """The previous run is killed."""


@dataclass(frozen=True)
class Skipped:
    """A planned run that is skipped, and the reason."""

    planned_at: float
    why: str


@dataclass(frozen=True)
class Decision:
    """The decision about the planned times that have passed."""

    run_at: float | None
    """The planned time to run for."""
    kill: str | None
    """The invocation to kill before the run."""
    skipped: tuple[Skipped, ...]
    decided_until: float


@dataclass(frozen=True)
class Schedule:
    """The record of a schedule. Times are seconds since 1970."""

    id: str
    job: str
    owner: str
    expression: str
    """In AWS's syntax."""
    timezone: str
    created_at: float
    counts_from: float
    """Start of its times: its creation, or their last change. A rate's first run is one period
    later."""
    decided_until: float
    callback_base_url: str = ""
    parameters: Any = None
    priority: Priority | None = None
    """None = the job's priority."""
    overlap: Overlap = Overlap.SKIP
    gap: Gap = Gap.MOVE
    misfire_seconds: int = 3600
    paused: bool = False
    version: int = 1
    changed_at: float = 0.0
    pending: Decision | None = None
    armed_for: float | None = None
    """The planned time for which a message was sent."""
    last_planned_at: float | None = None
    last_invocation: str | None = None
    trouble: str | None = None
    """Why the last run could not be requested."""
    skipped: int = field(default=0)
    """Number of skipped planned runs."""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Attributes that another version of Usher stored, in DynamoDB's JSON. They are preserved."""


def next_planned(schedule: Schedule) -> float | None:
    """The next planned time without a decision; None while it is paused, or if there is none."""
    if schedule.paused:
        return None
    return next(planned_after(schedule, schedule.decided_until), None)


def planned_after(schedule: Schedule, after: float) -> Iterator[float]:
    """All its planned times after `after`, in order."""
    expression, zone = understood(schedule.expression), parse_zone(schedule.timezone)
    if isinstance(expression, Rate):
        period = expression.period.total_seconds()
        turns = max(0, int((after - schedule.counts_from) // period))
        while True:
            turns += 1
            yield schedule.counts_from + turns * period
    at: datetime | None = datetime.fromtimestamp(after, UTC)
    while at is not None and (at := next_run(expression, zone, at, schedule.gap)) is not None:
        yield at.timestamp()


@lru_cache(maxsize=1024)
def understood(text: str) -> Expression:
    """The parsed expression. Raises ExpressionError."""
    return parse_expression(text)


def due(schedule: Schedule, now: float) -> tuple[float, ...]:
    """Planned times that have passed without a decision, in order; if there are many, the
    newest.
    """
    for window in _WINDOWS:
        start = max(schedule.decided_until, now - window)
        found = _between(schedule, start, now)
        if len(found) > KEPT_SKIPPED or start == schedule.decided_until:
            break
    else:
        found = _between(schedule, schedule.decided_until, now)
    return found[-KEPT_SKIPPED - 1 :]


def _between(schedule: Schedule, start: float, now: float) -> tuple[float, ...]:
    return tuple(takewhile(lambda at: at <= now, planned_after(schedule, start)))


def plan_firing(schedule: Schedule, now: float, last_is_live: bool) -> Decision | None:
    """Decide about the planned times that have passed; None if there are none, or while paused.

    `last_is_live`: whether `last_invocation` has not ended.
    """
    instants = () if schedule.paused else due(schedule, now)
    if not instants:
        return None
    *missed, newest = instants
    skipped = tuple(Skipped(at, "a later run came due before it was asked for") for at in missed)
    run_at, kill = newest, None
    late = now - newest
    if late > max(schedule.misfire_seconds, ON_TIME_SECONDS):
        why = f"{late:.0f} s late, and misfireSeconds is {schedule.misfire_seconds}"
        return Decision(None, None, (*skipped, Skipped(newest, why)), newest)
    if last_is_live and schedule.overlap is Overlap.SKIP:
        why = f"the run before it, {schedule.last_invocation}, has not ended"
        return Decision(None, None, (*skipped, Skipped(newest, why)), newest)
    if last_is_live and schedule.overlap is Overlap.REPLACE:
        kill = schedule.last_invocation
    return Decision(run_at, kill, skipped, newest)


def decided(schedule: Schedule, decision: Decision, invocation_id: str, now: float) -> Schedule:
    """The schedule with a decision to be carried out.

    `invocation_id`: the id of the run, if there is one.
    """
    return replace(
        schedule,
        pending=decision,
        decided_until=decision.decided_until,
        last_planned_at=decision.decided_until,
        last_invocation=schedule.last_invocation if decision.run_at is None else invocation_id,
        skipped=schedule.skipped + len(decision.skipped),
        changed_at=now,
    )


def carried_out(schedule: Schedule, trouble: str | None, now: float) -> Schedule:
    """The schedule after its decision was carried out, except for the error in `trouble`."""
    return replace(schedule, pending=None, trouble=trouble, changed_at=now)


def edited(before: Schedule, wanted: Schedule, now: float) -> Schedule:
    """The result of replacing `before` by `wanted`.

    Changed times start now, and so do those of a paused schedule. Other changes leave the times
    unchanged.
    """
    times = ("expression", "timezone", "gap")
    same = all(getattr(before, name) == getattr(wanted, name) for name in times)
    goes_on = same and not before.paused
    return replace(
        wanted,
        created_at=before.created_at,
        counts_from=before.counts_from if same else wanted.counts_from,
        decided_until=before.decided_until if goes_on else max(before.decided_until, now),
        version=before.version,
        changed_at=now,
        pending=before.pending,
        extra=before.extra,
        armed_for=before.armed_for,
        last_planned_at=before.last_planned_at,
        last_invocation=before.last_invocation,
        skipped=before.skipped,
    )


def paused(schedule: Schedule, now: float) -> Schedule:
    """The schedule, paused: it plans nothing until it is resumed."""
    return schedule if schedule.paused else replace(schedule, paused=True, changed_at=now)


def resumed(schedule: Schedule, now: float) -> Schedule:
    """The schedule, resumed: planned times during the pause are not made up for."""
    if not schedule.paused:
        return schedule
    until = max(schedule.decided_until, now)
    return replace(schedule, paused=False, decided_until=until, changed_at=now)


class Attention(StrEnum):
    """A repair by the sweep."""

    CARRY_OUT = "carry_out"
    FIRE = "fire"
    ARM = "arm"


def attention(schedule: Schedule, now: float) -> Attention | None:
    """The repair that is needed after a crash or a lost message."""
    if schedule.pending is not None:
        return Attention.CARRY_OUT if now - schedule.changed_at > UNDONE_SECONDS else None
    at = next_planned(schedule)
    if at is None:
        return None
    if now - at > OVERDUE_SECONDS:
        return Attention.FIRE
    if schedule.armed_for != at and now - schedule.changed_at > UNDONE_SECONDS:
        return Attention.ARM
    return None
