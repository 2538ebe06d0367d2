"""What is known of a cluster's hosts and of the tasks on them, for decisions. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from chalicelib.ecs.hosts import ZONE

ACTIVE, DRAINING = "ACTIVE", "DRAINING"


class TaskKind(StrEnum):
    """What a task is: whether a user loses something when it is stopped."""

    SESSION = "session"
    """A session with an owner."""
    JOB = "job"
    WARM = "warm"
    """Unowned: it may be stopped and started elsewhere."""
    OTHER = "other"
    """Not Usher's: left alone, and its host is kept."""


@dataclass(frozen=True)
class Need:
    """What one task takes of a host. `cpu` in ECS units (1024 = a core), `memory` in MiB."""

    cpu: int
    memory: int
    ports: frozenset[int] = frozenset()
    """Fixed host ports; those that ECS chooses are none."""


@dataclass(frozen=True)
class PlacedTask:
    """A task on a host."""

    id: str
    group: str
    """ECS's task group: `family:FAMILY`, unless RunTask was asked for another."""
    need: Need
    kind: TaskKind = TaskKind.SESSION
    ends_by: float | None = None
    """When it is over at the latest; None = unknown."""
    created_at: float | None = None
    pool: str | None = None
    """The app whose warm pool it belongs to."""
    capacity_group: str | None = None


@dataclass(frozen=True)
class HostState:
    """A container instance as decisions see it."""

    id: str
    cpu: int
    memory: int
    free_cpu: int
    free_memory: int
    used_ports: frozenset[int] = frozenset()
    tasks: tuple[PlacedTask, ...] = ()
    pending_or_running: int | None = None
    """How many tasks ECS counts on it, where that is known: more than `tasks` keeps a host."""
    status: str = ACTIVE
    is_connected: bool = True
    attributes: Mapping[str, str] = field(default_factory=dict)
    ec2_instance_id: str | None = None
    provider: str | None = None
    registered_at: float = 0.0
    image_outdated: bool = False
    """Whether newer hosts start from another machine image."""

    @property
    def zone(self) -> str:
        """Its availability zone, an empty string where it has none."""
        return self.attributes.get(ZONE, "")

    @property
    def takes_tasks(self) -> bool:
        """Whether ECS places tasks on it."""
        return self.status == ACTIVE and self.is_connected

    @property
    def is_empty(self) -> bool:
        """Whether nothing runs or starts there."""
        return not self.tasks and not self.pending_or_running

    @property
    def busy(self) -> tuple[PlacedTask, ...]:
        """The tasks that must not be stopped."""
        return tuple(task for task in self.tasks if task.kind is not TaskKind.WARM)

    def groups(self) -> Counter[str]:
        """How many tasks of each ECS task group there are."""
        return Counter(task.group for task in self.tasks)

    def places(self, need: Need) -> int:
        """How many more tasks of this size fit, whatever its status."""
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
    """The hosts of one Auto Scaling group, and what the group wants."""

    hosts: Sequence[HostState]
    desired: int
    """How many instances the group wants; those that have not registered yet are on their way."""
    maximum: int
    minimum: int = 0

    @property
    def on_their_way(self) -> int:
        """Instances that the group has asked for and that are no hosts yet."""
        return max(0, self.desired - len(self.hosts))


def _plus(count: int | None, more: int) -> int | None:
    return None if count is None else max(0, count + more)
