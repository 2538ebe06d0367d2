"""When a client is too slow to be worth waiting for. Pure; instants and durations in seconds.

Nothing is buffered for a slow client beyond its socket: the feed simply is not read while a
message waits, because the stream keeps the records. That costs no memory, but it must end:
a client that takes nothing, or falls ever further behind, is told to come back later.
"""

STALL_SECONDS = 10.0
"""A message may wait this long to be taken."""

FALL_BEHIND_SECONDS = 30.0
"""How much further than at its best a client may be behind the stream."""

HOLD_UP_SHARE = 0.5
"""Only a client that made the feed wait most of the time is to blame for being behind."""


class Slowness:
    """Follows the messages of one client."""

    def __init__(self, now: float) -> None:
        self._sending_since: float | None = None
        self._looked_at = now
        self._held_up_seconds = 0.0
        self._least_lag_seconds = float("inf")

    def began(self, now: float) -> None:
        """A message is being sent."""
        self._sending_since = now

    def done(self, now: float) -> None:
        """It was taken."""
        if self._sending_since is not None:
            self._held_up_seconds += now - max(self._sending_since, self._looked_at)
        self._sending_since = None

    def is_hopeless(self, now: float, lag_seconds: float) -> bool:
        """Ask regularly. A client that catches up with history is behind, but ever less so."""
        since = self._sending_since
        if since is not None:
            self._held_up_seconds += now - max(since, self._looked_at)
            if now - since >= STALL_SECONDS:
                return True
        passed, held_up = now - self._looked_at, self._held_up_seconds
        self._looked_at, self._held_up_seconds = now, 0.0
        self._least_lag_seconds = min(self._least_lag_seconds, lag_seconds)
        is_held_up = passed > 0 and held_up / passed >= HOLD_UP_SHARE
        return is_held_up and lag_seconds - self._least_lag_seconds >= FALL_BEHIND_SECONDS
