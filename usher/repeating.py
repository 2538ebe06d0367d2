"""When a request is repeated, and after how long. Pure."""

from enum import Enum

REPEATABLE_CLIENT_ERRORS = frozenset({408, 425, 429})
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


class Verdict(Enum):
    """What an answer means for what was asked or told."""

    ACCEPTED = "accepted"
    NEVER = "never"
    REPEAT = "repeat"


def judge(status: int) -> Verdict:
    """Only a client error that repeating cannot change is final."""
    if 200 <= status < 300:
        return Verdict.ACCEPTED
    if 400 <= status < 500 and status not in REPEATABLE_CLIENT_ERRORS:
        return Verdict.NEVER
    return Verdict.REPEAT


def pause_seconds(failures: int, jitter: float) -> float:
    """How long to wait after so many failures in a row (1 or more); `jitter` is in [0, 1).

    Half to all of a bound that doubles: those that failed together do not return together.
    """
    bound = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16))
    return bound * (0.5 + jitter / 2)
