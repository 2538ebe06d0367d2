"""Determines whether a client is too slow, and whether it is gone. Pure; times and durations in
seconds.

For a slow client only its socket buffers: the feed is not read while a message waits, because the
stream keeps the records. A client that accepts bytes, at any speed, is waited for; one that accepts
none is not.
"""

from session_handler.outflow import Outflow

STALL_SECONDS = 10.0
"""A client with unsent bytes may accept none for this long."""

SPEED_SECONDS = 1.0
"""A shorter wait gives no information about the speed of a client."""

CLIENT_BUFFER_BYTES = 256 * 1024
"""Bytes that the client's kernel may hold unread: a usual receive buffer."""

LONGEST_ALLOWANCE_SECONDS = 300.0

WINDOW_SECONDS = 60.0
"""Interval between the times at which lags are compared."""

FALLING_WINDOWS = 3
FALL_BEHIND_SECONDS = 600.0
"""A client is given up when it fell behind in this many successive windows, and by this much."""

HOLD_UP_SHARE = 0.5
"""Only a client that delayed the feed most of the time is given up for being behind."""


class Slowness:
    """Tracks the bytes that one client accepts: call `observe` every second or so."""

    def __init__(self, now: float) -> None:
        self._outflow = Outflow(0, 0)
        self._progress_at = now
        self._busy_since: float | None = None
        self._busy_taken = 0
        self.bytes_per_second: float | None = None
        """The speed of the client while it was waited for last; None where it never was."""

    def observe(self, now: float, outflow: Outflow) -> None:
        last, self._outflow = self._outflow, outflow
        if outflow.waiting == 0 or outflow.taken > last.taken or outflow.waiting < last.waiting:
            self._progress_at = now
        if outflow.waiting == 0:
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since, self._busy_taken = now, outflow.taken
        elif now - self._busy_since >= SPEED_SECONDS:
            taken = outflow.taken - self._busy_taken
            self.bytes_per_second = max(1.0, taken / (now - self._busy_since))

    def is_stalled(self, now: float) -> bool:
        """Whether bytes wait, and none was accepted for STALL_SECONDS."""
        return self.idle_seconds(now) >= STALL_SECONDS

    def idle_seconds(self, now: float) -> float:
        """Time for which bytes have waited and none was accepted."""
        return now - self._progress_at if self._outflow.waiting else 0.0

    @property
    def allowance_seconds(self) -> float:
        """Extra time that a slow client needs to reach a ping in its own buffer."""
        if self.bytes_per_second is None:
            return 0.0
        return min(LONGEST_ALLOWANCE_SECONDS, CLIENT_BUFFER_BYTES / self.bytes_per_second)

    def caught_up(self) -> None:
        """The client answered a ping after all that was sent: it has nothing left to read."""
        self.bytes_per_second = None


class FallingBehind:
    """Tracks the age of the records that one client receives, message by message.

    History is always old, and a burst delays a client for a while. A client is given up only if it
    delayed the feed most of the time, was later after each of FALLING_WINDOWS windows than before
    it, and FALL_BEHIND_SECONDS later than at its best. This is checked after messages only: a
    client that is given up has received something, so that each resumption makes progress.
    """

    def __init__(self, now: float) -> None:
        self._window_from = now
        self._held_up_seconds = 0.0
        self._windows = 0
        self._age_before: float | None = None
        self._least_age: float = float("inf")

    def sent(self, began: float, now: float, age_seconds: float) -> bool:
        """A message was accepted, whose last record has this age. True: give the client up."""
        self._held_up_seconds += now - began
        self._least_age = min(self._least_age, age_seconds)
        if self._age_before is None:
            self._age_before = age_seconds
        passed = now - self._window_from
        if passed < WINDOW_SECONDS:
            return False
        is_held_up = self._held_up_seconds / passed >= HOLD_UP_SHARE
        is_falling = is_held_up and age_seconds > self._age_before
        self._windows = self._windows + 1 if is_falling else 0
        self._window_from, self._held_up_seconds, self._age_before = now, 0.0, age_seconds
        fell_behind = age_seconds - self._least_age
        return self._windows >= FALLING_WINDOWS and fell_behind >= FALL_BEHIND_SECONDS
