"""What is learnt from sessions that moved on: which revisions work, what the pool lacks."""

import logging
from collections.abc import Callable

from chalicelib.config import Config
from chalicelib.ecs.task_definitions import family_of
from chalicelib.metrics import Metrics
from chalicelib.sessions.catalog import AppCatalog
from chalicelib.sessions.launch_queue import LaunchQueue
from chalicelib.sessions.model import COMING, Reason, Session, State
from chalicelib.sessions.table import SessionsTable
from chalicelib.tasks.deployed import Revisions
from chalicelib.tasks.hosts_wanted import SESSIONS, HostsWanted
from chalicelib.tasks.revisions import fold_failure, fold_success

READY = frozenset({State.WARM, State.RESERVED})
_log = logging.getLogger("usher.sessions")


class Outcomes:
    """Keeps the breakers, has pools reconciled, counts."""

    def __init__(
        self,
        *,
        table: SessionsTable,
        queue: LaunchQueue,
        revisions: Revisions,
        hosts_wanted: HostsWanted,
        apps: AppCatalog,
        config: Config,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._queue = queue
        self._revisions = revisions
        self._hosts_wanted = hosts_wanted
        self._apps = apps
        self._config = config
        self._metrics = metrics
        self._now = now

    def learn(self, before: Session, after: Session) -> None:
        """Take in one move. It was written, so a crash here loses a count and no session."""
        told = {"session": after.id, "app": after.app, "state": after.state, "reason": after.reason}
        _log.info("%s to %s", before.state, after.state, extra=told)
        self._measure(before, after)
        if before.state in COMING and after.state in READY:
            self._succeeded(after)
        elif (
            after.state is State.ENDED
            and after.reason is Reason.FAILED_TO_START
            and not after.is_impossible
        ):
            self._failed(after)
        app = self._apps.of(before)
        on_hosts = app is None or app.launch_type == "EC2"
        if on_hosts and before.waits_for_host and not after.waits_for_host:
            self._hosts_wanted.lowered(SESSIONS)
        self._mind_the_pool(before, after)

    def _succeeded(self, session: Session) -> None:
        app = self._apps.of(session)
        if app is None or session.task_definition is None:
            return
        revision = session.task_definition
        newest = self._revisions.newest(family_of(app.family_name, self._config.stage))
        state = self._table.change_app(app.name, lambda s: fold_success(s, revision, newest))
        if revision not in state.failing:
            self._metrics.gauge("breaker_failures", 0, app=app.name)

    def _failed(self, session: Session) -> None:
        if session.task_definition is None:
            return
        revision, now = session.task_definition, self._now()
        words = session.detail or "no reason was given"
        state = self._table.change_app(session.app, lambda s: fold_failure(s, revision, words, now))
        in_a_row = state.failing[revision].count
        self._metrics.gauge("breaker_failures", in_a_row, app=session.app)
        _log.warning(
            "revision %s failed to start, %s in a row: %s",
            session.revision,
            in_a_row,
            words,
            extra={"session": session.id, "app": session.app},
        )

    def _mind_the_pool(self, before: Session, after: Session) -> None:
        app = self._apps.of(after)
        if app is None or not app.pool.maximum:
            return
        starts = before.state is State.QUEUED and after.state is State.STARTING
        found_nothing_warm = starts and after.owner is not None
        was_waiting = after.state is State.ENDED and before.owner is None
        if after.state is State.ACTIVE:
            self._queue.reconcile_pool(app.name, claimed=True)
        elif found_nothing_warm or was_waiting:
            self._queue.reconcile_pool(app.name, claimed=False)

    def _measure(self, before: Session, after: Session) -> None:
        app = after.app
        if after.state is State.RESERVED and before.state in COMING:
            self._metrics.observe(
                "time_to_address_seconds", self._now() - after.created_at, app=app
            )
        if after.state in READY and after.ready_at is not None and before.state in COMING:
            self._metrics.observe("start_seconds", after.ready_at - after.created_at, app=app)
        if after.state is State.ENDED:
            self._metrics.count("sessions_ended", app=app, reason=str(after.reason))
