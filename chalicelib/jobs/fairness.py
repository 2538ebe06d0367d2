"""Whose invocation goes first within a priority: start-time fair queueing between owners. Pure.

Every invocation gets a turn, in milliseconds, when it begins to wait; the lowest turn is launched
first. An owner with nothing waiting gets the present instant, so that owners who wait for one thing
each are served in the order in which they came. Each further invocation of an owner whose newest
turn has not been reached is SPACING_MS behind that one. Virtual time runs as real time does, and
jumps to the turn of what is launched where that is later: `ahead` is the sum of these jumps, and
newcomers' turns are that much later. So whoever asks once is passed over by at most one invocation
of each other owner that had asked before, however many those have waiting.

Goyal, Vin, Cheng: Start-time Fair Queueing, SIGCOMM 1996. The bound holds while something is
launched every SPACING_MS.
"""

import hashlib

from chalicelib.jobs.model import Priority

SPACING_MS = 100_000_000
"""A little more than a day: longer than one invocation may run."""


def ahead_key(priority: Priority) -> str:
    """The item with the jumps of a priority's virtual time so far, in milliseconds."""
    return f"turns#{priority}"


def owner_key(owner: str, priority: Priority) -> str:
    """The item with the newest turn of an owner."""
    return f"turns#{priority}#{hashlib.sha256(owner.encode()).hexdigest()[:24]}"


def first_turn(ahead: int, now: float) -> int:
    """The turn of an owner with nothing waiting; virtual time has jumped by `ahead`."""
    return int(now * 1_000) + ahead


def ahead_after(turn: int, now: float) -> int:
    """How far virtual time has jumped at least when what has this turn is launched."""
    return turn - int(now * 1_000)
