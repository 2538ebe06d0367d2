"""Task definitions: families, revisions, and what ECS accepts in them. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
"""

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.ecs import fargate
from local.aws.ecs.arns import Arns, name_of
from local.aws.ecs.errors import EcsApiError, client_error, invalid_parameter
from local.aws.ecs.shapes import read_tags

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_NETWORK_MODES = ("bridge", "host", "none", "awsvpc")
_FIELDS = (
    "family",
    "taskRoleArn",
    "executionRoleArn",
    "networkMode",
    "volumes",
    "placementConstraints",
    "requiresCompatibilities",
    "cpu",
    "memory",
    "pidMode",
    "ipcMode",
    "proxyConfiguration",
    "ephemeralStorage",
    "runtimePlatform",
    "enableFaultInjection",
)


@dataclass(frozen=True)
class TaskDefinition:
    """One revision. `content` is what was registered, completed with ECS's defaults."""

    arn: str
    family: str
    revision: int
    content: dict[str, Any]
    registered_at: float
    tags: tuple[tuple[str, str], ...] = ()
    deregistered_at: float | None = None

    @property
    def is_active(self) -> bool:
        return self.deregistered_at is None

    def show(self) -> dict[str, Any]:
        shown = copy.deepcopy(self.content) | {
            "taskDefinitionArn": self.arn,
            "revision": self.revision,
            "status": "ACTIVE" if self.is_active else "INACTIVE",
            "registeredAt": self.registered_at,
            "registeredBy": "arn:aws:iam::" + self.arn.split(":")[4] + ":root",
            "requiresAttributes": [],
        }
        if self.deregistered_at is not None:
            shown["deregisteredAt"] = self.deregistered_at
        return shown


@dataclass
class TaskDefinitions:
    """All revisions of all families. Not thread-safe."""

    arns: Arns
    health_interval_floor_seconds: int = 5
    _families: dict[str, list[TaskDefinition]] = field(default_factory=dict)

    def register(self, parameters: dict[str, Any], now: float) -> TaskDefinition:
        """The next revision of its family. Raises ClientException for what ECS refuses."""
        content = completed(parameters, self.health_interval_floor_seconds)
        revisions = self._families.setdefault(content["family"], [])
        revision = len(revisions) + 1
        definition = TaskDefinition(
            arn=self.arns.task_definition(content["family"], revision),
            family=content["family"],
            revision=revision,
            content=content,
            registered_at=now,
            tags=read_tags(parameters.get("tags")),
        )
        revisions.append(definition)
        return definition

    def find(self, identifier: str) -> TaskDefinition:
        """The revision with this ARN or `family:revision`, or the latest active one of `family`.
        Raises ClientException if there is none.
        """
        family, _, revision = name_of(identifier).partition(":")
        revisions = self._families.get(family, [])
        if revision:
            if not revision.isdecimal():
                raise client_error(f"Invalid revision number. Number: {revision}")
            found = [d for d in revisions if d.revision == int(revision)]
        else:
            found = [d for d in revisions if d.is_active][-1:]
        if not found:
            raise client_error("Unable to describe task definition.")
        return found[0]

    def find_active(self, identifier: str) -> TaskDefinition:
        """Raises ClientException if there is none, or if it may not start tasks any more."""
        try:
            definition = self.find(identifier)
        except EcsApiError as error:
            raise client_error("TaskDefinition not found.") from error
        if not definition.is_active:
            raise client_error("TaskDefinition is inactive")
        return definition

    def deregister(self, identifier: str, now: float) -> TaskDefinition:
        """No new tasks of this revision. Its number is not used again."""
        if ":" not in name_of(identifier):
            raise client_error("Task definition must have a revision.")
        definition = self.find(identifier)
        if definition.is_active:
            definition = self._put(replace(definition, deregistered_at=now))
        return definition

    def tag(self, arn: str, tags: tuple[tuple[str, str], ...]) -> None:
        self._put(replace(self.find(arn), tags=tags))

    def select(self, family: str | None, *, active: bool) -> list[TaskDefinition]:
        chosen = self._families.values() if family is None else [self._families.get(family, [])]
        return [d for revisions in chosen for d in revisions if d.is_active is active]

    def families(self, prefix: str, status: str) -> list[str]:
        """Families with an active revision (ACTIVE), with none (INACTIVE), or ALL."""
        return [
            family
            for family, revisions in self._families.items()
            if family.startswith(prefix)
            and status in ("ALL", "ACTIVE" if any(d.is_active for d in revisions) else "INACTIVE")
        ]

    def _put(self, definition: TaskDefinition) -> TaskDefinition:
        self._families[definition.family][definition.revision - 1] = definition
        return definition


