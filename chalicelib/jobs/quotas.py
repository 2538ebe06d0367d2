"""How many invocations one owner may have: counters written with the invocations they count. Pure.

A counter is raised in the transaction that records an invocation. What counts live ones is lowered
in the transaction that ends one, so neither can drift. Operators have no quota.
"""

import hashlib
from dataclasses import dataclass

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
    words: str
    """What is limited, for people."""
    is_lowered: bool
    """Whether the end of an invocation gives its place back."""
    retry_after_seconds: int


def quotas_for(owner: str, *, live: int, a_day: int, now: float) -> tuple[Quota, ...]:
    """The quotas of `owner`: what waits or runs at once, and what a day accepts (UTC). 0 = none."""
    digest = hashlib.sha256(owner.encode()).hexdigest()[:24]
    day = int(now // DAY_SECONDS)
    left = int((day + 1) * DAY_SECONDS - now) + 1
    known = (
        Quota(
            key=f"quota#live#{digest}",
            maximum=live,
            expire_at=int(now) + KEPT_SECONDS,
            words="invocations of one owner that wait or run",
            is_lowered=True,
            retry_after_seconds=5,
        ),
        Quota(
            key=f"quota#day#{day}#{digest}",
            maximum=a_day,
            expire_at=(day + 2) * DAY_SECONDS,
            words="invocations of one owner a day",
            is_lowered=False,
            retry_after_seconds=left,
        ),
    )
    return tuple(quota for quota in known if quota.maximum)
