"""Tasks, containers and instances in the API's answers and events.

Shapes: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html and
API_ContainerInstance.html. Times are seconds since the epoch, as in the JSON protocol.
"""

from typing import Any
from unicodedata import category

from local.aws.ecs.errors import invalid_parameter
from local.aws.ecs.model import Container, Status, Task
from local.aws.ecs.placement import Instance
from local.hosts.base import PortMapping

AGENT_VERSION = "local"
MAX_TAG_KEY = 128
MAX_TAG_VALUE = 256


def show_task(task: Task, *, with_tags: bool = False) -> dict[str, Any]:
    hidden = task.shows_no_host_yet and task.last_status is Status.PROVISIONING
    shown: dict[str, Any] = {
        "attachments": [_show_interface(task)] if task.interface else [],
        "attributes": [],
        "availabilityZone": None if hidden else task.availability_zone,
        "capacityProviderName": task.capacity_provider,
        "clusterArn": task.cluster_arn,
        "connectivity": "CONNECTED",
        "connectivityAt": task.created_at,
        "containerInstanceArn": None if hidden else task.instance_arn,
        "containers": [_show_container(container, task) for container in task.containers],
        "cpu": task.cpu,
        "createdAt": task.created_at,
        "desiredStatus": task.desired_status.value,
        "enableExecuteCommand": task.enable_execute_command,
        "executionStoppedAt": task.execution_stopped_at,
        "group": task.group,
        "healthStatus": task.health.value,
        "lastStatus": task.last_status.value,
        "launchType": task.launch_type,
        "memory": task.memory,
        "overrides": task.overrides,
        "pullStartedAt": task.pull_started_at,
        "pullStoppedAt": task.pull_stopped_at,
        "startedAt": task.started_at,
        "startedBy": task.started_by,
        "stopCode": task.stop_code.value if task.stop_code else None,
        "stoppedAt": task.stopped_at,
        "stoppedReason": task.stopped_reason,
        "stoppingAt": task.stopping_at,
        "tags": show_tags(task.tags) if with_tags else [],
        "taskArn": task.arn,
        "taskDefinitionArn": task.definition_arn,
        "version": task.version,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _show_interface(task: Task) -> dict[str, Any]:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Attachment.html"""
    if task.interface is None:
        raise ValueError(f"{task.arn} has no network interface")
    gone = "DELETED" if task.is_stopped else "ATTACHED"
    pending = task.last_status is Status.PROVISIONING
    details = {
        "subnetId": task.interface.subnet,
        "networkInterfaceId": task.interface.interface_id,
        "macAddress": task.interface.mac,
        "privateIPv4Address": task.interface.private_ip,
    }
    return {
        "id": task.interface.attachment_id,
        "type": "ElasticNetworkInterface",
        "status": "PRECREATED" if pending else gone,
        "details": [
            {"name": name, "value": value}
            for name, value in details.items()
            if name == "subnetId" or not pending
        ],
    }


def _show_container(container: Container, task: Task) -> dict[str, Any]:
    started = container.runtime_id is not None
    shown: dict[str, Any] = {
        "containerArn": container.arn,
        "taskArn": task.arn,
        "name": container.name,
        "image": container.image,
        "runtimeId": container.runtime_id,
        "lastStatus": container.last_status.value,
        "exitCode": container.exit_code,
        "reason": container.reason,
        "networkBindings": [
            _show_binding(port) for port in container.ports if started and not task.interface
        ],
        "networkInterfaces": [
            {
                "attachmentId": task.interface.attachment_id,
                "privateIpv4Address": task.interface.private_ip,
            }
        ]
        if task.interface
        else [],
        "healthStatus": container.health.value,
        "cpu": str(container.cpu),
        "memory": None if container.memory is None else str(container.memory),
        "memoryReservation": (
            None if container.memory_reservation is None else str(container.memory_reservation)
        ),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _show_binding(port: PortMapping) -> dict[str, Any]:
    return {
        "bindIP": "0.0.0.0",
        "containerPort": port.container_port,
        "hostPort": port.host_port,
        "protocol": port.protocol,
    }


def show_instance(instance: Instance, *, with_tags: bool = False) -> dict[str, Any]:
    registered = (instance.cpu, instance.memory, ())
    remaining = (instance.free_cpu, instance.free_memory, sorted(instance.used_ports))
    return {
        "containerInstanceArn": instance.arn,
        "ec2InstanceId": instance.ec2_instance_id,
        "version": instance.version,
        "versionInfo": {"agentVersion": AGENT_VERSION},
        "remainingResources": _show_resources(*remaining),
        "registeredResources": _show_resources(*registered),
        "status": instance.status,
        "agentConnected": instance.agent_connected,
        "runningTasksCount": instance.running_tasks,
        "pendingTasksCount": instance.pending_tasks,
        "attributes": [
            {"name": name, "value": value} for name, value in instance.attributes.items()
        ],
        "registeredAt": instance.registered_at,
        "attachments": [],
        "tags": show_tags(instance.tags) if with_tags else [],
        **(
            {"capacityProviderName": instance.capacity_provider}
            if instance.capacity_provider
            else {}
        ),
    }


def _show_resources(cpu: int, memory: int, ports: Any) -> list[dict[str, Any]]:
    """PORTS and PORTS_UDP list what is taken; the first five are those every instance keeps."""
    kept = ["22", "2375", "2376", "51678", "51679"]
    tcp = kept + [str(port) for port, protocol in ports if protocol == "tcp"]
    udp = [str(port) for port, protocol in ports if protocol == "udp"]
    return [
        _show_integer("CPU", cpu),
        _show_integer("MEMORY", memory),
        {"name": "PORTS", "type": "STRINGSET", **_NUMBERS, "stringSetValue": tcp},
        {"name": "PORTS_UDP", "type": "STRINGSET", **_NUMBERS, "stringSetValue": udp},
    ]


_NUMBERS = {"doubleValue": 0.0, "longValue": 0, "integerValue": 0}


def _show_integer(name: str, value: int) -> dict[str, Any]:
    return {"name": name, "type": "INTEGER", **_NUMBERS, "integerValue": value}


def show_tags(tags: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags]


def read_tags(tags: list[dict[str, str]] | None) -> tuple[tuple[str, str], ...]:
    """Raises InvalidParameterException for tags that ECS does not take.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Tag.html
    """
    read = tuple((tag.get("key", ""), tag.get("value", "")) for tag in tags or [])
    if len({key for key, _ in read}) < len(read):
        raise invalid_parameter("Duplicate tag keys found. Please note that Tag keys are unique.")
    for key, value in read:
        if not key or len(key) > MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
            raise invalid_parameter(f"A tag has 1 to {MAX_TAG_KEY} and 0 to {MAX_TAG_VALUE} chars.")
        if key.lower().startswith("aws:") or value.lower().startswith("aws:"):
            raise invalid_parameter("Tags with the prefix aws: are reserved for AWS.")
        if not all(map(_may_be_in_a_tag, key + value)):
            raise invalid_parameter(f"Tag {key!r} has characters that tags may not have.")
    return read


def _may_be_in_a_tag(char: str) -> bool:
    return char in "_.:/=+-@" or category(char)[0] in "LZN"
