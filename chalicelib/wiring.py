"""The services of this process, built once and only when first needed.

The composition root: it knows every room, and no room knows it. Rooms are imported when they are
built, so that importing app.py stays cheap for a cold start.
"""

import logging
import random
import secrets
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chalicelib import logs
from chalicelib.clients import Clients, clients_for
from chalicelib.config import Config, load_config
from chalicelib.contract.jobs import JUDGE_JOB
from chalicelib.errors import UnavailableError, UsherError
from chalicelib.metrics import EmbeddedMetrics, Metrics, ProcessMetrics
from chalicelib.sessions.probe import Found, probe

if TYPE_CHECKING:
    from chalicelib.audit.table import Audit
    from chalicelib.ecs.launcher import Launcher
    from chalicelib.ecs.task_changes import TaskChange
    from chalicelib.grading.wiring import GradingServices
    from chalicelib.jobs.model import Invocation
    from chalicelib.jobs.wiring import Jobs
    from chalicelib.schedules.service import Schedules
    from chalicelib.schedules.sweep import SchedulesKind
    from chalicelib.sessions.catalog import AppCatalog
    from chalicelib.sessions.creation import Chance
    from chalicelib.sessions.launch_queue import LaunchQueue
    from chalicelib.sessions.launching import Launches
    from chalicelib.sessions.model import Session
    from chalicelib.sessions.pool_reconciler import PoolReconciler
    from chalicelib.sessions.registry import AppRegistry
    from chalicelib.sessions.service import Sessions
    from chalicelib.sessions.sweep import SessionsKind
    from chalicelib.sessions.table import SessionsTable
    from chalicelib.tasks.deployed import Revisions
    from chalicelib.tasks.hosts_wanted import HostsWanted
    from chalicelib.tasks.kinds import Kind
    from chalicelib.tasks.queues import Queues
    from chalicelib.tasks.reconciler import Sweep
    from chalicelib.tasks.start_rate import StartRate
    from chalicelib.tasks.store import Store
    from chalicelib.tasks.sweep_state import Finished, SweepStates
    from chalicelib.tasks.unreadable import UnreadableRecords


class SystemIds:
    """The machine's randomness."""

    def uuid(self) -> str:
        """A random UUID, version 4."""
        return str(uuid.uuid4())

    def key(self) -> str:
        """256 random bits."""
        return secrets.token_urlsafe(32)

    def part(self) -> float:
        """A number from 0 up to 1."""
        return random.random()  # noqa: S311 - spreads load, guards nothing


