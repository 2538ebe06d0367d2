"""Which container a request gets. Pure."""

from dataclasses import dataclass

from chalicelib.sessions.model import Session


@dataclass(frozen=True)
class Reuse:
    """The same request was answered before and its session lives: the same answer again."""

    session: Session


@dataclass(frozen=True)
class Start:
    """A container of its own has to be started."""


def decide_placement(existing: Session | None) -> Reuse | Start:
    """Choose for one request; `existing` is the session an equal Idempotency-Key got before."""
    if existing is not None and existing.is_live:
        return Reuse(existing)
    return Start()
