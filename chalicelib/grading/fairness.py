"""Whose grading is marked next, and when: in turns that are fair between learners. Pure.

The turns are those of `chalicelib.capacity.fairness`: of one queue, its owners being the learners.
"""

import math
from collections.abc import Iterable

from chalicelib.grading.model import Grading


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
