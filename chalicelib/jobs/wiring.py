"""The services of jobs, built when they are first needed: who wants a session waits for none."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.config import Config, jobs_queue
from chalicelib.ecs.deployed import Revisions
from chalicelib.ecs.launcher import Launcher
from chalicelib.ecs.start_rate import StartRate
from chalicelib.jobs.catalog import Catalog
from chalicelib.jobs.launching import Rounds
from chalicelib.jobs.model import Priority
from chalicelib.jobs.queues import JobQueues
from chalicelib.jobs.records import JobRecords
from chalicelib.jobs.service import Clock, Invocations, Secrets
from chalicelib.jobs.sweep import JobsRoom
from chalicelib.jobs.table import InvocationsTable
from chalicelib.jobs.turn import Turn
from chalicelib.metrics import Metrics

if TYPE_CHECKING:
    from chalicelib.wiring import Clients


@dataclass(frozen=True)
class Jobs:
    """What the routes of jobs call."""

    table: InvocationsTable
    catalog: Catalog
    invocations: Invocations
    rounds: Rounds
    room: JobsRoom


def build_jobs(
    config: Config,
    clients: "Clients",
    *,
    launcher: Launcher,
    revisions: Revisions,
    rate: StartRate,
    metrics: Metrics,
    chance: Secrets,
    clock: Clock,
    now: Callable[[], float],
) -> Jobs:
    """Build everything for `config`. Opens no connection yet."""
    table = InvocationsTable(clients.dynamodb, config.jobs_table)
    names = {priority: jobs_queue(config.stage, priority) for priority in Priority}
    queues = JobQueues(clients.sqs, names)
    shared: dict[str, Any] = {"metrics": metrics, "now": now, "table": table}
    records = JobRecords(queues=queues, revisions=revisions, **shared)
    catalog = Catalog(clients.ecs, revisions, config)
    rounds = Rounds(
        records=records,
        launcher=launcher,
        catalog=catalog,
        queues=queues,
        rate=rate,
        turn=Turn(clients.dynamodb, config.jobs_table, now),
        config=config,
        **shared,
    )
    invocations = Invocations(
        records=records,
        launcher=launcher,
        catalog=catalog,
        queues=queues,
        clock=clock,
        chance=chance,
        config=config,
        **shared,
    )
    room = JobsRoom(
        records=records,
        invocations=invocations,
        rounds=rounds,
        launcher=launcher,
        config=config,
        **shared,
    )
    return Jobs(table, catalog, invocations, rounds, room)
