"""Handlers of ECS's events. EventBridge delivers them at least once and in any order."""

from typing import Any

from chalice.app import Blueprint, CloudWatchEvent, Rate

from chalicelib.config import cluster_name, judges_cluster_name, stage
from chalicelib.wiring import services

routes = Blueprint(__name__)

OWN_CLUSTER: list[dict[str, str]] = [{"suffix": f":cluster/{cluster_name(stage())}"}]
"""Filter: a rule receives the events of every cluster of its account and region."""
OWN_CLUSTERS = [*OWN_CLUSTER, {"suffix": f":cluster/{judges_cluster_name(stage())}"}]
"""With the judges' cluster, which a stage without graders does not have."""

PLANNER_SECONDS = 20
"""Part of the sweep's time that is reserved for the host planner."""

TASK_CHANGES: dict[str, Any] = {
    "source": ["aws.ecs"],
    "detail-type": ["ECS Task State Change"],
    "detail": {
        "clusterArn": OWN_CLUSTERS,
        "$or": [
            {"lastStatus": ["STOPPED"]},
            {"lastStatus": ["RUNNING"], "startedBy": [{"prefix": "session/"}]},
        ],
    },
}
"""Only states that can change a record. RUNNING of jobs is not among them: a job's
container requests its start permit at once, which reports the same earlier than the event.
"""


HOST_CHANGES: dict[str, Any] = {
    "source": ["aws.ecs"],
    "detail-type": ["ECS Container Instance State Change"],
    "detail": {
        "clusterArn": OWN_CLUSTER,
        "$or": [{"status": [{"anything-but": "ACTIVE"}]}, {"agentConnected": [False]}],
    },
}
"""Hosts that drain or end. Changes of a host by starts and ends of tasks are excluded."""


@routes.on_cw_event(HOST_CHANGES, name="host_changed")
def host_changed(event: CloudWatchEvent) -> None:
    """A host of this stage drains, lost its agent or disappeared."""
    from chalicelib.ecs.hosts import is_leaving
    from chalicelib.ecs.task_changes import is_in_clusters

    is_own = is_in_clusters(event.detail, {services().config.cluster})  # the cluster of sessions
    if is_own and is_leaving(event.detail):
        services().sessions.service.on_host_leaving(event.detail["containerInstanceArn"])


@routes.on_cw_event(TASK_CHANGES, name="task_changed")
def task_changed(event: CloudWatchEvent) -> None:
    """A task of this stage runs, became healthy or stopped."""
    from chalicelib.ecs.task_changes import is_in_clusters, parse_task

    if is_in_clusters(event.detail, services().config.clusters):
        services().on_task_change(parse_task(event.detail))


@routes.schedule(Rate(1, unit=Rate.MINUTES), name="sweep")
def sweep(event: CloudWatchEvent) -> dict[str, int]:
    """Compare all records with all tasks and repair both, within the function's time. Then plan the
    hosts, if an Auto Scaling group is configured.
    """
    plans_hosts = services().config.hosts_group is not None
    kept = PLANNER_SECONDS if plans_hosts else 0
    done = services().sweep.run(lambda: event.context.get_remaining_time_in_millis() / 1_000 - kept)
    if plans_hosts:
        services().host_planner.run()
    return done
