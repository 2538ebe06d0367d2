"""The sessions' part of the sweep: compares records with tasks, repairs, reconciles the pools."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, assert_never

from chalicelib.apps import App
from chalicelib.config import Config
from chalicelib.dynamodb.records import Unreadable
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.metrics import Metrics
from chalicelib.sessions import lifecycle, reaping
from chalicelib.sessions.catalog import AppCatalog
from chalicelib.sessions.launch_queue import LaunchQueue
from chalicelib.sessions.launching import Launches
from chalicelib.sessions.model import Reason, Session, State, session_id_of
from chalicelib.sessions.pool_reconciler import PoolReconciler
from chalicelib.sessions.probes import ask_all, health_url
from chalicelib.sessions.service import Sessions
from chalicelib.sessions.table import SessionsTable
from chalicelib.sessions.waits import bucket_of
from chalicelib.tasks.hosts_wanted import SESSIONS, HostsWanted
from chalicelib.tasks.kinds import Kind, Page, Step
from chalicelib.tasks.probe import Found
from chalicelib.tasks.repairs import Observe, StopOrphan, repair_of
from chalicelib.tasks.store import LIVE_BUCKETS, Store
from chalicelib.tasks.sweep_state import SweepState, Tally
from chalicelib.tasks.trend import START_SECONDS, STARTED
from chalicelib.tasks.unreadable import UnreadableRecords

PAGE = 200
"""A record takes about 2 KB in DynamoDB and ten times that in memory."""
OVERDUE_PAGE = 1_000
"""Number of items that DynamoDB evaluates for a page of overdue sessions; it stops at 1 MB."""
_OLD, _DUE = "old", "due"
_log = logging.getLogger("usher.sessions")


class SessionsKind(Kind[Session]):
    """The interface of sessions to the sweep."""

    name = "session"
    partitions = LIVE_BUCKETS
    page_size = PAGE
    counted_as = SESSIONS

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
        self._config = config
        self._metrics = metrics
        self._probe = probe
        self._now = now
        self._apps = apps
        self._by_name: Mapping[str, App] = {}
        """The apps when a page was read: asking for them takes longer than a record does."""
        self.unreadable = unreadable
        self.hosts_wanted = None if config.capacity_provider is None else hosts_wanted

    # Reads.

    def page(self, partition: int, after: str | None) -> Page[Session]:
        """A page of live sessions."""
        self._by_name = self._apps.all()
        return Page(*self._table.live(partition, after, self.page_size))

    def overdue_page(self, partition: int, after: str | None) -> Page[Session]:
        """A page of sessions that may be overdue: the oldest first, then the others."""
        self._by_name = self._apps.all()
        now, (part, _, start) = self._now(), (after or f"{_OLD} ").partition(" ")
        is_old = part == _OLD
        records, following = self._table.live(
            partition,
            start or None,
            OVERDUE_PAGE,
            only=reaping.SERVED if is_old else reaping.looks_overdue(now),
            created_until=reaping.too_old_since(self._by_name.values(), now) if is_old else None,
        )
        if following is not None:
            return Page(records, f"{part} {following}")
        return Page(records, f"{_DUE} " if is_old else None)

    def find(self, ids: Sequence[str]) -> Mapping[str, Session | Unreadable]:
        """The present records of sessions, by id."""
        return {record.id: record for record in self._table.get_all(ids)}

    def log_fields(self, record: Session) -> Mapping[str, Any]:
        """The fields of log records about it."""
        return record.log_fields

    def task_arn_of(self, record: Session) -> str | None:
        """The ARN of its task."""
        return record.task_arn

    def record_id_of(self, started_by: str | None) -> str | None:
        """The id of the session that a task belongs to."""
        return session_id_of(started_by)

    def waiting(self, record: Session) -> tuple[str, int, int] | None:
        """Only sessions on hosts are counted; Fargate tasks wait for no host."""
        app = self._by_name.get(record.app)
        if not record.waits_for_host or app is None or app.launch_type != "EC2":
            return None
        return record.id, record.attempt, record.version

    def may_wait(self, record: Session, attempt: int) -> bool:
        """Whether RunTask may have been called for it: it is QUEUED with this attempt."""
        return record.state is State.QUEUED and record.attempt == attempt

    # Decisions.

    def plan(self, record: Session, tasks: Mapping[str, TaskChange]) -> Iterator[reaping.Action]:
        """See `reaping.plan_reaping`."""
        can_ask = self._config.reaches_containers
        return reaping.plan_reaping([record], tasks, self._by_name, self._now(), can_ask=can_ask)

    def plan_task(self, record: Session | None, task: TaskChange) -> Iterator[reaping.Action]:
        """See `reaping.plan_task`."""
        return reaping.plan_task(record, task)

    def searched_by(self, record: Session, actions: Sequence[reaping.Action]) -> str | None:
        """The `startedBy` to search for before the session is launched again or ended: RunTask's
        answer may have been lost.

        ECS forgets client tokens after some time.
        """
        return record.started_by if actions and record.task_arn is None else None

    # Repairs.

    def steps(self, actions: Sequence[reaping.Action]) -> Iterator[Step]:
        """The repairs, then requests to containers, all of them in parallel."""
        to_ask = []
        for action in actions:
            if isinstance(action, reaping.Question):
                to_ask.append(action)
            else:
                yield type(action).__name__, self._step_of(action)
        answers = ask_all(self._probe, [self._health_url(asked.session) for asked in to_ask])
        for question in to_ask:
            answer = answers.get(self._health_url(question.session))
            name = type(question).__name__ if answer is not None else "NotAsked"
            yield name, partial(self._on_answer, question, answer)

    def closing_steps(self, finished: SweepState | None) -> Iterator[Step]:
        """Reconcile the pools, even if there was no time for other steps."""
        del finished
        for app in self._apps.all().values():
            if app.pool.maximum:
                yield "Reconcile", partial(self._pools.reconcile, app)
        yield "Measure", self._measure_queue

    def _measure_queue(self) -> None:
        self._metrics.gauge("queue_waiting", self._queue.waiting())

    def _step_of(self, action: reaping.Repair) -> Callable[[], object]:
        if isinstance(action, Observe | StopOrphan):
            return repair_of(action, self._sessions.on_task_change)
        return partial(self._act, action)

    def _act(self, action: reaping.RecordRepair) -> None:
        match action:
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
        now, detail = self._now(), "ECS knows nothing of its task any more"

        def decide(before: Session) -> Session:
            if before.version != seen.version:  # it has a task by now, or has ended
                return before
            return lifecycle.end(before, Reason.LOST, detail, now=now)

        self._records.change(seen.id, decide)

    def _health_url(self, session: Session) -> str:
        return health_url(session, self._apps.of(session))

    def _on_answer(self, question: reaping.Question, answer: Found | None) -> None:
        """`answer`: the container's answer; None if it was not reached in time."""
        session = question.session
        if answer is None:
            return
        if isinstance(question, reaping.AskWhetherReady):
            self._on_readiness(question, answer)
            return
        if answer is Found.CONNECTED:
            now = self._now()
            self._records.change(session.id, lambda s: lifecycle.found_connected(s, now))
            return
        cause = "no client came in time"
        self._sessions.stop(session.id, Reason.NEVER_CONNECTED, cause, only=State.RESERVED)

    def _on_readiness(self, question: reaping.AskWhetherReady, answer: Found) -> None:
        session, now = question.session, self._now()
        app = self._apps.of(session)
        if answer in {Found.ALONE, Found.CONNECTED} and app is not None:
            _log.warning("its container was not heard to be ready", extra=session.log_fields)
            self._records.change(session.id, lambda s: lifecycle.found_ready(s, app, now))
        elif question.is_late:
            self._sessions.stop(
                session.id, Reason.FAILED_TO_START, reaping.NOT_READY, only=State.STARTING
            )

    # Counts.

    def tally(self, records: Sequence[Session], tally: Tally) -> None:
        """Count sessions by app and state, and the waits of the newest for their addresses."""
        tally.counts.update(_figure(session.app, session.state) for session in records)
        now = self._now()
        tally.counts.update(filter(None, (bucket_of(session, now) for session in records)))

    def tally_task(self, task: TaskChange, tally: Tally) -> None:
        """Count tasks that wait for hosts, and recently started ones."""
        tally.counts["waiting_for_hosts"] += task.waits_for_host
        tally.counts[STARTED] += task.is_younger_than(START_SECONDS, self._now())

    def report(self, state: SweepState) -> None:
        """Emit the metrics of a complete pass."""
        self._metrics.gauge("waiting_for_hosts", state.counts.get("waiting_for_hosts", 0))
        for app in self._apps.all():
            for kind in State:
                if kind is not State.ENDED:
                    amount = state.counts.get(_figure(app, kind), 0)
                    self._metrics.gauge("sessions", amount, app=app, state=kind.value)


def _figure(app: str, state: State) -> str:
    return f"session/{app}/{state.value}"