def in_thread(call: Callable[[], None]) -> Callable[[], None]:
    """Start `call` in a thread of its own; returns what waits for its end."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread.join


@dataclass(frozen=True)
class Environment:
    """What is no AWS: the machine's time and randomness, the look at a container's health."""

    now: Callable[[], float] = time.time
    """Seconds since 1970."""
    sleep: Callable[[float], None] = time.sleep
    probe: Callable[[str], Found] = probe
    """Asks the container at a URL; see `chalicelib.sessions.probe`."""
    ids: "Chance" = field(default_factory=SystemIds)
    starters: int = 8
    """How many containers of a pool are started at a time."""
    wait: Callable[[threading.Event, float], object] = threading.Event.wait
    """Waits so many seconds for an event at most."""
    beside: Callable[[Callable[[], None]], Callable[[], None]] = in_thread
    """Starts a call at the same time; returns what waits for its end."""


@dataclass(frozen=True)
class Services:
    """What routes call."""

    config: Config
    clients: Clients
    environment: Environment
    table: "SessionsTable"
    launches: "Launches"
    sessions: "Sessions"
    records: "Store[Session]"
    queue: "LaunchQueue"
    launcher: "Launcher"
    revisions: "Revisions"
    apps: "AppCatalog"
    rate: "StartRate"
    hosts_wanted: "HostsWanted"
    unreadable: "UnreadableRecords"
    metrics: Metrics

    @cached_property
    def pools(self) -> "PoolReconciler":
        """What keeps the pools at their sizes; no request for a session needs it."""
        from chalicelib.sessions.pool_reconciler import PoolReconciler

        return PoolReconciler(
            table=self.table,
            launches=self.launches,
            sessions=self.sessions,
            revisions=self.revisions,
            queue=self.queue,
            apps=self.apps,
            config=self.config,
            metrics=self.metrics,
            ids=self.environment.ids,
            starters=self.environment.starters,
            now=self.environment.now,
        )

    @cached_property
    def kind(self) -> "SessionsKind":
        """The sessions' part of the sweep."""
        from chalicelib.sessions.sweep import SessionsKind

        return SessionsKind(
            table=self.table,
            records=self.records,
            launches=self.launches,
            sessions=self.sessions,
            pools=self.pools,
            queue=self.queue,
            hosts_wanted=self.hosts_wanted,
            apps=self.apps,
            config=self.config,
            metrics=self.metrics,
            unreadable=self.unreadable,
            probe=self.environment.probe,
            now=self.environment.now,
        )

    @cached_property
    def app_registry(self) -> "AppRegistry":
        """What registers apps."""
        from chalicelib.sessions.registry import AppRegistry

        return AppRegistry(
            self.clients.ecs,
            revisions=self.revisions,
            catalog=self.apps,
            table=self.table,
            queue=self.queue,
            config=self.config,
        )

    @cached_property
    def jobs(self) -> "Jobs":
        """The services of jobs."""
        from chalicelib.jobs.wiring import build_jobs

        return build_jobs(
            self.config,
            self.clients,
            launcher=self.launcher,
            revisions=self.revisions,
            rate=self.rate,
            metrics=self.metrics,
            ids=self.environment.ids,
            now=self.environment.now,
            on_ended=self._on_job_ended,
        )

    def _on_job_ended(self, invocation: "Invocation") -> None:
        """An invocation has ended: a judge's is a grading's. What fails here the sweep repeats."""
        from botocore.exceptions import BotoCoreError, ClientError

        if invocation.job != JUDGE_JOB:
            return
        try:
            self.grading.judging.on_ended(invocation)
        except (BotoCoreError, ClientError, UsherError):
            _log_grading.exception("left to the sweep", extra=invocation.log_fields)

    @cached_property
    def grading(self) -> "GradingServices":
        """The services of grading."""
        from chalicelib.grading.wiring import build_grading

        return build_grading(
            self.config,
            self.clients,
            self.jobs,
            ids=self.environment.ids,
            metrics=self.metrics,
            now=self.environment.now,
        )

    @cached_property
    def schedules(self) -> "Schedules":
        """The service of schedules."""
        from chalicelib.schedules.wiring import build_schedules

        return build_schedules(self.config, self.clients, self.jobs, self.environment.now)

    @cached_property
    def schedules_kind(self) -> "SchedulesKind":
        """The schedules' part of the sweep."""
        from chalicelib.schedules.wiring import build_schedules_kind

        return build_schedules_kind(
            self.config, self.clients, self.schedules, self.metrics, self.environment.now
        )

    @cached_property
    def queues(self) -> "Queues":
        """The SQS queues by name."""
        from chalicelib.tasks.queues import Queues

        return Queues(self.clients.sqs)

    @cached_property
    def audit(self) -> "Audit":
        """The audit records."""
        from chalicelib.audit.table import Audit

        config = self.config
        return Audit(self.clients.dynamodb, config.audit_table, config.audit_days)

    @cached_property
    def sweep(self) -> "Sweep":
        """The sweep of everything that has tasks."""
        return self.sweep_of(self.kind, self.jobs.kind, self.schedules_kind, self.grading.kind)

    def sweep_of(self, *kinds: "Kind[Any]") -> "Sweep":
        """The sweep of these kinds of records alone."""
        from chalicelib.tasks.reconciler import Sweep

        return Sweep(
            self.launcher,
            kinds,
            states=self.sweep_states,
            metrics=self.metrics,
            now=self.environment.now,
        )

    @cached_property
    def sweep_states(self) -> "SweepStates":
        """How far the sweep is."""
        from chalicelib.tasks.sweep_state import SweepStates

        return SweepStates(self.table.items, self.environment.now)

    def on_task_change(self, change: "TaskChange") -> None:
        """ECS says something of a task: whose it is, `started_by` says."""
        if change.is_stopped:  # the record has what clients may see of this
            fields = {"task": change.task_arn}
            _log_tasks.info("stopped: %s", change.stop_texts, extra=fields)
        if (change.started_by or "").startswith("job/"):
            self.jobs.invocations.on_task_change(change)
        else:
            self.sessions.on_task_change(change)

    def check(self) -> "Finished | None":
        """The last whole pass of the sweep. Raises UnavailableError unless the table answers."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return self.sweep_states.read().finished
        except (BotoCoreError, ClientError) as error:
            _log.warning("the table of sessions does not answer: %s", error)
            raise UnavailableError("the table of sessions does not answer") from error


_log = logging.getLogger("usher.health")
_log_grading = logging.getLogger("usher.grading")
_log_tasks = logging.getLogger("usher.tasks")
_lock = threading.Lock()
_services: Services | None = None


def services() -> Services:
    """The services of this process."""
    global _services  # noqa: PLW0603 - one per process is what a Lambda environment is
    if _services is None:
        with _lock:
            if _services is None:
                logs.set_up()
                _services = build(load_config())
    return _services


def build(
    config: Config, clients: Clients | None = None, environment: Environment | None = None
) -> Services:
    """Build everything for `config`. Opens no connection yet."""
    from chalicelib.ecs.addresses import Addresses
    from chalicelib.ecs.launcher import Launcher
    from chalicelib.sessions.arrivals import Arrivals
    from chalicelib.sessions.catalog import AppCatalog
    from chalicelib.sessions.claims import Claims
    from chalicelib.sessions.items import KEPT_SECONDS
    from chalicelib.sessions.launch_queue import LaunchQueue
    from chalicelib.sessions.launching import Launches
    from chalicelib.sessions.observer import SessionObserver
    from chalicelib.sessions.service import Sessions
    from chalicelib.sessions.table import SessionsTable
    from chalicelib.tasks.breaker import Breaker
    from chalicelib.tasks.deployed import Revisions
    from chalicelib.tasks.hosts_wanted import HostsWanted
    from chalicelib.tasks.queues import Queues
    from chalicelib.tasks.start_rate import StartRate
    from chalicelib.tasks.stops import TaskStops
    from chalicelib.tasks.store import Store
    from chalicelib.tasks.unreadable import UnreadableRecords

    aws, environment = clients or clients_for(config), environment or Environment()
    metrics = ProcessMetrics() if config.metrics_here else EmbeddedMetrics(config.stage)
    ids = environment.ids
    table = SessionsTable(aws.dynamodb, config.sessions_table)
    queue = LaunchQueue(Queues(aws.sqs), config.launches_queue)
    launcher = Launcher(aws.ecs, config.cluster)
    revisions = Revisions(launcher, environment.now)
    apps = AppCatalog(aws.ecs, revisions, config, environment.now)
    rate = StartRate(table.items, environment.now)
    hosts_wanted = HostsWanted(table.items)
    breaker = Breaker(table.apps, revisions, environment.now)
    arrivals = Arrivals()
    observer = SessionObserver(
        breaker=breaker,
        arrivals=arrivals,
        queue=queue,
        hosts_wanted=hosts_wanted,
        apps=apps,
        config=config,
        metrics=metrics,
        now=environment.now,
    )
    unreadable = UnreadableRecords(
        table.items, "session", kept_seconds=KEPT_SECONDS, metrics=metrics, now=environment.now
    )
    records = Store(table, observer)
    stops = TaskStops(launcher, metrics, environment.now)
    launches = Launches(
        stops=stops,
        table=table,
        records=records,
        launcher=launcher,
        queue=queue,
        revisions=revisions,
        rate=rate,
        hosts_wanted=hosts_wanted,
        apps=apps,
        config=config,
        metrics=metrics,
        now=environment.now,
    )
    claims = Claims(
        table=table,
        queue=queue,
        revisions=revisions,
        config=config,
        ids=ids,
        now=environment.now,
        sleep=environment.sleep,
        beside=environment.beside,
    )
    sessions = Sessions(
        stops=stops,
        table=table,
        records=records,
        claims=claims,
        launches=launches,
        launcher=launcher,
        addresses=Addresses(
            aws.ecs, aws.ec2, config.cluster, environment.now, private=config.private_addresses
        ),
        config=config,
        metrics=metrics,
        arrivals=arrivals,
        unreadable=unreadable,
        apps=apps,
        probe=environment.probe,
        now=environment.now,
        wait=environment.wait,
    )
    return Services(
        config=config,
        clients=aws,
        environment=environment,
        table=table,
        launches=launches,
        sessions=sessions,
        records=records,
        queue=queue,
        launcher=launcher,
        revisions=revisions,
        apps=apps,
        rate=rate,
        hosts_wanted=hosts_wanted,
        unreadable=unreadable,
        metrics=metrics,
    )
