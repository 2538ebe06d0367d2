"""The order between owners in a queue: start-time fair queueing. Pure.

Used for invocations, sessions and gradings. Each waiting item has a turn, assigned when its wait
begins; the lowest turn starts first, and of equal ones the oldest. The clock of a queue is the
highest turn that was started. An owner's turns are consecutive; the first one of an owner with no
turn after the clock is the clock's value. An owner's single item is therefore passed by at most one
item of each other owner that waited before, however many those have, and no scan of all waiting
items is needed.

Goyal, Vin, Cheng: Start-time Fair Queueing, SIGCOMM 1996.
"""

import hashlib

_SINCE = 10**13
"""Milliseconds since 1970 have thirteen digits until the year 2286."""


def next_turns(clock: int, last_turn: int | None, number: int) -> range:
    """The turns of an owner's `number` new items, whose newest turn is `last_turn`."""
    first = clock if last_turn is None else max(clock, last_turn + 1)
    return range(first, first + number)


def order_of(turn: int, since: float) -> int:
    """The sort key of a queue: turn, then the time in seconds since which it waits."""
    return turn * _SINCE + int(since * 1_000)


def clock_key(queue: str) -> str:
    """Key of the item with the highest started turn of a queue."""
    return f"clock#{queue}"


def owner_key(queue: str, owner: str) -> str:
    """Key of the item with an owner's newest turn in a queue."""
    return f"turns#{queue}#{hashlib.sha256(owner.encode()).hexdigest()[:24]}"
