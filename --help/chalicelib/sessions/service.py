"""Operations on sessions for clients, containers and ECS: load, decide, write conditionally,
act.
"""

import hmac
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from chalicelib.apps import App
from chalicelib.callers import Caller
from chalicelib.config import Config
from chalicelib.contract import Callback
from chalicelib.dynamodb.records import Unreadable
from chalicelib.ecs.addresses import Addresses
from chalicelib.ecs.launcher import Launcher
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.errors import (
    ConflictError,
    ForbiddenError,
    ImpossibleTaskError,
    LimitError,
    NoRouteError,
    NotFoundError,
    StartFailedError,
    UsherError,
)
from chalicelib.metrics import Metrics
from chalicelib.sessions import lifecycle
from chalicelib.sessions.arrivals import Arrivals
from chalicelib.sessions.catalog import AppCatalog
from chalicelib.sessions.claims import Claims, Inserted
from chalicelib.sessions.launching import Launches
from chalicelib.sessions.listings import SessionPage, SessionSearch
from chalicelib.sessions.model import COMING, HANDED_OUT, Reason, Session, State, session_id_of
from chalicelib.sessions.probes import ask_all, health_url
from chalicelib.sessions.requests import DispatchRequest
from chalicelib.sessions.table import SessionsTable
from chalicelib.tasks.probe import Found
from chalicelib.tasks.requests import authenticated
from chalicelib.tasks.stops import TaskStops
from chalicelib.tasks.store import Store
from chalicelib.tasks.unreadable import UnreadableRecords

FIRST_POLL_SECONDS = 0.1
POLL_GROWTH = 0.15
"""Interval between polls of a record, as a fraction of the time waited so far; about forty reads in
the longest wait."""

WAITS_SECONDS = 30
"""Longer than any request waits, so that at most twice the limit of requests wait at a time."""
WAITS_OF_AN_OWNER = 10
WAITS_IN_TOTAL = 100
KEPT_SECONDS = 3_600
ORPHANED = "no live session has any claim to this task"
MOST_ASKED = 16
"""At most this many sessions of an owner at the limit are queried for their clients, the oldest
first."""

_log = logging.getLogger("usher.sessions")


