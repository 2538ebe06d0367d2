"""How long users wait for an address, counted in buckets that the sweep can add up. Pure."""

import math
from collections.abc import Mapping

from chalicelib.sessions.model import Session, State

PREFIX = "address/"
NEWEST_SECONDS = 3_600
"""Addresses that were handed out within this time of the look count."""
GROWTH = 2**0.25
"""A bucket is so much wider than the one below: percentiles are at most 19 % too high."""
FIRST_SECONDS = 0.01


def bucket_of(session: Session, now: float) -> str | None:
    """The bucket of a session that was started for its user; None for one that does not count.

    Warm ones are left out: when their users asked is not in the record, and takes two round trips
    to DynamoDB. Live sessions are counted alone.
    """
    at = next((c.at for c in session.history if c.state is State.RESERVED), None)
    if session.pooled or at is None or now - at > NEWEST_SECONDS:
        return None
    took = max(FIRST_SECONDS, at - session.created_at)
    return f"{PREFIX}{math.ceil(math.log(took / FIRST_SECONDS, GROWTH))}"


def percentile(counts: Mapping[str, int], share: float) -> float | None:
    """The seconds within which such a share had their address; None where nobody is counted."""
    buckets = sorted(
        (int(name.removeprefix(PREFIX)), count)
        for name, count in counts.items()
        if name.startswith(PREFIX)
    )
    wanted, seen = share * sum(count for _, count in buckets), 0
    for bucket, count in buckets:
        seen += count
        if seen >= wanted:
            return round(FIRST_SECONDS * GROWTH**bucket, 3)
    return None
