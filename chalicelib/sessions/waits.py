"""How long users wait for an address, counted in buckets that the sweep can add up. Pure."""

from chalicelib.sessions.model import Session, State
from chalicelib.tasks.percentiles import bucket_of_seconds
from chalicelib.tasks.trend import ADDRESS

NEWEST_SECONDS = 3_600
"""Addresses that were handed out within this time of the look count."""


def bucket_of(session: Session, now: float) -> str | None:
    """The bucket of a session; None for one that does not count.

    From the request to the decision for an address: the write that makes it so is not in it. A
    session that was started for its user was created by the request; of one from the pool the
    record says when it was asked for. Live sessions are counted alone.
    """
    asked_at = session.asked_at if session.pooled else session.created_at
    at = next((c.at for c in session.history if c.state is State.RESERVED), None)
    if asked_at is None or at is None or now - at > NEWEST_SECONDS:
        return None
    return bucket_of_seconds(ADDRESS, at - asked_at)
