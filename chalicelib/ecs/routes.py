"""ECS's events, as EventBridge delivers them: at least once, in any order."""

from typing import Any

from chalice.app import Blueprint, CloudWatchEvent

from chalicelib.ecs.task_changes import parse_task
from chalicelib.ecs.task_definitions import CONTAINER
from chalicelib.wiring import services

routes = Blueprint(__name__)

TASK_CHANGES: dict[str, Any] = {
    "source": ["aws.ecs"],
    "detail-type": ["ECS Task State Change"],
    "detail": {"lastStatus": ["RUNNING", "STOPPED"]},
}
"""Only what can change a session: the steps between are nobody's news."""


@routes.on_cw_event(TASK_CHANGES, name="task_changed")
def task_changed(event: CloudWatchEvent) -> None:
    """A task runs, became healthy, or stopped."""
    services().sessions.on_task_change(parse_task(event.detail, CONTAINER))
