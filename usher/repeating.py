"""The pause before a repeated request. Pure."""

from chalicelib.contract.repeating import backoff_seconds

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


def pause_seconds(failures: int, jitter: float) -> float:
    """See `backoff_seconds`, with this package's bounds."""
    return backoff_seconds(
        failures, jitter, first_seconds=FIRST_PAUSE_SECONDS, longest_seconds=LONGEST_PAUSE_SECONDS
    )
