"""The order in which gradings are marked: fair between learners. Pure.

The turns are those of `chalicelib.capacity.fairness`: one queue, whose owners are the learners.
"""

import math
from collections.abc import Iterable

from chalicelib.grading.model import Grading


def estimate_seconds(position: int, pace: float | None, judges: int) -> int | None:
    """Seconds until the verdict of a grading that `position` others precede.

    `pace`: average seconds of a grading; the estimate is None while that is unknown.
    """
    if pace is None:
        return None
    return math.ceil((position // max(1, judges) + 2) * pace)  # those that judges have come first


def in_fair_order(gradings: Iterable[Grading]) -> list[Grading]:
    """Waiting gradings in order, without duplicates."""
    waiting = {grading.id: grading for grading in gradings if grading.is_waiting}
    return sorted(waiting.values(), key=lambda grading: grading.order)
