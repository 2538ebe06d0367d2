"""The services of grading, built when they are first used."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from chalicelib.clients import Clients
from chalicelib.config import Config
from chalicelib.environment import Ids
from chalicelib.grading.assignments import Assignments
from chalicelib.grading.files import GradingFiles
from chalicelib.grading.judging import Judging
from chalicelib.grading.model import KEPT_SECONDS
from chalicelib.grading.service import Grades
from chalicelib.grading.sweep import GradingsKind
from chalicelib.grading.table import GradingTable
from chalicelib.grading.views import Views
from chalicelib.jobs.wiring import Jobs
from chalicelib.metrics import Metrics
from chalicelib.tasks.unreadable import UnreadableRecords


@dataclass(frozen=True)
class GradingServices:
    """The services that the routes of grading use."""

    assignments: Assignments
    grades: Grades
    judging: Judging
    views: Views
    kind: GradingsKind


def build_grading(
    config: Config,
    clients: Clients,
    jobs: Jobs,
    *,
    ids: Ids,
    metrics: Metrics,
    now: Callable[[], float],
) -> GradingServices:
    """Build all services on those of `jobs`. Opens no connection."""
    table = GradingTable(clients.dynamodb, config.grading_table)
    files = GradingFiles(partial(clients.create, "s3"), config.grading_bucket)
    judging = Judging(
        table=table,
        files=files,
        invocations=jobs.invocations,
        catalog=jobs.catalog,
        config=config,
        metrics=metrics,
        now=now,
    )
    assignments = Assignments(table=table, files=files, judging=judging, config=config, now=now)
    grades = Grades(
        table=table,
        files=files,
        judging=judging,
        catalog=jobs.catalog,
        ids=ids,
        config=config,
        now=now,
    )
    kind = GradingsKind(
        table=table,
        judging=judging,
        unreadable=UnreadableRecords(
            table.items, "grading", kept_seconds=KEPT_SECONDS, metrics=metrics, now=now
        ),
        metrics=metrics,
        now=now,
    )
    views = Views(table, files, jobs.invocations, config.grading_capacity)
    return GradingServices(assignments, grades, judging, views, kind)
