"""The random part of pauses before repetitions."""

import random


def jitter() -> float:
    """A random number in [0, 1)."""
    return random.random()  # noqa: S311 - spreads retries, protects nothing
