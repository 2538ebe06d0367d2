"""Which revision of an app new sessions run on, and when to stop trying one. Pure.

A revision is proven by its first session that became ready. One that keeps failing to start is
not tried for a while (a circuit breaker); until it is proven, the proven one before it serves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

FAILURES_TO_OPEN = 5
OPEN_SECONDS = 60
"""How long an open breaker refuses; then one start may try again."""
KEPT_REVISIONS = 5


@dataclass(frozen=True)
class Failing:
    """How a revision has been failing, without a success since."""

    count: int
    reason: str
    last_at: float


@dataclass(frozen=True)
class AppState:
    """What is remembered of an app between requests. `version` is the record's."""

    name: str
    version: int = 0
    proven: str | None = None
    """ARN of the newest task definition that a session became ready on."""
    failing: Mapping[str, Failing] = field(default_factory=dict)
    """By task definition ARN."""
    tended_until: float = 0.0
    """Somebody fills the pool, and says until when to believe that."""
    tend_again: bool = False
    """Somebody else came in the meantime."""


@dataclass(frozen=True)
class Open:
    """No revision may be tried: the reason, and for how long."""

    reason: str
    retry_after_seconds: int


def is_open(state: AppState, revision: str, now: float) -> bool:
    """Whether the breaker of `revision` refuses now."""
    failing = state.failing.get(revision)
    return (
        failing is not None
        and failing.count >= FAILURES_TO_OPEN
        and now < failing.last_at + OPEN_SECONDS
    )


def choose_revision(
    state: AppState, newest: str, now: float, *, by_pool: bool = False
) -> str | Open:
    """The revision that new sessions start on.

    `by_pool`: a pool tries the newest, so that no user has to as long as one before it works.
    """
    fallback = _fallback(state, newest)
    for candidate in (fallback, newest) if by_pool else (newest, fallback):
        if candidate is not None and not is_open(state, candidate, now):
            return candidate
    failing = state.failing[newest]
    wait = max(1, round(failing.last_at + OPEN_SECONDS - now))
    return Open(f"{failing.count} starts in a row failed: {failing.reason}", wait)


def serves(state: AppState, revision: str | None, newest: str) -> bool:
    """Whether a warm session of `revision` may still be handed out, or has to be drained."""
    return revision is not None and revision in {newest, _fallback(state, newest)}


def fold_success(state: AppState, revision: str, newest: str) -> AppState:
    """A session of `revision` became ready. A straggler of an older one proves nothing new."""
    failing = {arn: told for arn, told in state.failing.items() if arn != revision}
    proven = revision if revision == newest or state.proven is None else state.proven
    if proven == state.proven and len(failing) == len(state.failing):
        return state
    return replace(state, proven=proven, failing=failing)


def fold_failure(state: AppState, revision: str, reason: str, now: float) -> AppState:
    """A session of `revision` did not become ready, for a reason of its own making."""
    before = state.failing.get(revision)
    told = Failing(count=(before.count if before else 0) + 1, reason=reason[:300], last_at=now)
    failing = dict(state.failing) | {revision: told}
    newest = sorted(failing, key=number_of)[-KEPT_REVISIONS:]
    return replace(state, failing={arn: failing[arn] for arn in newest})


def _fallback(state: AppState, newest: str) -> str | None:
    """The proven revision before `newest`, while that is not proven itself.

    A revision above the newest was taken back, so it is none to fall back to.
    """
    if state.proven is None or number_of(state.proven) >= number_of(newest):
        return None
    return state.proven


def number_of(task_definition: str) -> int:
    """The revision number of a task definition's ARN."""
    return int(task_definition.rsplit(":", 1)[1])
