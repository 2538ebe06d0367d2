"""The services of sessions. Those that `GET /session` does not need are built when they are first
used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from chalicelib.capacity.groups import Groups, check_members, container, parse_groups
from chalicelib.capacity.ledger import Ledger
from chalicelib.capacity.plugins import check_plugins, load_plugins
from chalicelib.capacity.starter import TaskStarter
from chalicelib.capacity.turns import Turns
from chalicelib.clients import ONCE, Clients
from chalicelib.config import Config
from chalicelib.ecs.addresses import Addresses
from chalicelib.ecs.launcher import Launcher
from chalicelib.ecs.task_definitions import family_of
from chalicelib.environment import Environment
from chalicelib.metrics import Metrics
from chalicelib.sessions.arrivals import Arrivals
from chalicelib.sessions.catalog import AppCatalog
from chalicelib.sessions.claims import Claims
from chalicelib.sessions.group_queue import GroupQueue
from chalicelib.sessions.items import KEPT_SECONDS
from chalicelib.sessions.launch_queue import LaunchQueue
from chalicelib.sessions.launching import Launches
from chalicelib.sessions.model import Session
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

if TYPE_CHECKING:
    from chalicelib.capacity.placement import Plugin
    from chalicelib.sessions.pool_reconciler import PoolReconciler
    from chalicelib.sessions.registry import AppRegistry
    from chalicelib.sessions.sweep import SessionsKind
    from chalicelib.sessions.user_credentials import UserCredentials
    from chalicelib.tasks.logs import TaskLogs


@dataclass(frozen=True)
class SessionServices:
    """The services that the routes of sessions use."""

    config: Config
    clients: Clients
    environment: Environment
    metrics: Metrics
    revisions: Revisions
    service: Sessions
    table: SessionsTable
    records: Store[Session]
    launches: Launches
    queue: LaunchQueue
    apps: AppCatalog
    rate: StartRate
    ledger: Ledger
    plugins: "Mapping[str, Plugin]"
    starter: TaskStarter
    hosts_wanted: HostsWanted
    unreadable: UnreadableRecords

    def warm_tasks(self) -> dict[str, str]:
        """ARNs of the warm sessions' tasks, with the app of each."""
        found: dict[str, str] = {}
        for app in self.apps.all().values():
            if app.pool.maximum:
                members = self.table.members_now(self.table.apps.get(app.name))
                arns = (session.task_arn for session in members.sessions)
                found |= {arn: app.name for arn in arns if arn is not None}
        return found

    def most_seconds(self, family: str) -> float | None:
        """The maximum lifetime in seconds of a container of this task definition family; None if it
        is not an app's.

        It includes the time in the pool and the time until its client connects.
        """
        for app in self.apps.all().values():
            if family_of(app.family_name, self.config.stage) == family:
                idle = app.pool.max_age_seconds if app.pool.maximum else 0
                return float(idle + app.connect_deadline_seconds + app.max_session_seconds)
        return None

    @cached_property
    def pools(self) -> "PoolReconciler":
        """Brings the pools to their target sizes; not needed by `GET /session`."""
        from chalicelib.sessions.pool_reconciler import PoolReconciler

        return PoolReconciler(
            table=self.table,
            launches=self.launches,
            sessions=self.service,
            revisions=self.revisions,
            queue=self.queue,
            apps=self.apps,
            config=self.config,
            metrics=self.metrics,
            ids=self.environment.ids,
            starters=self.environment.starters,
            run_each=self.environment.run_each,
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
            sessions=self.service,
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
    def registry(self) -> "AppRegistry":
        """Registers apps."""
        from chalicelib.sessions.registry import AppRegistry

        return AppRegistry(
            self.clients.ecs,
            revisions=self.revisions,
            catalog=self.apps,
            table=self.table,
            queue=self.queue,
            config=self.config,
            groups=self.ledger.groups,
            plugins=self.plugins,
            stop_warm=self.service.stop_warm,
        )

    @cached_property
    def user_credentials(self) -> "UserCredentials":
        """Gives containers credentials with the rights of their users."""
        from chalicelib.sessions.user_credentials import UserCredentials

        return UserCredentials(
            table=self.table,
            apps=self.apps,
            sts=self.clients.create("sts"),
            stage=self.config.stage,
            now=self.environment.now,
        )

    @cached_property
    def logs(self) -> "TaskLogs":
        """Logs of session containers."""
        from chalicelib.ecs.task_definitions import CONTAINER
        from chalicelib.tasks.logs import TaskLogs

        group = self.config.sessions_log_group
        return TaskLogs(lambda: self.clients.create("logs"), group, CONTAINER)


def groups_of(config: Config) -> Groups:
    """The capacity groups; raises ConfigurationError if an app of the apps file does not fit its
    group.
    """
    groups = parse_groups(config.capacity)
    check_members(
        groups,
        {
            f"apps.{app.name}": (app.group, container(app.cpu, app.memory))
            for app in config.apps.by_name.values()
        },
    )
    return groups


def plugins_of(config: Config) -> "Mapping[str, Plugin]":
    """The placement plug-ins; raises ConfigurationError if the apps file names an unknown one."""
    plugins = load_plugins(config.placement_module)
    apps = config.apps.by_name.values()
    check_plugins(plugins, {f"apps.{app.name}": app.placement.plugin for app in apps})
    return plugins


def build_sessions(
    config: Config,
    clients: Clients,
    environment: Environment,
    *,
    launcher: Launcher,
    revisions: Revisions,
    metrics: Metrics,
    table: SessionsTable | None = None,
) -> SessionServices:
    """Build all services for `config`. Opens no connection.

    `table` replaces the DynamoDB table; the simulation passes a model of it.
    """
    now = environment.now
    table = table or SessionsTable(clients.dynamodb, config.sessions_table)
    queue = LaunchQueue(Queues(clients.sqs), config.launches_queue)
    apps = AppCatalog(clients.ecs, revisions, config, now)
    rate = StartRate(table.items, now)
    ledger = Ledger(table.items, groups_of(config), now)
    turns = Turns(table.items)
    hosts_wanted = HostsWanted(table.items)
    arrivals = Arrivals()
    observer = SessionObserver(
        breaker=Breaker(table.apps, revisions, now),
        arrivals=arrivals,
        queue=queue,
        hosts_wanted=hosts_wanted,
        ledger=ledger,
        turns=turns,
        apps=apps,
        config=config,
        metrics=metrics,
        now=now,
    )
    unreadable = UnreadableRecords(
        table.items, "session", kept_seconds=KEPT_SECONDS, metrics=metrics, now=now
    )
    records = Store(table, observer)
    stops = TaskStops(launcher, metrics, now)
    plugins = plugins_of(config)
    starter = TaskStarter(
        clients.ecs,
        config.cluster,
        launcher=launcher,
        once=Launcher(clients.create("ecs" + ONCE), *config.clusters),
        plugins=plugins,
        now=now,
    )
    launches = Launches(
        stops=stops,
        table=table,
        records=records,
        starter=starter,
        queue=queue,
        revisions=revisions,
        rate=rate,
        group_queue=GroupQueue(
            table=table,
            records=records,
            ledger=ledger,
            turns=turns,
            queue=queue,
            apps=apps,
            now=now,
        ),
        hosts_wanted=hosts_wanted,
        apps=apps,
        config=config,
        metrics=metrics,
        now=now,
    )
    claims = Claims(
        table=table,
        queue=queue,
        revisions=revisions,
        ledger=ledger,
        turns=turns,
        config=config,
        ids=environment.ids,
        now=now,
        sleep=environment.sleep,
        beside=environment.beside,
    )
    service = Sessions(
        stops=stops,
        table=table,
        records=records,
        claims=claims,
        launches=launches,
        launcher=launcher,
        addresses=Addresses(
            clients.ecs, clients.ec2, config.cluster, now, private=config.private_addresses
        ),
        config=config,
        metrics=metrics,
        arrivals=arrivals,
        unreadable=unreadable,
        apps=apps,
        probe=environment.probe,
        now=now,
        wait=environment.wait,
    )
    return SessionServices(
        config=config,
        clients=clients,
        environment=environment,
        metrics=metrics,
        revisions=revisions,
        service=service,
        table=table,
        records=records,
        launches=launches,
        queue=queue,
        apps=apps,
        rate=rate,
        ledger=ledger,
        plugins=plugins,
        starter=starter,
        hosts_wanted=hosts_wanted,
        unreadable=unreadable,
    )
