"""Sessions as clients, containers and ECS see them: load, decide, write on condition, act."""

import hmac
import logging
from typing import Protocol

from chalicelib.apps import App
from chalicelib.config import Config
from chalicelib.contract import Callback
from chalicelib.ecs.addresses import Addresses
from chalicelib.ecs.launcher import Launcher
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.errors import (
    ConflictError,
    NotFoundError,
    StartFailedError,
    UnauthorizedError,
    UnavailableError,
)
from chalicelib.sessions import lifecycle
from chalicelib.sessions.launching import Launches
from chalicelib.sessions.model import COMING, Reason, Session, State, session_id_of
from chalicelib.sessions.placement import Reuse, decide_placement
from chalicelib.sessions.requests import DispatchRequest
from chalicelib.sessions.table import SessionsTable, request_key

FIRST_POLL_SECONDS = 0.02
POLL_GROWTH = 1.1
"""Waiting polls the record at instants a tenth apart: at most a tenth of the wait too late,
and some eighty cheap reads in the longest wait there is."""

_log = logging.getLogger("usher.sessions")


class Clock(Protocol):
    """Time, so that tests can pass their own."""

    def time(self) -> float:
        """Seconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""


class Ids(Protocol):
    """Randomness, so that tests can pass their own."""

    def uuid(self) -> str:
        """A random UUID, version 4."""

    def key(self) -> str:
        """A secret that nobody guesses."""


class Sessions:
    """The sessions of one deployment."""

    def __init__(
        self,
        *,
        table: SessionsTable,
        launches: Launches,
        launcher: Launcher,
        addresses: Addresses,
        config: Config,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._table = table
        self._launches = launches
        self._launcher = launcher
        self._addresses = addresses
        self._config = config
        self._clock = clock
        self._ids = ids

    def dispatch(self, request: DispatchRequest) -> Session:
        """Give this request a session, the one it had before if it is a repetition.

        Waits up to `request.wait_seconds` for the container; what is not ready by then is
        returned as it is. Raises StartFailedError when the container ended instead.
        """
        until = self._clock.time() + request.wait_seconds
        session = self._place(request)
        session = self._wait(session, until)
        if not session.is_live:
            words = f"{session.reason}: {session.detail}"
            raise StartFailedError(f"the container did not start, {words}", retry_after_seconds=1)
        return session

    def get(self, session_id: str) -> Session:
        """The session with this id. Raises NotFoundError."""
        session = self._table.get(session_id)
        if session is None:
            raise NotFoundError("no such session")
        return session

    def stop(
        self, session_id: str, reason: Reason, cause: str, *, only: State | None = None
    ) -> Session:
        """Stop a session; harmless for one that is stopping or has ended. Raises NotFoundError.

        `only` stops it in that state alone: what was seen may be over by now.
        """
        now = self._clock.time()

        def decide(before: Session) -> Session:
            if only is not None and before.state is not only:
                return before
            return lifecycle.fold_stop(before, reason, cause, now)

        session = self._table.change(session_id, decide)
        if session is None:
            raise NotFoundError("no such session")
        if session.state is State.STOPPING and session.task_arn:
            self._launcher.stop(session.task_arn, cause)
        return session

    def hear(self, session_id: str, key: str, callback: Callback, words: str) -> Session:
        """A container calls. Raises NotFoundError, UnauthorizedError, ConflictError."""
        session = self.get(session_id)
        if not hmac.compare_digest(session.key.encode(), key.encode()):
            raise UnauthorizedError("this key is not the session's")
        app, now = self._app_of(session), self._clock.time()

        def decide(before: Session) -> Session:
            after = lifecycle.fold_callback(before, callback, app, now, words)
            if isinstance(after, lifecycle.Refused):
                raise ConflictError(f"{callback} is not accepted: {after.why}")
            return after

        return self._table.change(session_id, decide) or session

    def on_task_change(self, change: TaskChange) -> None:
        """ECS says something of a task. A task that no live session has any claim to is stopped."""
        session_id = session_id_of(change.started_by)
        if session_id is None:
            return
        session = self._table.get(session_id)
        if session is None or not session.has_claim_to(change.task_arn):
            self.stop_orphan(change)
            return
        change, ip = self._located(session, change)
        app, now = self._app_of(session), self._clock.time()
        after = self._table.change(
            session_id, lambda s: lifecycle.fold_task(s, change, ip, app, now)
        )
        if after is not None and not after.has_claim_to(change.task_arn):
            self.stop_orphan(change)

    def stop_orphan(self, change: TaskChange) -> bool:
        """Stop a task that is no session's; False when it is on its way out already."""
        if change.desired_status == "STOPPED" or change.is_stopped:
            return False
        _log.warning("task %s is no live session's, stopping it", change.task_arn)
        self._launcher.stop(change.task_arn, "no live session has any claim to this task")
        return True

    def _place(self, request: DispatchRequest) -> Session:
        if request.idempotency_key is None:
            session = self._new(request)
            self._table.create(session)
            return self._launches.launch(session)
        key = request_key(request.owner, request.idempotency_key)
        for _ in range(2):  # a lost race leaves the winner's session to be found
            answered = self._table.answered(key)
            existing = self._table.get(answered) if answered else None
            match decide_placement(existing):
                case Reuse(session):
                    if session.app != request.app.name:
                        raise ConflictError("this Idempotency-Key was used for another app")
                    return session
            session = self._new(request)
            if self._table.create_for_request(session, key, replaces=answered):
                return self._launches.launch(session)
        raise UnavailableError("the same request is being answered", retry_after_seconds=1)

    def _new(self, request: DispatchRequest) -> Session:
        now, session_id = self._clock.time(), self._ids.uuid()
        return Session(
            id=session_id,
            uuid=self._ids.uuid(),
            key=self._ids.key(),
            app=request.app.name,
            owner=request.owner,
            callback_url=f"{request.callback_base_url}/sessions/{session_id}/events",
            created_at=now,
            not_after=now + request.app.queue_seconds,
            task_definition=self._launches.newest_revision(request.app),
        )

    def _wait(self, session: Session, until: float) -> Session:
        started, pause = self._clock.time(), FIRST_POLL_SECONDS
        while session.state in COMING:
            now = self._clock.time()
            if now >= until:
                break
            self._clock.sleep(min(pause, until - now))
            pause = max(FIRST_POLL_SECONDS / 2, (self._clock.time() - started) * (POLL_GROWTH - 1))
            session = self.get(session.id)
        return session

    def _located(self, session: Session, change: TaskChange) -> tuple[TaskChange, str | None]:
        """The change with its port, and the public IP, where the record lacks them."""
        if change.last_status != "RUNNING" or (session.ip and session.port):
            return change, None
        if change.host_port is None and change.network_interface_id is None:
            # ECS fills networkBindings a moment after RUNNING: one look, no polling
            change = self._launcher.describe([change.task_arn]).get(change.task_arn, change)
        return change, self._addresses.public_ip(change)

    def _app_of(self, session: Session) -> App:
        app = self._config.apps.get(session.app)
        if app is None:  # taken out of the apps file while its last sessions live
            return App(name=session.app, image="")
        return app
