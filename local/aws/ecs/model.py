"""Tasks and containers, and their transitions: pure, every change is a new version.

Order of states:
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html without
ACTIVATING and DEACTIVATING, which belong to load balancers and service discovery.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from local.hosts.base import Exit, Host, PortMapping


class Status(StrEnum):
    """lastStatus, declared in the order in which a task passes through them."""

    PROVISIONING = "PROVISIONING"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    DEPROVISIONING = "DEPROVISIONING"
    STOPPED = "STOPPED"


ORDER = {status: place for place, status in enumerate(Status)}


class StopCode(StrEnum):
    TASK_FAILED_TO_START = "TaskFailedToStart"
    ESSENTIAL_CONTAINER_EXITED = "EssentialContainerExited"
    USER_INITIATED = "UserInitiated"
    TERMINATION_NOTICE = "TerminationNotice"


class Health(StrEnum):
    UNKNOWN = "UNKNOWN"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"


@dataclass(frozen=True)
class HostSlot:
    """A host, with ECS's data on the EC2 instance that it simulates."""

    name: str
    host: Host
    address: str
    """Public IP address as clients see it."""
    cpu_units: int
    memory_mib: int
    ec2_instance_id: str
    availability_zone: str
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Interface:
    """A task's own network interface."""

    attachment_id: str
    interface_id: str
    subnet: str
    private_ip: str
    public_ip: str | None
    mac: str


@dataclass(frozen=True)
class Container:
    """One container of a task as DescribeTasks shows it."""

    arn: str
    name: str
    image: str
    essential: bool
    cpu: int
    memory: int | None
    memory_reservation: int | None
    ports: tuple[PortMapping, ...] = ()
    checks_health: bool = False
    last_status: Status = Status.PENDING
    runtime_id: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    health: Health = Health.UNKNOWN

    @property
    def is_running(self) -> bool:
        return self.last_status is Status.RUNNING

    @property
    def is_stopped(self) -> bool:
        return self.last_status is Status.STOPPED


@dataclass(frozen=True)
class Task:
    """One task. Instants are seconds since the epoch; `sequence` is the order of creation."""

    id: str
    arn: str
    cluster: str
    cluster_arn: str
    sequence: int
    definition_arn: str
    family: str
    instance_arn: str | None
    """None while it waits for a host, and on Fargate."""
    availability_zone: str | None
    group: str
    started_by: str | None
    cpu: str | None
    memory: str | None
    overrides: dict[str, Any]
    containers: tuple[Container, ...]
    created_at: float
    tags: tuple[tuple[str, str], ...] = ()
    capacity_provider: str | None = None
    launch_type: str = "EC2"
    shows_no_host_yet: bool = False
    """While PROVISIONING its container instance is not shown: it is placed later on ECS."""
    interface: "Interface | None" = None
    """The network interface of its own, with awsvpc."""
    enable_execute_command: bool = False
    last_status: Status = Status.PROVISIONING
    desired_status: Status = Status.RUNNING
    version: int = 1
    updated_at: float = 0.0
    pull_started_at: float | None = None
    pull_stopped_at: float | None = None
    started_at: float | None = None
    stopping_at: float | None = None
    execution_stopped_at: float | None = None
    stopped_at: float | None = None
    stop_code: StopCode | None = None
    stopped_reason: str | None = None

    @property
    def is_stopped(self) -> bool:
        return self.last_status is Status.STOPPED

    @property
    def is_waiting(self) -> bool:
        """Whether it counts against the quota of tasks in PROVISIONING."""
        return (
            self.last_status is Status.PROVISIONING
            and self.is_wanted
            and self.capacity_provider is not None
            and self.launch_type == "EC2"
        )

    @property
    def is_wanted(self) -> bool:
        return self.desired_status is Status.RUNNING

    @property
    def health(self) -> Health:
        """UNHEALTHY if an essential container is, HEALTHY if all checked ones are."""
        states = {c.health for c in self.containers if c.essential and c.checks_health}
        if Health.UNHEALTHY in states:
            return Health.UNHEALTHY
        return Health.HEALTHY if states == {Health.HEALTHY} else Health.UNKNOWN

    def container(self, name: str) -> Container:
        return next(c for c in self.containers if c.name == name)


