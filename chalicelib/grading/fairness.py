"""Whose grading is marked next: start-time fair queueing between learners. Pure.

Every grading has a turn, given when it is queued, and the lowest turn is marked first. The clock
stands at the highest turn that was handed to a judge. A learner's gradings have turns that follow
each other, and the first one of a learner with nothing behind the clock gets the turn at which the
clock stands: so whoever submits once is passed over by at most one grading of each other learner
who had submitted before, however many those have waiting. No look at all that waits is needed.

Goyal, Vin, Cheng: Start-time Fair Queueing, SIGCOMM 1996.
"""

import math
from collections.abc import Iterable

from chalicelib.grading.model import Grading


def next_turns(clock: int, last_turn: int | None, number: int) -> range:
    """The turns of `number` new gradings of a learner whose newest one has `last_turn`."""
    first = clock if last_turn is None else max(clock, last_turn + 1)
    return range(first, first + number)


def estimate_seconds(position: int, pace: float | None, judges: int) -> int | None:
    """In how many seconds a grading will have its verdict that so many stand before.

    `pace`: how long one takes a judge; None, and so the estimate, before that is known.
    """
    if pace is None:
        return None
    return math.ceil((position // max(1, judges) + 2) * pace)  # those with judges go first


def in_fair_order(gradings: Iterable[Grading]) -> list[Grading]:
    """Those that wait, each once, the next one first."""
    waiting = {grading.id: grading for grading in gradings if grading.is_waiting}
    return sorted(waiting.values(), key=lambda grading: grading.order)