def completed(parameters: dict[str, Any], health_interval_floor_seconds: int) -> dict[str, Any]:
    """The parameters of RegisterTaskDefinition with ECS's defaults.

    Raises ClientException or InvalidParameterException as ECS does.
    """
    family = parameters.get("family")
    if not isinstance(family, str) or not _NAME.fullmatch(family):
        raise client_error("Family must be 1 to 255 letters, numbers, underscores or hyphens.")
    content = {
        name: copy.deepcopy(parameters[name])
        for name in _FIELDS
        if parameters.get(name) is not None
    }
    content.setdefault("networkMode", "bridge")
    content.setdefault("volumes", [])
    content.setdefault("placementConstraints", [])
    if content["networkMode"] not in _NETWORK_MODES:
        raise client_error(f"Invalid networkMode: {content['networkMode']}")
    wants = content.get("requiresCompatibilities", [])
    content["compatibilities"] = ["EC2", *(c for c in wants if c != "EC2")]
    for name in ("cpu", "memory"):
        if name in content and not re.fullmatch(r"\d+", str(content[name])):
            raise client_error(f"Invalid '{name}' setting for task: {content[name]}")
    if "FARGATE" in wants:
        _check_fargate(content, parameters.get("containerDefinitions") or ())
    containers = parameters.get("containerDefinitions")
    if not isinstance(containers, list) or not containers:
        raise client_error("Container list cannot be empty.")
    names = [container.get("name") for container in containers]
    if len(set(names)) != len(names):
        raise client_error("Container names must be unique.")
    content["containerDefinitions"] = [
        _completed_container(container, content, health_interval_floor_seconds)
        for container in containers
    ]
    if not any(container["essential"] for container in content["containerDefinitions"]):
        raise client_error("Tasks must have at least one essential container.")
    return content


