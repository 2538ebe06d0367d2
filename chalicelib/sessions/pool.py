"""How many containers of an app wait ahead of their users. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from chalicelib.apps import PoolSize
from chalicelib.sessions.model import Session, State
from chalicelib.tasks.revisions import RevisionState, serves

DEFAULT_START_SECONDS = 5.0
"""What a start is taken to need before one was seen."""
SAFETY = 1.5
"""Demand is lumpy: more than the mean of it is kept ready."""


@dataclass(frozen=True)
class AppState(RevisionState):
    """What is remembered of an app between requests: its revisions, and its newest members."""

    unseen: tuple[str, ...] = ()
    """Ids of members that were started and that the pool index has not shown yet."""


@dataclass(frozen=True)
class PoolPlan:
    """What to do now: start so many, drain these."""

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
    """Compare what waits with what should. `members`: sessions without an owner that live.

    `unreadable` members may serve once their records can be read again: each has a place.

    `starts_on` is the revision that new ones start on: the newest, or the one before while that
    keeps failing.
    """
    good: list[Session] = []
    drain: list[Session] = []
    for session in members:
        too_old = now - session.created_at > size.max_age_seconds
        usable = serves(state, session.task_definition, newest) and not too_old
        (good if usable else drain).append(session)
    wanted = target(size, claims_per_second, start_seconds(good))
    # Warm ones of another revision count for nothing that has to be started: the pool of the
    # newest fills while they still serve.
    current = [session for session in good if session.task_definition == starts_on]
    surplus = sorted(current, key=_least_useful)[: max(0, len(current) - wanted)]
    present = len(current) + unreadable
    start = max(0, min(wanted, size.maximum) - present)
    return PoolPlan(start=start, drain=(*drain, *surplus))


def asks_for_refill(left: int, size: PoolSize) -> bool:
    """Whether a claim that leaves so many members asks for the pool to be filled.

    At a half of the minimum, a quarter, and so on down to none: clients that connect ask for it
    too, so a burst that empties a pool needs a few messages and not one for each claim.
    """
    return any(size.minimum >> halvings == left for halvings in range(1, 16))


def target(size: PoolSize, claims_per_second: float, start_seconds: float) -> int:
    """How many should wait: what is claimed while a replacement starts, within the bounds."""
    demand = math.ceil(claims_per_second * start_seconds * SAFETY)
    return max(size.minimum, min(size.maximum, demand))


def start_seconds(members: Sequence[Session]) -> float:
    """How long a start takes, by those that made it."""
    took = [s.ready_at - s.created_at for s in members if s.ready_at is not None]
    return median(took) if took else DEFAULT_START_SECONDS


def _least_useful(session: Session) -> tuple[bool, float]:
    """What goes first when there are too many: those not ready yet, then the oldest."""
    return session.state is State.WARM, session.created_at
