"""Determines when a shard may be read next. Pure: times in seconds.

Kinesis allows five reads a second and shard to all readers together. One session alone may use
nearly all of them, and must yield to others on the same stream. The interval between reads
therefore grows fast when Kinesis throttles, and shrinks slowly while it does not.
"""

from dataclasses import dataclass

from chalicelib.contract.repeating import backoff_seconds

SHORTEST_INTERVAL_SECONDS = 0.2
"""Five reads a second, while there are more records to read at once."""

IDLE_INTERVAL_SECONDS = 0.25
"""Four reads a second, once everything was read: half of it is the mean delay of a record."""

LONGEST_INTERVAL_SECONDS = 2.0
"""Upper bound on a stream that many sessions share."""

BURST_READS = 5

SLOW_ANSWER_FACTOR = 3.0
"""Factor on the duration of a read: at most a third of the time is spent waiting for answers, to
reduce the load on a slow service.
"""

FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 10.0


def pause_seconds(failures: int, jitter: float) -> float:
    """Seconds without requests to Kinesis after `failures` in a row."""
    return backoff_seconds(
        failures,
        jitter,
        first_seconds=FIRST_BACKOFF_SECONDS,
        longest_seconds=LONGEST_BACKOFF_SECONDS,
    )


@dataclass
class Pacer:
    """The pace of one shard."""

    interval_seconds: float = IDLE_INTERVAL_SECONDS
    tokens: float = BURST_READS
    refilled_at: float = 0.0
    failures: int = 0
    next_read_at: float = 0.0

    def answered(self, started_at: float, now: float, *, caught_up: bool) -> None:
        """A read that began at `started_at` was answered. If the feed is behind, the next may
        follow at once while there are tokens of the five a second.
        """
        self.failures = 0
        self._take_token(started_at)
        if caught_up:
            pause = max(self.interval_seconds, SLOW_ANSWER_FACTOR * (now - started_at))
            self.next_read_at = max(now, started_at + min(pause, LONGEST_INTERVAL_SECONDS))
            self.interval_seconds = max(IDLE_INTERVAL_SECONDS, self.interval_seconds * 0.95)
        elif self.interval_seconds > IDLE_INTERVAL_SECONDS:
            # Others read this shard too: a reader that is behind must not use their share.
            self.next_read_at = max(now, started_at + self.interval_seconds)
            self.interval_seconds = max(IDLE_INTERVAL_SECONDS, self.interval_seconds * 0.9)
        elif self.tokens >= 1:
            self.next_read_at = now
        else:
            self.next_read_at = now + (1 - self.tokens) * SHORTEST_INTERVAL_SECONDS

    def throttled(self, now: float, jitter: float) -> None:
        """Kinesis throttled: increase the interval."""
        self.failures += 1
        self.tokens = 0.0
        self.refilled_at = now
        self.interval_seconds = min(LONGEST_INTERVAL_SECONDS, self.interval_seconds * 1.5)
        self.next_read_at = now + max(
            self.interval_seconds * (0.5 + jitter), pause_seconds(self.failures, jitter)
        )

    def failed(self, now: float, jitter: float) -> None:
        """No answer, or an error that does not concern the rate."""
        self.failures += 1
        self.next_read_at = now + pause_seconds(self.failures, jitter)

    def _take_token(self, now: float) -> None:
        gained = (now - self.refilled_at) / SHORTEST_INTERVAL_SECONDS
        self.tokens = min(float(BURST_READS), self.tokens + max(0.0, gained)) - 1
        self.refilled_at = max(now, self.refilled_at)
