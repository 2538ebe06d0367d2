"""ECS's events, as EventBridge delivers them: at least once, in any order."""

from typing import Any

from chalice.app import Blueprint, CloudWatchEvent, Rate

from chalicelib.config import cluster_name, judges_cluster_name, stage
from chalicelib.wiring import services

routes = Blueprint(__name__)

OWN_CLUSTER: list[dict[str, str]] = [{"suffix": f":cluster/{cluster_name(stage())}"}]
"""A rule gets the events of every cluster of its account and region: others are filtered out."""
OWN_CLUSTERS = [*OWN_CLUSTER, {"suffix": f":cluster/{judges_cluster_name(stage())}"}]
"""That of judges too, which a stage without graders does not have."""

PLANNER_SECONDS = 20
"""Kept of the sweep's time for the hosts."""

TASK_CHANGES: dict[str, Any] = {
    "source": ["aws.ecs"],
    "detail-type": ["ECS Task State Change"],
    "detail": {"clusterArn": OWN_CLUSTERS, "lastStatus": ["RUNNING", "STOPPED"]},
}
"""Only states that can change a session; intermediate states are ignored."""


HOST_CHANGES: dict[str, Any] = {
    "source": ["aws.ecs"],
    "detail-type": ["ECS Container Instance State Change"],
    "detail": {
        "clusterArn": OWN_CLUSTER,
        "$or": [{"status": [{"anything-but": "ACTIVE"}]}, {"agentConnected": [False]}],
    },
}
"""Hosts that drain or end. Changes of a host by starts and ends of tasks are ignored."""


@routes.on_cw_event(HOST_CHANGES, name="host_changed")
def host_changed(event: CloudWatchEvent) -> None:
    """A host of this stage drains, lost its agent, or is gone."""
    from chalicelib.ecs.hosts import is_leaving
    from chalicelib.ecs.task_changes import is_in_clusters

    is_own = is_in_clusters(event.detail, {services().config.cluster})  # where sessions run
    if is_own and is_leaving(event.detail):
        services().sessions.service.on_host_leaving(event.detail["containerInstanceArn"])


@routes.on_cw_event(TASK_CHANGES, name="task_changed")
def task_changed(event: CloudWatchEvent) -> None:
    """A task of this stage runs, became healthy, or stopped."""
    from chalicelib.ecs.task_changes import is_in_clusters, parse_task

    if is_in_clusters(event.detail, services().config.clusters):
        services().on_task_change(parse_task(event.detail))


@routes.schedule(Rate(1, unit=Rate.MINUTES), name="sweep")
def sweep(event: CloudWatchEvent) -> dict[str, int]:
    """Compare all records with all tasks, and repair, as far as the function's time allows. Then
    plan the hosts, where an Auto Scaling group is named for it.
    """
    plans_hosts = services().config.hosts_group is not None
    kept = PLANNER_SECONDS if plans_hosts else 0
    done = services().sweep.run(lambda: event.context.get_remaining_time_in_millis() / 1_000 - kept)
    if plans_hosts:
        services().host_planner.run()
    return done
