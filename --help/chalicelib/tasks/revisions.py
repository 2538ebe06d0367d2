"""The revision of a task definition that new tasks run on, and the breaker for failing ones. Pure.

A revision is proven when its first task becomes ready. A revision that repeatedly fails to start is
not tried for a while (circuit breaker); until it is proven, the previous proven one is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

FAILURES_TO_OPEN = 5
OPEN_SECONDS = 60
"""Time for which an open breaker refuses starts; then one start is tried."""
CLOCKS_DIFFER_SECONDS = 5
"""Maximum difference between clocks of functions."""
KEPT_REVISIONS = 5


@dataclass(frozen=True)
class Failing:
    """The failures of a revision since its last success."""

    count: int
    reason: str
    last_at: float


@dataclass(frozen=True)
class RevisionState:
    """The stored state of an app's or a job's revisions. `version` is the record's."""

    name: str
    version: int = 0
    proven: str | None = None
    """ARN of the newest task definition with a task that became ready."""
    failing: Mapping[str, Failing] = field(default_factory=dict)
    """Failures by task definition ARN."""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Attributes that another version of Usher stored, in DynamoDB's JSON. They are preserved."""


S = TypeVar("S", bound=RevisionState)


@dataclass(frozen=True)
class Open:
    """No revision may be tried: the reason, and for how long."""

    reason: str
    retry_after_seconds: int


def is_open(state: RevisionState, revision: str, now: float) -> bool:
    """Whether the breaker of `revision` refuses starts now.

    A failure in the future was written by a wrong clock and is ignored.
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

    `by_pool`: the pool tries the newest, so that no user has to while an earlier one works.
    """
    fallback = _fallback(state, newest)
    for candidate in (fallback, newest) if by_pool else (newest, fallback):
        if candidate is not None and not is_open(state, candidate, now):
            return candidate
    failing = state.failing[newest]
    wait = max(1, round(failing.last_at + OPEN_SECONDS - now))
    return Open(f"{failing.count} starts in a row failed: {failing.reason}", wait)


def serves(state: RevisionState, revision: str | None, newest: str) -> bool:
    """Whether a warm task of `revision` may be claimed; otherwise it is drained."""
    return revision is not None and revision in {newest, _fallback(state, newest)}


def fold_success(state: S, revision: str, newest: str) -> S:
    """A task of `revision` became ready. A late report about an older revision has no effect."""
    failing = {arn: entry for arn, entry in state.failing.items() if arn != revision}
    proven = revision if revision == newest or state.proven is None else state.proven
    if proven == state.proven and len(failing) == len(state.failing):
        return state
    return replace(state, proven=proven, failing=failing)


def fold_rollback(state: S, revision: str) -> S:
    """`revision` was taken back. It is no longer the proven one, so that the next task that becomes
    ready proves its revision, even if a function still has `revision` as the newest in its cache.
    """
    failing = {arn: entry for arn, entry in state.failing.items() if arn != revision}
    proven = None if state.proven == revision else state.proven
    return replace(state, proven=proven, failing=failing)


def fold_failure(state: S, revision: str, reason: str, now: float) -> S:
    """A task of `revision` failed to start, for a reason of its own."""
    before = state.failing.get(revision)
    entry = Failing(count=(before.count if before else 0) + 1, reason=reason[:300], last_at=now)
    failing = dict(state.failing) | {revision: entry}
    newest = sorted(failing, key=number_of)[-KEPT_REVISIONS:]
    return replace(state, failing={arn: failing[arn] for arn in newest})


def _fallback(state: RevisionState, newest: str) -> str | None:
    """The proven revision before `newest`, if `newest` is not proven.

    A revision above the newest was taken back and is not used; neither is one of another family,
    from before the app moved between the apps file and the registered apps.
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
