"""Delays before repetitions: growing, bounded, with jitter."""

import random


def backoff_seconds(
    failures: int, jitter: float, *, first_seconds: float, longest_seconds: float
) -> float:
    """Seconds to wait after `failures` in a row (1 or more): between half and all of a bound that
    doubles.

    `jitter` is in [0, 1), so that clients which failed together do not return together.
    """
    ceiling = min(longest_seconds, first_seconds * 2.0 ** min(failures - 1, 16))
    return ceiling * (0.5 + jitter / 2)


def jitter() -> float:
    """A random number in [0, 1)."""
    return random.random()  # noqa: S311 - spreads retries, protects nothing
