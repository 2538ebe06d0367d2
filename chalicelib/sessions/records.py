"""Changing a record, and learning from the change. All state changes after the entry pass here."""

from collections.abc import Callable
from typing import Protocol

from chalicelib.sessions.arrivals import Arrivals
from chalicelib.sessions.model import Session
from chalicelib.sessions.table import SessionsTable


class Learner(Protocol):
    """Somebody who wants to know how sessions move on."""

    def learn(self, before: Session, after: Session) -> None:
        """A record moved from one state to another; called once for each move written."""


class Records:
    """The table of sessions, and those who learn from what is written to it."""

    def __init__(self, table: SessionsTable, learner: Learner, arrivals: Arrivals) -> None:
        self._table = table
        self._learner = learner
        self._arrivals = arrivals

    def change(
        self,
        session_id: str,
        decide: Callable[[Session], Session],
        seen: Session | None = None,
    ) -> Session | None:
        """Load, decide, write on condition (see `SessionsTable.change`); None without a record."""
        changed = self._table.change(session_id, decide, seen)
        if changed is None:
            return None
        before, after = changed
        if before.state is not after.state or before.waits_for_host is not after.waits_for_host:
            self._arrivals.announce(session_id)
            self._learner.learn(before, after)
        return after
