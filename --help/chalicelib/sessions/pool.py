"""The size of an app's pool. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from chalicelib.apps import PoolSize
from chalicelib.sessions.model import Session, State
from chalicelib.tasks.revisions import RevisionState, serves

DEFAULT_START_SECONDS = 5.0
"""Assumed duration of a start before one was measured."""
SAFETY = 1.5
"""Factor on the mean demand, because requests arrive in bursts."""


@dataclass(frozen=True)
class AppState(RevisionState):
    """The stored state of an app: its revisions and its newest pool members."""

    unseen: tuple[str, ...] = ()
    """Ids of started members that the pool index does not show yet."""


@dataclass(frozen=True)
class PoolPlan:
    """The number of sessions to start, and the sessions to drain."""

    start: int
    drain: tuple[Session, ...]


def plan_pool(
    members: Sequence[Session],
    size: PoolSize,
    state: AppState,
    *,
    newest: str,
    starts_on: str,
    claims_per_second: float,
    now: float,
    unreadable: int = 0,
) -> PoolPlan:
    """Compare the pool with its target size. `members`: live sessions without an owner.

    `unreadable` members count as present, because they may serve again when their records can be
    read.

    New sessions start on `starts_on`: the newest revision, or the previous one while the newest
    fails.
    """
    good: list[Session] = []
    drain: list[Session] = []
    for session in members:
        too_old = now - session.created_at > size.max_age_seconds
        usable = serves(state, session.task_definition, newest) and not too_old
        (good if usable else drain).append(session)
    wanted = target(size, claims_per_second, start_seconds(good))
    # Warm sessions of other revisions do not reduce the number of starts: they serve until the pool
    # of the newest revision is full.
    current = [session for session in good if session.task_definition == starts_on]
    surplus = sorted(current, key=_least_useful)[: max(0, len(current) - wanted)]
    present = len(current) + unreadable
    start = max(0, min(wanted, size.maximum) - present)
    return PoolPlan(start=start, drain=(*drain, *surplus))


def asks_for_refill(left: int, size: PoolSize) -> bool:
    """Whether a claim that leaves `left` members requests a refill.

    True at a half, a quarter, an eighth … of the minimum and at none. Clients request one too when
    they connect; a burst that empties a pool thus needs a few messages, not one for each claim.
    """
    return any(size.minimum >> halvings == left for halvings in range(1, 16))


def target(size: PoolSize, claims_per_second: float, start_seconds: float) -> int:
    """The target size: the number of sessions that are claimed while a replacement starts, within
    the configured bounds.
    """
    demand = math.ceil(claims_per_second * start_seconds * SAFETY)
    return max(size.minimum, min(size.maximum, demand))


def start_seconds(members: Sequence[Session]) -> float:
    """The duration of a start in seconds, measured on the members that started."""
    took = [s.ready_at - s.created_at for s in members if s.ready_at is not None]
    return median(took) if took else DEFAULT_START_SECONDS


def _least_useful(session: Session) -> tuple[bool, float]:
    """Sort key of the members to drain first: those that are not ready, then the oldest."""
    return session.state is State.WARM, session.created_at
