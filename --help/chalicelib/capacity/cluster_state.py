"""The hosts of a cluster and their tasks, as input of decisions. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from chalicelib.ecs.hosts import ZONE

ACTIVE, DRAINING = "ACTIVE", "DRAINING"


class TaskKind(StrEnum):
    """The kind of a task, which determines whether it may be stopped."""

    SESSION = "session"
    """A session with an owner."""
    JOB = "job"
    WARM = "warm"
    """Without an owner: it may be stopped and started on another host."""
    OTHER = "other"
    """Not a task of Usher: it is not stopped, and its host is kept."""


@dataclass(frozen=True)
class Need:
    """The resources of a task. `cpu` in ECS units (1024 = one core), `memory` in MiB."""

    cpu: int
    memory: int
    ports: frozenset[int] = frozenset()
    """Fixed host ports, without dynamic ones."""


@dataclass(frozen=True)
class PlacedTask:
    """A task on a host."""

    id: str
    group: str
    """ECS's task group: `family:FAMILY`, unless RunTask set another one."""
    need: Need
    kind: TaskKind = TaskKind.SESSION
    ends_by: float | None = None
    """Latest end time; None = unknown."""
    created_at: float | None = None
    pool: str | None = None
    """The app of the warm pool that it belongs to."""
    capacity_group: str | None = None


@dataclass(frozen=True)
class HostState:
    """A container instance as input of decisions."""

    id: str
    cpu: int
    memory: int
    free_cpu: int
    free_memory: int
    used_ports: frozenset[int] = frozenset()
    tasks: tuple[PlacedTask, ...] = ()
    pending_or_running: int | None = None
    """ECS's number of its tasks, where known; a host with more than `tasks` is kept."""
    status: str = ACTIVE
    is_connected: bool = True
    attributes: Mapping[str, str] = field(default_factory=dict)
    ec2_instance_id: str | None = None
    provider: str | None = None
    registered_at: float = 0.0
    image_outdated: bool = False
    """Whether newer hosts have another machine image."""

    @property
    def zone(self) -> str:
        """Its availability zone; empty if unknown."""
        return self.attributes.get(ZONE, "")

    @property
    def takes_tasks(self) -> bool:
        """Whether ECS places tasks on it."""
        return self.status == ACTIVE and self.is_connected

    @property
    def is_empty(self) -> bool:
        """Whether no tasks run or start on it."""
        return not self.tasks and not self.pending_or_running

    @property
    def busy(self) -> tuple[PlacedTask, ...]:
        """The tasks that must not be stopped."""
        return tuple(task for task in self.tasks if task.kind is not TaskKind.WARM)

    def groups(self) -> Counter[str]:
        """The number of tasks for each ECS task group."""
        return Counter(task.group for task in self.tasks)

    def places(self, need: Need) -> int:
        """The number of further tasks of this size that fit, regardless of its status."""
        fits = [10**9]
        if need.cpu:
            fits.append(self.free_cpu // need.cpu)
        if need.memory:
            fits.append(self.free_memory // need.memory)
        if need.ports:
            fits.append(0 if need.ports & self.used_ports else 1)
        return max(0, min(fits))

    def with_task(self, task: PlacedTask) -> "HostState":
        """The host after the task was placed on it."""
        return replace(
            self,
            free_cpu=self.free_cpu - task.need.cpu,
            free_memory=self.free_memory - task.need.memory,
            used_ports=self.used_ports | task.need.ports,
            tasks=(*self.tasks, task),
            pending_or_running=_plus(self.pending_or_running, 1),
        )


@dataclass(frozen=True)
class ClusterState:
    """The hosts of one Auto Scaling group, and the group's desired capacity."""

    hosts: Sequence[HostState]
    desired: int
    """Desired number of instances, including those that have not registered yet."""
    maximum: int
    minimum: int = 0

    @property
    def on_their_way(self) -> int:
        """Number of instances that are requested and not registered yet."""
        return max(0, self.desired - len(self.hosts))


def _plus(count: int | None, more: int) -> int | None:
    return None if count is None else max(0, count + more)
