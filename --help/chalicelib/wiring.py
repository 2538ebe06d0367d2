"""The services of this process, built once, when they are first used.

The composition root: it imports every package, and none imports it. Packages are imported when they
are built, so that a cold start imports little.
"""

import logging
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chalicelib import logs
from chalicelib.clients import Clients, clients_for
from chalicelib.config import Config, load_config
from chalicelib.contract.jobs import JUDGE_JOB
from chalicelib.environment import Environment
from chalicelib.errors import ConfigurationError, UnavailableError, UsherError
from chalicelib.metrics import EmbeddedMetrics, Metrics, ProcessMetrics

if TYPE_CHECKING:
    from chalicelib.audit.table import Audit
    from chalicelib.capacity.host_planner import HostPlanner
    from chalicelib.capacity.view import ClusterView
    from chalicelib.ecs.cluster import Cluster
    from chalicelib.ecs.launcher import Launcher
    from chalicelib.ecs.task_changes import TaskChange
    from chalicelib.grading.wiring import GradingServices
    from chalicelib.jobs.model import Invocation
    from chalicelib.jobs.wiring import Jobs
    from chalicelib.schedules.service import Schedules
    from chalicelib.schedules.sweep import SchedulesKind
    from chalicelib.sessions.wiring import SessionServices
    from chalicelib.tasks.alarms import Alarms
    from chalicelib.tasks.deployed import Revisions
    from chalicelib.tasks.kinds import Kind
    from chalicelib.tasks.queues import Queues
    from chalicelib.tasks.reconciler import Sweep
    from chalicelib.tasks.sweep_state import Finished, SweepStates
    from chalicelib.traces import Traces


@dataclass(frozen=True)
class Services:
    """The services that the routes use."""

    config: Config
    clients: Clients
    environment: Environment
    launcher: "Launcher"
    revisions: "Revisions"
    metrics: Metrics
    sessions: "SessionServices"

    @cached_property
    def traces(self) -> "Traces":
        """Sends spans."""
        from chalicelib.traces import Traces

        environment = self.environment
        return Traces(
            self.config.traces_endpoint, self.config.stage, environment.now, environment.ids.key
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
            rate=self.sessions.rate,
            metrics=self.metrics,
            ids=self.environment.ids,
            now=self.environment.now,
            ledger=self.sessions.ledger,
            starter=self.sessions.starter,
            plugins=self.sessions.plugins,
            on_ended=self._on_job_ended,
            trace=self._trace_job if self.config.traces_endpoint else None,
        )

    def _trace_job(self, before: "Invocation", after: "Invocation") -> None:
        """Send what an invocation went through until its run, once that is known."""
        from chalicelib.jobs.spans import attributes_of, ends_before_the_run, steps_of

        if ends_before_the_run(before, after):
            self.traces.steps(
                after.traceparent, steps_of(after), attributes_of(after), failed=after.has_ended
            )

    def _on_job_ended(self, invocation: "Invocation") -> None:
        """Handle the end of a judge's invocation. The sweep repeats what fails here."""
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
    def alarms(self) -> "Alarms":
        """The alarms of this stage."""
        from chalicelib.tasks.alarms import Alarms

        return Alarms(self.clients.create("cloudwatch"), self.config.stage)

    @cached_property
    def cluster(self) -> "Cluster":
        """The hosts."""
        from chalicelib.ecs.cluster import Cluster

        return Cluster(self.clients.ecs, self.config.cluster)

    @cached_property
    def cluster_view(self) -> "ClusterView":
        """The hosts and their tasks, as input of decisions."""
        from chalicelib.capacity.view import ClusterView
        from chalicelib.ecs.launcher import Launcher

        return ClusterView(
            self.cluster,
            # judges' tasks are on hosts of another cluster
            Launcher(self.clients.ecs, self.config.cluster),
            warm=self.sessions.warm_tasks,
            most_seconds=self.sessions.most_seconds,
        )

    @cached_property
    def host_planner(self) -> "HostPlanner":
        """Plans the hosts. Raises ConfigurationError if no Auto Scaling group is configured."""
        from chalicelib.capacity.auto_scaling import AutoScaling
        from chalicelib.capacity.cluster_state import Need
        from chalicelib.capacity.host_planner import HostPlanner
        from chalicelib.capacity.hosts import Budget, HostPolicy

        config = self.config
        if config.hosts_group is None:
            raise ConfigurationError("HOSTS_GROUP: no Auto Scaling group is named")
        app = config.apps.by_name[config.apps.default]
        policy = HostPolicy(
            place=Need(app.cpu, app.memory),
            least_free_places=config.hosts_free_places,
            ahead=config.hosts_ahead_percent / 100,
            scale_in_after_seconds=config.hosts_scale_in_seconds,
            maximum_age_seconds=config.hosts_max_age_seconds or None,
            budget=Budget(hosts=config.hosts_away),
        )
        return HostPlanner(
            view=self.cluster_view,
            cluster=self.cluster,
            group=AutoScaling(self.clients.create("autoscaling"), config.hosts_group),
            items=self.sessions.table.items,
            policy=policy,
            move_warm=self.sessions.service.on_host_leaving,
            now=self.environment.now,
            name=config.hosts_group,
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
        """The sweep of all kinds of records."""
        return self.sweep_of(
            self.sessions.kind, self.jobs.kind, self.schedules_kind, self.grading.kind
        )

    def sweep_of(self, *kinds: "Kind[Any]") -> "Sweep":
        """The sweep of these kinds of records only."""
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
        """The state of the sweep."""
        from chalicelib.tasks.sweep_state import SweepStates

        return SweepStates(self.sessions.table.items, self.environment.now)

    def on_task_change(self, change: "TaskChange") -> None:
        """Handle a task change of ECS, for the kind of record in `started_by`."""
        if change.is_stopped:  # records have only the text that clients may read
            fields = {"task": change.task_arn}
            _log_tasks.info("stopped: %s", change.stop_texts, extra=fields)
        if (change.started_by or "").startswith("job/"):
            self.jobs.invocations.on_task_change(change)
        else:
            self.sessions.service.on_task_change(change)

    def check(self) -> "Finished | None":
        """The last complete pass of the sweep. Raises UnavailableError if the table does not
        answer.
        """
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
    """Build all services for `config`. Opens no connection."""
    from chalicelib.ecs.launcher import Launcher
    from chalicelib.sessions.wiring import build_sessions
    from chalicelib.tasks.deployed import Revisions

    clients, environment = clients or clients_for(config), environment or Environment()
    metrics = ProcessMetrics() if config.metrics_here else EmbeddedMetrics(config.stage)
    launcher = Launcher(clients.ecs, *config.clusters)
    revisions = Revisions(launcher, environment.now)
    sessions = build_sessions(
        config,
        clients,
        environment,
        launcher=launcher,
        revisions=revisions,
        metrics=metrics,
    )
    return Services(config, clients, environment, launcher, revisions, metrics, sessions)
