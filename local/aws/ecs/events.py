"""EventBridge events of tasks and container instances: pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwe_events.html
"""

from datetime import UTC, datetime
from typing import Any

from local.aws.ecs.model import Task
from local.aws.ecs.placement import Instance
from local.aws.ecs.shapes import show_instance, show_task


def task_event(task: Task, *, event_id: str, region: str, account: str) -> dict[str, Any]:
    """`ECS Task State Change`: the task as DescribeTasks shows it, instants as ISO 8601."""
    detail = show_task(task) | {"updatedAt": task.updated_at}
    head = {"id": event_id, "region": region, "account": account}
    return _event("ECS Task State Change", task.arn, detail, head)


def instance_event(
    instance: Instance, *, cluster_arn: str, now: float, event_id: str, region: str, account: str
) -> dict[str, Any]:
    """`ECS Container Instance State Change`."""
    detail = show_instance(instance) | {"clusterArn": cluster_arn, "updatedAt": now}
    kind = "ECS Container Instance State Change"
    head = {"id": event_id, "region": region, "account": account}
    return _event(kind, instance.arn, detail, head)


def _event(
    kind: str, resource: str, detail: dict[str, Any], head: dict[str, str]
) -> dict[str, Any]:
    return {
        "version": "0",
        **head,
        "detail-type": kind,
        "source": "aws.ecs",
        "time": iso(detail["updatedAt"])[:19] + "Z",
        "resources": [resource],
        "detail": {
            name: iso(value) if name.endswith("At") else value for name, value in detail.items()
        },
    }


def iso(instant: float) -> str:
    """ISO 8601 in UTC with milliseconds."""
    text = datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"
