"""Limits on the number of sessions: counters that are written together with the sessions. Pure.

A counter is incremented in the transaction that claims a session and decremented in the one that
ends it, so it cannot drift. DynamoDB runs one transaction at a time on an item; a large limit is
therefore split over several counters whose maxima add up exactly to the limit.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.apps import Limits

SESSIONS_PER_SHARD = 50
REQUESTS_PER_SHARD = 10
"""Smaller, because all that meet in one second count against the same second."""
MAX_SHARDS = 16
RATE_KEPT_SECONDS = 3_600
KEPT_SECONDS = 30 * 86_400
"""A counter is kept for this long after its last increment: longer than any session lives. It
expires then, because there is one for every owner that ever had a session."""


@dataclass(frozen=True)
class Limit:
    """At most `maximum` of what `scope` names."""

    scope: str
    maximum: int
    expire_at: int
    """When the counter's item may expire."""
    is_rate: bool = False
    """Whether it counts requests of one second instead of live sessions. It is never
    decremented."""

    @property
    def label(self) -> str:
        """The limit's description in messages."""
        kind, _, name = self.scope.partition("/")
        names = {"owner": "sessions of one owner", "second": "requests a second"}
        return f"sessions of app {name}" if kind == "app" else names.get(kind, "all sessions")


@dataclass(frozen=True)
class Counter:
    """One counter item; its `maximum` is its share of `limit`."""

    key: str
    maximum: int
    limit: Limit


def lists_sessions(key: str) -> bool:
    """Whether the counter with this key lists the ids of the sessions that it counts. Counters of
    owners do.
    """
    return key.startswith("limit#owner/")


def limits_for(
    limits: Limits, *, app: str, app_maximum: int, owner: str, now: float
) -> list[Limit]:
    """All limits that a request of `owner` for `app` counts against."""
    scopes = {
        "total": limits.total,
        f"app/{app}": app_maximum,
        f"owner/{_short(owner)}": limits.per_owner,
    }
    kept_until = int(now) + KEPT_SECONDS
    found = [Limit(scope, maximum, kept_until) for scope, maximum in scopes.items() if maximum]
    if limits.per_second:
        second = int(now)
        expire_at = second + RATE_KEPT_SECONDS
        found.append(Limit(f"second/{second}", limits.per_second, expire_at, is_rate=True))
    return found


def counters_of(limit: Limit) -> list[Counter]:
    """The counters a limit is split into. Their maxima add up to the limit."""
    of_a_shard = REQUESTS_PER_SHARD if limit.is_rate else SESSIONS_PER_SHARD
    shards = max(1, min(MAX_SHARDS, limit.maximum // of_a_shard))
    share, rest = divmod(limit.maximum, shards)
    return [
        Counter(f"limit#{limit.scope}#{n}", share + (1 if n < rest else 0), limit)
        for n in range(shards)
    ]


def choose(limit: Limit, fraction: float, full: frozenset[str]) -> Counter | None:
    """A counter of `limit` that is not known to be full, selected by `fraction` (0 to 1); None if
    all are full.
    """
    free = [counter for counter in counters_of(limit) if counter.key not in full]
    return free[int(fraction * len(free)) % len(free)] if free else None


def lowered_at_end(counters: Sequence[Counter]) -> tuple[str, ...]:
    """The keys of counters that are decremented when the session ends."""
    return tuple(counter.key for counter in counters if not counter.limit.is_rate)


def _short(owner: str) -> str:
    return hashlib.sha256(owner.encode()).hexdigest()[:24]
