"""The cluster as input of decisions, read from ECS with two calls for 100 hosts and two for 100
tasks.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from chalicelib.capacity.cluster_state import HostState, Need, PlacedTask, TaskKind
from chalicelib.ecs.cluster import Cluster
from chalicelib.ecs.hosts import Host, host_id_of
from chalicelib.ecs.launcher import Launcher
from chalicelib.ecs.task_changes import TaskChange

PAGE = 100
MOST_TASK_PAGES = 50
"""ECS accepts 20 such calls a second. In a larger cluster hosts have only ECS's counts of tasks."""
AMI = "ecs.ami-id"


@dataclass(frozen=True)
class Seen:
    """The result of one read of the cluster."""

    hosts: list[HostState]
    waiting: int = 0
    """Tasks in PROVISIONING without a host."""


WarmTasks = Callable[[], Mapping[str, str]]
"""ARNs of tasks without an owner, with the app of each."""


class ClusterView:
    """Reads hosts and their tasks."""

    def __init__(
        self,
        cluster: Cluster,
        launcher: Launcher,
        *,
        warm: WarmTasks,
        most_seconds: Callable[[str], float | None],
    ) -> None:
        """`most_seconds`: maximum lifetime of a task of a family, None = unknown."""
        self._cluster = cluster
        self._launcher = launcher
        self._warm = warm
        self._most_seconds = most_seconds

    def hosts(self) -> list[HostState]:
        """All active and draining hosts, with their tasks unless these are too many."""
        return self.read().hosts

    def read(self) -> Seen:
        """The hosts, and the number of tasks that wait for one."""
        hosts: list[Host] = []
        page, token = self._cluster.page(PAGE, None)
        hosts += page
        while token is not None:
            page, token = self._cluster.page(PAGE, token)
            hosts += page
        tasks = self._tasks()
        on_hosts: dict[str, list[TaskChange]] = {}
        for task in tasks:
            if task.container_instance_arn is not None:
                on_hosts.setdefault(task.container_instance_arn, []).append(task)
        warm = self._warm()
        states = [self._state(host, on_hosts.get(host.arn, []), warm) for host in hosts]
        waiting = sum(task.waits_for_host and task.network_interface_id is None for task in tasks)
        return Seen(mark_outdated(states), waiting)

    def _tasks(self) -> list[TaskChange]:
        """All tasks; empty if there are too many to read."""
        found: list[TaskChange] = []
        token: str | None = None
        for _ in range(MOST_TASK_PAGES):
            tasks, token = self._launcher.page(token)
            found += tasks
            if token is None:
                return found
        return []

    def _state(self, host: Host, tasks: Sequence[TaskChange], warm: Mapping[str, str]) -> HostState:
        placed = tuple(self._placed(task, warm) for task in tasks)
        return replace(state_of(host), tasks=placed)

    def _placed(self, task: TaskChange, warm: Mapping[str, str]) -> PlacedTask:
        family = family_of(task.task_definition_arn or "")
        most = self._most_seconds(family)
        ends_by = None if most is None or task.created_at is None else task.created_at + most
        return PlacedTask(
            id=task.task_arn,
            group=f"family:{family}",
            need=Need(0, 0),  # the host's remaining resources include it
            kind=kind_of(task, warm),
            ends_by=ends_by,
            created_at=task.created_at,
            pool=warm.get(task.task_arn),
        )


def state_of(host: Host) -> HostState:
    """A host without its tasks, with ECS's counts of them."""
    return HostState(
        id=host_id_of(host.arn),
        cpu=host.cpu.total,
        memory=host.memory.total,
        free_cpu=host.cpu.left,
        free_memory=host.memory.left,
        used_ports=host.used_ports,
        pending_or_running=host.running_tasks + host.pending_tasks,
        status=host.status,
        is_connected=host.is_connected,
        attributes=host.attributes,
        ec2_instance_id=host.ec2_instance_id,
        provider=host.capacity_provider,
        registered_at=host.registered_at or 0.0,
    )


def kind_of(task: TaskChange, warm: Collection[str]) -> TaskKind:
    """The kind of a task, from its `startedBy`."""
    if task.task_arn in warm:
        return TaskKind.WARM
    kind = (task.started_by or "").partition("/")[0]
    return {"session": TaskKind.SESSION, "job": TaskKind.JOB}.get(kind, TaskKind.OTHER)


def family_of(task_definition_arn: str) -> str:
    """The family in `arn:…:task-definition/FAMILY:REVISION`."""
    return task_definition_arn.rpartition("/")[2].partition(":")[0]


def mark_outdated(hosts: Sequence[HostState]) -> list[HostState]:
    """Mark hosts whose image differs from that of the newest host."""
    newest = max(hosts, key=lambda host: host.registered_at, default=None)
    image = newest.attributes.get(AMI) if newest else None
    return [
        replace(host, image_outdated=host.attributes.get(AMI) not in (None, image))
        for host in hosts
    ]
