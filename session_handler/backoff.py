"""How long to wait before trying again: growing, bounded, and different for everyone."""

import random


def backoff_seconds(
    failures: int, jitter: float, *, first_seconds: float, longest_seconds: float
) -> float:
    """After so many failures in a row (1 or more): half to all of a bound that doubles.

    `jitter` is in [0, 1). Those that failed together shall not return together.
    """
    ceiling = min(longest_seconds, first_seconds * 2.0 ** min(failures - 1, 16))
    return ceiling * (0.5 + jitter / 2)


def jitter() -> float:
    """A random number in [0, 1)."""
    return random.random()  # noqa: S311 - spreads retries, protects nothing