class Sessions:
    """The sessions of one deployment."""

    def __init__(
        self,
        *,
        table: SessionsTable,
        records: Store[Session],
        claims: Claims,
        launches: Launches,
        launcher: Launcher,
        stops: TaskStops,
        addresses: Addresses,
        apps: AppCatalog,
        config: Config,
        metrics: Metrics,
        arrivals: Arrivals,
        probe: Callable[[str], Found],
        unreadable: UnreadableRecords,
        now: Callable[[], float],
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        self._table = table
        self._records = records
        self._claims = claims
        self._launches = launches
        self._launcher = launcher
        self._stops = stops
        self._addresses = addresses
        self._apps = apps
        self._config = config
        self._metrics = metrics
        self._arrivals = arrivals
        self._probe = probe
        self._unreadable = unreadable
        self._now = now
        self._wait_for = wait

    def dispatch(self, request: DispatchRequest) -> Session:
        """Assign a session to this request: a warm one, a new one, or that of an earlier request.

        Waits up to `request.wait_seconds` for a container that has to start, and returns a session
        that is not ready by then as it is. Raises StartFailedError if the session ended instead,
        and the errors of `Claims.insert`.
        """
        started = self._now()
        try:
            entered = self._insert(request)
        except UsherError as refusal:
            self._metrics.count("refused", app=request.app.name, code=refusal.code)
            raise
        session = entered.session
        until, is_new = started + request.wait_seconds, not entered.is_repeated
        if session.state in COMING:
            if is_new or (request.wait_seconds and self.may_wait(session.owner or "")):
                session = self._wait(session, until, launches=is_new)
        else:
            self._metrics.observe("time_to_claim_seconds", self._now() - started, app=session.app)
        if session.is_impossible:
            raise ImpossibleTaskError(session.detail or "ECS has no task of this kind")
        if not session.is_live:
            cause = f"{session.reason}: {session.detail}"
            raise StartFailedError(f"the container did not start, {cause}", retry_after_seconds=1)
        kind = "warm" if session.pooled else "cold"
        self._metrics.count("dispatched", app=session.app, kind=kind)
        return session

    def may_wait(self, owner: str) -> bool:
        """Whether one more request may occupy a Lambda environment while it waits for a session or
        a container's answer.

        A request that created its session waits for its own launch and is bounded by the limits of
        sessions. Other waits are counted in periods of `WAITS_SECONDS`, for each owner and in
        total; counters of periods need no decrement when a function dies.
        """
        now = self._now()
        period, expire_at = int(now // WAITS_SECONDS), int(now) + KEPT_SECONDS
        count = self._table.items.count
        own = f"waits#{period}#{owner}"
        return count(own, WAITS_OF_AN_OWNER, expire_at) and count(
            f"waits#{period}", WAITS_IN_TOTAL, expire_at
        )

    def _insert(self, request: DispatchRequest) -> Inserted:
        """As `Claims.insert`, but a lost session does not block its owner's next request.

        If the owner is at the limit, a session whose client is gone is ended; a repeated request is
        not answered with a session whose container is gone. Both query containers, for a bounded
        time.
        """
        try:
            entered = self._claims.insert(request)
        except LimitError as refusal:
            if not self._free_place(refusal.counters, request.caller.owner):
                raise
            return self._claims.insert(request)
        if entered.is_repeated and self._is_gone(entered.session):
            cause = "nothing answers at its address"
            self._abandon(entered.session, Reason.LOST, cause)
            return self._claims.insert(request)
        return entered

    def _free_place(self, counters: Sequence[str], owner: str) -> bool:
        """End one session that these counters count and whose client is gone; False if there is
        none.
        """
        if not self._config.reaches_containers:
            return False
        active = [s for s in self._table.counted_by(counters) if s.state is State.ACTIVE]
        if not active or not self.may_wait(owner):
            return False
        urls = {
            session.id: health_url(session, self._app_of(session), pings_client=True)
            for session in active[:MOST_ASKED]
        }
        found = ask_all(self._probe, list(urls.values()))
        for session in active[:MOST_ASKED]:
            answer = found.get(urls[session.id], Found.SILENT)
            if answer is Found.ALONE or answer.is_gone:
                cause = "its client is gone, and its owner came back for another one"
                if self._abandon(session, Reason.DISCONNECTED, cause):
                    return True
        return False

    def _is_gone(self, session: Session) -> bool:
        """Whether the container of a session that was handed out is gone. A container without a
        client that does not answer counts as gone: the request is repeated because its client did
        not reach it.
        """
        if session.state not in HANDED_OUT or not self._config.reaches_containers:
            return False
        if not self.may_wait(session.owner or ""):
            return False
        found = self._probe(health_url(session, self._app_of(session)))
        return found.is_gone or (found is Found.SILENT and session.state is State.RESERVED)

    def _abandon(self, seen: Session, reason: Reason, cause: str) -> bool:
        """Stop a session if its record has not changed since it was read; returns whether it
        did.
        """
        now, is_own = self._now(), False

        def decide(before: Session) -> Session:
            nonlocal is_own
            is_own = before.state is seen.state
            return lifecycle.abandon(before, reason, cause, now) if is_own else before

        session = self._records.change(seen.id, decide)
        if is_own and session is not None:
            self._stops.stop(session.task_arn, cause, session.log_fields)
        return is_own

    def get(self, session_id: str, caller: Caller) -> Session:
        """The session with this id. Raises NotFoundError, also for sessions of other owners."""
        session = self._table.get(session_id)
        if session is None or not caller.may_see_session(session.owner):
            raise NotFoundError("no such session")
        return session

    def search(self, search: SessionSearch, caller: Caller) -> SessionPage:
        """One page of the sessions that have not ended, newest first: the caller's own, or all for
        an operator or viewer. Raises ForbiddenError.
        """
        if search.owner is not None and not caller.may_see(search.owner):
            raise ForbiddenError("owner: only operators and viewers may see what belongs to others")
        own = search if caller.sees_all else replace(search, owner=caller.owner)
        return self._table.newest(own)

    def locate(self, session_id: str, path: str) -> str:
        """`ip:port` of the container for a client with this id and secret path.

        Raises NoRouteError. The read is consistent: an ended session is not found.
        """
        session = self._table.get(session_id) if session_id else None
        if (
            session is None
            or session.state not in HANDED_OUT
            or not hmac.compare_digest(f"/{session.uuid}".encode(), path.encode())
        ):
            raise NoRouteError("no live session has this path")
        return f"{session.ip}:{session.port}"

    def stop(
        self, session_id: str, reason: Reason, cause: str, *, only: State | None = None
    ) -> Session:
        """Stop a session; no effect on one that is stopping or has ended. Raises NotFoundError.

        `only` stops it in that state alone: it may have changed since it was read.
        """
        now = self._now()

        def decide(before: Session) -> Session:
            if only is not None and before.state is not only:
                return before
            return lifecycle.fold_stop(before, reason, cause, now)

        session = self._records.change(session_id, decide)
        if session is None:
            raise NotFoundError("no such session")
        if session.state is State.STOPPING:
            self._stops.stop(session.task_arn, cause, session.log_fields)
        return session

    def stop_warm(self, seen: Session, cause: str) -> bool:
        """Stop a session that waits for an owner; False if its record has changed since it was
        read.
        """
        return self.stop(seen.id, Reason.DRAINED, cause, only=seen.state).state is State.STOPPING

    def handle_callback(self, session_id: str, key: str, callback: Callback, text: str) -> Session:
        """Handle a callback of a container. Raises NotFoundError, UnauthorizedError,
        ConflictError.
        """
        session = authenticated(self._table.get(session_id), key, "session")
        app, now = self._app_of(session), self._now()

        def decide(before: Session) -> Session:
            after = lifecycle.fold_callback(before, callback, app, now, text)
            if isinstance(after, lifecycle.Refused):
                raise ConflictError(f"{callback} is not accepted: {after.why}")
            return after

        return self._records.update(session, decide)

    def on_task_change(self, change: TaskChange) -> bool:
        """Handle a task change of ECS. A task that no session refers to is stopped: returns whether
        this one was.
        """
        session_id = session_id_of(change.started_by)
        if session_id is None:
            return False
        session = self._table.find(session_id)
        if isinstance(session, Unreadable):
            self._unreadable.skip_task_change(session)
            return False
        if session is None or not session.has_claim_to(change.task_arn):
            return self._stops.stop_orphan(change, ORPHANED, {"session": session_id})
        change, ip = self._located(session, change)
        app, now = self._app_of(session), self._now()
        after = self._records.change(
            session_id, lambda s: lifecycle.fold_task(s, change, ip, app, now), session
        )
        if after is None:
            return False
        if not after.has_claim_to(change.task_arn):
            return self._stops.stop_orphan(change, ORPHANED, after.log_fields)
        if after.state is State.QUEUED and after.attempt > session.attempt:
            self._launches.try_again(after)
        return False

    def on_host_leaving(self, container_instance_arn: str) -> int:
        """A host drains or is gone: stop the warm sessions on it. Sessions with clients continue.
        Returns the number of stopped sessions.
        """
        stopped = 0
        for app in self._apps.all().values():
            if not app.pool.maximum:
                continue
            found = self._table.members_now(self._table.apps.get(app.name))
            for session in found.sessions:
                if session.container_instance == container_instance_arn:
                    self.stop(session.id, Reason.DRAINED, "its host leaves", only=session.state)
                    stopped += 1
        return stopped

    def _wait(self, session: Session, until: float, *, launches: bool) -> Session:
        """Wait until a transition in this process or the next poll.

        Only the request that created the session launches it; later launches are made by the queue
        and the sweep.
        """
        with self._arrivals.expecting(session.id) as arrival:
            started = self._now()
            if launches:
                session = self._launches.launch(session)
            while session.state in COMING and (now := self._now()) < until:
                pause = max(FIRST_POLL_SECONDS, (now - started) * POLL_GROWTH)
                self._wait_for(arrival, min(pause, until - now))
                arrival.clear()
                session = self._table.get(session.id) or session
        return session

    def _located(self, session: Session, change: TaskChange) -> tuple[TaskChange, str | None]:
        """The change with its port, and the public IP; looked up if the record lacks them."""
        if not change.is_running or session.is_reachable:
            return change, None
        if change.host_port is None and change.network_interface_id is None:
            # ECS sets networkBindings a moment after RUNNING: read once, do not poll.
            change = self._launcher.describe([change.task_arn]).get(change.task_arn, change)
        return change, self._addresses.ip(change)

    def _app_of(self, session: Session) -> App:
        app = self._apps.of(session)
        if app is None:  # removed from the apps file while its last sessions live
            return App(name=session.app, image="")
        return app
