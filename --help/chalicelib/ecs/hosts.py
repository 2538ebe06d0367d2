"""Parses container instances, their events, and the tasks on them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

ZONE, INSTANCE_TYPE = "ecs.availability-zone", "ecs.instance-type"


@dataclass(frozen=True)
class Resource:
    """One resource of a host: its registered and remaining amounts."""

    total: int
    left: int


@dataclass(frozen=True)
class Host:
    """A container instance. `cpu` in ECS units (1024 = one core), `memory` in MiB."""

    arn: str
    ec2_instance_id: str | None
    status: str
    """ACTIVE, DRAINING, REGISTERING, …"""
    is_connected: bool
    """Whether its agent is connected to ECS."""
    running_tasks: int
    pending_tasks: int
    registered_at: float | None
    cpu: Resource
    memory: Resource
    zone: str | None = None
    instance_type: str | None = None
    capacity_provider: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    used_ports: frozenset[int] = frozenset()

    @property
    def is_leaving(self) -> bool:
        """Whether it accepts no more tasks."""
        return self.status != "ACTIVE" or not self.is_connected


def is_leaving(instance: Mapping[str, Any]) -> bool:
    """Whether a host accepts no more tasks: draining, deregistered, or with a disconnected
    agent.
    """
    return instance.get("status") != "ACTIVE" or instance.get("agentConnected") is False


def host_id_of(arn: str) -> str:
    """The id of a container instance: the last part of its ARN."""
    return arn.rpartition("/")[2]


def parse_host(instance: Mapping[str, Any]) -> Host:
    """Parse a container instance of DescribeContainerInstances."""
    attributes = {one["name"]: one.get("value") for one in instance.get("attributes", ())}
    registered = instance.get("registeredAt")
    return Host(
        arn=instance["containerInstanceArn"],
        ec2_instance_id=instance.get("ec2InstanceId"),
        status=instance.get("status", ""),
        is_connected=instance.get("agentConnected") is not False,
        running_tasks=int(instance.get("runningTasksCount", 0)),
        pending_tasks=int(instance.get("pendingTasksCount", 0)),
        registered_at=registered.timestamp() if isinstance(registered, datetime) else None,
        cpu=_resource(instance, "CPU"),
        memory=_resource(instance, "MEMORY"),
        zone=attributes.get(ZONE),
        instance_type=attributes.get(INSTANCE_TYPE),
        capacity_provider=instance.get("capacityProviderName"),
        attributes={name: value or "" for name, value in attributes.items()},
        used_ports=_used_ports(instance),
    )


def _resource(instance: Mapping[str, Any], name: str) -> Resource:
    total, left = (
        next((int(one["integerValue"]) for one in instance.get(key, ()) if one["name"] == name), 0)
        for key in ("registeredResources", "remainingResources")
    )
    return Resource(total, left)


def _used_ports(instance: Mapping[str, Any]) -> frozenset[int]:
    """Used host ports. Unlike other resources, `remainingResources` lists ports in use."""
    taken = (
        int(port)
        for one in instance.get("remainingResources", ())
        if one["name"] in {"PORTS", "PORTS_UDP"}
        for port in one.get("stringSetValue", ())
    )
    return frozenset(taken)
