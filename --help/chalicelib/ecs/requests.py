"""RunTask and StartTask requests of one task each. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chalicelib.tags import tag_value

MAX_OVERRIDES_CHARACTERS = 8_192
PLUGIN = "plugin"
"""Key in a StartTask request for the plug-in's input; it is not sent to ECS."""


@dataclass(frozen=True)
class PluginPlacement:
    """A task whose host a placement plug-in chooses. `cpu` in ECS units, `memory` in MiB."""

    name: str
    of: str
    """Name of its app or job."""
    cpu: int
    memory: int


@dataclass(frozen=True)
class TaskRequest:
    """One task to run. `started_by` refers to its record; events and sweeps find the record by
    it.
    """

    started_by: str
    attempt: int
    task_definition: str
    container: str
    environment: Mapping[str, str]
    launch_type: str = "EC2"
    capacity_provider: str | None = None
    """Replaces the launch type: hosts are added for its tasks and kept while they run."""
    subnets: Sequence[str] = ()
    """With `security_groups`, for tasks with a network interface (awsvpc)."""
    security_groups: Sequence[str] = ()
    spread: Sequence[str] = ()
    binpack: str | None = None
    constraints: Sequence[str] = ()
    plugin: PluginPlacement | None = None
    """Chooses the host instead of ECS; the task is then started with StartTask."""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Tags for cost allocation, by name."""


def client_token(started_by: str, attempt: int) -> str:
    """The idempotency token of one attempt: at most 64 characters, equal for equal arguments.

    It is no guarantee: ECS forgets it an hour after the task ended.
    """
    return hashlib.sha256(f"{started_by}#{attempt}".encode()).hexdigest()[:64]


def run_task_for(request: TaskRequest, cluster: str) -> dict[str, Any]:
    """Build the RunTask request. Equal arguments give equal requests.

    With a plug-in it is a StartTask request without host, and with the key PLUGIN.
    """
    run: dict[str, Any] = {
        "cluster": cluster,
        "taskDefinition": request.task_definition,
        "count": 1,
        "startedBy": request.started_by,
        "clientToken": client_token(request.started_by, request.attempt),
        "overrides": {
            "containerOverrides": [
                {
                    "name": request.container,
                    "environment": [
                        {"name": name, "value": value}
                        for name, value in sorted(request.environment.items())
                    ],
                }
            ]
        },
    }
    if request.tags:
        run["tags"] = [
            {"key": key, "value": tag_value(text)} for key, text in sorted(request.tags.items())
        ]
        run["enableECSManagedTags"] = True  # the cluster's name, for the same cost reports
    if request.plugin is not None:
        return _for_plugin(run, request, request.plugin)
    if request.capacity_provider:
        provider = {"capacityProvider": request.capacity_provider, "weight": 1}
        run["capacityProviderStrategy"] = [provider]
    else:
        run["launchType"] = request.launch_type
    if request.subnets:
        run["networkConfiguration"] = {
            "awsvpcConfiguration": {
                "subnets": list(request.subnets),
                "securityGroups": list(request.security_groups),
                "assignPublicIp": "ENABLED",
            }
        }
    strategy = [{"type": "spread", "field": field} for field in request.spread]
    if request.binpack:
        strategy.append({"type": "binpack", "field": request.binpack})
    if strategy:
        run["placementStrategy"] = strategy
    if request.constraints:
        run["placementConstraints"] = [
            {"type": "memberOf", "expression": expression} for expression in request.constraints
        ]
    return run


def _for_plugin(
    run: dict[str, Any], request: TaskRequest, plugin: PluginPlacement
) -> dict[str, Any]:
    """StartTask has no client token, no launch type and no ECS placement."""
    del run["clientToken"], run["count"]
    run[PLUGIN] = {
        "name": plugin.name,
        "of": plugin.of,
        "cpu": plugin.cpu,
        "memory": plugin.memory,
        "constraints": list(request.constraints),
        "provider": request.capacity_provider,
    }
    return run
