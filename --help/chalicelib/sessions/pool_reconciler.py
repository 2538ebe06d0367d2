"""Brings pools to their target sizes, outside of client requests, in one process at a time for each
app.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from chalicelib.apps import App
from chalicelib.config import Config
from chalicelib.dynamodb.records import Unreadable
from chalicelib.ecs.task_definitions import family_of
from chalicelib.environment import Ids, RunEach
from chalicelib.errors import ConfigurationError
from chalicelib.metrics import Metrics
from chalicelib.sessions.catalog import AppCatalog
from chalicelib.sessions.creation import new_session
from chalicelib.sessions.items import pooled_at
from chalicelib.sessions.launch_queue import LaunchQueue, ReconcilePool
from chalicelib.sessions.launching import Launches
from chalicelib.sessions.model import Reason, Session, State
from chalicelib.sessions.pool import AppState, PoolPlan, plan_pool
from chalicelib.sessions.service import Sessions
from chalicelib.sessions.table import SessionsTable
from chalicelib.tasks.deployed import Revisions
from chalicelib.tasks.lease import Busy, Lease
from chalicelib.tasks.revisions import Open, choose_revision

LEASE_SECONDS = 30
"""A pool is not reconciled for this long if its reconciler's process dies."""
PAUSE_SECONDS = 1
"""Pause after each run: one run serves all claims of a second."""
STARTS_AT_ONCE = 20

_log = logging.getLogger("usher.sessions")


@dataclass(frozen=True)
class Reconciled:
    """The result of one run for a pool."""

    started: int
    drained: int


class PoolReconciler:
    """Fills and drains pools."""

    def __init__(
        self,
        *,
        table: SessionsTable,
        launches: Launches,
        sessions: Sessions,
        revisions: Revisions,
        queue: LaunchQueue,
        apps: AppCatalog,
        config: Config,
        metrics: Metrics,
        ids: Ids,
        starters: int,
        run_each: RunEach,
        now: Callable[[], float],
    ) -> None:
        """`starters`: number of concurrent starts."""
        self._table = table
        self._launches = launches
        self._sessions = sessions
        self._revisions = revisions
        self._queue = queue
        self._apps = apps
        self._config = config
        self._metrics = metrics
        self._ids = ids
        self._starters = starters
        self._run_each = run_each
        self._now = now

    def on_message(self, message: ReconcilePool) -> None:
        """Count a claim, if the message reports one, and reconcile the pool."""
        app = self._apps.get(message.app)
        if app is None or not app.pool.maximum:
            return
        now = self._now()
        if message.claimed:
            self._table.items.count(_claims_key(app.name, now), None, int(now) + 3_600)
        self.reconcile(app, again=message.again)

    def reconcile(self, app: App, *, again: bool = False) -> Reconciled | None:
        """Bring the pool of `app` to its target size; returns None when another process does.

        The first call that finds the lease held sends a message for a rerun; so does a call with
        `again`, which is such a rerun. A claim during a run is therefore always considered.
        """
        lease = Lease(self._table.items, f"pool#{app.name}", LEASE_SECONDS, self._now)
        held = lease.acquire()
        if isinstance(held, Busy):
            if held.is_first or again:
                self._queue.reconcile_pool(app.name, again=True, delay_seconds=PAUSE_SECONDS)
            return None
        try:
            return self._reconcile(app, self._table.apps.get(app.name))
        finally:
            lease.release(held, pause_seconds=PAUSE_SECONDS)

    def _reconcile(self, app: App, state: AppState) -> Reconciled:
        now = self._now()
        found = self._table.members_now(state)
        members = found.sessions
        unreadable = sum(_may_serve(record, app, now) for record in found.unreadable)
        newest = self._revisions.newest(family_of(app.family_name, self._config.stage))
        chosen = choose_revision(state, newest, now)
        plan = plan_pool(
            members,
            app.pool,
            state,
            newest=newest,
            starts_on=newest if isinstance(chosen, Open) else chosen,
            claims_per_second=self._claims_per_second(app, now),
            now=now,
            unreadable=unreadable,
        )
        for session in plan.drain:
            self._drain(session)
        drafts = [] if isinstance(chosen, Open) else self._drafts(app, plan, chosen)
        self._note_unseen(state, (*found.unseen, *(draft.id for draft in drafts)))
        started = self._start(app, plan, drafts)
        warm = sum(1 for session in members if session.state is State.WARM)
        self._metrics.gauge("pool_warm", warm, app=app.name)
        known = len(members) + unreadable + started
        self._metrics.gauge("pool_members", known, app=app.name)
        if started or plan.drain:
            fields = {"app": app.name}
            _log.info("pool: %d started, %d drained", started, len(plan.drain), extra=fields)
        return Reconciled(started, len(plan.drain))

    def _drafts(self, app: App, plan: PoolPlan, revision: str) -> list[Session]:
        """The sessions to start now, within the start rate. Writes nothing."""
        if not plan.start:
            return []
        base_url = self._config.callback_base_url
        if base_url is None:
            raise ConfigurationError("a pool needs CALLBACK_BASE_URL: no request tells it")
        wanted = min(plan.start, STARTS_AT_ONCE)
        allowed = sum(1 for _ in range(wanted) if self._launches.may_start())
        return [
            new_session(
                self._ids,
                app_name=app.name,
                owner=None,
                callback_base_url=base_url,
                task_definition=revision,
                now=self._now(),
                queue_seconds=app.queue_seconds,
            )
            for _ in range(allowed)
        ]

    def _note_unseen(self, state: AppState, unseen: tuple[str, ...]) -> None:
        """Store the ids before the starts: the next run counts them even if the index does not show
        them yet.
        """
        if unseen != state.unseen:
            self._table.apps.change(state.name, lambda before: replace(before, unseen=unseen))

    def _start(self, app: App, plan: PoolPlan, drafts: list[Session]) -> int:
        """Start all of them; returns the number of those that live."""
        start = partial(self._launches.start_for_pool, app=app)
        sessions = self._run_each(start, drafts, self._starters)
        live = sum(1 for session in sessions if session is not None and session.is_live)
        if len(drafts) < plan.start and live == len(drafts):
            self._queue.reconcile_pool(app.name, delay_seconds=PAUSE_SECONDS)
        return live

    def _drain(self, session: Session) -> None:
        cause = "too old, too many, or of a revision that no longer serves"
        self._sessions.stop(session.id, Reason.DRAINED, cause, only=session.state)

    def _claims_per_second(self, app: App, now: float) -> float:
        this_minute = self._table.items.counted(_claims_key(app.name, now))
        last_minute = self._table.items.counted(_claims_key(app.name, now - 60))
        return (this_minute + last_minute) / (60 + now % 60)


def _may_serve(record: Unreadable, app: App, now: float) -> bool:
    """Whether its container may still wait: a container ends when it is too old."""
    created_at = pooled_at(record)
    return created_at is None or now - created_at <= app.pool.max_age_seconds


def _claims_key(app: str, at: float) -> str:
    return f"claims#{app}#{int(at // 60)}"