def _check_fargate(content: dict[str, Any], containers: Iterable[dict[str, Any]]) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html"""
    if content["networkMode"] != "awsvpc":
        raise client_error("Fargate only supports network mode ‘awsvpc’.")
    for name in ("cpu", "memory"):
        if name not in content:
            raise client_error(f"Fargate requires that '{name}' be defined at the task level.")
    if not fargate.exists(int(content["cpu"]), int(content["memory"])):
        raise client_error(fargate.REFUSAL)
    for container in containers:
        linux = container.get("linuxParameters") or {}
        unsupported = [name for name in ("tmpfs", "devices", "sharedMemorySize") if linux.get(name)]
        if container.get("privileged"):
            unsupported.append("privileged")
        if container.get("dockerSecurityOptions"):
            unsupported.append("dockerSecurityOptions")
        if unsupported:
            raise client_error(
                f"Fargate compatible task definitions do not support {unsupported[0]}"
            )


def _completed_container(
    container: dict[str, Any], task: dict[str, Any], health_interval_floor_seconds: int
) -> dict[str, Any]:
    name = container.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise client_error("Container.name contains invalid characters.")
    if not container.get("image"):
        raise client_error(f"Container.image should not be null or empty. Container: {name}")
    full: dict[str, Any] = {
        "cpu": 0,
        "portMappings": [],
        "essential": True,
        "environment": [],
        "mountPoints": [],
        "volumesFrom": [],
        "systemControls": [],
    } | copy.deepcopy(container)
    _check_memory(full, task)
    _check_stop_timeout(full)
    _check_log(full)
    full["portMappings"] = [
        _completed_port(mapping, task["networkMode"], name) for mapping in full["portMappings"]
    ]
    if "healthCheck" in full:
        full["healthCheck"] = _completed_health_check(
            full["healthCheck"], health_interval_floor_seconds
        )
    for dependency in full.get("dependsOn", []):
        if dependency.get("condition") != "START":
            raise client_error(
                f"Container '{name}': the local engine knows dependsOn only with START."
            )
    return full


def _check_memory(container: dict[str, Any], task: dict[str, Any]) -> None:
    hard, soft = container.get("memory"), container.get("memoryReservation")
    setting = f"Invalid setting for container '{container['name']}'."
    if hard is None and soft is None and "memory" not in task:
        raise client_error(
            f"{setting} At least one of 'memory' or 'memoryReservation' must be specified."
        )
    if hard is not None and hard < 6:
        raise client_error(f"{setting} 'memory' must be at least 6 MiB.")
    if hard is not None and soft is not None and hard < soft:
        raise client_error(f"{setting} 'memory' must not be less than 'memoryReservation'.")
    if "memory" in task and hard is not None and hard > int(task["memory"]):
        raise client_error(f"{setting} 'memory' must not exceed the task's memory.")


def _check_stop_timeout(container: dict[str, Any]) -> None:
    timeout = container.get("stopTimeout")
    if timeout is not None and not 0 <= timeout <= 86400:
        raise client_error(f"Invalid stopTimeout for container '{container['name']}'.")


def _check_log(container: dict[str, Any]) -> None:
    log = container.get("logConfiguration") or {}
    needed = ("awslogs-region", "awslogs-group")
    missing = [option for option in needed if not (log.get("options") or {}).get(option)]
    if log.get("logDriver") == "awslogs" and missing:
        raise client_error(f"Log driver awslogs requires options: {', '.join(missing)}")


def _completed_port(mapping: dict[str, Any], network_mode: str, name: str) -> dict[str, Any]:
    container_port = mapping.get("containerPort")
    if not isinstance(container_port, int) or not 1 <= container_port <= 65535:
        raise client_error(f"Invalid containerPort for container '{name}'.")
    same_port = network_mode in ("host", "awsvpc")
    host_port = mapping.get("hostPort", container_port if same_port else 0)
    if same_port and host_port != container_port:
        raise client_error(
            f"When networkMode={network_mode}, the host ports and container ports "
            "in port mappings must match."
        )
    if not 0 <= host_port <= 65535:
        raise client_error(f"Invalid hostPort for container '{name}'.")
    protocol = mapping.get("protocol", "tcp")
    if protocol not in ("tcp", "udp"):
        raise client_error(f"Invalid protocol for container '{name}'.")
    if network_mode == "none":
        raise client_error("Port mappings are not allowed when networkMode=none.")
    return mapping | {"hostPort": host_port, "protocol": protocol}


def _completed_health_check(check: dict[str, Any], interval_floor: int) -> dict[str, Any]:
    """Ranges: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html"""
    command = check.get("command") or []
    if len(command) < 2 or command[0] not in ("CMD", "CMD-SHELL"):
        raise invalid_parameter("healthCheck.command must begin with CMD or CMD-SHELL.")
    full = {"interval": 30, "timeout": 5, "retries": 3} | check
    for name, low, high in (
        ("interval", interval_floor, 300),
        ("timeout", min(2, interval_floor), 120),
        ("retries", 1, 10),
        ("startPeriod", 0, 300),
    ):
        if name in full and not low <= full[name] <= high:
            raise invalid_parameter(f"healthCheck.{name} must be between {low} and {high}.")
    return full
