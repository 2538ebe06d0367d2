"""Effects of transitions of sessions: breakers, messages to the pool reconciler, metrics."""

import logging
from collections.abc import Callable

from chalicelib.capacity.counting import group_counters
from chalicelib.capacity.ledger import Ledger
from chalicelib.capacity.turns import Turns
from chalicelib.config import Config
from chalicelib.ecs.task_definitions import family_of
from chalicelib.metrics import Metrics
from chalicelib.sessions.arrivals import Arrivals
from chalicelib.sessions.catalog import AppCatalog
from chalicelib.sessions.creation import turns_of
from chalicelib.sessions.launch_queue import LaunchQueue
from chalicelib.sessions.model import COMING, Reason, Session, State
from chalicelib.sessions.pool import AppState
from chalicelib.tasks.breaker import Breaker
from chalicelib.tasks.hosts_wanted import SESSIONS, HostsWanted

READY = frozenset({State.WARM, State.RESERVED})
_log = logging.getLogger("usher.sessions")


class SessionObserver:
    """Wakes requests that wait in this process, updates breakers, requests pool reconciliation,
    counts metrics.
    """

    def __init__(
        self,
        *,
        breaker: Breaker[AppState],
        queue: LaunchQueue,
        arrivals: Arrivals,
        hosts_wanted: HostsWanted,
        ledger: Ledger,
        turns: Turns,
        apps: AppCatalog,
        config: Config,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._breaker = breaker
        self._queue = queue
        self._arrivals = arrivals
        self._hosts_wanted = hosts_wanted
        self._ledger = ledger
        self._turns = turns
        self._apps = apps
        self._config = config
        self._metrics = metrics
        self._now = now

    def on_transition(self, before: Session, after: Session) -> None:
        """See `chalicelib.tasks.store.Observer`. Changes within a state have no effect."""
        waited = before.waits_for_host and not after.waits_for_host
        if before.state is after.state and before.waits_for_host is after.waits_for_host:
            return
        self._arrivals.announce(after.id)
        fields = after.log_fields | {"state": after.state, "reason": after.reason}
        _log.info("%s to %s", before.state, after.state, extra=fields)
        self._measure(before, after)
        failures = self._failures_in_a_row(before, after)
        if failures is not None:
            self._metrics.gauge("breaker_failures", failures, app=after.app)
        app = self._apps.of(before)
        on_hosts = app is None or app.launch_type == "EC2"
        if on_hosts and waited:
            self._hosts_wanted.remove(SESSIONS, before.id, before.attempt)
        self._reconcile_pool(before, after)
        if after.state is State.ENDED:
            self._on_group_capacity(before)

    def _on_group_capacity(self, ended: Session) -> None:
        """Have sessions started that wait for capacity in this group or in one that borrows from
        it.
        """
        if ended.waits_in is not None and ended.owner is not None:
            self._turns.give_back(turns_of(ended.waits_in), ended.owner)
        elif group_counters(ended.counters):
            for name, standing in self._ledger.standings().items():
                if standing.waits is not None:
                    self._queue.start_waiting(name)

    def _failures_in_a_row(self, before: Session, after: Session) -> int | None:
        """Update the breaker of the session's revision with the result of a start; returns None if
        the transition has no result.
        """
        revision, fields = after.task_definition, after.log_fields
        if revision is None:
            return None
        if before.state in COMING and after.state in READY:
            app = self._apps.of(after)
            if app is not None:
                family = family_of(app.family_name, self._config.stage)
                return self._breaker.succeeded(app.name, family, revision, fields)
        failed = after.state is State.ENDED and after.reason is Reason.FAILED_TO_START
        if failed and not after.is_impossible:
            reason = after.detail or "no reason was given"
            return self._breaker.failed(after.app, revision, reason, fields)
        return None

    def _reconcile_pool(self, before: Session, after: Session) -> None:
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
