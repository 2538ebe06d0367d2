"""The sweep: look at everything, plan, act, report. One failed action does not stop the rest."""

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import assert_never

from chalicelib.config import Config
from chalicelib.ecs.launcher import Launcher
from chalicelib.metrics import Metrics
from chalicelib.sessions import lifecycle, reaping
from chalicelib.sessions.launch_queue import LaunchQueue
from chalicelib.sessions.launching import Launches
from chalicelib.sessions.model import Reason, Session, State
from chalicelib.sessions.records import Records
from chalicelib.sessions.service import Sessions
from chalicelib.sessions.table import SessionsTable
from chalicelib.sessions.tending import Tending

_log = logging.getLogger("usher.sessions")


class Sweep:
    """Compares records with tasks and repairs both."""

    def __init__(
        self,
        *,
        table: SessionsTable,
        records: Records,
        launcher: Launcher,
        launches: Launches,
        sessions: Sessions,
        tending: Tending,
        queue: LaunchQueue,
        config: Config,
        metrics: Metrics,
        probe: Callable[[str], bool],
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._records = records
        self._launcher = launcher
        self._launches = launches
        self._sessions = sessions
        self._tending = tending
        self._queue = queue
        self._config = config
        self._metrics = metrics
        self._probe = probe
        self._now = now

    def run(self) -> dict[str, int]:
        """Sweep once. Returns how many actions of each kind were taken, `failed` among them."""
        # Records first: a session recorded after this look is too young for its task to be missed,
        # and a task seen without a record among these is looked up again before it is stopped.
        sessions = list(self._table.live())
        tasks = {task.task_arn: task for task in self._launcher.running()}
        missing = [s.task_arn for s in sessions if s.task_arn and s.task_arn not in tasks]
        tasks |= self._launcher.describe(missing)
        plan = reaping.plan_reaping(sessions, tasks, self._config.apps.by_name, self._now())
        taken: Counter[str] = Counter()
        for action in plan:
            self._attempt(taken, type(action).__name__, partial(self._act, action))
        for app in self._config.apps.by_name.values():
            if app.pool.maximum:
                self._attempt(taken, "Tend", partial(self._tending.tend, app))
        self._attempt(taken, "Measure", partial(self._measure, sessions, taken.copy()))
        if taken:
            _log.info("sweep: %s", dict(taken))
        return dict(taken)

    def _attempt(self, taken: Counter[str], name: str, action: Callable[[], object]) -> None:
        try:
            action()
            taken[name] += 1
        except Exception:  # noqa: BLE001 - actions are independent, the next sweep tries again
            _log.exception("sweep: %s failed", name)
            taken["failed"] += 1

    def _measure(self, sessions: list[Session], taken: Counter[str]) -> None:
        self._metrics.gauge("queue_waiting", self._queue.waiting())
        for app in self._config.apps.by_name:
            states = Counter(session.state for session in sessions if session.app == app)
            for state in State:
                if state is not State.ENDED:
                    self._metrics.gauge("sessions", states[state], app=app, state=state.value)
        for name, amount in taken.items():
            self._metrics.count("sweep_actions", amount, action=name)

    def _act(self, action: reaping.Action) -> None:
        match action:
            case reaping.Observe(task) | reaping.StopOrphan(task):
                self._sessions.on_task_change(task)
            case reaping.Stop(session, reason, cause):
                self._sessions.stop(session.id, reason, cause, only=session.state)
            case reaping.AskWhetherConnected(session):
                self._ask(session)
            case reaping.Relaunch(session):
                self._launches.relaunch(session.id)
            case reaping.EndLost(session):
                self._end_lost(session)
            case _:
                assert_never(action)

    def _end_lost(self, seen: Session) -> None:
        now, words = self._now(), "ECS knows nothing of its task any more"

        def decide(before: Session) -> Session:
            if before.version != seen.version:  # it has a task by now, or has ended
                return before
            return lifecycle.end(before, Reason.LOST, words, now=now)

        self._records.change(seen.id, decide)

    def _ask(self, session: Session) -> None:
        app = self._config.apps.get(session.app)
        scheme = "https" if app is not None and app.serves_tls else "http"
        if self._probe(f"{scheme}://{session.ip}:{session.port}/healthz"):
            now = self._now()
            self._records.change(session.id, lambda s: lifecycle.found_connected(s, now))
            return
        cause = "no client came in time"
        self._sessions.stop(session.id, Reason.NEVER_CONNECTED, cause, only=State.RESERVED)
