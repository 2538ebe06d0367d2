"""ECS's events, as EventBridge delivers them: at least once, in any order."""

from typing import Any

from chalice.app import Blueprint, CloudWatchEvent, Rate

from chalicelib.ecs.hosts import is_leaving
from chalicelib.ecs.task_changes import parse_task
from chalicelib.wiring import services

routes = Blueprint(__name__)

TASK_CHANGES: dict[str, Any] = {
    "source": ["aws.ecs"],
    "detail-type": ["ECS Task State Change"],
    "detail": {"lastStatus": ["RUNNING", "STOPPED"]},
}
"""Only what can change a session: the steps between are nobody's news."""


HOST_CHANGES: dict[str, Any] = {
    "source": ["aws.ecs"],
    "detail-type": ["ECS Container Instance State Change"],
    "detail": {"$or": [{"status": [{"anything-but": "ACTIVE"}]}, {"agentConnected": [False]}]},
}
"""Hosts that leave. Each start and end of a task changes its host too, and is nobody's news."""


@routes.on_cw_event(HOST_CHANGES, name="host_changed")
def host_changed(event: CloudWatchEvent) -> None:
    """A host joined, drains, lost its agent, or is gone."""
    if is_leaving(event.detail):
        services().sessions.on_host_leaving(event.detail["containerInstanceArn"])


@routes.on_cw_event(TASK_CHANGES, name="task_changed")
def task_changed(event: CloudWatchEvent) -> None:
    """A task runs, became healthy, or stopped."""
    services().on_task_change(parse_task(event.detail))


@routes.schedule(Rate(1, unit=Rate.MINUTES), name="sweep")
def sweep(_event: Any) -> dict[str, int]:
    """Compare all records with all tasks, and repair."""
    return services().sweep.run()
