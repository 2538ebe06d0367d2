"""How many sessions there may be: counters that are written with the sessions they count. Pure.

A counter is raised in the transaction that hands a session to its owner and lowered in the one that
ends it, so it cannot drift. DynamoDB lets one transaction at a time touch an item; a large limit is
therefore split over several counters, each with its share, whose sum is the limit to the one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.apps import Limits

SESSIONS_PER_SHARD = 50
MAX_SHARDS = 16
RATE_KEPT_SECONDS = 3_600
KEPT_SECONDS = 30 * 86_400
"""How long after it was last raised a counter is kept: for longer than any session lives, and no
longer, as there is one for every owner who ever came."""


@dataclass(frozen=True)
class Limit:
    """At most `maximum` of what `scope` names."""

    scope: str
    maximum: int
    expire_at: int
    """When the counter may be forgotten."""
    is_rate: bool = False
    """Whether it counts requests of one second instead of sessions that live: nothing lowers it."""

    @property
    def label(self) -> str:
        """What is limited, for people."""
        kind, _, name = self.scope.partition("/")
        names = {"owner": "sessions of one owner", "second": "requests a second"}
        return f"sessions of app {name}" if kind == "app" else names.get(kind, "all sessions")


@dataclass(frozen=True)
class Counter:
    """One item of the table that counts; `limit` is what it is a share of."""

    key: str
    maximum: int
    limit: Limit


def lists_sessions(key: str) -> bool:
    """Whether the counter with this key has the ids of the sessions it counts: an owner's."""
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
    shards = max(1, min(MAX_SHARDS, limit.maximum // SESSIONS_PER_SHARD))
    share, rest = divmod(limit.maximum, shards)
    return [
        Counter(f"limit#{limit.scope}#{n}", share + (1 if n < rest else 0), limit)
        for n in range(shards)
    ]


def choose(limit: Limit, fraction: float, full: frozenset[str]) -> Counter | None:
    """One counter of `limit` not known to be full; `fraction` (0 to 1) picks. None if all are."""
    free = [counter for counter in counters_of(limit) if counter.key not in full]
    return free[int(fraction * len(free)) % len(free)] if free else None


def lowered_at_end(counters: Sequence[Counter]) -> tuple[str, ...]:
    """The keys that the session's end gives back."""
    return tuple(counter.key for counter in counters if not counter.limit.is_rate)


def _short(owner: str) -> str:
    return hashlib.sha256(owner.encode()).hexdigest()[:24]
