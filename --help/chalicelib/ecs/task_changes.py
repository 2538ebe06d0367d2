"""A task's state in ECS, from a Task State Change event or from DescribeTasks. Pure.

Both have the same structure and become a `TaskChange`. Events arrive at least once and in any
order; `version` decides which is newer (the event envelope's `version` is always "0").
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chalicelib.contract.text import readable
from chalicelib.ecs.failures import LaunchFailure, failure_of_reason
from chalicelib.ecs.public_text import for_clients

PROVISIONING, RUNNING, STOPPED = "PROVISIONING", "RUNNING", "STOPPED"
OURS = frozenset({"session", "job"})
"""Names of Usher's container in a task; AWS may add others."""
SETTLE_SECONDS = 15
"""ListTasks lags behind RunTask; a task that is missing for less than this is not lost."""


@dataclass(frozen=True)
class TaskChange:
    """One observation of one task. Fields have ECS's names."""

    task_arn: str
    version: int
    last_status: str
    desired_status: str
    started_by: str | None = None
    task_definition_arn: str | None = None
    container_instance_arn: str | None = None
    network_interface_id: str | None = None
    host_port: int | None = None
    health_status: str | None = None
    exit_code: int | None = None
    stop_code: str | None = None
    stopped_reason: str | None = None
    container_reason: str | None = None
    created_at: float | None = None
    pull_started_at: float | None = None
    """When its host began to start it, if ECS reports that."""

    @property
    def is_stopped(self) -> bool:
        """Whether it has stopped."""
        return self.last_status == STOPPED

    @property
    def waits_for_host(self) -> bool:
        """Whether ECS has accepted it and no host has: it waits for capacity or its network
        interface.
        """
        return (
            self.last_status == PROVISIONING
            and self.desired_status != STOPPED
            and self.container_instance_arn is None
        )

    @property
    def found_no_host(self) -> bool:
        """Whether ECS stopped it for lack of capacity: it ran nothing, and a new attempt is
        possible.
        """
        return (
            self.is_stopped
            and self.stop_code == "TaskFailedToStart"
            and self.exit_code is None
            and self.stopped_reason is not None
            and failure_of_reason(self.stopped_reason) is LaunchFailure.CAPACITY
        )

    @property
    def is_running(self) -> bool:
        """Whether its containers have started; it has no address before."""
        return self.last_status == RUNNING

    def is_younger_than(self, seconds: float, now: float) -> bool:
        """Whether ECS accepted it within the last `seconds`."""
        return self.created_at is not None and now - self.created_at < seconds

    @property
    def stop_texts(self) -> str:
        """All of ECS's texts about the end, for logs."""
        reasons = (self.container_reason, self.stopped_reason, self.stop_code)
        text = readable("; ".join(word for word in reasons if word), 1_000)
        return text if self.exit_code is None else f"{text} (exit code {self.exit_code})"

    @property
    def why_stopped(self) -> str:
        """ECS's most specific text about the end, filtered for clients."""
        reasons = [self.container_reason, self.stopped_reason, self.stop_code]
        found = next((word for word in reasons if word), "stopped without a reason")
        text = readable(for_clients(found), 1_000)
        return text if self.exit_code is None else f"{text} (exit code {self.exit_code})"


def is_in_clusters(detail: Mapping[str, Any], clusters: Collection[str]) -> bool:
    """Whether the `detail` of an ECS event has one of these clusters.

    Events of tasks and of container instances have `clusterArn`; one without it is ignored.
    """
    return str(detail.get("clusterArn", "")).partition(":cluster/")[2] in clusters


def parse_task(task: Mapping[str, Any]) -> TaskChange:
    """Parse `detail` of a Task State Change event, or a task of DescribeTasks."""
    of_container: Mapping[str, Any] = next(
        (c for c in task.get("containers", ()) if c.get("name") in OURS), {}
    )
    bindings = of_container.get("networkBindings") or ()
    return TaskChange(
        task_arn=task["taskArn"],
        version=int(task.get("version", 0)),
        last_status=task["lastStatus"],
        desired_status=task.get("desiredStatus", ""),
        started_by=task.get("startedBy"),
        task_definition_arn=task.get("taskDefinitionArn"),
        container_instance_arn=task.get("containerInstanceArn"),
        network_interface_id=_network_interface(task),
        host_port=next((int(b["hostPort"]) for b in bindings if b.get("hostPort")), None),
        health_status=of_container.get("healthStatus"),
        exit_code=of_container.get("exitCode"),
        stop_code=task.get("stopCode"),
        stopped_reason=task.get("stoppedReason"),
        container_reason=of_container.get("reason"),
        created_at=_instant(task.get("createdAt")),
        pull_started_at=_instant(task.get("pullStartedAt")),
    )


def _instant(at: Any) -> float | None:
    """Times are ISO 8601 in events and datetime in boto3."""
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    return at.timestamp() if isinstance(at, datetime) else None


def _network_interface(task: Mapping[str, Any]) -> str | None:
    for attachment in task.get("attachments", ()):
        for detail in attachment.get("details", ()):
            if detail.get("name") == "networkInterfaceId":
                return str(detail["value"])
    return None
