"""A task definition with a request's overrides applied: its containers and resources. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskOverride.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.aws.ecs.errors import invalid_parameter
from local.aws.ecs.placement import Need
from local.aws.ecs.task_definitions import TaskDefinition
from local.hosts.base import ContainerSpec, PortMapping

DEFAULT_STOP_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class HealthCheck:
    command: tuple[str, ...]
    interval_seconds: float
    timeout_seconds: float
    retries: int
    start_period_seconds: float


@dataclass(frozen=True)
class ContainerPlan:
    """One container to run; host ports may still be 0, which means any."""

    definition: Mapping[str, Any]
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    """Variables whose values are fetched when the container starts: name to reference."""
    command: tuple[str, ...] | None
    cpu: int
    memory: int | None
    memory_reservation: int | None

    @property
    def name(self) -> str:
        return str(self.definition["name"])

    @property
    def image(self) -> str:
        return str(self.definition["image"])

    @property
    def essential(self) -> bool:
        return bool(self.definition["essential"])

    @property
    def stop_timeout_seconds(self) -> float:
        return float(self.definition.get("stopTimeout", DEFAULT_STOP_TIMEOUT_SECONDS))

    @property
    def ports(self) -> tuple[PortMapping, ...]:
        return tuple(
            PortMapping(mapping["containerPort"], mapping["hostPort"], mapping["protocol"])
            for mapping in self.definition["portMappings"]
        )

    def log_stream(self, task_id: str) -> tuple[str, str] | None:
        """Group and stream of the log driver awslogs; None with any other.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html
        """
        log = self.definition.get("logConfiguration") or {}
        if log.get("logDriver") != "awslogs":
            return None
        options = log.get("options") or {}
        prefix = options.get("awslogs-stream-prefix")
        stream = f"{prefix}/{self.name}/{task_id}" if prefix else f"{self.name}/{task_id}"
        return str(options.get("awslogs-group", "")), stream

    @property
    def health_check(self) -> HealthCheck | None:
        check = self.definition.get("healthCheck")
        if check is None:
            return None
        return HealthCheck(
            tuple(check["command"]),
            float(check["interval"]),
            float(check["timeout"]),
            check["retries"],
            float(check.get("startPeriod", 0)),
        )


@dataclass(frozen=True)
class TaskPlan:
    """A task to start, once for each of RunTask's count; containers in their order of start."""

    definition: TaskDefinition
    containers: tuple[ContainerPlan, ...]
    cpu: str | None
    memory: str | None
    role_arn: str | None

    @property
    def need(self) -> Need:
        """Task-level sizes are reserved where they are given, else the sum over the containers."""
        cpu = int(self.cpu) if self.cpu else sum(c.cpu for c in self.containers)
        memory = (
            int(self.memory)
            if self.memory
            else sum(
                c.memory_reservation if c.memory_reservation is not None else c.memory or 0
                for c in self.containers
            )
        )
        fixed = frozenset(
            (port.host_port, port.protocol)
            for container in self.containers
            for port in container.ports
            if port.host_port
        )
        return Need(cpu, memory, fixed)


def plan(definition: TaskDefinition, overrides: Mapping[str, Any]) -> TaskPlan:
    """Raises InvalidParameterException for overrides of containers that do not exist."""
    content = definition.content
    by_name: dict[str, Mapping[str, Any]] = {}
    known = [container["name"] for container in content["containerDefinitions"]]
    for override in overrides.get("containerOverrides") or []:
        name = override.get("name")
        if name not in known:
            raise invalid_parameter(
                f"Override for container named {name} is not a container in the TaskDefinition."
            )
        by_name[name] = override
    return TaskPlan(
        definition=definition,
        containers=tuple(
            _plan_container(container, by_name.get(container["name"], {}))
            for container in _in_order(content["containerDefinitions"])
        ),
        cpu=overrides.get("cpu") or content.get("cpu"),
        memory=overrides.get("memory") or content.get("memory"),
        role_arn=overrides.get("taskRoleArn") or content.get("taskRoleArn"),
    )


def _plan_container(definition: Mapping[str, Any], override: Mapping[str, Any]) -> ContainerPlan:
    environment = {pair["name"]: pair.get("value", "") for pair in definition["environment"]}
    environment |= {
        pair["name"]: pair.get("value", "") for pair in override.get("environment") or []
    }
    secrets = {pair["name"]: pair["valueFrom"] for pair in definition.get("secrets") or []}
    command = override.get("command") or definition.get("command")
    return ContainerPlan(
        definition=definition,
        environment=environment,
        secrets=secrets,
        command=tuple(command) if command else None,
        cpu=override.get("cpu") or definition["cpu"],
        memory=override.get("memory") or definition.get("memory"),
        memory_reservation=override.get("memoryReservation") or definition.get("memoryReservation"),
    )


def _in_order(containers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Each container after those it depends on. Raises InvalidParameterException for a circle."""
    waiting, ordered = list(containers), list[Mapping[str, Any]]()
    while waiting:
        started = {container["name"] for container in ordered}
        ready = [
            container
            for container in waiting
            if all(d["containerName"] in started for d in container.get("dependsOn", []))
        ]
        if not ready:
            raise invalid_parameter("Container dependencies cannot be resolved.")
        ordered.append(ready[0])
        waiting.remove(ready[0])
    return ordered


def spec_of(
    container: ContainerPlan,
    task: TaskPlan,
    *,
    task_id: str,
    ports: Sequence[PortMapping],
    environment: Mapping[str, str],
    address: str,
) -> ContainerSpec:
    """The input of a host; `environment` is added by ECS and overridden by the container's.

    `address` is where the ports are published.
    """
    definition = container.definition
    linux = definition.get("linuxParameters", {})
    memory = container.memory
    if memory is None and task.memory:
        memory = int(task.memory)
    return ContainerSpec(
        task_id=task_id,
        name=container.name,
        image=container.image,
        entry_point=definition.get("entryPoint"),
        command=container.command,
        environment={**environment, **container.environment},
        ports=tuple(ports),
        cpu_units=container.cpu,
        memory_mib=memory,
        user=definition.get("user"),
        read_only_root=definition.get("readonlyRootFilesystem", False),
        drop_capabilities=tuple(linux.get("capabilities", {}).get("drop", ())),
        no_new_privileges="no-new-privileges" in definition.get("dockerSecurityOptions", ()),
        init_process=linux.get("initProcessEnabled", False),
        network_mode=str(task.definition.content["networkMode"]),
        address=address,
        volumes=_empty_volumes(task.definition.content, definition),
        tmpfs={mount["containerPath"]: mount["size"] for mount in linux.get("tmpfs", ())},
        ulimits={
            limit["name"]: (limit["softLimit"], limit["hardLimit"])
            for limit in definition.get("ulimits", ())
        },
        working_directory=definition.get("workingDirectory"),
        log_stream=container.log_stream(task_id),
        health_check=definition.get("healthCheck", {}).get("command"),
    )


def _empty_volumes(task: Mapping[str, Any], container: Mapping[str, Any]) -> tuple[str, ...]:
    """Mount points of volumes that neither a host nor a file system fills."""
    empty = {
        volume["name"]
        for volume in task.get("volumes") or ()
        if not (volume.get("host") or {}).get("sourcePath")
        and not volume.get("efsVolumeConfiguration")
    }
    mounts = container.get("mountPoints") or ()
    return tuple(m["containerPath"] for m in mounts if m.get("sourceVolume") in empty)
