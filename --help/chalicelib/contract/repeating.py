"""Whether a container repeats a request, and after which pause. Pure."""

from enum import Enum

REPEATABLE_CLIENT_ERRORS = frozenset({408, 425, 429})


class Verdict(Enum):
    """The meaning of an answer for its request."""

    ACCEPTED = "accepted"
    NEVER = "never"
    REPEAT = "repeat"


def judge(status: int) -> Verdict:
    """Classify an answer by its status: a repetition does not change other client errors."""
    if 200 <= status < 300:
        return Verdict.ACCEPTED
    if 400 <= status < 500 and status not in REPEATABLE_CLIENT_ERRORS:
        return Verdict.NEVER
    return Verdict.REPEAT


def backoff_seconds(
    failures: int, jitter: float, *, first_seconds: float, longest_seconds: float
) -> float:
    """Seconds to wait after `failures` in a row (1 or more): between half and all of a bound that
    doubles.

    `jitter` is in [0, 1), so that clients which failed together do not return together.
    """
    bound = min(longest_seconds, first_seconds * 2.0 ** min(failures - 1, 16))
    return bound * (0.5 + jitter / 2)
