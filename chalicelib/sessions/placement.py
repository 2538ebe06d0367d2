"""Which container a request gets. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.sessions.model import Session


@dataclass(frozen=True)
class Claim:
    """A warm one is there: try to make it this request's."""

    session: Session


@dataclass(frozen=True)
class Start:
    """A container of its own has to be started."""


def decide_placement(warm: Sequence[Session], fraction: float) -> Claim | Start:
    """Choose for one request; `fraction` (0 to 1) spreads simultaneous requests over the pool."""
    if warm:
        return Claim(warm[int(fraction * len(warm)) % len(warm)])
    return Start()
