"""Who goes next of those that wait in one queue: start-time fair queueing between owners. Pure.

Used for invocations, sessions and gradings alike. Whatever waits has a turn, given when it begins
to wait; the lowest turn starts first, of equal ones the one that has waited longer. The clock of a
queue stands at the highest turn that was started. An owner's turns follow each other, and the first
one of an owner with nothing behind the clock gets the turn at which the clock stands. So whoever
asks once is passed over by at most one of each other owner that had asked before, however many
those have waiting, without a scan of all that waits.

Goyal, Vin, Cheng: Start-time Fair Queueing, SIGCOMM 1996.
"""

import hashlib

_SINCE = 10**13
"""Milliseconds since 1970 have thirteen digits until the year 2286."""


def next_turns(clock: int, last_turn: int | None, number: int) -> range:
    """The turns of `number` new ones of an owner whose newest one has `last_turn`."""
    first = clock if last_turn is None else max(clock, last_turn + 1)
    return range(first, first + number)


def order_of(turn: int, since: float) -> int:
    """The sort key of a queue: by turn, then by the instant since which it waits, in seconds."""
    return turn * _SINCE + int(since * 1_000)


def clock_key(queue: str) -> str:
    """The item with the highest turn of a queue that was started."""
    return f"clock#{queue}"


def owner_key(queue: str, owner: str) -> str:
    """The item with the newest turn of an owner in a queue."""
    return f"turns#{queue}#{hashlib.sha256(owner.encode()).hexdigest()[:24]}"
