"""Which revision of a task definition new tasks run on, and when to stop trying one. Pure.

A revision is proven by its first task that came up. One that keeps failing to start is not tried
for a while (a circuit breaker); until it is proven, the proven one before it serves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

FAILURES_TO_OPEN = 5
OPEN_SECONDS = 60
"""How long an open breaker refuses; then one start may try again."""
CLOCKS_DIFFER_SECONDS = 5
"""Clocks of functions agree within this."""
KEPT_REVISIONS = 5


@dataclass(frozen=True)
class Failing:
    """How a revision has been failing, without a success since."""

    count: int
    reason: str
    last_at: float


@dataclass(frozen=True)
class RevisionState:
    """What is remembered of the revisions of an app, or of a job. `version` is the record's."""

    name: str
    version: int = 0
    proven: str | None = None
    """ARN of the newest task definition that a task came up on."""
    failing: Mapping[str, Failing] = field(default_factory=dict)
    """By task definition ARN."""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Attributes that another version stored with it, in DynamoDB's JSON: kept as they are."""


S = TypeVar("S", bound=RevisionState)


@dataclass(frozen=True)
class Open:
    """No revision may be tried: the reason, and for how long."""

    reason: str
    retry_after_seconds: int


def is_open(state: RevisionState, revision: str, now: float) -> bool:
    """Whether the breaker of `revision` refuses now.

    A failure in the future was written by a wrong clock and causes no wait.
    """
    failing = state.failing.get(revision)
    return (
        failing is not None
        and failing.count >= FAILURES_TO_OPEN
        and failing.last_at - CLOCKS_DIFFER_SECONDS <= now < failing.last_at + OPEN_SECONDS
    )


def choose_revision(
    state: RevisionState, newest: str, now: float, *, by_pool: bool = False
) -> str | Open:
    """The revision that new tasks start on.

    `by_pool`: a pool tries the newest, so that no user has to as long as one before it works.
    """
    fallback = _fallback(state, newest)
    for candidate in (fallback, newest) if by_pool else (newest, fallback):
        if candidate is not None and not is_open(state, candidate, now):
            return candidate
    failing = state.failing[newest]
    wait = max(1, round(failing.last_at + OPEN_SECONDS - now))
    return Open(f"{failing.count} starts in a row failed: {failing.reason}", wait)


def serves(state: RevisionState, revision: str | None, newest: str) -> bool:
    """Whether a task of `revision` that waits may still be handed out, or has to be drained."""
    return revision is not None and revision in {newest, _fallback(state, newest)}


def fold_success(state: S, revision: str, newest: str) -> S:
    """A task of `revision` came up. A straggler of an older one proves nothing new."""
    failing = {arn: entry for arn, entry in state.failing.items() if arn != revision}
    proven = revision if revision == newest or state.proven is None else state.proven
    if proven == state.proven and len(failing) == len(state.failing):
        return state
    return replace(state, proven=proven, failing=failing)


def fold_rollback(state: S, revision: str) -> S:
    """`revision` was taken back. It is the proven one no longer, so that the next task that comes
    up proves its own, also by a function that still remembers `revision` as the newest.
    """
    failing = {arn: entry for arn, entry in state.failing.items() if arn != revision}
    proven = None if state.proven == revision else state.proven
    return replace(state, proven=proven, failing=failing)


def fold_failure(state: S, revision: str, reason: str, now: float) -> S:
    """A task of `revision` did not come up, for a reason of its own making."""
    before = state.failing.get(revision)
    entry = Failing(count=(before.count if before else 0) + 1, reason=reason[:300], last_at=now)
    failing = dict(state.failing) | {revision: entry}
    newest = sorted(failing, key=number_of)[-KEPT_REVISIONS:]
    return replace(state, failing={arn: failing[arn] for arn in newest})


def _fallback(state: RevisionState, newest: str) -> str | None:
    """The proven revision before `newest`, while that is not proven itself.

    A revision above the newest was taken back, so it is none to fall back to; nor is one of
    another family, from before the app moved between the apps file and the registered apps.
    """
    if state.proven is None or number_of(state.proven) >= number_of(newest):
        return None
    return state.proven if family_of(state.proven) == family_of(newest) else None


def number_of(task_definition: str) -> int:
    """The revision number of a task definition's ARN."""
    return int(task_definition.rsplit(":", 1)[1])


def family_in(task_definition: str) -> str:
    """The family in a task definition's ARN."""
    return task_definition.rpartition("/")[2].rpartition(":")[0]


def family_of(task_definition: str) -> str:
    """The ARN without its revision number."""
    return task_definition.rpartition(":")[0]
