"""How many invocations one owner may have: counters written with the invocations they count. Pure.

A counter is raised in the transaction that records an invocation. What counts live ones is lowered
in the transaction that ends one, so neither can drift. Operators have no quota.
"""

import hashlib
from dataclasses import dataclass

from chalicelib.jobs.model import Invocation

DAY_SECONDS = 86_400
KEPT_SECONDS = 400 * DAY_SECONDS
"""How long after it was last raised a counter of live ones is kept; deferred ones wait a year."""


@dataclass(frozen=True)
class Quota:
    """At most `maximum` of what `key` counts."""

    key: str
    maximum: int
    expire_at: int
    """When the counter may be forgotten."""
    label: str
    """What is limited, for people."""
    is_lowered: bool
    """Whether the end of an invocation gives its place back."""
    retry_after_seconds: int


def running_quota(invocation: Invocation, most: int, now: float) -> Quota | None:
    """What launching it counts against: at most `most` of its owner run at once; 0 = any number.

    None too for what was asked for by an operator, or by a schedule.
    """
    if not most or not invocation.is_limited:
        return None
    return Quota(
        key=f"quota#running#{_digest(invocation.owner)}",
        maximum=most,
        expire_at=int(now) + KEPT_SECONDS,
        label="invocations of one owner that run at once",
        is_lowered=True,
        retry_after_seconds=5,
    )


def is_exhausted(quota: Quota, count: int) -> bool:
    """Whether no more fits into it."""
    return count >= quota.maximum


def quotas_for(owner: str, *, live: int, a_day: int, now: float) -> tuple[Quota, ...]:
    """The quotas of `owner`: what waits or runs at once, and what a day accepts (UTC). 0 = none."""
    digest = _digest(owner)
    day = int(now // DAY_SECONDS)
    left = int((day + 1) * DAY_SECONDS - now) + 1
    known = (
        Quota(
            key=f"quota#live#{digest}",
            maximum=live,
            expire_at=int(now) + KEPT_SECONDS,
            label="invocations of one owner that wait or run",
            is_lowered=True,
            retry_after_seconds=5,
        ),
        Quota(
            key=f"quota#day#{day}#{digest}",
            maximum=a_day,
            expire_at=(day + 2) * DAY_SECONDS,
            label="invocations of one owner a day",
            is_lowered=False,
            retry_after_seconds=left,
        ),
    )
    return tuple(quota for quota in known if quota.maximum)


def _digest(owner: str) -> str:
    return hashlib.sha256(owner.encode()).hexdigest()[:24]
