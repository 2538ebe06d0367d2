"""Seconds that users wait for an address, in buckets that the sweep can add up. Pure."""

from chalicelib.sessions.model import Session, State
from chalicelib.tasks.percentiles import bucket_of_seconds
from chalicelib.tasks.trend import ADDRESS

NEWEST_SECONDS = 3_600
"""Only addresses that were handed out within this time are counted."""


def bucket_of(session: Session, now: float) -> str | None:
    """The bucket of a session; None if it is not counted.

    The wait lasts from the request to the decision about the address, without the write that
    follows. For a session that was started for its user the request is its creation; for one from
    the pool it is recorded. Only live sessions are counted.
    """
    asked_at = session.asked_at if session.pooled else session.created_at
    at = next((c.at for c in session.history if c.state is State.RESERVED), None)
    if asked_at is None or at is None or now - at > NEWEST_SECONDS:
        return None
    return bucket_of_seconds(ADDRESS, at - asked_at)
