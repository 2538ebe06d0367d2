"""The service of schedules, built when it is first used."""

from collections.abc import Callable

from chalicelib.clients import Clients
from chalicelib.config import Config
from chalicelib.jobs.items import KEPT_SECONDS
from chalicelib.jobs.wiring import Jobs
from chalicelib.metrics import Metrics
from chalicelib.schedules.service import Schedules
from chalicelib.schedules.sweep import SchedulesKind
from chalicelib.schedules.table import SchedulesTable
from chalicelib.tasks.unreadable import UnreadableRecords


def build_schedules(
    config: Config, clients: Clients, jobs: Jobs, now: Callable[[], float]
) -> Schedules:
    """Build the service on that of `jobs`. Opens no connection."""
    return Schedules(
        table=SchedulesTable(clients.dynamodb, config.jobs_table),
        invocations=jobs.invocations,
        clock=jobs.clock,
        config=config,
        now=now,
    )


def build_schedules_kind(
    config: Config,
    clients: Clients,
    schedules: Schedules,
    metrics: Metrics,
    now: Callable[[], float],
) -> SchedulesKind:
    """Build the schedules' part of the sweep."""
    table = SchedulesTable(clients.dynamodb, config.jobs_table)
    return SchedulesKind(
        table=table,
        schedules=schedules,
        unreadable=UnreadableRecords(
            table.items, "schedule", kept_seconds=KEPT_SECONDS, metrics=metrics, now=now
        ),
        now=now,
    )
