"""Quotas of invocations for each owner: counters that are written with the invocations. Pure.

A counter is incremented in the transaction that records an invocation. Counters of live invocations
are decremented in the transaction that ends one, so they cannot drift. Operators have no quota.
"""

import hashlib
from dataclasses import dataclass

from chalicelib.jobs.model import Invocation

DAY_SECONDS = 86_400
KEPT_SECONDS = 400 * DAY_SECONDS
"""A counter of live invocations is kept for this long after its last increment; deferred
invocations wait up to a year."""


@dataclass(frozen=True)
class Quota:
    """At most `maximum` of what `key` counts."""

    key: str
    maximum: int
    expire_at: int
    """When the counter's item may expire."""
    label: str
    """The quota's description in messages."""
    is_lowered: bool
    """Whether the counter is decremented when an invocation ends."""
    retry_after_seconds: int


def running_quota(invocation: Invocation, most: int, now: float) -> Quota | None:
    """The quota that a launch counts against: at most `most` running invocations of its owner; 0 =
    no limit.

    None for invocations requested by an operator or a schedule.
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
    """Whether the quota is used up."""
    return count >= quota.maximum


def quotas_for(owner: str, *, live: int, a_day: int, now: float) -> tuple[Quota, ...]:
    """The quotas of `owner`: waiting and running invocations, and accepted ones a day (UTC). 0 = no
    limit.
    """
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
