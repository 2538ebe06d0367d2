"""A schedule, and what is to be done when its time comes. Pure.

A schedule has decided about all its instants up to `decided_until`. A firing decides about those
that have come since: the newest is run, if it is not too late and the run before it allows it, and
the others are skipped. The decision is written with the schedule, on condition, before anything of
it is done: so it is made once, whoever fires and however often, and what a crash left undone is
found there as `pending` and done by whoever comes next. All of it may be done twice.
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
"""A run that is no later than this is on time: EventBridge Scheduler may be a minute late, and the
sweep that stands in for it another."""
KEPT_SKIPPED = 10
"""Of runs that were missed so many are recorded as skipped, the newest."""
OVERDUE_SECONDS = 75
"""What is due for longer than this was forgotten by whoever should have fired it."""
UNDONE_SECONDS = 15
"""A decision that is not carried out after this was left by a crash."""

_WINDOWS = (3_600, 86_400, 31 * 86_400, 366 * 86_400)
"""How far back the newest missed runs are looked for, in steps: all of them may be millions."""


class Overlap(StrEnum):
    """What becomes of a run that is due while the one before it has not ended."""

    ALLOW = "allow"
    SKIP = "skip"
    REPLACE = "replace"
    """The one before is killed."""


@dataclass(frozen=True)
class Skipped:
    """A planned run that is left out, and why."""

    planned_at: float
    why: str


@dataclass(frozen=True)
class Decision:
    """What to do about the instants that have come."""

    run_at: float | None
    """The planned instant to run for."""
    kill: str | None
    """The invocation that makes place for it."""
    skipped: tuple[Skipped, ...]
    decided_until: float


@dataclass(frozen=True)
class Schedule:
    """The record of a schedule. Instants are seconds since 1970."""

    id: str
    job: str
    owner: str
    expression: str
    """As AWS writes it."""
    timezone: str
    created_at: float
    counts_from: float
    """When its times began to count: at its creation, or when they were changed. A rate's first
    turn is one period later."""
    decided_until: float
    callback_base_url: str = ""
    parameters: Any = None
    priority: Priority | None = None
    """None = what the job says."""
    overlap: Overlap = Overlap.SKIP
    gap: Gap = Gap.MOVE
    misfire_seconds: int = 3600
    paused: bool = False
    version: int = 1
    changed_at: float = 0.0
    pending: Decision | None = None
    armed_for: float | None = None
    """The instant for which a message is under way."""
    last_planned_at: float | None = None
    last_invocation: str | None = None
    trouble: str | None = None
    """Why the last run could not be asked for."""
    skipped: int = field(default=0)
    """How many planned runs were left out so far."""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Attributes that another version stored with it, in DynamoDB's JSON: kept as they are."""


def next_planned(schedule: Schedule) -> float | None:
    """The next instant that is not decided yet; None while it is paused, or when there is none."""
    if schedule.paused:
        return None
    return next(planned_after(schedule, schedule.decided_until), None)


def planned_after(schedule: Schedule, after: float) -> Iterator[float]:
    """All its instants after one, in order."""
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
    """The times that an expression means. Raises ExpressionError."""
    return parse_expression(text)


def due(schedule: Schedule, now: float) -> tuple[float, ...]:
    """The instants that have come and are not decided, in order; of many the newest."""
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
    """Decide about what has come; None when nothing has, or the schedule is paused.

    `last_is_live`: whether `last_invocation` has not ended yet.
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
    """The schedule with a decision that is still to be carried out.

    `invocation_id` is that of the run, if there is one.
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
    """The schedule when all that was decided is done, but what is in `trouble`."""
    return replace(schedule, pending=None, trouble=trouble, changed_at=now)


def edited(before: Schedule, wanted: Schedule, now: float) -> Schedule:
    """What `before` becomes when `wanted` is put in its place.

    New times count from now on; so does what was paused. All else leaves the times as they are.
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
    """Plans nothing until it is resumed."""
    return schedule if schedule.paused else replace(schedule, paused=True, changed_at=now)


def resumed(schedule: Schedule, now: float) -> Schedule:
    """Plans again; what it did not plan while it was paused is not made up for."""
    if not schedule.paused:
        return schedule
    until = max(schedule.decided_until, now)
    return replace(schedule, paused=False, decided_until=until, changed_at=now)


class Attention(StrEnum):
    """What the sweep finds to do."""

    CARRY_OUT = "carry_out"
    FIRE = "fire"
    ARM = "arm"


def attention(schedule: Schedule, now: float) -> Attention | None:
    """What a crash or a lost message left undone."""
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
