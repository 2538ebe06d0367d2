"""Chooses between a warm session and a new one. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.sessions.model import Session


@dataclass(frozen=True)
class Claim:
    """Try to claim this warm session."""

    session: Session


@dataclass(frozen=True)
class Start:
    """Start a new container."""


def decide_placement(warm: Sequence[Session], fraction: float) -> Claim | Start:
    """Choose for one request; `fraction` (0 to 1) spreads simultaneous requests over the pool."""
    if warm:
        return Claim(warm[int(fraction * len(warm)) % len(warm)])
    return Start()
