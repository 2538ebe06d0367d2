"""The ECS agent's metadata of a container's own task. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-response.html
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from local.aws.ecs.model import Container, Task

VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"
PATH = "/v4/"


def metadata_id(task_id: str, place: int) -> str:
    """The name of the container at `place` of a task at the endpoint."""
    return f"{task_id}-{place}"


def answer(
    segments: Sequence[str], task: Task, definition: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The answer to GET /v4/{words[0]}/{words[1]}…; None where there is nothing.

    `task` is the one whose id is in words[0], `definition` the content of its task definition.
    """
    place = segments[0].rpartition("-")[2]
    if not place.isdecimal() or int(place) >= len(task.containers):
        return None
    if list(segments[1:]) == ["task"]:
        return show_task(task, definition)
    if len(segments) == 1:
        return show_container(task.containers[int(place)], task, definition)
    return None


def show_task(task: Task, definition: Mapping[str, Any]) -> dict[str, Any]:
    """The task and all its containers."""
    shown: dict[str, Any] = {
        "Cluster": task.cluster_arn,
        "TaskARN": task.arn,
        "Family": task.family,
        "Revision": task.definition_arn.rpartition(":")[2],
        "DesiredStatus": task.desired_status.value,
        "KnownStatus": task.last_status.value,
        "PullStartedAt": _instant(task.pull_started_at),
        "PullStoppedAt": _instant(task.pull_stopped_at),
        "AvailabilityZone": task.availability_zone,
        "LaunchType": task.launch_type,
        "Containers": [show_container(c, task, definition) for c in task.containers],
    }
    if task.cpu or task.memory:
        shown["Limits"] = {
            **({"CPU": int(task.cpu) / 1024} if task.cpu else {}),
            **({"Memory": int(task.memory)} if task.memory else {}),
        }
    return {name: value for name, value in shown.items() if value is not None}


def show_container(
    container: Container, task: Task, definition: Mapping[str, Any]
) -> dict[str, Any]:
    """One container."""
    written: Mapping[str, Any] = next(
        (c for c in definition["containerDefinitions"] if c["name"] == container.name), {}
    )
    log = written.get("logConfiguration", {})
    shown: dict[str, Any] = {
        "DockerId": container.runtime_id,
        "Name": container.name,
        "DockerName": f"ecs-{task.family}-{container.name}-{task.id}",
        "Image": container.image,
        "Labels": {
            **written.get("dockerLabels", {}),
            "com.amazonaws.ecs.cluster": task.cluster_arn,
            "com.amazonaws.ecs.container-name": container.name,
            "com.amazonaws.ecs.task-arn": task.arn,
            "com.amazonaws.ecs.task-definition-family": task.family,
            "com.amazonaws.ecs.task-definition-version": task.definition_arn.rpartition(":")[2],
        },
        "DesiredStatus": task.desired_status.value,
        "KnownStatus": container.last_status.value,
        "Limits": {"CPU": container.cpu, "Memory": container.memory or 0},
        "CreatedAt": _instant(task.created_at),
        "StartedAt": _instant(task.started_at),
        "Type": "NORMAL",
        "ContainerARN": container.arn,
        "LogDriver": log.get("logDriver"),
        "LogOptions": log.get("options"),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _instant(at: float | None) -> str | None:
    if at is None:
        return None
    written = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "Z")
