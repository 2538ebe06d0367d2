"""The services of jobs, built when they are first used, so that they cost requests for sessions no
time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from chalicelib.capacity.ledger import Ledger
from chalicelib.capacity.placement import Plugin
from chalicelib.capacity.starter import TaskStarter
from chalicelib.capacity.turns import Turns
from chalicelib.clients import Clients
from chalicelib.config import Config, jobs_queue
from chalicelib.ecs.launcher import Launcher
from chalicelib.environment import Ids
from chalicelib.jobs.catalog import Catalog
from chalicelib.jobs.clock import Clock
from chalicelib.jobs.items import KEPT_SECONDS
from chalicelib.jobs.launching import LEASE_SECONDS, JobLauncher
from chalicelib.jobs.model import Invocation, Priority
from chalicelib.jobs.observer import JobObserver
from chalicelib.jobs.queues import JobQueues
from chalicelib.jobs.reruns import Reruns
from chalicelib.jobs.service import Invocations
from chalicelib.jobs.sweep import JobsKind
from chalicelib.jobs.table import CAPACITY_KEY, InvocationsTable
from chalicelib.jobs.task_definitions import CONTAINER
from chalicelib.metrics import Metrics
from chalicelib.tasks.breaker import Breaker
from chalicelib.tasks.deployed import Revisions
from chalicelib.tasks.hosts_wanted import HostsWanted
from chalicelib.tasks.lease import Lease
from chalicelib.tasks.logs import TaskLogs
from chalicelib.tasks.queues import Queues
from chalicelib.tasks.start_rate import StartRate
from chalicelib.tasks.stops import TaskStops
from chalicelib.tasks.store import Store
from chalicelib.tasks.unreadable import UnreadableRecords


@dataclass(frozen=True)
class Jobs:
    """The services that the routes of jobs use."""

    table: InvocationsTable
    catalog: Catalog
    invocations: Invocations
    launcher: JobLauncher
    kind: JobsKind
    clock: Clock
    logs: TaskLogs


def build_jobs(
    config: Config,
    clients: Clients,
    *,
    launcher: Launcher,
    revisions: Revisions,
    rate: StartRate,
    metrics: Metrics,
    ids: Ids,
    now: Callable[[], float],
    sleep: Callable[[float], None],
    ledger: Ledger,
    starter: TaskStarter,
    plugins: Mapping[str, Plugin],
    on_ended: Callable[[Invocation], None] = lambda _: None,
    trace: Callable[[Invocation, Invocation], None] | None = None,
) -> Jobs:
    """Build all services for `config`. Opens no connection. `on_ended`, `trace`: see
    `JobObserver`.
    """
    table = InvocationsTable(clients.dynamodb, config.jobs_table, config.sessions_table)
    names = {priority: jobs_queue(config.stage, priority) for priority in Priority}
    sqs = Queues(clients.sqs)
    queues = JobQueues(sqs, names)
    reruns = Reruns(table.items, queues, now)
    shared: dict[str, Any] = {"metrics": metrics, "now": now, "table": table}
    hosts_wanted = HostsWanted(table.items)
    turns = Turns(table.items, CAPACITY_KEY)
    breaker = Breaker(table.revisions, revisions, now)
    observer = JobObserver(
        breaker=breaker,
        queues=queues,
        turns=turns,
        hosts_wanted=hosts_wanted,
        metrics=metrics,
        now=now,
        on_ended=on_ended,
        trace=trace,
    )
    records = Store(table, observer)
    catalog = Catalog(clients.ecs, revisions, config, ledger.groups, plugins)
    stops = TaskStops(launcher, metrics, now)
    job_launcher = JobLauncher(
        ledger=ledger,
        records=records,
        turns=turns,
        starter=starter,
        stops=stops,
        catalog=catalog,
        queues=queues,
        reruns=reruns,
        rate=rate,
        hosts_wanted=hosts_wanted,
        lease=Lease(table.items, "jobs", LEASE_SECONDS, now),
        sleep=sleep,
        config=config,
        **shared,
    )
    unreadable = UnreadableRecords(
        table.items, "invocation", kept_seconds=KEPT_SECONDS, metrics=metrics, now=now
    )
    clock = Clock(sqs, partial(clients.create, "scheduler"), config.stage, now)
    invocations = Invocations(
        ledger=ledger,
        records=records,
        turns=turns,
        stops=stops,
        catalog=catalog,
        queues=queues,
        reruns=reruns,
        clock=clock,
        ids=ids,
        unreadable=unreadable,
        config=config,
        **shared,
    )
    kind = JobsKind(
        records=records,
        invocations=invocations,
        job_launcher=job_launcher,
        launcher=launcher,
        hosts_wanted=hosts_wanted,
        unreadable=unreadable,
        config=config,
        groups=ledger.groups,
        **shared,
    )
    logs = TaskLogs(partial(clients.create, "logs"), config.jobs_log_group, CONTAINER)
    return Jobs(table, catalog, invocations, job_launcher, kind, clock, logs)
