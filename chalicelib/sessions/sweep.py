"""What the sweep does for sessions: compare each record with its task, act, tend the pools."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import assert_never

from chalicelib.config import Config
from chalicelib.dynamodb.records import Unreadable, only_readable
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.metrics import Metrics
from chalicelib.sessions import lifecycle, reaping
from chalicelib.sessions.catalog import AppCatalog
from chalicelib.sessions.launch_queue import LaunchQueue
from chalicelib.sessions.launching import Launches
from chalicelib.sessions.model import Reason, Session, State, session_id_of
from chalicelib.sessions.pool_reconciler import PoolReconciler
from chalicelib.sessions.probe import Found, health_url
from chalicelib.sessions.probes import ask_all
from chalicelib.sessions.service import Sessions
from chalicelib.sessions.table import SessionsTable
from chalicelib.tasks.hosts_wanted import SESSIONS, HostsWanted
from chalicelib.tasks.reconciler import Step
from chalicelib.tasks.store import Store
from chalicelib.tasks.unreadable import UnreadableRecords, without_theirs


class SessionsRoom:
    """The sessions, as the sweep sees them; see `chalicelib.tasks.reconciler.Room`."""

    def __init__(
        self,
        *,
        table: SessionsTable,
        records: Store[Session],
        launches: Launches,
        sessions: Sessions,
        pools: PoolReconciler,
        queue: LaunchQueue,
        hosts_wanted: HostsWanted,
        apps: AppCatalog,
        config: Config,
        metrics: Metrics,
        unreadable: UnreadableRecords,
        probe: Callable[[str], Found],
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._records = records
        self._launches = launches
        self._sessions = sessions
        self._pools = pools
        self._queue = queue
        self._hosts_wanted = hosts_wanted
        self._apps = apps
        self._config = config
        self._metrics = metrics
        self._unreadable = unreadable
        self._probe = probe
        self._now = now

    def look(self) -> "SessionsLook":
        """All live sessions."""
        return SessionsLook(self, list(self._table.live()))

    def steps(
        self,
        found: Sequence[Session | Unreadable],
        tasks: Mapping[str, TaskChange],
        taken: Counter[str],
    ) -> Iterator[Step]:
        """The count of what waits for hosts, what to do about these, the pools, the figures."""
        sessions, apps = only_readable(found), self._apps.all()
        unreadable = [record for record in found if isinstance(record, Unreadable)]
        if self._config.capacity_provider is not None:
            # Before the actions, each of which lowers the count where it ends such a wait.
            on_hosts = {name for name, app in apps.items() if app.launch_type == "EC2"}
            recorded = sum(s.waits_for_host and s.app in on_hosts for s in sessions)
            yield "CountWaiting", partial(self._hosts_wanted.correct, SESSIONS, recorded)
        if unreadable:
            yield from self._unreadable.marks(unreadable)
        plan = reaping.plan_reaping(
            sessions,
            without_theirs(tasks, unreadable, session_id_of),
            apps,
            self._now(),
            can_ask=self._config.reaches_containers,
        )
        to_ask = []
        for action in plan:
            if isinstance(action, reaping.AskWhetherConnected):
                to_ask.append(action.session)
            else:
                yield type(action).__name__, partial(self._act, action)
        answers = ask_all(self._probe, [self._health_url(session) for session in to_ask])
        for session in to_ask:
            answer = answers.get(self._health_url(session))
            name = reaping.AskWhetherConnected.__name__ if answer is not None else "NotAsked"
            yield name, partial(self._on_answer, session, answer)
        for app in apps.values():
            if app.pool.maximum:
                yield "Tend", partial(self._pools.reconcile, app)
        waiting = sum(
            task.waits_for_host and session_id_of(task.started_by) is not None
            for task in tasks.values()
        )
        yield "Measure", partial(self._measure, found, tuple(apps), waiting, taken.copy())

    def _measure(
        self,
        found: Sequence[Session | Unreadable],
        apps: Sequence[str],
        waiting: int,
        taken: Counter[str],
    ) -> None:
        sessions = only_readable(found)
        self._unreadable.report([record for record in found if isinstance(record, Unreadable)])
        self._metrics.gauge("waiting_for_hosts", waiting)
        self._metrics.gauge("queue_waiting", self._queue.waiting())
        for app in apps:
            states = Counter(session.state for session in sessions if session.app == app)
            for state in State:
                if state is not State.ENDED:
                    self._metrics.gauge("sessions", states[state], app=app, state=state.value)
        for name, amount in taken.items():
            self._metrics.count("sweep_actions", amount, action=name)

    def _act(self, action: reaping.Repair) -> None:
        match action:
            case reaping.Observe(task) | reaping.StopOrphan(task):
                self._sessions.on_task_change(task)
            case reaping.Stop(session, reason, cause):
                self._sessions.stop(session.id, reason, cause, only=session.state)
            case reaping.Expire(session):
                self._launches.expire(session)
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

    def _health_url(self, session: Session) -> str:
        return health_url(session, self._apps.of(session))

    def _on_answer(self, session: Session, answer: Found | None) -> None:
        """`answer` is what its container says; None where there was no time to ask."""
        if answer is None:
            return
        if answer is Found.CONNECTED:
            now = self._now()
            self._records.change(session.id, lambda s: lifecycle.found_connected(s, now))
            return
        cause = "no client came in time"
        self._sessions.stop(session.id, Reason.NEVER_CONNECTED, cause, only=State.RESERVED)


class SessionsLook:
    """What was seen of the sessions; see `chalicelib.tasks.reconciler.Look`."""

    def __init__(self, room: SessionsRoom, sessions: Sequence[Session | Unreadable]) -> None:
        self._room = room
        self._sessions = sessions

    @property
    def task_arns(self) -> list[str]:
        """Tasks of sessions."""
        return [session.task_arn for session in self._sessions if session.task_arn]

    def steps(self, tasks: Mapping[str, TaskChange], taken: Counter[str]) -> Iterator[Step]:
        """See `SessionsRoom.steps`."""
        return self._room.steps(self._sessions, tasks, taken)
