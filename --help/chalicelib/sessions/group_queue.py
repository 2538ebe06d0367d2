"""Sessions that wait for capacity of their group, and how they are started."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from chalicelib.apps import App
from chalicelib.capacity.ledger import Ledger
from chalicelib.capacity.shares import Denied
from chalicelib.capacity.turns import Turns
from chalicelib.sessions.catalog import AppCatalog
from chalicelib.sessions.creation import container_of, turns_of
from chalicelib.sessions.launch_queue import LaunchQueue
from chalicelib.sessions.model import Session
from chalicelib.sessions.table import Lost, SessionsTable
from chalicelib.tasks.store import Store

GROUP_SECONDS = 3
"""How long until it is looked again whether a capacity group may have more: the first one's, and
more the further behind; an end sends a message besides."""
MOST_GROUP_SECONDS = 30
STARTS_AT_ONCE = 10
"""One message starts at most this many sessions that wait in a group."""
ADMIT_TRIES = 3


class Starter(Protocol):
    """Starts sessions that their group has admitted."""

    def may_start(self) -> bool:
        """Whether a start that can wait fits into the start rate of this second. Counts it if
        so.
        """

    def launch(self, session: Session) -> Session:
        """Start a session and return its record."""


class GroupQueue:
    """The sessions that wait in capacity groups. May be called concurrently."""

    def __init__(
        self,
        *,
        table: SessionsTable,
        records: Store[Session],
        ledger: Ledger,
        turns: Turns,
        queue: LaunchQueue,
        apps: AppCatalog,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._records = records
        self._ledger = ledger
        self._turns = turns
        self._queue = queue
        self._apps = apps
        self._now = now

    def start_in_turn(self, session: Session, tries: int, starter: Starter) -> Session:
        """Start what goes first in a capacity group, as many as it may have; the session then.

        One that has to go on waiting is tried again later.
        """
        session = self._in_known_group(session)
        if not session.waits_for_group:
            return session
        group = session.waits_in or ""
        self.start_waiting(group, starter)
        current = self._table.get(session.id) or session
        if not current.waits_for_group:
            return current
        position = self._table.count_waiting(group, until=current)
        delay = min(MOST_GROUP_SECONDS, GROUP_SECONDS + position // 10)

        def waits(before: Session) -> Session:
            if not before.waits_for_group:
                return before
            return replace(
                before,
                queue_position=max(1, position),
                retry_after_seconds=delay,
                tried_at=self._now(),
            )

        after = self._records.update(current, waits)
        if after.waits_for_group:
            self._queue.launch(session.id, tries + 1, delay)
        return after

    def _in_known_group(self, session: Session) -> Session:
        """The session. If its capacity group no longer exists, it waits in the default group from
        now on.
        """
        gone, owner = session.waits_in, session.owner
        group = self._ledger.groups.of(gone).name
        if group == gone or owner is None:
            return session
        turn = self._turns.next(turns_of(group), owner, self._now())

        def decide(before: Session) -> Session:
            if not before.waits_for_group or before.waits_in != gone:
                return before
            return replace(before, waits_in=group, turn=turn)

        return self._records.update(session, decide)

    def start_waiting(self, group: str, starter: Starter) -> None:
        """Start sessions that wait in a capacity group, in their order, while the group has
        capacity.
        """
        for session in self._table.waiting(group, STARTS_AT_ONCE):
            app = self._apps.of(session)
            if app is None or self._now() >= session.not_after:
                continue  # its own message or the sweep ends it
            if not starter.may_start() or not self._admit(session, app, starter):
                return

    def _admit(self, session: Session, app: App, starter: Starter) -> bool:
        """Count one that waits in its group and start it; False where the group may have no more.

        Its record is written with the count: losing it to another process is no reason to stop.
        """
        size = container_of(app)
        for _ in range(ADMIT_TRIES):
            take = self._ledger.plan_take(session.waits_in, size, has_waited=True)
            if isinstance(take, Denied):
                self._ledger.note_waiting(session.waits_in, size)
                return False
            counters = (*session.counters, *take.counters)
            admitted = replace(session, waits_in=None, detail=None, counters=counters)
            written = self._table.replace(session, admitted, *take.writes)
            if written is not None:
                self._ledger.taken(session.waits_in, size, has_waited=True)
                self._took_turn(session)
                starter.launch(written)
                return True
            self._ledger.forget()
            found = self._table.find(session.id)
            if not isinstance(found, Session) or found.version != session.version:
                return True
        return False

    def _took_turn(self, session: Session) -> None:
        if session.turn is not None and session.owner is not None:
            queue = turns_of(session.waits_in)
            self._turns.started(queue, session.turn)
            self._turns.none_waits(queue, session.owner, session.turn)

    def insert_for_pool(self, draft: Session, app: App) -> Session | None:
        """Record a container for the pool; None if its group has no capacity for it."""
        if self._ledger.someone_waits(app.group):
            return None
        size = container_of(app)
        take = self._ledger.plan_take(app.group, size)
        if isinstance(take, Denied):
            return None
        counted = replace(draft, counters=take.counters)
        if self._table.insert(counted, takes=take.writes) is Lost.CAPACITY:
            self._ledger.forget()
            return None
        self._ledger.taken(app.group, size)
        return counted