def pulling(task: Task, now: float) -> Task:
    """The host has begun to pull the images."""
    return _changed(task, now, last_status=Status.PENDING, pull_started_at=now)


def container_started(task: Task, name: str, runtime_id: str, now: float) -> Task:
    """One container runs; with the last of them the task runs."""
    containers = _with(
        task,
        name,
        lambda c: replace(c, last_status=Status.RUNNING, runtime_id=runtime_id),
    )
    if task.last_status is Status.PENDING and all(c.runtime_id for c in containers):
        return _changed(
            task,
            now,
            containers=containers,
            last_status=Status.RUNNING,
            pull_stopped_at=now,
            started_at=now,
        )
    return _changed(task, now, containers=containers)


def container_failed(task: Task, name: str, reason: str, now: float) -> Task:
    """One container did not start, and so the task fails."""
    containers = _with(task, name, lambda c: replace(c, last_status=Status.STOPPED, reason=reason))
    cannot_pull = reason.startswith("CannotPull")
    return _changed(
        task,
        now,
        containers=containers,
        **_wish_to_stop(
            task,
            StopCode.TASK_FAILED_TO_START,
            reason if cannot_pull else "Task failed to start",
            now,
        ),
    )


def stop_requested(task: Task, code: StopCode, reason: str, now: float) -> Task:
    """Its desired status is STOPPED from now on. The first reason is kept."""
    return _changed(task, now, **_wish_to_stop(task, code, reason, now))


def stopping(task: Task, now: float) -> Task:
    """The containers were sent the stop signal."""
    return _changed(task, now, last_status=Status.STOPPING)


def container_exited(task: Task, name: str, ended: Exit, now: float) -> Task:
    """One container ended; an essential one takes the task with it."""
    before = task.container(name)
    containers = _with(
        task,
        name,
        lambda c: replace(c, last_status=Status.STOPPED, exit_code=ended.code, reason=ended.reason),
    )
    changes: dict[str, Any] = {"containers": containers}
    if before.essential:
        if task.execution_stopped_at is None:
            changes["execution_stopped_at"] = now
        changes |= _wish_to_stop(
            task, StopCode.ESSENTIAL_CONTAINER_EXITED, "Essential container in task exited", now
        )
    if all(c.is_stopped for c in containers):
        changes["last_status"] = Status.DEPROVISIONING
    return _changed(task, now, **changes)


def health_changed(task: Task, name: str, health: Health, now: float) -> Task:
    return _changed(task, now, containers=_with(task, name, lambda c: replace(c, health=health)))


def deprovisioning(task: Task, now: float) -> Task:
    """Nothing of the task runs any more; its resources are being released."""
    return _changed(task, now, last_status=Status.DEPROVISIONING)


def stopped(task: Task, now: float) -> Task:
    """The task has ended; containers that never started are shown as stopped too."""
    return _changed(task, now, **_end(task, now))


def host_terminated(task: Task, ec2_instance_id: str, now: float) -> Task:
    """The machine is gone: the exits of its containers are unknown."""
    reason = f"Host EC2 (instance {ec2_instance_id}) terminated."
    wish = _wish_to_stop(task, StopCode.TERMINATION_NOTICE, reason, now)
    return _changed(task, now, **wish, **_end(task, now))


def _end(task: Task, now: float) -> dict[str, Any]:
    return {
        "containers": tuple(replace(c, last_status=Status.STOPPED) for c in task.containers),
        "last_status": Status.STOPPED,
        "stopped_at": now,
    }


def _wish_to_stop(task: Task, code: StopCode, reason: str, now: float) -> dict[str, Any]:
    if not task.is_wanted:
        return {}
    return {
        "desired_status": Status.STOPPED,
        "stop_code": code,
        "stopped_reason": reason,
        "stopping_at": now,
    }


def _with(task: Task, name: str, change: Callable[[Container], Container]) -> tuple[Container, ...]:
    return tuple(change(c) if c.name == name else c for c in task.containers)


def _changed(task: Task, now: float, **changes: Any) -> Task:
    """The next version. Raises ValueError if a task would return to an earlier status."""
    status = changes.get("last_status", task.last_status)
    if ORDER[status] < ORDER[task.last_status] or task.is_stopped:
        raise ValueError(f"a task cannot go from {task.last_status} to {status}")
    return replace(task, version=task.version + 1, updated_at=now, **changes)
