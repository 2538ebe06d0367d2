"""Whose turn it is. Pure.

Invocations wait in the order of their priority, then of their age. Who finds no room keeps its
place at the head for some tries, so that a large one is not passed over by small ones for ever;
after that, others may go past it, so that one that never fits holds up nobody else.
"""

from collections.abc import Iterable, Iterator

from chalicelib.jobs.model import Invocation, Priority

ORDER = (Priority.CRITICAL, Priority.NORMAL, Priority.LOW)
MAX_REST_SECONDS = 35
"""The longest backoff, and what clocks differ by."""
HEAD_TRIES = 5
"""So often in a row the head may find no room before others may pass it: about half a minute."""


def slots_for(priority: Priority, capacity: int, kept_for_critical: int) -> int | None:
    """How many may run at once before one of `priority` has to wait; None = no limit of ours."""
    if not capacity:
        return None
    if priority is Priority.CRITICAL:
        return capacity
    return max(0, capacity - kept_for_critical)


def candidates(
    waiting: Iterable[Invocation], now: float, *, room_was_made: bool
) -> Iterator[Invocation]:
    """Those to launch now, in order; `waiting` comes in the order of their places.

    `room_was_made`: something ended, so the head need not wait for its next try.
    """
    for invocation in waiting:
        # A rest longer than there is any was written by a clock that was wrong.
        rests = invocation.next_try_at is not None and (
            now < invocation.next_try_at <= now + MAX_REST_SECONDS
        )
        if not rests or (room_was_made and invocation.refusals):
            yield invocation
        elif 0 < invocation.refusals < HEAD_TRIES:
            return  # there was no room for it a moment ago: those behind it wait as well


def stops_the_round(invocation: Invocation) -> bool:
    """Whether nobody behind this one, for which there was no room, is tried in this round."""
    return invocation.refusals <= HEAD_TRIES
